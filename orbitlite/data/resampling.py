"""Resampling: steps of any kind brought to the windows of time of the truth."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orbitlite.data.bounds import INTERVAL
from orbitlite.data.calendar import Seconds, dates_of, held, seconds_of, standard_calendar
from orbitlite.data.labels import TimeWindow, labels_of, width_of
from orbitlite.errors import InputError
from orbitlite.notice import warn

logger = logging.getLogger(__name__)


def resample(ds: xr.Dataset, window: str) -> xr.Dataset:
    """Bring every channel to windows of one length, lazily.

    Windows are counted from 1970-01-01 00:00 UTC and named by their beginning, in the standard
    calendar (see `orbitlite.data.calendar.standard_calendar`). The days of gauges that are read at
    09 UTC are `24h+9h` where a daily value of day D is what fell from 09:00 of D to 09:00 of the
    next, and `24h-15h` where it is what fell up to 09:00 of D.

    A value belongs to the window that holds its time bounds. Where a store has none, amounts and
    fluxes at shorter steps end at their stamp (ERA5's and GRIB's convention), unless the stamps
    are in the middle of the steps; the stamps of all else are instants, and those of steps of the
    window's length name the day.

    Amounts add up, the others are averaged; channels named `_max` and `_min` keep their extreme.
    A window that lacks a step is dropped, with a notice; one that lacks a value is missing in
    that cell.

    Parameters
    ----------
    ds : xr.Dataset
        Canonical, opened with `rates=True`: amounts given as those of their mean rate.
    window : str
        For instance `24h`, or `24h+9h` for windows that begin at 09 UTC.

    Returns
    -------
    xr.Dataset

    Raises
    ------
    InputError
        If the steps do not divide the window, amounts lie across its beginning, or no window is
        complete.
    """
    wanted = TimeWindow.read(window)
    if 86400 % wanted.length:  # windows of several days begin with days of the standard calendar
        ds = standard_calendar(ds)
    moving = [str(name) for name in ds.data_vars if "time" in ds[name].dims]
    times = seconds_of(ds.indexes["time"])
    step = _step(ds, moving, times, wanted)
    if not 0 < step <= wanted.length or wanted.length % step:
        raise InputError(
            f"Steps of {step / 3600:g} h cannot be brought to windows of "
            f"{wanted.length / 3600:g} h (resample): state a multiple of the step."
        )
    count = wanted.length // step
    beside = [str(key) for key, data in ds.coords.items() if "time" in data.dims and key != "time"]
    if beside:
        warn(logger, f"Coordinates of steps have no value over {window}: {', '.join(beside)}.")
        ds = ds.drop_vars(beside)
    labels = {name: labels_of(ds[name], times, step, wanted) for name in moving}
    complete = _complete([*labels.values()], count)
    if not complete.size:
        raise InputError(
            f"No window of {window} (resample) is complete: the store has {times.size} steps of "
            f"{step / 3600:g} h from {ds['time'].values[0]} to {ds['time'].values[-1]}, and "
            f"{count} are needed."
        )
    found = np.unique(np.concatenate([*labels.values()])).size
    if found > complete.size:
        warn(logger, f"{found - complete.size} of {found} windows of {window} are incomplete.")
    fields = {
        name: _over(ds[name].isel(time=_steps(labels[name], complete)), count, wanted.length)
        for name in moving
    }
    attrs = {key: value for key, value in ds["time"].attrs.items() if key != "bounds"}
    begin = dates_of(complete, ds.indexes["time"])
    ds = ds.drop_dims("time").assign(fields).assign_coords(time=("time", begin, attrs))
    return standard_calendar(ds)


def bounded(ds: xr.Dataset, window: str) -> xr.Dataset:
    """Say over which time the values of windows extend: `time_bnds (time, bnds)`."""
    begin = ds["time"].values.astype("datetime64[us]")
    end = (begin + np.timedelta64(TimeWindow.read(window).length, "s")).astype("datetime64[us]")
    bounds = held(begin, end)
    ds = ds.assign_coords(time_bnds=(("time", "bnds"), np.stack(bounds, axis=1)))
    ds["time"].attrs = {**ds["time"].attrs, "bounds": "time_bnds"}
    return ds


def _step(ds: xr.Dataset, moving: list[str], times: Seconds, window: TimeWindow) -> int:
    if times.size > 1:
        return int(np.median(np.diff(times)))
    for name in moving:
        if width := width_of(ds[name]):
            return min(width, window.length)
    warn(logger, f"There is a single time, taken as a whole window of {window.text}.")
    return window.length


def _complete(labels: list[Seconds], count: int) -> Seconds:
    """Return the windows that have all steps of every channel."""
    full: Seconds | None = None
    for stamps in labels:
        names, found = np.unique(stamps, return_counts=True)
        if count == 1 and (found > 1).any():
            again = names[found > 1][0].astype("datetime64[s]")
            raise InputError(f"The window that begins at {again} has more than one step.")
        names = names[found == count]
        full = names if full is None else np.intersect1d(full, names)
    return np.zeros(0, np.int64) if full is None else full


def _steps(labels: Seconds, complete: Seconds) -> slice | NDArray[np.intp]:
    index = np.flatnonzero(np.isin(labels, complete))
    if (np.diff(index) == 1).all():
        return slice(int(index[0]), int(index[-1]) + 1)
    return index


def _over(field: xr.DataArray, count: int, length: int) -> xr.DataArray:
    """Reduce complete windows of `count` steps, and say where they lie about their stamps."""
    whole = width_of(field) == length  # the last step is the window's
    stated = {INTERVAL: (0, length)} if count > 1 or INTERVAL in field.attrs else {}
    field = field.drop_vars("time")
    field.attrs = {
        key: value for key, value in field.attrs.items() if key not in (INTERVAL, "source_hours")
    } | stated
    if count == 1:
        return field
    windows: Any = field.coarsen(time=count).construct(time=("time", "step"))
    if whole:
        reduced = field.isel(time=slice(count - 1, None, count))
    elif str(field.name).endswith("_max"):
        reduced = windows.max("step", skipna=False)
    elif str(field.name).endswith("_min"):
        reduced = windows.min("step", skipna=False)
    else:
        reduced = windows.mean("step", skipna=False)
    result: xr.DataArray = reduced.astype(field.dtype).assign_attrs(field.attrs)
    return result
