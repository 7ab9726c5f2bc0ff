"""Conversion: data of any unit and period to the units of the table of variables."""

from __future__ import annotations

import logging
import re

import numpy as np
import pandas as pd
import xarray as xr

from orbitlite.errors import InputError
from orbitlite.notice import notice, warn
from orbitlite.variables import Variable, cf_attributes, hours_in_name, lookup, resolve, units

logger = logging.getLogger(__name__)


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
    if not hours > 0:
        raise InputError(f"period should be a length of time such as '24h', not {period!r}.")
    return hours


def stated_hours(data: xr.DataArray) -> float | None:
    """Return the period that the name or the attributes of an amount state, in hours."""
    if "accumulation_hours" in data.attrs:
        return float(data.attrs["accumulation_hours"])
    named = hours_in_name(resolve(str(data.name)) or "")
    if named:
        return float(named)
    methods = str(data.attrs.get("cell_methods", ""))
    if re.search(r"time: sum within days", methods):
        return 24.0
    comment = re.search(r"time: sum \(comment: over (\d+) hours?\)", methods)
    return float(comment[1]) if comment else None


def _check_period(data: xr.DataArray, variable: Variable, period: str | None, rates: bool) -> float:
    hours = stated_hours(data)
    given = None if period is None else period_hours(period)
    if hours is not None and given not in (None, hours):
        warn(logger, f"{data.name!r} states amounts over {hours:g} h: period is not used for it.")
    hours = hours or given
    wanted = float(variable.hours or 0)
    if hours is None:
        raise InputError(
            f"{data.name!r} holds amounts in {data.attrs['units']!r} and does not say over which "
            f"time they accumulated: state it with period, for instance period='1h'."
        )
    if hours != wanted and not rates:
        raise InputError(
            f"{data.name!r} holds amounts over {hours:g} h, but {variable.name} is an amount over "
            f"{wanted:g} h: accumulate it to that window, or name the channel of its own period."
        )
    return hours


def convert(
    data: xr.DataArray, channel: str, period: str | None = None, *, rates: bool = False
) -> xr.DataArray:
    """Convert to the unit of the table, lazily, as float32 with CF attributes.

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

    Returns
    -------
    xr.DataArray

    Raises
    ------
    InputError
        If the unit is missing, unknown or does not convert, or the period is unknown or another.

    Examples
    --------
    >>> rain = xr.DataArray([0.002], dims="x", name="tp", attrs={"units": "m"})
    >>> convert(rain, "total_precipitation_24hr", period="24h").values
    array([2.], dtype=float32)
    """
    variable = lookup(channel)
    text = data.attrs.get("units", data.attrs.get("GRIB_units"))
    plain = variable.units in ("1", "degrees_north")
    unitless = plain and (variable.static or variable.classes)
    if text is None and unitless:
        return _finish(data, channel, 1.0, 0.0)
    if text is None:
        raise InputError(
            f"{data.name!r} ({channel}) has no units attribute; accepted are {_accepted(variable)}."
        )
    data = data.assign_attrs(units=text)
    change = _conversion(str(text), variable, str(data.name))
    scale, extra = change.scale, {}
    if variable.hours is not None and not change.rate:
        hours = _check_period(data, variable, period, rates)
        scale *= variable.hours / hours
        extra = {"source_hours": hours} if rates else {}
    return _finish(data, channel, scale, change.offset).assign_attrs(extra)


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


def _finish(data: xr.DataArray, channel: str, scale: float, offset: float) -> xr.DataArray:
    # No arithmetic where none is needed: a lazily opened array stays unread.
    result = data
    if scale != 1.0:
        result = result * scale
    if offset != 0.0:
        result = result + offset
    if result.dtype != np.float32:
        result = result.astype(np.float32)
    result = result.rename(channel)
    kept = {key: value for key, value in data.attrs.items() if key in ("comment", "source")}
    result.attrs = {**kept, **cf_attributes(channel)}
    result.encoding = {}
    return result
