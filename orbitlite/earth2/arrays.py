"""Arrays: from those of Earth2Studio to a dataset, and from a prediction back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orbitlite.earth2.field import Field
from orbitlite.earth2.grid import Coords
from orbitlite.variables import is_static

_LEAD = ("member", "time")


def dataset_of(
    values: Any, times: NDArray[Any] | None, coords: Coords, fields: Sequence[Field]
) -> xr.Dataset:
    """Name variables as the channels that they are, with their units and periods.

    Parameters
    ----------
    values : ndarray or dask array of shape (E, T, V, H, W)
        Of E members of the input; V variables.
    times : ndarray of datetime64, shape (T,), optional
        None: there are none, and T is one.
    coords : Coords
        With `variable`, `lat` and `lon` of the values.
    fields : sequence of Field

    Returns
    -------
    xarray.Dataset
        `([member], [time], lat, lon)`, on other grids than regular ones `(..., y, x)`; statics
        without the first two.
    """
    flat = coords["lat"].ndim == 1
    space = ("lat", "lon") if flat else ("y", "x")
    ds = xr.Dataset(
        coords={
            "lat": (space[:1] if flat else space, coords["lat"], {"units": "degrees_north"}),
            "lon": (space[1:] if flat else space, coords["lon"], {"units": "degrees_east"}),
        }
    )
    if times is not None:
        ds = ds.assign_coords(time=times)
    names = [str(name) for name in coords["variable"]]
    for one in fields:
        part = xr.DataArray(values[:, :, names.index(one.variable)], dims=(*_LEAD, *space))
        static = is_static(one.channel)
        dropped = {
            "member": static or part.sizes["member"] == 1,
            "time": static or times is None,
        }
        part = part.isel({dim: 0 for dim, drop in dropped.items() if drop})
        ds[one.channel] = part.assign_attrs(one.attrs)
    return ds


def north_first(out: xr.Dataset) -> xr.Dataset:
    """Let rows run from north to south, as Earth2Studio announces and writes them.

    Its stores find places by their values and do not look at their order.
    """
    rows = out["lat"].dims[0]
    first, last = (float(out["lat"].isel({rows: end}).mean()) for end in (0, -1))
    return out if first >= last else out.isel({rows: slice(None, None, -1)})


def values_in(out: xr.Dataset, fields: Sequence[Field]) -> NDArray[np.float32]:
    """Return predicted fields in the units of Earth2Studio, of shape (E, T, [M], K, H, W)."""
    found = []
    for one in fields:
        field = out[one.channel]
        field = field.expand_dims([dim for dim in _LEAD if dim not in field.dims])
        field = field.transpose(*_LEAD, "realization", ..., missing_dims="ignore")
        found.append(one.given(field.values))
    return np.stack(found, axis=-3)


def coords_in(out: xr.Dataset) -> Coords:
    """Return `lat` and `lon` of a prediction."""
    return OrderedDict((axis, out[axis].values) for axis in ("lat", "lon"))
