"""Stores: from a path, URL, glob or list of them to opened xarray datasets."""

from __future__ import annotations

import glob
import math
import os
import re
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from orbitlite.data.damage import guarded
from orbitlite.data.grib import Grib, amounts_per_step
from orbitlite.data.headers import Header
from orbitlite.data.netcdf import NetCDF, open_hdf5
from orbitlite.data.reader import READERS, Place, Reader
from orbitlite.data.series import alike, open_series
from orbitlite.data.zarr import Zarr
from orbitlite.errors import InputError
from orbitlite.remote import is_absent, reason, store_of, with_retries

_OWN = ("zarr", "grib", "netcdf")
"""Readers of the package, in the order in which they look."""
_REFERENCES = re.compile(r"(^|::)reference(:|$)")
_CHUNK_BYTES = 2**20


def open_stores(paths: Iterable[str | os.PathLike[str]], engine: str | None) -> list[xr.Dataset]:
    """Open every store that the paths name, lazily.

    Parameters
    ----------
    paths : iterable of path-like
        Local paths or fsspec URLs, with or without glob signs.
    engine : str or None
        Engine of `xarray.open_dataset`; None finds it from the content.

    Returns
    -------
    list of xr.Dataset
        Not read; GRIB backed by dask, the others not yet (see `chunked`).

    Raises
    ------
    InputError
        If there is no such file, or it cannot be read.
    """
    opened: list[xr.Dataset] = []
    gribs: list[xr.Dataset] = []
    places = [Place(url) for path in paths for url in expand(path)]
    series = _series(places) if engine is None else {}
    for place in places:
        if place.url in series:
            files = series[place.url]
            if place.url == files[0].path:
                with _plain_failure(place.url):
                    named = f"{len(files)} files like {place.url}"
                    opened.append(guarded(open_series(files), named))
            continue
        with _plain_failure(place.url):
            reader, found = _open(place, engine)
            if reader is Grib:
                gribs += [ds.assign(chunked(ds, ds)) for ds in found]
            else:
                opened += [guarded(ds, place.url) for ds in found]
    return opened + amounts_per_step(gribs)


def _series(places: Sequence[Place]) -> dict[str, list[Header]]:
    """Find which of several files are parts of a series: by path, the headers of all its files."""
    if len(places) < 2:
        return {}
    headers = []
    for place in places:
        with _plain_failure(place.url):
            if not place.remote and with_retries(partial(_reader, place)) is NetCDF:
                headers.append(NetCDF().header(place))
    found = alike(header for header in headers if header is not None)
    return {header.path: series for series in found for header in series}


@contextmanager
def _plain_failure(url: str) -> Iterator[None]:
    """Turn what fails while a store is opened into one plain error."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # libraries behind a URL raise exceptions of every kind
        raise _unreadable(url, error) from error


def expand(path: str | os.PathLike[str]) -> list[str]:
    """Return the files that a path with or without glob signs names, sorted.

    Raises
    ------
    InputError
        If there are none.
    """
    text = os.fspath(path).removeprefix("file://")
    remote = Place(text).remote
    if _REFERENCES.search(text):
        raise InputError(
            f"{text} is a list of references to other files, which is not opened: expected a "
            "store that holds its own values. Open it with xarray and pass the dataset."
        )
    if not remote:
        text = os.path.expanduser(text)
        if os.path.exists(text):
            return [text]
    if not glob.has_magic(text) or text.startswith(("http://", "https://")):
        if remote:
            return [text]
        raise InputError(f"No such file or folder: {text}")
    if remote:
        filesystem, pattern = store_of(text)
        found = [filesystem.unstrip_protocol(name) for name in filesystem.glob(pattern)]
    else:
        found = glob.glob(text, recursive=True)
    if not found:
        raise InputError(f"No file matches {text}")
    return sorted(found)


def _unreadable(url: str, error: Exception) -> InputError:
    said = reason(error)
    if is_absent(error):
        return InputError(f"No such file or store: {url}")
    if isinstance(error, ImportError):
        return InputError(f"Opening {url} needs a package that is not installed ({said}).")
    return InputError(
        f"Could not open {url} ({said}). It should be a complete NetCDF, Zarr or GRIB store."
    )


def _reader(place: Place) -> type[Reader]:
    """Find the reader: of a user's before those of the package."""
    for name in (*(name for name in READERS if name not in _OWN), *_OWN):
        if READERS[name]().matches(place):
            return READERS[name]
    known = "NetCDF, Zarr or GRIB"
    raise InputError(
        f"{place.url} is no {known}: it starts with {place.head!r}."
        if place.head
        else f"{place.url} is empty: expected {known}."
    )


def _open(place: Place, engine: str | None) -> tuple[type[Reader] | None, list[xr.Dataset]]:
    """Open a place with its reader, or with an engine of xarray that somebody states."""
    if engine in ("netcdf4", "h5netcdf"):
        return None, [open_hdf5(place, engine)]
    named: dict[str, type[Reader]] = {"cfgrib": Grib, "zarr": Zarr}
    if engine is None:
        reader = with_retries(partial(_reader, place))
    elif engine in named:
        reader = named[engine]
    else:
        return None, [xr.open_dataset(place.url, engine=engine, decode_timedelta=True)]
    return reader, reader().open(place)


def chunked(ds: xr.Dataset, names: Iterable[Hashable]) -> dict[Hashable, xr.DataArray]:
    """Back the variables `names` with dask: as stored, or by the step where that is contiguous."""
    return {name: ds[name].chunk(_chunks(ds[name])) for name in names}


def _chunks(data: xr.DataArray) -> dict[Any, Any]:
    found = data.encoding.get("preferred_chunks") or {}
    stored = {dim: size for dim, size in found.items() if np.min(size) > 0}  # others are damage
    sizes = dict(data.sizes)
    if any(np.max(stored.get(dim, size)) < size for dim, size in sizes.items()):
        return {dim: stored.get(dim, size) for dim, size in sizes.items()}
    if data.encoding.get("chunksizes") or data.encoding.get("chunks"):
        return sizes  # one stored chunk: reading a part of it reads it all
    chunks = dict(sizes)
    for dim in data.dims[:-2]:
        # the outer dims in pieces, as many as make the piece small
        others = math.prod(chunks.values()) // chunks[dim] * data.dtype.itemsize
        chunks[dim] = max(1, min(sizes[dim], _CHUNK_BYTES // max(1, others)))
    return chunks
