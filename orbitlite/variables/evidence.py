"""Evidence: what the attributes and the place of a variable say against the channel of its name.

A name is the word of whoever wrote the file; its standard name, its texts, its height or pressure
and its statistic say what the numbers are. Where they contradict, the name is not believed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from numbers import Real
from typing import Any

from orbitlite.variables.table import VARIABLES, Variable

# Standard names that say nothing.
_SILENT = frozenset({"", "unknown", "undefined", "none", "nan", "missing", "~", "-"})

# Other standard names under which producers give the same quantity.
_ALSO: Mapping[str, tuple[str, ...]] = {
    "soil_temperature_level_1": ("surface_temperature",),
    "orography": ("geopotential_height", "geopotential", "height"),
    "geopotential": ("height",),
    "total_column_water_vapour": ("lwe_thickness_of_atmosphere_mass_content_of_water_vapor",),
    "total_precipitation": (
        *("rainfall_flux", "rainfall_amount", "rainfall_rate", "lwe_thickness_of_rainfall_amount"),
        *("thickness_of_rainfall_amount", "lwe_rainfall_rate"),
    ),
    "land_sea_mask": ("land_area_fraction",),
}
# Standard names made of the words of a row that are another quantity.
_OTHERS = frozenset(
    {"surface_snow_thickness", "sea_binary_mask", "sea_area_fraction", "surface_snow_area_fraction"}
)
# Words that may stand beside those of the quantity in standard names that are not of CF.
_GENERAL = frozenset(
    {"m", "meter", "metre", "meters", "metres", "at", "of", "in", "the", "near", "surface", "air"}
    | {"mean", "average", "daily", "monthly", "hourly", "total", "value", "amount", "flux", "rate"}
    | {"accumulated", "instantaneous", "component"}
)
# Words of a statistic, or of something about a quantity, that is not the quantity.
_STATISTICS = frozenset(
    {"maximum", "max", "minimum", "min", "anomaly", "anomalies", "error", "errors", "uncertainty"}
    | {"spread", "deviation", "std", "stdev", "variance", "difference", "bias", "percentile"}
    | {"quantile", "departure", "trend", "tendency"}
)
# Where they are none: minutes, and what was done to the data.
_NO_STATISTIC = re.compile(
    r"\d+[\s_-]*min\b|(?:bias|error)[\s_-]*(?:correct|adjust)\w*|quantile[\s_-]*(?:map|match)\w*"
)
_METHODS = re.compile(
    r"\w+:\s*(maximum|minimum|standard_deviation|variance|range|root_mean_square|median)"
)
_LENGTH = re.compile(
    r"(?<![\w.-])(\d+(?:\.\d+)?)[\s_-]?(?:m|metres?|meters?)(?![\w/*^.]|\s*(?:s-1|s\*|/|per\b))",
    re.IGNORECASE,
)
_PRESSURE = re.compile(
    r"(?<![\w.-])(\d{1,4})[\s_-]?(?:hpa|mb|mbar|millibars?)(?!\w)", re.IGNORECASE
)
# Types of level, in GRIB, of fields that lie on many levels of the air or of the ground.
_COLUMNS = ("isobaric", "hybrid", "sigma", "eta", "theta", "potentialVorticity", "depthBelowSea")


def contradiction(variable: Variable, level: int | None, attrs: Mapping[str, Any]) -> str | None:
    """Say what speaks against a variable's being this channel.

    Parameters
    ----------
    variable : Variable
        Row of the channel.
    level : int or None
        Its pressure, hPa, where the name states one.
    attrs : mapping
        Attributes of the variable, with its place: `height` (m above ground), `pressure` (hPa)
        and `levels` (the name of a vertical dimension), as far as they are known.

    Returns
    -------
    str or None
        A clause such as `its standard_name is 'wind_speed'`; None if nothing does.
    """
    return (
        _standard_name(variable, attrs)
        or _statistic(variable, attrs)
        or _place(variable, level, attrs)
    )


def stated_height(attrs: Mapping[str, Any]) -> float | None:
    """Return the height above ground (m) that the place or the texts of a variable state."""
    if isinstance(attrs.get("height"), Real):
        return float(attrs["height"])
    if attrs.get("GRIB_typeOfLevel") == "heightAboveGround" and "GRIB_level" in attrs:
        return float(attrs["GRIB_level"])
    said = {float(number) for number in _LENGTH.findall(_texts(attrs))}
    return said.pop() if len(said) == 1 else None


def stated_pressure(attrs: Mapping[str, Any]) -> float | None:
    """Return the pressure (hPa) that the place or the texts of a variable state."""
    if isinstance(attrs.get("pressure"), Real):
        return float(attrs["pressure"])
    said = {float(number) for number in _PRESSURE.findall(_texts(attrs))}
    return said.pop() if len(said) == 1 else None


def height_of(variable: Variable) -> int | None:
    """Return the height above ground, m, that the name of a row states."""
    match = re.match(r"(\d+)m_", variable.name)
    return int(match[1]) if match else None


def at_height(variable: Variable, height: float) -> bool:
    """Return True if a row is one of this height above ground, m (screens are at 1.25 to 2 m)."""
    wanted = height_of(variable)
    if wanted == 2:
        return 1.2 <= height <= 2.5
    return wanted is not None and abs(height - wanted) <= 0.1 * wanted


def statistic_words(text: str) -> set[str]:
    """Return the words of a name or text that make it a statistic or an error of a quantity."""
    return set(re.findall(r"[a-z]+", _NO_STATISTIC.sub(" ", text.lower()))) & _STATISTICS


def _texts(attrs: Mapping[str, Any]) -> str:
    return " | ".join(
        str(attrs[key]) for key in ("long_name", "description", "GRIB_name") if key in attrs
    )


def _standard_name(variable: Variable, attrs: Mapping[str, Any]) -> str | None:
    said = str(attrs.get("standard_name", "")).strip().lower()
    if said in _SILENT or said in _accepted(variable.name):
        return None
    words = set(re.findall(r"[a-z]+", said))
    if said in _OTHERS or said in _of_other_rows() or not words <= _vocabulary(variable.name):
        return f"its standard_name is {said!r}"
    return None


def renew() -> None:
    """Forget what was read of the table: it has grown."""
    for known in (_accepted, _of_other_rows, _vocabulary):
        known.cache_clear()


@cache
def _accepted(name: str) -> frozenset[str]:
    """Return the standard names, true or of a producer's making, that agree with a row."""
    kind = VARIABLES[name].standard_name
    rows = [
        row
        for row in VARIABLES.values()  # amounts over other periods are the same quantity
        if row.name == name or (kind and row.hours and row.standard_name == kind)
    ]
    own = {text for row in rows for text in (row.name, row.standard_name or "", *row.aliases)}
    own.update(text for row in rows for text in _ALSO.get(row.name, ()))
    near = re.sub(r"^\d+m_", "", name)
    if near in VARIABLES:  # at a height: the quantity itself
        own |= {near, *VARIABLES[near].aliases}
    return frozenset(own)


