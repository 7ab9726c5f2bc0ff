"""Conversion: data of any unit and period to the units of the table of variables."""

from __future__ import annotations

import logging
import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from orbitlite.data.blocks import Positions, mapped
from orbitlite.data.bounds import INTERVAL, STEP, UNEVEN, at_a_point
from orbitlite.data.packing import Packing, check_numbers
from orbitlite.data.screening import Screen, Tally
from orbitlite.errors import InputError
from orbitlite.notice import notice, warn
from orbitlite.variables import Variable, cf_attributes, hours_in_name, lookup, resolve, units

logger = logging.getLogger(__name__)

# Amounts below zero by no more than this are the noise of packing and stay what they are: in mm,
# and as a share of the upper limit.
_LEAST_RAIN = 1e-3
_NOISE = 1e-5
# What no quantity reaches in any unit.
_BOUNDLESS = 1e15


def period_hours(period: str) -> float:
    """Read an accumulation period such as `24h` as hours.

    Raises
    ------
    InputError
        If it is not a positive length of time.
    """
    try:
        hours = float(pd.Timedelta(period).total_seconds()) / 3600
    except ValueError:
        hours = float("nan")
    # a number without a unit would be one of nanoseconds
    if not hours > 0 or not re.search(r"[A-Za-z:]", str(period)):
        raise InputError(
            f"accumulation_period should be a length of time such as '24h', not {period!r}."
        )
    return hours


def stated_hours(data: xr.DataArray) -> float | None:
    """Return the period that the name or the attributes of an amount state, in hours.

    Raises
    ------
    InputError
        If the attribute `accumulation_hours` is no length of time.
    """
    if "accumulation_hours" in data.attrs:
        return _hours(data.attrs["accumulation_hours"], data.name)
    named = hours_in_name(resolve(str(data.name)) or "")
    if named:
        return float(named)
    methods = str(data.attrs.get("cell_methods", ""))
    if re.search(r"time: sum within days", methods):
        return 24.0
    comment = re.search(r"time: sum \(comment: over (\d+) hours?\)", methods)
    return float(comment[1]) if comment else None


def _hours(stated: Any, name: Any) -> float:
    try:
        hours = float(stated)
    except (TypeError, ValueError, OverflowError):
        hours = math.nan
    if not 0 < hours < math.inf:
        raise InputError(f"{name!r} has accumulation_hours {stated!r}: expected a number of hours.")
    return hours


def _check_period(data: xr.DataArray, variable: Variable, period: str | None, rates: bool) -> float:
    hours = stated_hours(data)
    given = None if period is None else period_hours(period)
    if hours is not None and given not in (None, hours):
        text = f"{data.name!r} states amounts over {hours:g} h"
        warn(logger, f"{text}: accumulation_period is not used for it.")
    hours = hours or given
    wanted = float(variable.hours or 0)
    if hours is None:
        raise InputError(
            f"{data.name!r} holds amounts in {data.attrs['units']!r} and does not say over which "
            "time they accumulated: state it, for instance with accumulation_period='1h'."
        )
    if hours != wanted and not rates:
        raise InputError(
            f"{data.name!r} holds amounts over {hours:g} h, but {variable.name} is an amount over "
            f"{_ways_out(wanted)}"
        )
    return hours


def _check_step(data: xr.DataArray, variable: Variable) -> None:
    """Refuse rates whose steps are shorter than the period of the channel."""
    hours, wanted = data.attrs.get(STEP), float(variable.hours or 0)
    if hours is None:  # of an array by itself nothing is known
        return
    if hours < 0.999 * wanted:
        raise InputError(
            f"{data.name!r} holds rates at steps of {hours:g} h, but {variable.name} is an amount "
            f"over {_ways_out(wanted)}"
        )
    if at_a_point(data):
        warn(
            logger,
            f"{data.name!r} holds rates of an instant: taken as the mean over {wanted:g} h.",
        )
    elif np.isnan(hours):
        warn(
            logger,
            f"{data.name!r} holds rates at a single time and no time bounds: taken as the mean "
            f"over {wanted:g} h.",
        )
    elif hours > 1.001 * wanted:
        notice(
            logger,
            f"{data.name!r} holds mean rates over {hours:g} h: {variable.name} is their mean "
            f"amount per {wanted:g} h.",
        )


