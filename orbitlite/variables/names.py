"""Names: from any dialect to the channels of the table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from orbitlite.errors import InputError
from orbitlite.suggest import nearest
from orbitlite.variables import evidence
from orbitlite.variables.evidence import (
    at_height,
    contradiction,
    height_of,
    stated_height,
    statistic_words,
)
from orbitlite.variables.table import VARIABLES, Variable

_LEVEL = re.compile(r"^(?P<name>.+?)[_@]?(?P<level>\d{1,4})(?P<unit>_?(?:hpa|mb|mbar))?$")
_HOURS = re.compile(r"_(\d+)hr$")
_HIGHEST_PRESSURE = 1100  # hPa, at the ground


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
    evidence.renew()


@dataclass(frozen=True)
class Meaning:
    """What a variable of a file may be.

    Attributes
    ----------
    channel : str
        Canonical variable or channel.
    rank : int
        0 where the file uses the canonical name, 1 for the name of a dialect, 2 where only the
        attributes say it. The lowest counts.
    against : str
        What speaks against it; empty if nothing does.
    """

    channel: str
    rank: int
    against: str = ""


def meanings(name: str, attrs: Mapping[str, Any] | None = None) -> list[Meaning]:
    """Find what a variable may be: by its name, and by its attributes where these say otherwise.

    A level in a bare name is believed where it can be nothing but a pressure: with its unit
    (`z500hPa`, `t_50mb`), in a canonical channel (`temperature_50`), or from 100 to 1100 (`t850`,
    `u_850`), except for 100 of a wind. A smaller bare number may as well be a height (`q2`, `u80`,
    `z10`), so it is not believed; those of a dialect of the table (`u10`, `t2`, `v100`) are.
    Height (`height`, GRIB level, or `2 m` in a description) makes a variable without a level one
    near the surface (`r` at 2 m). What contradicts a name, see
    `orbitlite.variables.evidence.contradiction`.

    Parameters
    ----------
    name : str
        Name in the file, in any case.
    attrs : mapping, optional
        Attributes of the variable, and its place: `height` (m above ground), `pressure` (hPa),
        `levels` (name of a vertical dimension).

    Returns
    -------
    list of Meaning
        By rank, those that are contradicted included.

    Examples
    --------
    >>> [(meant.channel, meant.rank) for meant in meanings("t2m")]
    [('2m_temperature', 1)]
    >>> meanings("u10", {"standard_name": "wind_speed"})[0].against
    "its standard_name is 'wind_speed'"
    """
    attrs = attrs or {}
    key = name.strip().lower()
    named, doubt = _by_name(key)
    if named is None and key == "h" and attrs.get("GRIB_typeOfLevel") == "surface":
        named = "orography"
    found = []
    if named is not None:
        rank = 0 if split_level(key)[0] in VARIABLES else 1
        if doubt:
            base, level = split_level(named)
            near = f"{level}m_{base}"
            found += [
                Meaning(each, rank, doubt)
                for each in (named, near)
                if split_level(each)[0] in VARIABLES
            ]
        else:
            found.append(_judged(named, rank, attrs))
    if named is None or found[0].against:
        stated = _by_standard_name(attrs)
        if stated is not None:
            words = statistic_words(key)
            against = f"its name speaks of {', '.join(sorted(words))}" if words else ""
            meaning = _judged(stated, 2, attrs, by_attributes=True)
            found.append(Meaning(meaning.channel, 2, meaning.against or against))
    return found


def resolve(name: str, attrs: Mapping[str, Any] | None = None) -> str | None:
    """Find the canonical variable or channel that a name of any dialect stands for.

    Exact name, then alias, then `standard_name`; a name that its attributes contradict is none.
    A name that ends in a level gives a channel. See `meanings` for the rules.

    Parameters
    ----------
    name : str
        Name in the file, in any case.
    attrs : mapping, optional
        Attributes of the variable and its place.

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
    return next((meant.channel for meant in meanings(name, attrs) if not meant.against), None)


def _judged(
    channel: str, rank: int, attrs: Mapping[str, Any], *, by_attributes: bool = False
) -> Meaning:
    """Take the near-surface row where the height says so, then look for contradictions."""
    base, level = split_level(channel)
    placed = "pressure" in attrs or "levels" in attrs
    height = stated_height(attrs)
    if VARIABLES[base].on_levels and level is None and not placed and height is not None:
        near = [
            row.name
            for row in VARIABLES.values()
            if at_height(row, height) and row.name == f"{height_of(row)}m_{base}"
        ]
        if not near:
            return Meaning(channel, rank, f"it is at {height:g} m")
        channel = base = _of_extremes(near[0], attrs)
    against = contradiction(VARIABLES[base], level, attrs)
    if by_attributes and not against and height_of(VARIABLES[base]) and height is None:
        against = "nothing says at which height it is"
    return Meaning(channel, rank, against or "")


def _by_name(key: str) -> tuple[str | None, str]:
    """Return what a name stands for, and the doubt about it."""
    if key in _aliases():
        return _aliases()[key], ""
    match = _LEVEL.match(key)
    if not match:
        return None, ""
    variable = VARIABLES.get(_aliases().get(match["name"], ""))
    level = int(match["level"])
    if variable is None or not variable.on_levels or not 1 <= level <= _HIGHEST_PRESSURE:
        return None, ""
    channel = f"{variable.name}_{level}"
    wind = variable.name in ("u_component_of_wind", "v_component_of_wind")
    sure = match["unit"] or key == channel or level > 100 or (level == 100 and not wind)
    doubt = f"the {level} in its name may be hPa or m; rename it to the channel that it is"
    return channel, "" if sure else doubt


def _by_standard_name(attrs: Mapping[str, Any]) -> str | None:
    key = str(attrs.get("standard_name", "")).strip()
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
