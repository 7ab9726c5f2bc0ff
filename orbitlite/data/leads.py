"""Lead times: which coordinates of a dataset are valid times, starts of runs and lead times."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from orbitlite.errors import InputError


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_LEADS = _names(
    "step steps lead leads lead_time lead_times leadtime leadtimes lead_hour lead_hours lead_day "
    "lead_days lead_step leadtime_hours ltime prediction_timedelta prediction_time_delta "
    "forecast_period forecast_periods forecast_hour forecast_hours forecast_day forecast_days "
    "forecast_step forecast_lead forecast_lead_time forecast_leadtime forecast_horizon "
    "forecastmonth forecast_month forecast_time fhour fhours fhr fcst_hour fcst_lead fxx horizon "
    "tau timedelta time_delta time_since_start time_since_reference valid_time_offset"
)
_STARTS = _names(
    "init init_time inittime init_date initial_time initialtime initial_time0 "
    "initial_time0_hours initialization initialization_time initialisation_time reference_time "
    "reftime ref_time forecast_reference_time start_date start_time startdate starttime start "
    "base_time basetime analysis_time run run_time runtime cycle cycle_time issue_time "
    "forecast_start forecast_start_time hindcast_date"
)
_VALID = _names("valid_time validtime validity_time valid_date verification_time")
_TIMES = _names("day days date dates datetime times t time_counter xtime timestamp time_stamp")
_PARTS = _names(
    "hour hours hour_of_day time_of_day dayofyear day_of_year doy yday month months "
    "month_of_year year years week weekofyear season quarter decade minute minutes lag lag_time"
)
_NANOSECONDS = {"s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
_UNITS = {
    word: _NANOSECONDS[letter]
    for letter, words in {
        "s": "s sec secs second seconds",
        "m": "min mins minute minutes",
        "h": "h hr hrs hour hours",
        "d": "d day days",
    }.items()
    for word in words.split()
}


@dataclass(frozen=True)
class TimeAxes:
    """Names of the coordinates that tell time, of those that there are.

    Attributes
    ----------
    valid : str or None
        Times for which the data are valid, so named.
    time : str or None
        The general time coordinate: of valid times, or of starts where leads stand beside it.
    start : str or None
        Times at which forecasts start, so named.
    lead : str or None
        Time since the start of a forecast.
    """

    valid: str | None
    time: str | None
    start: str | None
    lead: str | None

    @classmethod
    def of(cls, ds: xr.Dataset) -> TimeAxes:
        """Find the coordinates by name, standard name, axis and type.

        Raises
        ------
        InputError
            If several claim to be the same, or one has no unit that it can be read in.
        """
        dated = {
            str(name): variable
            for name, variable in ds.variables.items()
            if variable.ndim < 3 and is_dated(variable) and not _is_bounds(ds, str(name))
        }
        starts = [name for name, variable in dated.items() if _is_start(name, variable)]
        valid = [name for name in dated if name.lower() in _VALID]
        others = {name: dated[name] for name in dated if name not in (*starts, *valid)}
        return cls(
            _only(ds, valid, "valid times"),
            _general(ds, others),
            _only(ds, starts, "the starts of forecasts"),
            _lead(ds),
        )

    def lengths(self, ds: xr.Dataset) -> xr.DataArray | None:
        """Return the lead times as `timedelta64[ns]`."""
        return None if self.lead is None else _lengths(ds[self.lead])


def is_dated(variable: xr.Variable | xr.DataArray) -> bool:
    """Tell whether all values are dates, of numpy or of another calendar."""
    if variable.dtype.kind == "M":
        return True
    if variable.dtype != object or not variable.size:
        return False
    # dates of cftime, which know their calendar; texts may be many, and one of them is enough
    first = variable[(0,) * variable.ndim].values.item()
    return hasattr(first, "calendar") and all(
        hasattr(value, "calendar") for value in np.ravel(variable.values)
    )


def tells_time(coordinate: xr.DataArray) -> bool:
    """Tell whether a dimension counts time, whatever else it may be: then it has no members."""
    name, units = str(coordinate.name).lower(), str(coordinate.attrs.get("units", "")).lower()
    named = name in _LEADS | _STARTS | _VALID | _TIMES | _PARTS
    since = units.split()[:1] and units.split()[0] in (*_UNITS, "months", "month", "years")
    return bool(named or since or coordinate.dtype.kind in "mM" or is_dated(coordinate))


def _is_bounds(ds: xr.Dataset, name: str) -> bool:
    if name.lower().endswith(("_bnds", "_bounds")):
        return True
    return any(
        name in (v.attrs.get("bounds"), v.attrs.get("climatology")) for v in ds.variables.values()
    )


def _is_start(name: str, variable: xr.Variable) -> bool:
    standard = variable.attrs.get("standard_name")
    return standard == "forecast_reference_time" or name.lower() in _STARTS


def _is_lead(name: str, variable: xr.Variable) -> bool:
    if variable.ndim > 1 or variable.dtype.kind not in "mifu":
        return False
    if variable.attrs.get("standard_name") == "forecast_period" or name.lower() in _LEADS:
        return True
    telling = re.search(r"lead|step|forecast|fcst|timedelta|horizon|offset", name.lower())
    return variable.dtype.kind == "m" and name in variable.dims and bool(telling)


def _only(ds: xr.Dataset, names: list[str], what: str) -> str | None:
    """Return the one of several coordinates; that of a dimension goes before those along it."""
    names = sorted(names, key=lambda n: (not ds[n].ndim, ds[n].dtype.kind != "m", n not in ds.dims))
    if not names:
        return None
    dims = {ds[name].dims for name in names if ds[name].ndim}
    if len(dims) > 1:
        raise InputError(
            f"The coordinates {' and '.join(map(repr, names))} are both {what}: drop all but one."
        )
    return names[0]


def _general(ds: xr.Dataset, dated: dict[str, xr.Variable]) -> str | None:
    """Find the general time coordinate among the dated ones: by the best of the ways to know it."""
    ways = (
        lambda name, variable: name == "time",
        lambda name, variable: name.lower() == "time",
        lambda name, variable: variable.attrs.get("standard_name") == "time",
        lambda name, variable: variable.attrs.get("axis") == "T",
        lambda name, variable: name.lower() in _TIMES,
        lambda name, variable: name in variable.dims,
    )
    for way in ways:
        found = [name for name, variable in dated.items() if way(name, variable)]
        if found:
            return _only(ds, found, "times")
    return None


def _lead(ds: xr.Dataset) -> str | None:
    found = [str(name) for name, variable in ds.variables.items() if _is_lead(str(name), variable)]
    along = [name for name in found if ds[name].ndim]
    single = [name for name in found if name not in along]
    moved = [name for name in single if _lengths(ds[name]).astype(np.int64) != 0]
    if len(moved) > 1 or (along and moved):
        raise InputError(
            f"The lead times {' and '.join(map(repr, [*along, *moved]))} contradict each other: "
            "drop all but one."
        )
    return _only(ds, along, "lead times") or next(iter([*moved, *single]), None)


def _lengths(lead: xr.DataArray) -> xr.DataArray:
    name = str(lead.name)
    values = np.asarray(lead.values)
    if values.dtype.kind == "m":
        lengths = values.astype("timedelta64[ns]")
    else:
        lengths = np.round(values.astype(np.float64) * _nanoseconds(name, lead.attrs))
        lengths = lengths.astype(np.int64).astype("timedelta64[ns]")
    if (lead.isnull() | np.isnat(lengths)).any():
        raise InputError(f"The lead times {name!r} have missing values.")
    return xr.DataArray(lengths, dims=lead.dims, name=name)


def _nanoseconds(name: str, attrs: dict[Any, Any]) -> int:
    """Return the length of one unit of a lead time that is a plain number."""
    units = attrs.get("units")
    words = str(units or "").lower().split()
    if units is None:
        found = re.search(r"hour|day|fhr|fxx", name.lower())
        words = [{"fhr": "hour", "fxx": "hour"}.get(found[0], found[0])] if found else []
    if not words or words[0] not in _UNITS:
        raise InputError(
            f"The lead times {name!r} have the units {units!r}: expected hours or another fixed "
            "length of time, as in ds.step.attrs['units'] = 'hours'."
        )
    return _UNITS[words[0]]
