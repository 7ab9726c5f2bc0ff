"""Encoding: how a dataset is laid out in a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from orbitlite.data.calendar import microseconds_of
from orbitlite.inference.attributes import Format, writable

# In microseconds.
_UNITS = {
    "hours": 3_600_000_000,
    "minutes": 60_000_000,
    "seconds": 1_000_000,
    "milliseconds": 1000,
    "microseconds": 1,
}
_CHUNK_BYTES = 2**20
_CHUNK_SIDE = 1024


def prepared(ds: xr.Dataset, kind: Format) -> tuple[xr.Dataset, dict[str, dict[str, Any]]]:
    """Return the dataset as it goes to a file, and its encoding.

    Fields are float32, compressed, in chunks of about 1 MiB; Zarr takes the chunks of a lazy
    dataset. Dates are whole numbers. Coordinates have no fill value, and bounds are not listed as
    coordinates (CF conventions, sections 2.5.1 and 7.1). Names and attributes are those that the
    format can hold (see `orbitlite.inference.attributes`).

    Parameters
    ----------
    ds : xarray.Dataset
    kind : {"netcdf", "zarr"}
    """
    bounds = bounds_of(ds)
    ds = ds.reset_coords([name for name in bounds if name in ds.coords])
    ds = writable(ds, kind)
    encoding: dict[str, dict[str, Any]] = {}
    for name, data in ds.variables.items():
        if name in bounds or name in ds.coords:
            encoding[str(name)] = {"_FillValue": None}
        elif np.issubdtype(data.dtype, np.floating):
            encoding[str(name)] = _of_field(data, kind)
    for name in (str(name) for name in ds.coords):
        # bounds and what they belong to are counted alike (CF conventions, section 7.1)
        both = (name, str(ds[name].attrs.get("bounds")))
        found = [one for one in both if one in ds.variables]
        entry = _of_dates([ds[one].variable for one in found])
        for one in found:
            encoding[one] |= entry
    return ds, encoding


def bounds_of(ds: xr.Dataset) -> list[str]:
    """Name the bounds that the coordinates of a dataset have."""
    stated = [str(data.attrs.get("bounds")) for data in ds.coords.values()]
    return [name for name in stated if name in ds.variables]


def _of_dates(variables: Sequence[xr.Variable]) -> dict[str, Any]:
    """Count dates in the coarsest unit that holds all of them in whole numbers.

    In floating point they would be off by nanoseconds, and equal those of no other file.
    """
    counts, unit = [], "microseconds"
    for variable in variables:
        times = xr.Variable("time", variable.values.ravel()).to_index()
        if not isinstance(times, (pd.DatetimeIndex, xr.CFTimeIndex)):
            return {}
        times = times[times.notna()]
        if isinstance(times, pd.DatetimeIndex) and (times != times.as_unit("us")).any():
            unit = "nanoseconds"
        counts.append(microseconds_of(times))
    if unit != "nanoseconds":
        held = (name for name, size in _UNITS.items() if not any((n % size).any() for n in counts))
        unit = next(held)
    return {"units": f"{unit} since 1970-01-01", "dtype": "int64"}


def _of_field(data: xr.Variable, kind: Format) -> dict[str, Any]:
    entry: dict[str, Any] = {"dtype": "float32", "_FillValue": np.float32(np.nan)}
    if kind == "netcdf" and data.ndim:
        entry |= {"zlib": True, "complevel": 1, "shuffle": True, "chunksizes": _chunks(data)}
    return entry


def _chunks(data: xr.Variable) -> tuple[int, ...]:
    """Take all of a small region for several steps, a tile of a large one for one step."""
    sizes = dict.fromkeys(map(str, data.dims), 1)
    for dim in [*sizes][-2:]:
        sizes[dim] = min(data.sizes[dim], _CHUNK_SIDE)
    for dim in [*sizes][:-2][-1:]:  # time, or members where there is none
        room = _CHUNK_BYTES // (4 * int(np.prod([*sizes.values()])))
        sizes[dim] = max(1, min(data.sizes[dim], room))
    return tuple(sizes.values())
