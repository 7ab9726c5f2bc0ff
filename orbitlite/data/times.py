"""Times: one dimension of valid times, from analyses and forecasts."""

from __future__ import annotations

import datetime
import logging
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from orbitlite.data.leads import TimeAxes, tells_time
from orbitlite.errors import InputError
from orbitlite.grids.grid import dims_of
from orbitlite.notice import notice, warn

logger = logging.getLogger(__name__)


def valid_times(ds: xr.Dataset) -> xr.Dataset:
    """Give the dataset one `time` dimension of valid times, sorted.

    A time coordinate of another name becomes `time`; so do the starts and lead times of
    forecasts, added up.

    Raises
    ------
    InputError
        If times are missing, undecoded or repeated, or several coordinates of time do not go
        together.
    """
    axes = TimeAxes.of(ds)
    valid = _valid(ds, axes)
    if valid is None:
        return _without_times(ds, axes)
    if valid.isnull().any():
        raise InputError(f"The times {valid.name!r} have missing values: drop these steps first.")
    if valid.dtype == object and len({date.calendar for date in np.ravel(valid.values)}) > 1:
        raise InputError(f"The times {valid.name!r} are of several calendars: expected one.")
    forecast = axes.lead is not None
    ds = _along_time(ds, valid, axes)
    if "time" not in ds.dims:
        return ds
    index = ds.indexes["time"]
    if not index.is_unique:
        again = index[index.duplicated()][0]
        hint = ": select one lead time, or one start of the forecast" if forecast else ""
        raise InputError(f"The time {again} occurs more than once{hint}.")
    if not index.is_monotonic_increasing:
        notice(logger, "Times were sorted.")
        ds = ds.sortby("time")
    return ds


def check_members(data: xr.DataArray) -> None:
    """Raise InputError if a dimension beside time, latitude and longitude counts time, too."""
    for dim in data.dims:
        if dim not in ("time", *dims_of(data)) and tells_time(data[dim]):
            raise InputError(
                f"{data.name!r} has the dimension {dim!r} ({data[dim].dtype}) beside its times, "
                f"and it does not make valid times together with them: select one {dim!r}, or "
                "give valid times in one dimension 'time'."
            )


def check_filled(ds: xr.Dataset, names: Sequence[str]) -> None:
    """Raise InputError if a dimension of the variables `names` has no values at all."""
    empty = {str(dim) for name in names for dim, size in ds[name].sizes.items() if size == 0}
    for dim in sorted(empty):
        raise InputError(
            f"The dimension {dim!r} has no values: the selection, or the file, is empty. A slice "
            "runs in the order of its coordinate (from north to south where that descends)."
        )


def _valid(ds: xr.Dataset, axes: TimeAxes) -> xr.DataArray | None:
    """Return the valid times, along the dims of runs and steps; None if there are none."""
    lead = axes.lengths(ds)
    start = axes.start or axes.time
    if axes.valid is not None:
        valid = ds[axes.valid]
        if lead is not None and start is not None:
            total = _sum(ds[start], lead)
            if set(total.dims) == set(valid.dims) and not _agree(valid, total):
                raise _disagree(axes.valid, start, axes.lead)
        return valid
    if lead is None:
        return _analysis(ds, axes)
    if axes.start is not None:
        total = _sum(ds[axes.start], lead)
        if axes.time is None or (total.ndim and not ds[axes.time].ndim):
            return total
        time = ds[axes.time]
        if _agree(time, total) or (time.ndim and not total.ndim):
            return time
        if _agree(time, ds[axes.start]):
            return total
        raise _disagree(axes.time, axes.start, axes.lead)
    if axes.time is not None:
        return _of_time_and_lead(ds[axes.time], lead)
    if lead.size > 1 and any(set(lead.dims) & set(data.dims) for data in ds.data_vars.values()):
        raise InputError(
            f"The lead times {lead.name!r} have no start beside them: add the coordinate 'time' "
            "with the start of the forecast (decoded, as dates), or valid times as 'valid_time'."
        )
    return None


def _disagree(time: str, start: str, lead: str | None) -> InputError:
    return InputError(
        f"The times {time!r} are not those of {start!r} and {lead!r} added up: drop what does not "
        "belong."
    )


def _analysis(ds: xr.Dataset, axes: TimeAxes) -> xr.DataArray | None:
    if axes.time is not None:
        if ds[axes.time].ndim > 1:
            raise InputError(
                f"The coordinate {axes.time!r} has the dimensions {ds[axes.time].dims}: expected "
                "one."
            )
        if axes.time != "time":
            notice(logger, f"The times are those of {axes.time!r}.")
        return ds[axes.time]
    if axes.start is not None and ds[axes.start].ndim:
        warn(
            logger,
            f"No lead time is given: the starts of forecasts {axes.start!r} are taken as the "
            "times of the data.",
        )
        return ds[axes.start]
    return None


