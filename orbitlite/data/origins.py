"""Origins: since when the amounts of a file are accumulated, told from what it says and holds."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orbitlite.data.conversion import period_hours, stated_hours
from orbitlite.data.growth import Growth
from orbitlite.data.leads import TimeAxes, is_dated
from orbitlite.data.totals import Hours, Totals, least, never_falls, variable_of
from orbitlite.errors import InputError
from orbitlite.notice import warn
from orbitlite.variables import units

logger = logging.getLogger(__name__)

_LAND = re.compile(r"era-?5[-_ ]?land", re.I)
_SINCE_DAY = re.compile(
    r"(since|from) (0?0 ?(utc|z|h)|00:00|midnight|(the )?(start|beginning) of (the )?(utc )?day)",
    re.I,
)
_SINCE_START = re.compile(
    r"(since|from) (the )?(model |forecast |simulation |run )?(start|begin|init|reference time)"
    r"|run[- ]total|accumulated total",
    re.I,
)
_RUN_NAMES = ("rainnc", "rainc", "rainsh", "snownc", "graupelnc", "hailnc")
_TEXTS = ("long_name", "description", "comment", "standard_name", "GRIB_name")


def find_totals(
    ds: xr.Dataset, names: Sequence[str], period: str | None = None
) -> dict[str, Totals | float]:
    """Find which variables are accumulated since the start of a run, a day or a series.

    Totals are told by `GRIB_stepType` with several lead times, by bounds of time that begin
    together, by attributes that say so or name ERA5-Land, and by the first steps of the data,
    where these are cheap to read: totals never fall. What states `accumulation_hours` is an amount.

    Parameters
    ----------
    ds : xr.Dataset
        As opened. Arrays of dask are not read.
    names : sequence of str
        Variables that count.
    period : str, optional
        What the user states for amounts that do not.

    Returns
    -------
    dict of str to Totals or float
        Since when a variable is a total, or over how many hours it is an amount; only where that
        was found.

    Raises
    ------
    InputError
        If a variable is accumulated, and since when cannot be told.
    """
    found: dict[str, Totals | float | None] = {}
    for name in (name for name in names if _is_amount(ds[name])):
        data, axes = ds[name], TimeAxes.of(ds)
        lead = axes.lengths(ds)
        if lead is None or not set(lead.dims) <= set(data.dims):
            found[name] = _of_series(ds, data, axes)
        elif np.unique(lead).size > 1:
            found[name] = _of_runs(ds, data, lead, axes, period)
        else:
            hours = float(_hours(lead).ravel()[0])
            found[name] = _of_one_lead(data, hours, period) or _of_series(ds, data, axes)
    return {name: kind for name, kind in found.items() if kind is not None}


def _is_amount(data: xr.DataArray) -> bool:
    """Tell whether a variable holds amounts, and not of themselves over what time."""
    variable = variable_of(data)
    if variable is None or variable.hours is None or "accumulation_hours" in data.attrs:
        return False
    text = data.attrs.get("units", data.attrs.get("GRIB_units"))
    try:
        change = units.conversion(
            str(text), variable.units, hours=variable.hours, water=variable.units == "mm"
        )
    except units.UnitError:
        return False
    return not change.rate and data.dtype.kind in "fiu"


def _hours(lengths: xr.DataArray) -> Hours:
    hours: Hours = np.atleast_1d(lengths.values) / np.timedelta64(3600 * 10**9, "ns")
    return hours


def _accumulated(data: xr.DataArray) -> bool:
    return data.attrs.get("GRIB_stepType") == "accum"


def _says(data: xr.DataArray, what: re.Pattern[str]) -> bool:
    return bool(what.search(" ".join(str(data.attrs.get(key, "")) for key in _TEXTS)))


def _growth(data: xr.DataArray, dim: str, single: Sequence[str] = ()) -> Growth | None:
    variable = variable_of(data)
    if variable is None or not never_falls(variable):
        return None
    return Growth.of(data, dim, single, least(data))


def _or_state(data: xr.DataArray, hours: float) -> str:
    return (
        "If it holds amounts per step, say over how many hours: "
        f"ds[{str(data.name)!r}].attrs['accumulation_hours'] = {hours:g}."
    )


def _of_runs(
    ds: xr.Dataset, data: xr.DataArray, lead: xr.DataArray, axes: TimeAxes, period: str | None
) -> Totals | float | None:
    """Judge a variable along its lead times."""
    dim, ends = str(lead.dims[0]), _hours(lead)
    if "startStep" in data.coords and data["startStep"].ndim < 2:
        starts = np.broadcast_to(data["startStep"].values, ends.shape).astype(np.float64)
        lengths = np.unique(ends - starts)
        if not starts.any():
            return Totals.of_run(data, dim, ends)
        if lengths.size == 1:
            return float(lengths[0])
    said = _accumulated(data) or _says(data, _SINCE_START)
    if axes.start is not None and ds[axes.start].dims == lead.dims:  # runs one after another
        starts = _since(ds[axes.start].values, ds[axes.start].values[0])
        remark = Totals.of_run(data, dim, ends).remark
        return Totals(dim, starts, starts + ends, remark, forecast=False) if said else None
    if not said and stated_hours(data) is not None:
        return None
    runs = [str(d) for n in (axes.start, axes.time) if n for d in ds[n].dims if d != dim]
    order = np.argsort(ends, kind="stable")
    growth = _growth(data.isel({dim: order}), dim, runs)
    if growth is None or not growth.falls.any():
        grows = growth is not None and growth.stands and growth.wet.sum() > 2
        return Totals.of_run(data, dim, ends) if said or grows else None
    if said and period is None:
        raise InputError(
            f"{data.name!r} is accumulated (GRIB_stepType accum) and falls along {dim!r}: it does "
            "not count from the start of the run, and since when it counts is not in the object. "
            f"Open the GRIB file by its path. {_or_state(data, float(np.diff(ends[order])[0]))}"
        )
    if said:
        warn(
            logger,
            f"{data.name!r} falls along {dim!r}: it is not accumulated from the start of the run, "
            f"and taken as amounts per step over {period}, as accumulation_period says.",
        )
    return None


def _of_one_lead(data: xr.DataArray, end: float, period: str | None) -> float | None:
    """Judge an accumulation to one lead time."""
    if not _accumulated(data) or end == 0:
        return None
    if "startStep" in data.coords and data["startStep"].size == 1:
        return end - float(data["startStep"])
    if period is not None and period_hours(period) == end:
        return None
    raise InputError(
        f"{data.name!r} is accumulated (GRIB_stepType accum) up to a lead time of {end:g} h, and "
        "since when is not in the object: open the GRIB file by its path, or give all lead times. "
        + _or_state(data, end)
    )


def _of_series(ds: xr.Dataset, data: xr.DataArray, axes: TimeAxes) -> Totals | float | None:
    """Judge a variable along its valid times."""
    name = axes.valid or axes.time or axes.start
    if name is None or ds[name].ndim > 1 or not set(ds[name].dims) <= set(data.dims):
        return None
    time = ds[name] if ds[name].ndim else ds[name].expand_dims("time")
    bounded = _by_bounds(ds, data, time) if time.size > 1 else None
    if bounded is not None or stated_hours(data) is not None:
        return bounded
    order = np.argsort(time.values, kind="stable")
    dim = str(time.dims[0])
    ends, clock = _since(time.values, time.values.min()), _clock(time)
    # the value at 00 UTC is the total of the day before
    starts = ends - np.where(clock == 0, 24.0, clock)
    same = np.diff(starts[order]) == 0
    attrs = " ".join(map(str, [*ds.attrs.values(), *data.attrs.values()]))
    land = bool(_LAND.search(attrs)) or _says(data, _SINCE_DAY)
    if not same.any() and land and _accumulated(data):
        return _at_one_hour(data, ends - starts)
    if time.size < 2:
        return None
    remark = (
        f"{data.name!r} is taken as accumulated from 00 UTC of each day, as that of ERA5-Land, and "
        "differenced to amounts per step; small negative differences, noise of the packing, become "
        "zero."
    )
    daily = Totals(dim, starts, ends, remark, forecast=False)
    growth = _growth(data.isel({dim: order}), dim)
    if growth is None:
        return daily if land and same.any() else None
    first = same[: growth.falls.size]
    falls = bool(growth.falls[first].any())
    if first.any() and not falls:
        if land or (growth.grows(first) and growth.falls[~first].any()):
            return daily
    elif land and first.any():
        warn(
            logger,
            f"{data.name!r} names ERA5-Land, whose totals count from 00 UTC, but it falls within "
            "the day: taken as amounts per step.",
        )
    _check_series(data, growth, clock[order], float(np.median(np.diff(ends[order]))), dim)
    return None


def _at_one_hour(data: xr.DataArray, hours: Hours) -> float:
    """Judge totals of days of which one step each is there."""
    if np.unique(hours).size > 1:
        raise InputError(
            f"{data.name!r} is accumulated from 00 UTC of each day, as that of ERA5-Land, and its "
            "steps end at other hours each, without the steps between: give these, too. "
            + _or_state(data, float(hours[0]))
        )
    warn(
        logger,
        f"{data.name!r} is taken as accumulated from 00 UTC of each day, as that of ERA5-Land: "
        f"over {hours[0]:g} h.",
    )
    return float(hours[0])


def _by_bounds(ds: xr.Dataset, data: xr.DataArray, time: xr.DataArray) -> Totals | None:
    """Judge a variable by the bounds of its times: those of totals begin together."""
    bounds = ds.get(str(time.attrs.get("bounds")))
    if bounds is None or bounds.ndim != 2 or not is_dated(bounds) or bounds.dims[0] != time.dims[0]:
        return None
    edges = bounds.values
    starts, ends = (_since(edges[:, side], edges[0, 0]) for side in (0, 1))
    repeated = np.unique(starts).size < starts.size and np.unique(ends).size == ends.size
    if not repeated or "mean" in str(data.attrs.get("cell_methods")):
        return None
    remark = (
        f"{data.name!r} has bounds of time that begin together: taken as accumulated since then "
        "and differenced to amounts per step."
    )
    return Totals(str(time.dims[0]), starts, ends, remark, forecast=False)


def _since(times: NDArray[np.object_], first: object) -> Hours:
    lengths = times - first
    if lengths.dtype == object:
        return np.array([length.total_seconds() / 3600 for length in lengths])
    hours: Hours = lengths / np.timedelta64(3600, "s")
    return hours


def _clock(time: xr.DataArray) -> Hours:
    clock: Hours = (time.dt.hour + time.dt.minute / 60 + time.dt.second / 3600).values
    return clock


def _check_series(data: xr.DataArray, growth: Growth, clock: Hours, step: float, dim: str) -> None:
    """Raise InputError if a series grows without falling, or falls at one hour of the day only."""
    said = _says(data, _SINCE_START) or str(data.name).lower() in _RUN_NAMES
    hour = clock[1 : growth.falls.size + 1]
    resets = np.unique(hour[growth.falls])
    seldom = resets.size == 1 and growth.grows(hour != resets[0])
    if seldom or growth.grows(np.ones_like(growth.falls)) or (said and not growth.falls.any()):
        when = f"only at {resets[0]:g} UTC" if resets.size else "never"
        raise InputError(
            f"{data.name!r} looks accumulated since some start: of its first "
            f"{growth.falls.size + 1} steps it falls {when}. Difference it, for instance with "
            f"ds[{str(data.name)!r}].diff({dim!r}). {_or_state(data, step)}"
        )
