"""Windows: calendars, and sub-daily steps brought to the windows of the truth."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from orbitlite.data.conversion import period_hours
from orbitlite.errors import InputError
from orbitlite.notice import notice, warn
from orbitlite.variables import lookup

logger = logging.getLogger(__name__)

Seconds = NDArray[np.int64]


def standard_calendar(ds: xr.Dataset) -> xr.Dataset:
    """Count time in the standard calendar: dates keep their name.

    Dates that other calendars have and the standard one lacks (30 February) are dropped, with a
    notice.

    Parameters
    ----------
    ds : xr.Dataset
        Canonical; times of `numpy.datetime64` or `cftime`.

    Returns
    -------
    xr.Dataset
        Times of `numpy.datetime64`.
    """
    if "time" not in ds.dims or not isinstance(ds.indexes["time"], xr.CFTimeIndex):
        return ds
    name = str(ds["time"].dt.calendar)
    steps = ds.sizes["time"]
    ds = ds.convert_calendar("standard", use_cftime=False, align_on="date")
    dropped = steps - ds.sizes["time"]
    say = warn if dropped else notice
    say(
        logger,
        f"Times of the calendar {name} were matched to the standard one by date; {dropped} of "
        f"{steps} have no such date and were dropped.",
    )
    return ds


def seconds_of(times: pd.DatetimeIndex) -> Seconds:
    """Return seconds since 1970-01-01."""
    seconds: Seconds = times.to_numpy().astype("datetime64[s]").astype(np.int64)
    return seconds


def accumulate(ds: xr.Dataset, window: str) -> xr.Dataset:
    """Bring every channel to windows of one length, lazily.

    Windows are counted from 1970-01-01 00:00 and named by their beginning. Amounts and fluxes are
    stamped at the end of their period (ERA5's and GRIB's convention), so those of the window
    `[00, 24 h]` have stamps after 00 up to 24 h; the stamps of all else lie from 00 up to before
    24 h. Amounts add up, the others are averaged; channels named `_max` and `_min` keep their
    extreme. A window that lacks a step is dropped, with a notice; one that lacks a value is
    missing in that cell. Steps of the window's length are only renamed to its beginning.

    Parameters
    ----------
    ds : xr.Dataset
        Canonical, opened with `rates=True`: amounts given as those of their mean rate.
    window : str
        For instance `24h`.

    Returns
    -------
    xr.Dataset

    Raises
    ------
    InputError
        If the steps do not divide the window, or no window is complete.
    """
    length = round(3600 * period_hours(window))
    moving = [name for name in ds.data_vars if "time" in ds[name].dims]
    times = seconds_of(pd.DatetimeIndex(ds.indexes["time"]))
    step = int(np.median(np.diff(times))) if times.size > 1 else length
    for name in moving:
        _check_amount(ds[name], step, length)
    if step == length:
        return _renamed(ds, times // length * length)
    if step > length or length % step:
        raise InputError(
            f"Steps of {step / 3600:g} h cannot be brought to windows of {length / 3600:g} h "
            "(accumulate): state a multiple of the step."
        )
    count = length // step
    beside = [str(key) for key, data in ds.coords.items() if "time" in data.dims and key != "time"]
    if beside:
        warn(logger, f"Coordinates of steps have no value over {window}: {', '.join(beside)}.")
        ds = ds.drop_vars(beside)
    labels = {name: _labels(str(name), times, length) for name in moving}
    complete = _complete([*labels.values()], count)
    if not complete.size:
        raise InputError(
            f"No window of {window} (accumulate) is complete: the store has {times.size} steps of "
            f"{step / 3600:g} h from {ds['time'].values[0]} to {ds['time'].values[-1]}, and "
            f"{count} are needed."
        )
    found = np.unique(np.concatenate([*labels.values()])).size
    if found > complete.size:
        warn(logger, f"{found - complete.size} of {found} windows of {window} are incomplete.")
    fields = {
        name: _over(ds[name].isel(time=_steps(labels[name], complete)), count, length)
        for name in moving
    }
    return _renamed(ds.drop_dims("time").assign(fields), complete)


def _labels(channel: str, times: Seconds, length: int) -> Seconds:
    """Name the window of every stamp by its beginning."""
    at_end = 1 if lookup(channel).hours is not None else 0
    return (times - at_end) // length * length


def _complete(labels: list[Seconds], count: int) -> Seconds:
    """Return the windows that have all steps of every channel."""
    full: Seconds | None = None
    for stamps in labels:
        names, found = np.unique(stamps, return_counts=True)
        names = names[found == count]
        full = names if full is None else np.intersect1d(full, names)
    return np.zeros(0, np.int64) if full is None else full


def _steps(labels: Seconds, complete: Seconds) -> slice | NDArray[np.intp]:
    index = np.flatnonzero(np.isin(labels, complete))
    if (np.diff(index) == 1).all():
        return slice(int(index[0]), int(index[-1]) + 1)
    return index


def _over(field: xr.DataArray, count: int, length: int) -> xr.DataArray:
    """Reduce complete windows of `count` steps."""
    period = 3600 * field.attrs.get("source_hours", 0)
    field = field.drop_vars("time")
    windows: Any = field.coarsen(time=count).construct(time=("time", "step"))
    if period == length:  # sums over the time before each stamp: the last one is the window's
        reduced = field.isel(time=slice(count - 1, None, count))
    elif str(field.name).endswith("_max"):
        reduced = windows.max("step", skipna=False)
    elif str(field.name).endswith("_min"):
        reduced = windows.min("step", skipna=False)
    else:
        reduced = windows.mean("step", skipna=False)
    result: xr.DataArray = reduced.astype(field.dtype).assign_attrs(field.attrs)
    return result


def _check_amount(field: xr.DataArray, step: int, length: int) -> None:
    hours = field.attrs.get("source_hours")
    if hours is not None and 3600 * hours not in (step, length):
        raise InputError(
            f"{field.name} holds amounts over {hours:g} h at steps of {step / 3600:g} h: neither "
            f"these nor windows of {length / 3600:g} h (accumulate). Is period right?"
        )


def _renamed(ds: xr.Dataset, seconds: Seconds) -> xr.Dataset:
    times = pd.DatetimeIndex(seconds.astype("datetime64[s]").astype("datetime64[ns]"))
    if not times.is_unique:
        again = times[times.duplicated()][0]
        raise InputError(f"The window that begins at {again} has more than one step.")
    ds = ds.copy()  # its attributes are the caller's
    for field in ds.data_vars.values():
        field.attrs.pop("source_hours", None)
    attrs = ds["time"].attrs if "time" in ds.coords else {}
    return ds.assign_coords(time=("time", times, attrs))
