"""Combination: from converted channels of several files to one dataset."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import xarray as xr

from orbitlite.data.bounds import INTERVAL, UNEVEN
from orbitlite.data.naming import Called, note, notes
from orbitlite.errors import InputError
from orbitlite.grids.grid import GRID_COORDINATES, cf_axis
from orbitlite.grids.reading import read_grid
from orbitlite.notice import warn
from orbitlite.variables import lookup

logger = logging.getLogger(__name__)

_BOUNDS = ("lat_bnds", "lon_bnds")


def gather(channels: Mapping[str, xr.DataArray], ds: xr.Dataset) -> xr.Dataset:
    """Put converted channels of one file together, with the coordinates that matter only."""
    grid = ds[[name for name in GRID_COORDINATES if name in ds.coords]]
    bare = []
    for name, data in channels.items():
        kept = {*data.dims, *GRID_COORDINATES}
        data = data.drop_vars([key for key in data.coords if key not in kept])
        bare.append(data.to_dataset(name=name))
    return _merge([grid.drop_attrs(deep=False), *bare])


def join(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Join the canonical datasets of several files.

    Channels that several hold are joined along time; times that not every channel has are
    dropped, with a notice.

    Parameters
    ----------
    parts : sequence of xr.Dataset
        On one grid; each may hold other channels.

    Returns
    -------
    xr.Dataset

    Raises
    ------
    InputError
        If the grids differ, or a time occurs in two files, or no time is common to all channels.
    """
    parts = [part for part in parts if part.data_vars] or [parts[0]]
    first = parts[0]
    pieces: dict[str, list[xr.DataArray]] = {}
    for part in parts:
        aligned = _onto(part, first)
        for name, data in aligned.data_vars.items():
            pieces.setdefault(str(name), []).append(data)
    joined = [_along_time(name, data).to_dataset(name=name) for name, data in pieces.items()]
    return _merge(
        [first.drop_vars([*first.data_vars, "time"], errors="ignore"), *_common_times(joined)]
    )


def finish(ds: xr.Dataset, source: xr.Dataset, attrs: Mapping[Any, Any]) -> xr.Dataset:
    """Give the coordinates CF attributes, and the dataset the attributes of its source.

    Parameters
    ----------
    ds : xr.Dataset
    source : xr.Dataset
        The first source, standardised: how it has the coordinates is noted.
    attrs : mapping
        Its attributes.
    """
    for axis, letter in (("lat", "Y"), ("lon", "X")):
        ds[axis].attrs = {**cf_axis(axis), **({"axis": letter} if ds[axis].ndim == 1 else {})}
        if f"{axis}_bnds" in ds.coords:
            ds[axis].attrs["bounds"] = f"{axis}_bnds"
    if "time" in ds.coords:
        ds["time"].attrs = {"standard_name": "time", "long_name": "time", "axis": "T"}
    ds.attrs = dict(attrs)
    plain = {axis: Called(axis, axis) for axis in notes(ds)}
    kept = {*ds.dims, *GRID_COORDINATES}
    called = {axis: names for axis, names in notes(source).items() if axis in kept}
    if "time" in called and not called["time"][1] and ds.sizes["time"] > 1:
        del called["time"]  # steps of several sources came together
    return note(ds, plain | called)


def _onto(part: xr.Dataset, first: xr.Dataset) -> xr.Dataset:
    """Give `part` the coordinates of `first`, where they differ by rounding only."""
    if _same_coordinates(part, first):  # as most files have them; a mesh takes time to compare
        return part
    single = [name for name in _BOUNDS if not (name in part.coords and name in first.coords)]
    ours, theirs = (read_grid(ds.drop_vars(single, errors="ignore")) for ds in (first, part))
    if not ours.same_cells(theirs):
        raise InputError(
            f"The files are on different grids: one has {ours.describe()}, another "
            f"{theirs.describe()}. Open them separately."
        )
    return part.drop_vars(_BOUNDS, errors="ignore").assign_coords(
        {name: first[name] for name in GRID_COORDINATES if name in first.coords}
    )


def _same_coordinates(one: xr.Dataset, other: xr.Dataset) -> bool:
    """Tell whether two datasets have the very same numbers for where their cells lie."""
    names = [name for name in GRID_COORDINATES if name in one.coords]
    return names == [name for name in GRID_COORDINATES if name in other.coords] and all(
        one[name].equals(other[name]) for name in names
    )


def _along_time(name: str, pieces: Sequence[xr.DataArray]) -> xr.DataArray:
    if len(pieces) == 1 or lookup(name).static:
        return pieces[0]
    if any("time" not in piece.dims for piece in pieces):
        raise InputError(f"{name} is in several files and has no time: expected a time coordinate.")
    if _differ(pieces, "source_hours"):
        raise InputError(
            f"{name} has another period in some of the files than in others: open them separately."
        )
    if _differ(pieces, INTERVAL):
        pieces = [piece.assign_attrs({INTERVAL: UNEVEN}) for piece in pieces]
    if len({type(piece.indexes["time"]) for piece in pieces}) > 1:
        raise InputError(f"{name} has times of several calendars: open its files separately.")
    ordered = sorted(pieces, key=lambda piece: piece.indexes["time"][0])
    try:
        whole = xr.concat(
            ordered,
            "time",
            coords="minimal",
            compat="override",
            join="exact",
            combine_attrs="override",
        )
    except ValueError as error:
        raise InputError(f"{name} has other dimensions in other files: {error}") from error
    index = whole.indexes["time"]
    if not index.is_unique:
        again = index[index.duplicated()][0]
        raise InputError(f"{name} has the time {again} in more than one file.")
    return whole if index.is_monotonic_increasing else whole.sortby("time")


def _differ(pieces: Sequence[xr.DataArray], key: str) -> bool:
    return any(piece.attrs.get(key) != pieces[0].attrs.get(key) for piece in pieces)


def _common_times(channels: list[xr.Dataset]) -> list[xr.Dataset]:
    indexes = [ds.indexes["time"] for ds in channels if "time" in ds.dims]
    if not indexes or all(index.equals(indexes[0]) for index in indexes):
        return channels
    common = reduce(lambda left, right: left.intersection(right), indexes)
    if common.empty:
        spans = sorted({f"{index[0]} to {index[-1]}" for index in indexes})
        raise InputError(f"The channels have no time in common: {'; '.join(spans)}.")
    longest = max(len(index) for index in indexes)
    warn(logger, f"{longest - len(common)} of {longest} times lack a channel and were dropped.")
    return [ds.sel(time=common) if "time" in ds.dims else ds for ds in channels]


def _merge(datasets: Sequence[xr.Dataset]) -> xr.Dataset:
    try:
        return xr.merge(datasets, join="exact", compat="override", combine_attrs="override")
    except ValueError as error:
        raise InputError(f"The channels have other coordinates each: {error}") from error
