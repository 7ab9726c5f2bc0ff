"""Naming: how a source has its coordinates, noted on the canonical ones, and given back.

The note is an entry of a coordinate's encoding, beside what xarray keeps there of how a file has
it. A coordinate of the canonical name, dimension and order has no note.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

_ENTRY = "named_in_source"


class Called(NamedTuple):
    """How a source has a coordinate.

    Attributes
    ----------
    name : str
    dim : str
        Its dimension; empty if it is a scalar.
    turned : bool
        Its values run the other way in the source: latitudes from south to north.
    """

    name: str
    dim: str
    turned: bool = False


Names: TypeAlias = Mapping[str, Called]
"""By canonical coordinate."""


def note(ds: xr.Dataset, names: Names) -> xr.Dataset:
    """Note on coordinates how their source has them."""
    noted = {}
    for axis, called in names.items():
        noted[axis] = ds[axis].variable.copy(deep=False)  # its encoding is the caller's
        kept = {key: value for key, value in noted[axis].encoding.items() if key != _ENTRY}
        noted[axis].encoding = kept if called == Called(axis, axis) else {**kept, _ENTRY: called}
    return ds.assign_coords(noted)


def notes(ds: xr.Dataset) -> dict[str, Called]:
    """Return how the source has the coordinates of a canonical dataset, where it differs."""
    encodings = {str(name): data.encoding for name, data in ds.coords.items()}
    return {name: found[_ENTRY] for name, found in encodings.items() if _ENTRY in found}


def rows(ds: xr.Dataset) -> dict[str, Called]:
    """Return of the notes of a canonical dataset only that its rows are turned, if they are."""
    turned = "lat" in ds.coords and notes(ds).get("lat", Called("lat", "lat")).turned
    return {"lat": Called("lat", "lat", turned=True)} if turned else {}


def north_first(ds: xr.Dataset) -> xr.Dataset:
    """Let rows run from north to south, lazily; note it where they run otherwise in the source."""
    if ds["lat"].values[0] >= ds["lat"].values[-1]:
        return ds
    called = notes(ds).get("lat", Called("lat", "lat"))
    return note(_turned(ds, "lat"), {"lat": Called(called.name, called.dim, turned=True)})


def note_time(ds: xr.Dataset, source: xr.Dataset) -> xr.Dataset:
    """Note on the times what their source calls them.

    Parameters
    ----------
    ds : xr.Dataset
        With canonical times, if any.
    source : xr.Dataset
        What these were made of. Its `time` stays `time`, whatever times it has; without one, the
        coordinate of the same dates gives the name.
    """
    if "time" not in ds.coords:
        return ds
    name = "time" if "time" in source.coords else _of_dates(source, ds["time"].values)
    return note(ds, {"time": Called(name, name if ds["time"].ndim else "")})


def _of_dates(source: xr.Dataset, times: NDArray[Any]) -> str:
    """Return the coordinate that has these dates, one that is a dimension first."""
    wanted = np.sort(np.atleast_1d(times))
    found = [
        str(name)
        for name, data in source.coords.items()
        if data.ndim < 2
        and data.dtype == wanted.dtype
        and np.array_equal(np.sort(np.atleast_1d(data.values)), wanted)
    ]
    return min(found, key=lambda name: name not in source.dims, default="time")


def give_back(ds: xr.Dataset, called: Names) -> xr.Dataset:
    """Call the coordinates of a dataset, and their bounds, what its source calls them.

    Rows go back to the order of the source.

    Parameters
    ----------
    ds : xr.Dataset
        With canonical coordinates.
    called : mapping
        See `notes`. A time that is a scalar in the source is made one.

    Returns
    -------
    xr.Dataset
    """
    for axis, (name, dim, turned) in called.items():
        if axis not in ds.coords:
            continue
        if turned:
            ds = _turned(ds, axis)
        if not dim:
            ds = ds.isel({axis: 0})
        ds = _renamed(ds, axis, name)
        if dim not in ("", name):
            ds = ds.rename_dims({name: dim}).drop_indexes(name)
    return ds


def _turned(ds: xr.Dataset, axis: str) -> xr.Dataset:
    """Let a coordinate run the other way, and each pair of its bounds with it."""
    ds, bounds = ds.isel({axis: slice(None, None, -1)}), f"{axis}_bnds"
    return ds.assign_coords({bounds: ds[bounds][:, ::-1]}) if bounds in ds.coords else ds


def _renamed(ds: xr.Dataset, axis: str, name: str) -> xr.Dataset:
    if axis == name:
        return ds
    ds = ds.rename({axis: name})
    bounds = f"{axis}_bnds"
    if bounds in ds.variables:
        ds = ds.rename({bounds: f"{name}_bnds"})
        ds[name].attrs["bounds"] = f"{name}_bnds"
    return ds
