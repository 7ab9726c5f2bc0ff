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

from orbitlite.grids.grid import dims_of

_ENTRY = "named_in_source"


class Called(NamedTuple):
    """How a source has a coordinate.

    Attributes
    ----------
    name : str
        Empty if the source has a dimension of cells without a coordinate.
    dim : str
        Its dimension; empty if it is a scalar. That of `lat` and `lon` of two dimensions is their
        name.
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
    axis, _ = dims_of(ds)
    turned = axis in ds.coords and notes(ds).get(axis, Called(axis, axis)).turned
    return {axis: Called(axis, axis, turned=True)} if turned else {}


def north_first(ds: xr.Dataset) -> xr.Dataset:
    """Let rows run from north to south, lazily; note it where they run otherwise in the source."""
    first, last = (float(ds["lat"].isel({dims_of(ds)[0]: end}).mean()) for end in (0, -1))
    if first >= last:
        return ds
    axis, _ = dims_of(ds)
    called = notes(ds).get(axis, Called(axis, axis))
    return note(_turned(ds, axis), {axis: Called(called.name, called.dim, turned=True)})


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
    here = {axis: given for axis, given in called.items() if axis in ds.coords}
    names, apart = dict[str, str](), dict[str, str]()
    for axis, (name, dim, turned) in here.items():
        if turned:
            ds = _turned(ds, axis)
        if not name:
            ds, names[axis] = ds.drop_vars(axis), dim
            continue
        if not dim:
            ds = ds.isel({axis: 0})
        names[axis] = name
        if dim not in ("", name):
            apart[name] = dim
        if f"{axis}_bnds" in ds.variables:
            names[f"{axis}_bnds"] = f"{name}_bnds"
            ds[axis].attrs["bounds"] = f"{name}_bnds"
    # all at once: what one is called now another may be called in the source
    ds = ds.rename({old: new for old, new in names.items() if old != new})
    for name, dim in apart.items():
        ds = ds.rename_dims({name: dim}).drop_indexes(name)
    return ds


def _turned(ds: xr.Dataset, axis: str) -> xr.Dataset:
    """Let a coordinate run the other way, and each pair of its bounds with it."""
    ds, bounds = ds.isel({axis: slice(None, None, -1)}), f"{axis}_bnds"
    return ds.assign_coords({bounds: ds[bounds][:, ::-1]}) if bounds in ds.coords else ds