def _ways_out(wanted: float) -> str:
    return (
        f"{wanted:g} h: resample it to that window (resample='{wanted:g}h', on the command line "
        f"--resample {wanted:g}h), or name the channel of its own period."
    )


def convert(
    data: xr.DataArray,
    channel: str,
    period: str | None = None,
    *,
    rates: bool = False,
    predicted: bool = False,
) -> xr.DataArray:
    """Convert to the unit of the table, lazily, as float32 with CF attributes.

    What the file declares to be missing, and what no value of the quantity can be, is NaN (see
    `orbitlite.data.packing` and `orbitlite.data.screening`): at once where the values are in
    memory, else when they are read.

    Parameters
    ----------
    data : xr.DataArray
        Values with a `units` attribute. Fields without unit by nature (masks, classes, latitude)
        may lack it.
    channel : str
        Canonical channel.
    period : str, optional
        Accumulation period of amounts (`m`, `mm`, `kg m-2`, `J m-2`) that state none themselves.
        Rates (`kg m-2 s-1`, `mm day-1`) need none.
    rates : bool
        Let amounts of another period through as the amount that their mean rate makes over the
        period of `channel` (hourly 1 mm as 24 mm per 24 h): averaging such values over a window
        of that length gives the amount that fell in it. `source_hours` in the attributes then
        keeps the period of the source's amounts; what the source gives as rates has none.
        False: rates at shorter steps than the period are refused as such amounts are, and those
        at longer steps, such as monthly means, give their mean amount per period, with a notice.
    predicted : bool
        The values are a prediction, to be scored: those beyond the limits of the quantity are told
        and left, and fill values alone are taken out.

    Returns
    -------
    xr.DataArray

    Raises
    ------
    InputError
        If the unit is missing, unknown or does not convert, the period is unknown or another, or
        the values are no real numbers; and, where they are in memory or else when they are read,
        if several of them lie beyond the limits of the quantity.

    Examples
    --------
    >>> rain = xr.DataArray([0.002], dims="x", name="tp", attrs={"units": "m"})
    >>> convert(rain, "total_precipitation_24hr", period="24h").values
    array([2.], dtype=float32)
    """
    variable = lookup(channel)
    check_numbers(data)
    text = data.attrs.get("units", data.attrs.get("GRIB_units"))
    plain = variable.units in ("1", "degrees_north")
    unitless = plain and (variable.static or variable.classes)
    if text is None and unitless:
        return _finish(data, channel, _Line(), predicted)
    if text is None:
        raise InputError(
            f"{data.name!r} ({channel}) has no units attribute; accepted are {_accepted(variable)}."
        )
    data = data.assign_attrs(units=text)
    change = _conversion(str(text), variable, str(data.name))
    scale, hours = change.scale, 1.0
    interval = None if variable.static else data.attrs.get(INTERVAL)
    known = interval is not None and (rates or interval != UNEVEN)
    extra = {INTERVAL: interval} if known else {}
    if variable.hours is not None and change.rate and not rates:
        _check_step(data, variable)
    elif variable.hours is not None and not change.rate:
        hours = _check_period(data, variable, period, rates)
        scale *= variable.hours / hours
        extra |= {"source_hours": hours} if rates else {}
    # Extremes of a short time are more than their share of a long one.
    room = math.sqrt(max(1.0, (variable.hours or 1) / hours))
    line = _Line(scale, change.offset, room)
    return _finish(data, channel, line, predicted).assign_attrs(extra)


def converts(data: xr.DataArray, channel: str) -> bool:
    """Return True if the unit of a variable, where it has one, converts to that of a channel."""
    text = data.attrs.get("units", data.attrs.get("GRIB_units"))
    try:
        return text is None or _factors(str(text), lookup(channel)) is not None
    except units.UnitError:
        return False