def _of_time_and_lead(time: xr.DataArray, lead: xr.DataArray) -> xr.DataArray:
    total = _sum(time, lead)
    if not (time.ndim and lead.ndim and time.dims == lead.dims) or lead.size < 2:
        return total
    # both along one dimension: of one run, `time` can only be valid times
    if not lead.astype(np.int64).any():
        return time
    if _constant(_sum(time, -lead)):
        notice(logger, f"The times {time.name!r} are those of one run: taken as valid times.")
        return time
    raise InputError(
        f"{time.name!r} and {lead.name!r} lie along one dimension, and {time.name!r} may hold "
        f"starts or valid times: name it 'forecast_reference_time' or 'valid_time', or drop "
        f"{lead.name!r}."
    )


def _sum(start: xr.DataArray, lead: xr.DataArray) -> xr.DataArray:
    """Add leads to starts in the resolution of the starts, if that holds them, in any calendar."""
    if start.ndim > 1:
        raise InputError(f"The starts {start.name!r} have the dimensions {start.dims}.")
    start, lead = (part.drop_vars(list(part.coords)) for part in (start, lead))
    if start.dtype.kind == "M":
        coarser = lead.astype(start.dtype.str.replace("M8", "m8"))
        whole = bool((coarser.astype(lead.dtype) == lead).all())
        return (start + (coarser if whole else lead)).rename("valid_time")
    start, lead = xr.broadcast(start, lead)
    lengths = [datetime.timedelta(microseconds=int(n) // 1000) for n in np.ravel(lead.astype(int))]
    dates: Any = np.ravel(start.values)
    added = np.array([*map(operator.add, dates, lengths)], dtype=object)
    return start.copy(data=added.reshape(start.shape)).rename("valid_time")


def _constant(values: xr.DataArray) -> bool:
    flat = np.ravel(values.values)
    return bool((flat == flat[0]).all())


def _agree(first: xr.DataArray, second: xr.DataArray) -> bool:
    if set(first.dims) != set(second.dims):
        return False
    first, second = (part.drop_vars(list(part.coords)) for part in (first, second))
    try:
        return bool((first == second).all())
    except TypeError:  # dates of other calendars
        return False


def _without_times(ds: xr.Dataset, axes: TimeAxes) -> xr.Dataset:
    if "time" in ds.variables:
        time = ds["time"]
        raise InputError(
            f"The coordinate 'time' holds {_kind(time)} and no dates (units "
            f"{time.attrs.get('units')!r}): expected units such as 'hours since 2000-01-01'."
        )
    if "time" in ds.dims:
        raise InputError("The dimension 'time' has no coordinate: expected dates.")
    return ds if axes.lead is None else ds.drop_vars(axes.lead)


def _kind(time: xr.DataArray) -> str:
    if time.dtype == object and time.size:
        return type(np.ravel(time.values)[0]).__name__
    return str(time.dtype)


def _along_time(ds: xr.Dataset, valid: xr.DataArray, axes: TimeAxes) -> xr.Dataset:
    """Lay the data out along `time`."""
    dims = [str(dim) for dim in valid.dims]
    attrs: Mapping[Any, Any] = valid.attrs
    encoding: Mapping[Any, Any] = valid.encoding  # in which unit bounds are counted
    _check_dims(ds, dims)
    single = [dim for dim, size in ds.sizes.items() if size == 1 and dim not in dims]
    ds = ds.isel({dim: 0 for dim in single if tells_time(ds[dim])}, drop=True)
    names = [axes.valid, axes.time, axes.start, axes.lead, "time"]
    ds = ds.drop_vars([name for name in names if name in ds.variables])
    if len(dims) > 1:
        ds = ds.stack(valid_time=dims, create_index=False)
        valid = valid.drop_vars(list(valid.coords)).stack(valid_time=dims, create_index=False)
        dims, attrs, encoding = ["valid_time"], {}, {}
    if not dims:
        return ds.assign_coords(time=((), valid.values, attrs, encoding))
    if dims[0] != "time":
        if "time" in ds.dims:
            raise InputError(f"The dimension 'time' has no dates; those are along {dims[0]!r}.")
        ds = ds.rename({dims[0]: "time"})
        ds = ds.drop_vars("time", errors="ignore")  # what the dimension counted before
    return ds.assign_coords(time=("time", valid.values, attrs, encoding))


def _check_dims(ds: xr.Dataset, dims: list[str]) -> None:
    """Raise InputError if a field has some of the dims of the times only."""
    for name, data in ds.data_vars.items():
        missing = [dim for dim in dims if dim not in data.dims]
        if missing and set(dims_of(ds)) <= set(data.dims) and len(missing) < len(dims):
            raise InputError(
                f"{name!r} has no dimension {missing[0]!r} and other fields have: select one "
                f"{missing[0]!r}, or open these fields apart."
            )
