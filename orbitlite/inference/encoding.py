"""Encoding: how a dataset is laid out in a file."""

from __future__ import annotations

import json
from typing import Any, Literal

import numpy as np
import xarray as xr

Format = Literal["netcdf", "zarr"]

_CHUNK_BYTES = 2**20
_CHUNK_SIDE = 1024


def prepared(ds: xr.Dataset, kind: Format) -> tuple[xr.Dataset, dict[str, dict[str, Any]]]:
    """Return the dataset as it goes to a file, and its encoding.

    Fields are float32, compressed, in chunks of about 1 MiB; Zarr takes the chunks of a lazy
    dataset. Coordinates have no fill value, and bounds are not listed as coordinates (CF
    conventions, sections 2.5.1 and 7.1).

    Parameters
    ----------
    ds : xarray.Dataset
    kind : {"netcdf", "zarr"}
    """
    bounds = bounds_of(ds)
    ds = ds.reset_coords([name for name in bounds if name in ds.coords])
    if kind == "netcdf":
        ds = _with_plain_attributes(ds)
    encoding: dict[str, dict[str, Any]] = {}
    for name, data in ds.variables.items():
        if name in bounds or name in ds.coords:
            encoding[str(name)] = {"_FillValue": None}
        elif np.issubdtype(data.dtype, np.floating):
            encoding[str(name)] = _of_field(data, kind)
    for name, data in ds.coords.items():
        if np.issubdtype(data.dtype, np.datetime64):
            encoding[str(name)]["units"] = "hours since 1970-01-01"
    return ds, encoding


def bounds_of(ds: xr.Dataset) -> list[str]:
    """Name the bounds that the coordinates of a dataset have."""
    stated = [str(data.attrs.get("bounds")) for data in ds.coords.values()]
    return [name for name in stated if name in ds.variables]


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


def _with_plain_attributes(ds: xr.Dataset) -> xr.Dataset:
    """Put attributes that NetCDF cannot hold, such as those of a Zarr store, into words."""
    ds = ds.copy()
    for holder in (ds, *(ds[name] for name in ds.variables)):
        holder.attrs = {str(key): _plain(value) for key, value in holder.attrs.items()}
    return ds


def _plain(value: Any) -> Any:
    kept = (str, int, float, np.number, np.ndarray)
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, kept):
        return value
    if isinstance(value, (list, tuple)) and value and all(isinstance(v, kept) for v in value):
        return value
    return json.dumps(value, default=str)
