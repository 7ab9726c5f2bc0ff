"""Stores: from a path, URL, glob or list of them to opened xarray datasets."""

from __future__ import annotations

import glob
import io
import logging
import math
import os
import re
import warnings
from collections.abc import Hashable, Iterable
from functools import partial
from typing import Any

import xarray as xr
from zarr.storage import LocalStore

from orbitlite.data.codecs import CheckedStore
from orbitlite.data.damage import guarded
from orbitlite.data.grib import amounts_per_step, open_grib
from orbitlite.data.hdf5 import unread
from orbitlite.data.retry import PatientFile, PatientStore
from orbitlite.errors import InputError
from orbitlite.notice import notice
from orbitlite.remote import (
    PASSING,
    fetched,
    is_absent,
    is_lasting,
    patiently,
    reason,
    store_of,
)

logger = logging.getLogger(__name__)

_ZARR_FILES = ("zarr.json", ".zmetadata", ".zgroup")
_GRIB_SUFFIXES = (".grib", ".grib1", ".grib2", ".grb", ".grb1", ".grb2")
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
    for url in (url for path in paths for url in expand(path)):
        try:
            kind = engine or patiently(partial(_kind, url))
            if kind == "cfgrib":
                local = patiently(partial(_local_copy, url))
                gribs += [ds.assign(chunked(ds, ds)) for ds in open_grib(local)]
            else:
                opened.append(guarded(_open_one(url, kind), url))
        except InputError:
            raise
        except Exception as error:  # libraries behind a URL raise exceptions of every kind
            raise _unreadable(url, error) from error
    return opened + amounts_per_step(gribs)


def expand(path: str | os.PathLike[str]) -> list[str]:
    """Return the files that a path with or without glob signs names, sorted.

    Raises
    ------
    InputError
        If there are none.
    """
    text = os.fspath(path).removeprefix("file://")
    remote = _remote(text)
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


def _kind(url: str) -> str:
    """Find the xarray engine: from the content, or from the suffix where that says enough."""
    plain = url.split("?")[0].rstrip("/").lower()
    if plain.endswith(".zarr"):
        return "zarr"
    if plain.endswith(_GRIB_SUFFIXES):
        return "cfgrib"
    filesystem, path = store_of(url)
    if not plain.endswith((".nc", ".nc4", ".cdf", ".h5")) and any(
        _is_there(filesystem, f"{path.rstrip('/')}/{name}") for name in _ZARR_FILES
    ):
        return "zarr"
    head = filesystem.cat_file(path, start=0, end=8)[:8]
    if head[:4] == b"GRIB":
        return "cfgrib"
    if head[:3] == b"CDF":
        return "netcdf3"
    if head == b"\x89HDF\r\n\x1a\n":
        return "netcdf4"
    raise InputError(
        f"{url} is no NetCDF, Zarr or GRIB: it starts with {head!r}."
        if head
        else f"{url} is empty: expected NetCDF, Zarr or GRIB."
    )


def _is_there(filesystem: Any, path: str) -> bool:
    """Tell whether a file is there; raise if its server fails, which says nothing of it."""
    try:
        filesystem.cat_file(path, start=0, end=1)
    except PASSING as error:
        if is_lasting(error):
            return False
        raise
    return True


def _open_one(url: str, kind: str) -> xr.Dataset:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Failed to open Zarr store with consolidated")
        warnings.filterwarnings("ignore", message=".*consolidated metadata.*")
        if kind == "zarr":
            inner = PatientStore.of(url) if _remote(url) else LocalStore(url, read_only=True)
            store = CheckedStore(inner)
            try:
                opened: xr.Dataset = xr.open_zarr(store, chunks=None, decode_timedelta=True)
            except InputError as error:
                raise InputError(f"{url}: {error}") from error
            return opened
    source: Any = url
    left_out: list[str] = []
    if kind == "netcdf3":
        source, kind = _local_copy(url), "netcdf4"
        _check_length(source)
    elif kind in ("netcdf4", "h5netcdf"):
        if _remote(url):
            source, kind = patiently(partial(_seekable, url)), "h5netcdf"
        left_out = unread(source, url)
    return xr.open_dataset(
        source, engine=kind, decode_timedelta=True, drop_variables=left_out or None
    )


def _remote(url: str) -> bool:
    return "://" in url or "::" in url


def _local_copy(url: str) -> str:
    """Return the path itself, or of a copy that lasts as long as this process."""
    if not _remote(url):
        return url
    notice(logger, f"{url} is copied to this machine: its format has no remote access.")
    return fetched(url)


def _seekable(url: str) -> Any:
    """Open a remote file for random access; fetch it whole if its server gives no ranges."""
    filesystem, path = store_of(url)
    file = filesystem.open(path, "rb")
    if file.seekable() and _gives_ranges(file):
        return PatientFile(file)
    file.close()
    notice(logger, f"The server of {url} gives no byte ranges: the file was fetched whole.")
    return io.BytesIO(filesystem.cat_file(path))


def _gives_ranges(file: Any) -> bool:
    if not file.size:
        return False
    try:
        file.seek(file.size - 1)
        last = file.read(1)
        file.seek(0)
    except ValueError:  # what fsspec raises where a server ignores the range
        return False
    return len(last) == 1


def _check_length(path: str) -> None:
    """Raise InputError if a classic NetCDF file ends before its data do.

    The NetCDF library reads zeros past the end of such a file; scipy's reader maps every
    variable and so fails.
    """
    from scipy.io import netcdf_file

    with open(path, "rb") as file:
        if file.read(4)[3:] not in (b"\x01", b"\x02"):
            return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            netcdf_file(path, mmap=True).close()
    except (ValueError, IndexError, TypeError) as error:
        raise InputError(
            f"{path} is truncated: the file ends before the data that its header lists."
        ) from error


def chunked(ds: xr.Dataset, names: Iterable[Hashable]) -> dict[Hashable, xr.DataArray]:
    """Back the variables `names` with dask: as stored, or by the step where that is contiguous."""
    return {name: ds[name].chunk(_chunks(ds[name])) for name in names}


def _chunks(data: xr.DataArray) -> dict[Any, int]:
    found = data.encoding.get("preferred_chunks") or {}
    stored = {dim: size for dim, size in found.items() if size > 0}  # others are damage
    sizes = dict(data.sizes)
    if any(stored.get(dim, size) < size for dim, size in sizes.items()):
        return {dim: stored.get(dim, size) for dim, size in sizes.items()}
    if data.encoding.get("chunksizes") or data.encoding.get("chunks"):
        return sizes  # one stored chunk: reading a part of it reads it all
    chunks = dict(sizes)
    for dim in data.dims[:-2]:
        # the outer dims in pieces, as many as make the piece small
        others = math.prod(chunks.values()) // chunks[dim] * data.dtype.itemsize
        chunks[dim] = max(1, min(sizes[dim], _CHUNK_BYTES // max(1, others)))
    return chunks
