"""Calendar: times of any calendar and resolution, brought to one form where they are compared.

`numpy.datetime64` in microseconds holds every year that a file may have; in nanoseconds it ends
in 1678 and 2262, and what lies outside comes out as another year.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from orbitlite.errors import InputError
from orbitlite.notice import notice, warn

logger = logging.getLogger(__name__)

Seconds = NDArray[np.int64]
Dates = NDArray[np.datetime64]

_DATES = "datetime64"
_STANDARD = ("standard", "gregorian", "proleptic_gregorian")


def held(*dates: Dates) -> list[Dates]:
    """Hold dates in nanoseconds, as xarray opens files, where all fit, else in microseconds."""
    parts = [part.astype("datetime64[us]") for part in dates]
    first, last = (np.datetime64(end.as_unit("us")) for end in (pd.Timestamp.min, pd.Timestamp.max))
    if all(((first < part) & (part < last)).all() for part in parts):
        return [part.astype("datetime64[ns]") for part in parts]
    return parts


def times_of(ds: xr.Dataset) -> pd.Index:
    """Return the times of a dataset, one or many."""
    return xr.Variable("time", np.atleast_1d(ds["time"].values)).to_index()


def microseconds_of(times: pd.Index) -> NDArray[np.int64]:
    """Return microseconds since 1970-01-01 of the calendar that the times are in.

    Parameters
    ----------
    times : pd.DatetimeIndex of any resolution, or xr.CFTimeIndex
    """
    if not isinstance(times, xr.CFTimeIndex):
        return np.asarray(times.as_unit("us").to_numpy().astype(np.int64))
    import cftime

    unit = "microseconds since 1970-01-01"
    return np.asarray(cftime.date2num(times.to_numpy(), unit, calendar=times.calendar), np.int64)


def seconds_of(times: pd.Index) -> Seconds:
    """Return seconds since 1970-01-01 of the calendar that the times are in, rounded."""
    return (microseconds_of(times) + 500_000) // 1_000_000


def dates_of(seconds: Seconds, like: pd.Index) -> NDArray[Any]:
    """Return the dates so many seconds after 1970-01-01, of the calendar of other times."""
    if not isinstance(like, xr.CFTimeIndex):
        return held(seconds.astype("datetime64[s]"))[0]
    import cftime

    unit = "seconds since 1970-01-01"
    return np.asarray(cftime.num2date(seconds, unit, calendar=like.calendar))


def standard_calendar(ds: xr.Dataset) -> xr.Dataset:
    """Count time in the standard calendar: dates keep their name.

    Dates that other calendars have and the standard one lacks (30 February) are dropped, with a
    notice.

    Parameters
    ----------
    ds : xr.Dataset
        Canonical; times of `numpy.datetime64` or `cftime`, of any year.

    Returns
    -------
    xr.Dataset
        Times of `numpy.datetime64`.

    Raises
    ------
    InputError
        If the standard calendar has none of the dates.
    """
    name = _calendar(ds)
    if name in (None, _DATES):
        return ds
    dates, there = named_dates(times_of(ds))
    steps, dropped = there.size, int((~there).sum())
    if dropped == steps:
        raise InputError(f"The standard calendar has none of the dates of this calendar, {name}.")
    if dropped:
        ds, dates = ds.isel(time=there), dates[there]
    if dropped or name not in _STANDARD:
        say = warn if dropped else notice
        say(
            logger,
            f"Times of the calendar {name} were matched to the standard one by date; {dropped} of "
            f"{steps} have no such date and were dropped.",
        )
    return _with_times(ds, held(dates)[0])


def comparable(datasets: Sequence[xr.Dataset]) -> list[xr.Dataset]:
    """Give datasets times that compare where they are of one calendar and of several kinds.

    Of files of the standard calendar xarray gives those that reach far years as `cftime`; files
    have other resolutions; and one that counts hours or days in floating point gives times that
    are off by microseconds. Times of other calendars stay as they are.

    Returns
    -------
    list of xr.Dataset
        Times of the standard calendar in one resolution, to the millisecond.
    """
    calendars = {_calendar(ds) for ds in datasets} - {None}
    if len(datasets) < 2 or (len(calendars) == 1 and _DATES not in calendars):
        return [*datasets]
    plain = [standard_calendar(ds) if _calendar(ds) in _STANDARD else ds for ds in datasets]
    dated = [ds for ds in plain if _calendar(ds) == _DATES]
    rounded = iter(held(*(times_of(ds).round("ms").as_unit("us").to_numpy() for ds in dated)))
    return [_with_times(ds, next(rounded)) if _calendar(ds) == _DATES else ds for ds in plain]


def _with_times(ds: xr.Dataset, dates: Dates) -> xr.Dataset:
    time = ds["time"]
    return ds.assign_coords(time=(time.dims, dates.reshape(time.shape), time.attrs, time.encoding))


def named_dates(times: pd.Index) -> tuple[Dates, NDArray[np.bool_]]:
    """Return the dates of the same name in the standard calendar, and which there are."""
    if not isinstance(times, xr.CFTimeIndex):
        return times.as_unit("us").to_numpy(), np.ones(len(times), np.bool_)
    field = {
        name: np.asarray(getattr(times, name), np.int64)
        for name in ("year", "month", "day", "hour", "minute", "second", "microsecond")
    }
    months = (12 * (field["year"] - 1970) + field["month"] - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (field["day"] - 1)
    there: NDArray[np.bool_] = days.astype("datetime64[M]") == months
    clock = (field["hour"] * 60 + field["minute"]) * 60 + field["second"]
    within = (clock * 1_000_000 + field["microsecond"]).astype("timedelta64[us]")
    return days.astype("datetime64[us]") + within, there


def _calendar(ds: xr.Dataset) -> str | None:
    """Name the calendar of `cftime` times; `datetime64` for those, None for no times."""
    if "time" not in ds.variables or not ds["time"].size:
        return None
    times = times_of(ds)
    return str(times.calendar) if isinstance(times, xr.CFTimeIndex) else _DATES
