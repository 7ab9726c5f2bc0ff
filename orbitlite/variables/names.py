"""Names: from any dialect to the channels of the table."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from orbitlite.errors import InputError
from orbitlite.variables.table import VARIABLES, Variable

_LEVEL = re.compile(r"^(?P<name>.+?)[_@]?(?P<level>\d{1,4})(?:_?(?:hpa|mb))?$")
_HOURS = re.compile(r"_(\d+)hr$")


TABLE_HINT = (
    "`orbitlite variables` lists the table; a variable of your own is declared in "
    "model.network.variables, in a file for --variables, or with orbitlite.declare_variables."
)


def split_level(channel: str) -> tuple[str, int | None]:
    """Split a channel into variable and pressure level (hPa).

    Examples
    --------
    >>> split_level("temperature_850")
    ('temperature', 850)
    >>> split_level("volumetric_soil_water_layer_1")
    ('volumetric_soil_water_layer_1', None)
    """
    name, _, level = channel.rpartition("_")
    if level.isdigit() and name in VARIABLES and VARIABLES[name].on_levels:
        return name, int(level)
    return channel, None


def lookup(channel: str) -> Variable:
    """Find the row of a canonical channel, with or without its level.

    Raises
    ------
    InputError
        If there is no such channel; the message names the nearest.

    Examples
    --------
    >>> lookup("temperature_850").units
    'K'
    """
    name, _ = split_level(channel)
    if name in VARIABLES:
        return VARIABLES[name]
    meant = resolve(channel)
    close = [meant] if meant else _near(channel)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    raise InputError(f"{channel!r} is not a channel of the variable table.{hint} {TABLE_HINT}")


def is_static(channel: str) -> bool:
    """Tell whether a channel has no time; one that is not in the table has.

    Examples
    --------
    >>> is_static("orography"), is_static("temperature_850")
    (True, False)
    """
    row = VARIABLES.get(split_level(channel)[0])
    return row is not None and row.static


def _near(channel: str) -> list[str]:
    stem, _, level = channel.rpartition("_")
    if not level.isdigit():
        return nearest(channel, VARIABLES)
    names = nearest(stem, (name for name, row in VARIABLES.items() if row.on_levels))
    return [f"{name}_{level}" for name in names] or nearest(channel, VARIABLES)


def family(channel: str) -> str:
    """Return the name without its accumulation period.

    Examples
    --------
    >>> family("total_precipitation_24hr")
    'total_precipitation'
    """
    return _HOURS.sub("", channel)


def hours_in_name(channel: str) -> int | None:
    """Return the accumulation period that a channel's name states, in hours.

    Examples
    --------
    >>> hours_in_name("total_precipitation_24hr")
    24
    """
    match = _HOURS.search(channel)
    return int(match[1]) if match else None


def nearest(name: str, candidates: Iterable[str], count: int = 3) -> list[str]:
    """Return up to `count` candidates that look most like `name`, best first.

    Examples
    --------
    >>> nearest("2m_temprature", ["2m_temperature", "orography"])
    ['2m_temperature']
    """
    return difflib.get_close_matches(name, list(candidates), n=count, cutoff=0.5)


@cache
def _aliases() -> Mapping[str, str]:
    return {
        alias: variable.name
        for variable in VARIABLES.values()
        for alias in (variable.name, *variable.aliases)
    }


@cache
def _standard_names() -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    ours = {row.standard_name for row in VARIABLES.values() if row.group != "declared"}
    for variable in VARIABLES.values():
        key = variable.standard_name
        # a declaration does not change what a standard name of the table stands for
        if key and not (variable.group == "declared" and key in ours):
            found[key] = (*found.get(key, ()), variable.name)
    return found


def renew() -> None:
    """Read the table of names anew: it has grown."""
    _aliases.cache_clear()
    _standard_names.cache_clear()


def resolve(name: str, attrs: Mapping[str, Any] | None = None) -> str | None:
    """Find the canonical variable or channel that a name of any dialect stands for.

    Exact name, then alias, then `standard_name`. A name that ends in a level gives a channel.

    Parameters
    ----------
    name : str
        Name in the file, in any case.
    attrs : mapping, optional
        Attributes of the variable. `standard_name` and `cell_methods` are read, and `height`
        (metres above ground): a temperature at a height of 2 m is `2m_temperature`.

    Returns
    -------
    str or None
        None if the name is unknown, or if the standard name fits several variables.

    Examples
    --------
    >>> resolve("ta850"), resolve("2t"), resolve("prcp")
    ('temperature_850', '2m_temperature', 'total_precipitation')
    >>> resolve("x", {"standard_name": "surface_altitude"})
    'orography'
    """
    attrs = attrs or {}
    found = _by_name(name.strip().lower())
    if found is None and name == "h" and attrs.get("GRIB_typeOfLevel") == "surface":
        return "orography"
    if found is None:
        found = _by_standard_name(attrs)
    height = attrs.get("height")
    if (
        found is not None
        and found in VARIABLES
        and VARIABLES[found].on_levels
        and height is not None
    ):
        near = f"{float(height):g}m_{found}"
        return _of_extremes(near, attrs) if near in VARIABLES else None
    return found


def _by_name(key: str) -> str | None:
    if key in _aliases():
        return _aliases()[key]
    match = _LEVEL.match(key)
    if match:
        variable = VARIABLES.get(_aliases().get(match["name"], ""))
        if variable is not None and variable.on_levels and int(match["level"]) > 0:
            return f"{variable.name}_{int(match['level'])}"
    return None


def _by_standard_name(attrs: Mapping[str, Any]) -> str | None:
    key = str(attrs.get("standard_name", ""))
    candidates = _standard_names().get(key, ())
    family_names = {family(candidate) for candidate in candidates}
    if len(family_names) == 1:
        return family_names.pop()
    on_levels = [candidate for candidate in candidates if VARIABLES[candidate].on_levels]
    if on_levels:
        return on_levels[0]
    # a standard name of another kind (a flux for an amount) that stands among the aliases
    return _aliases().get(key) if not candidates else None


def _of_extremes(name: str, attrs: Mapping[str, Any]) -> str:
    methods = str(attrs.get("cell_methods", ""))
    for word, suffix in (("maximum", "_max"), ("minimum", "_min")):
        if f"time: {word}" in methods and name + suffix in VARIABLES:
            return name + suffix
    return name