@cache
def _of_other_rows() -> frozenset[str]:
    return frozenset(row.standard_name for row in VARIABLES.values() if row.standard_name)


@cache
def _vocabulary(name: str) -> frozenset[str]:
    texts = (*_accepted(name), VARIABLES[name].long_name.lower())
    return _GENERAL | {word for text in texts for word in re.findall(r"[a-z]+", text)}


def _statistic(variable: Variable, attrs: Mapping[str, Any]) -> str | None:
    allowed = set(_vocabulary(variable.name))
    extremes = {"_max": ("max", "maximum"), "_min": ("min", "minimum"), "gust": ("max", "maximum")}
    for suffix, words in extremes.items():
        if variable.name.endswith(suffix):
            allowed.update(words)
    methods = str(attrs.get("cell_methods", ""))
    for method in _METHODS.findall(methods):
        if not set(method.split("_")) <= allowed:
            return f"its cell_methods are {methods!r}"
    if statistic_words(_texts(attrs)) - allowed:
        return f"it is described as {_texts(attrs)!r}"
    return None


def _place(variable: Variable, level: int | None, attrs: Mapping[str, Any]) -> str | None:
    kind = str(attrs.get("GRIB_typeOfLevel", ""))
    pressure, height = stated_pressure(attrs), stated_height(attrs)
    if variable.on_levels:
        if level is not None and pressure is not None and abs(pressure - level) > 0.5:
            return f"it is at {pressure:g} hPa"
        if level is not None and pressure is None and height is not None:
            return f"it is at {height:g} m"
        return None
    if attrs.get("levels"):
        return f"it has levels ({attrs['levels']})"
    if kind.startswith(_COLUMNS):
        return f"its type of level is {kind!r}"
    if height_of(variable) is None:
        return None
    if pressure is not None:
        return f"it is at {pressure:g} hPa"
    if height is not None and not at_height(variable, height):
        return f"it is at {height:g} m"
    return None
