"""Times: one dimension of valid times, from analyses and forecasts."""

from __future__ import annotations

import logging

import numpy as np
import xarray as xr

from orbitlite.errors import InputError
from orbitlite.notice import notice

logger = logging.getLogger(__name__)


def valid_times(ds: xr.Dataset) -> xr.Dataset:
    """Give the dataset one `time` dimension of valid times, sorted.

    Forecast time and step, or `valid_time`, become `time`.

    Raises
    ------
    InputError
        If times are missing, undecoded or repeated.
    """
    ds = _valid_time(ds)
    if "time" not in ds.variables:
        if "time" in ds.dims:
            raise InputError("The dimension 'time' has no coordinate: expected dates.")
        return ds
    time = ds["time"]
    if time.ndim > 1:
        raise InputError(f"The coordinate 'time' has the dimensions {time.dims}: expected one.")
    dates = np.issubdtype(time.dtype, np.datetime64) or time.dtype == object
    if not dates:
        raise InputError(
            f"The coordinate 'time' holds {time.dtype} and no dates (units "
            f"{time.attrs.get('units')!r}): expected units such as 'hours since 2000-01-01'."
        )
    if time.ndim == 0:
        return ds
    index = ds.indexes["time"]
    if not index.is_unique:
        again = index[index.duplicated()][0]
        raise InputError(f"The time {again} occurs more than once.")
    if not index.is_monotonic_increasing:
        notice(logger, "Times were sorted.")
        ds = ds.sortby("time")
    return ds


def _valid_time(ds: xr.Dataset) -> xr.Dataset:
    """Replace forecast time and step, or `valid_time`, by `time`."""
    if "valid_time" in ds.variables:
        valid = ds["valid_time"]
    elif {"time", "step"} <= set(ds.variables):
        valid = ds["time"] + ds["step"]
    else:
        return ds.drop_vars("step", errors="ignore")
    dims = [str(dim) for dim in valid.dims]
    ds = ds.drop_vars(["valid_time", "time", "step", "forecast_reference_time"], errors="ignore")
    if len(dims) > 1:
        ds = ds.stack(valid_time=dims, create_index=False)
        valid = valid.stack(valid_time=dims, create_index=False)
        dims = ["valid_time"]
    if dims:
        ds = ds.rename({dims[0]: "time"} if dims[0] != "time" else {})
        return ds.assign_coords(time=("time", valid.values))
    return ds.assign_coords(time=valid.values)