def _conversion(text: str, variable: Variable, name: str) -> units.Conversion:
    try:
        change = _factors(text, variable)
    except units.UnitError as error:
        raise InputError(
            f"{name!r} ({variable.name}) has the unit {text!r}; accepted are {_accepted(variable)}"
            f" ({error})."
        ) from error
    if change.read:
        notice(logger, f"The unit {text!r} is read as {change.read}.")
    if change.guess:
        warn(logger, f"{name!r} is in {text!r}: {change.guess}.")
    return change


def _factors(text: str, variable: Variable) -> units.Conversion:
    gravity = variable.name in ("geopotential", "orography")
    return units.conversion(
        text, variable.units, hours=variable.hours, water=variable.water, gravity=gravity
    )


def _accepted(variable: Variable) -> str:
    """Name the units that convert, the canonical one first."""
    others = {
        "K": ("K", "degC"),
        "Pa": ("Pa", "hPa"),
        "1": ("1", "%"),
        "%": ("%", "1"),
        "J m-2": ("J m-2 with a period", "W m-2"),
        "kg kg-1": ("kg kg-1", "g kg-1"),
    }
    accepted: tuple[str, ...] = others.get(variable.units, (variable.units,))
    if variable.units == "mm":
        accepted = ("mm", "m or kg m-2 with a period", "mm day-1", "kg m-2 s-1")
    elif variable.name == "geopotential":
        accepted = ("m2 s-2", "m (geopotential height)")
    elif variable.name == "orography":
        accepted = ("m", "m2 s-2 (surface geopotential)")
    return ", ".join(accepted) + " and what converts to them"


@dataclass(frozen=True)
class _Line:
    """From the unit of the file to that of the table; `room` widens the limits."""

    scale: float = 1.0
    offset: float = 0.0
    room: float = 1.0

    def back(self, value: float) -> float:
        """Bring a value of the table to the unit of the file."""
        return (value - self.offset) / self.scale


@dataclass(frozen=True, eq=False)
class _Values:
    """What is done to the numbers of a file: unpack, screen, convert."""

    packing: Packing
    screen: Screen
    line: _Line

    def __call__(self, values: NDArray[Any], positions: Positions) -> NDArray[np.float32]:
        numbers = self.packing.unpack(values, self.screen.tally, positions)
        numbers = self.screen.apply(numbers, positions)
        # No arithmetic where none is needed: such values stay what they are, to the bit.
        if self.line.scale != 1.0:
            numbers = numbers * self.line.scale
        if self.line.offset != 0.0:
            numbers = numbers + self.line.offset
        return numbers.astype(np.float32, copy=False)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        screen = self.screen
        return (self.packing, self.line, screen.tally.name, screen.low, screen.high, screen.lenient)


def _finish(data: xr.DataArray, channel: str, line: _Line, predicted: bool) -> xr.DataArray:
    variable = lookup(channel)
    tally = Tally(
        channel if data.name == channel else f"{channel} ({data.name!r})",
        {dim: data.indexes.get(dim) for dim in data.dims},
    )
    unit = str(data.attrs.get("units", data.attrs.get("GRIB_units", variable.units)))
    screen = _screen(variable, tally, unit, line, predicted)
    packing = Packing.of(data, (screen.low, screen.high))
    values = mapped(data.variable, _Values(packing, screen, line))
    kept = {key: value for key, value in data.attrs.items() if key in ("comment", "source")}
    return xr.DataArray(
        values, data.coords, data.dims, name=channel, attrs={**kept, **cf_attributes(channel)}
    )


def _screen(variable: Variable, tally: Tally, unit: str, line: _Line, predicted: bool) -> Screen:
    """Bring what the quantity can be to the unit of the file."""
    low, high = (line.room * limit for limit in variable.limits)
    noise = low
    if variable.nonnegative and math.isfinite(high):
        noise = -_LEAST_RAIN if variable.units == "mm" else -_NOISE * high
    low, noise, high = (
        min(max(line.back(value), -_BOUNDLESS), _BOUNDLESS) for value in (low, noise, high)
    )
    share = variable.units == "1" and variable.limits[1] < 2
    return Screen(tally, unit, low, high, max(low, noise), line.back(0.0), share, predicted)
