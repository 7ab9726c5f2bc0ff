"""Spellings: every way in which units are spelled in real files, and what each is read as.

This table is the whole vocabulary: a word that is not here is no unit. That is on purpose. A
general reader of units finds a meaning for nearly any text (`C` a coulomb, `F` a farad, `pa` a
picoyear, `degrees C` an angle times a charge, `0-1` minus one), and a wrong meaning is worse than
none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache


class UnitError(ValueError):
    """A unit that cannot be read, or cannot be converted to the one wanted."""


@dataclass(frozen=True)
class Unit:
    """One unit.

    Attributes
    ----------
    symbol : str
        How it is written where the user is told what was read.
    pint : str
        Its name in pint.
    kind : str
        `time`, `angle`, `temperature`, or empty for the others.
    """

    symbol: str
    pint: str
    kind: str = ""


# Symbol, name in pint, other symbols, words, kind. A word may be capitalised and have a plural s.
# Case counts where two symbols differ in nothing else (mPa, MPa); any other is read in any case.
_ROWS: tuple[tuple[str, str, str, str, str], ...] = (
    ("%", "percent", "pct", "percent percentage", ""),
    ("permille", "permille", "‰", "", ""),
    ("K", "kelvin", "degK", "kelvin", "temperature"),
    ("degC", "degree_Celsius", "C", "celsius celcius centigrade", "temperature"),
    ("degF", "degree_Fahrenheit", "F", "fahrenheit", "temperature"),
    ("Pa", "pascal", "", "pascal", ""),
    ("hPa", "hectopascal", "", "hectopascal", ""),
    ("kPa", "kilopascal", "", "kilopascal", ""),
    ("mPa", "millipascal", "", "millipascal", ""),
    ("MPa", "megapascal", "", "megapascal", ""),
    ("mbar", "millibar", "mb", "millibar", ""),
    ("bar", "bar", "", "bar", ""),
    ("atm", "standard_atmosphere", "", "atmosphere", ""),
    ("mmHg", "millimeter_Hg", "", "", ""),
    ("inHg", "inch_Hg", "", "", ""),
    ("m", "meter", "gpm", "meter metre", ""),
    ("dm", "decimeter", "", "decimeter decimetre", ""),
    ("cm", "centimeter", "", "centimeter centimetre", ""),
    ("mm", "millimeter", "", "millimeter millimetre", ""),
    ("um", "micrometer", "μm", "micrometer micrometre", ""),
    ("dam", "decameter", "gpdm gpdam dagpm", "decameter decametre", ""),
    ("km", "kilometer", "gpkm", "kilometer kilometre", ""),
    ("in", "inch", "", "inch inche", ""),
    ("ft", "foot", "feet", "foot", ""),
    ("mile", "mile", "mi", "mile", ""),
    ("knot", "knot", "kt kts kn", "knot", ""),
    ("mile h-1", "mile_per_hour", "mph", "", ""),
    ("km h-1", "kilometer_per_hour", "kph kmph", "", ""),
    ("g", "gram", "", "gram gramme", ""),
    ("kg", "kilogram", "", "kilogram kilogramme", ""),
    ("mg", "milligram", "", "milligram", ""),
    ("ug", "microgram", "μg", "microgram", ""),
    ("L", "liter", "l", "liter litre", ""),
    ("mL", "milliliter", "ml", "milliliter millilitre", ""),
    ("N", "newton", "", "newton", ""),
    ("J", "joule", "", "joule", ""),
    ("kJ", "kilojoule", "", "kilojoule", ""),
    ("mJ", "millijoule", "", "millijoule", ""),
    ("MJ", "megajoule", "", "megajoule", ""),
    ("cal", "calorie", "", "calorie", ""),
    ("W", "watt", "", "watt", ""),
    ("kW", "kilowatt", "", "kilowatt", ""),
    ("mW", "milliwatt", "", "milliwatt", ""),
    ("MW", "megawatt", "", "megawatt", ""),
    ("Wh", "watt_hour", "", "", ""),
    ("kWh", "kilowatt_hour", "", "", ""),
    ("t", "tonne", "", "tonne", ""),
    ("ng", "nanogram", "", "nanogram", ""),
    ("ppm", "ppm", "ppmv", "", ""),
    ("mol", "mole", "", "mole", ""),
    ("mmol", "millimole", "", "millimole", ""),
    ("umol", "micromole", "μmol", "micromole", ""),
    ("nmol", "nanomole", "", "nanomole", ""),
    ("nm", "nanometer", "", "nanometer nanometre", ""),
    ("ha", "hectare", "", "hectare", ""),
    ("sr", "steradian", "", "steradian", "angle"),
    ("Hz", "hertz", "", "hertz", ""),
    ("V", "volt", "", "volt", ""),
    ("lx", "lux", "", "lux", ""),
    ("Bq", "becquerel", "", "becquerel", ""),
    ("s", "second", "sec secs", "second", "time"),
    ("min", "minute", "mins", "minute", "time"),
    ("h", "hour", "hr hrs", "hour", "time"),
    ("day", "day", "d dy", "day", "time"),
    ("week", "week", "", "week", "time"),
    ("month", "month", "mon", "month", "time"),
    ("year", "year", "yr yrs a", "year", "time"),
    ("degree", "degree", "deg °", "degree", "angle"),
    ("degrees_north", "degree", "degree_north", "", "angle"),
    ("rad", "radian", "", "radian", "angle"),
)

# Units whose length differs from one instance to the next, and what is taken instead.
UNEVEN: Mapping[str, str] = {"month": "30.4375 days", "year": "365.25 days"}

# Read otherwise by the letter than many who write it mean.
_REFUSED: Mapping[str, str] = {"gr": "a grain by the letter, often meant as gram: write g"}

# Second halves of units run together (kgm-2, mmday-1); the first half is any symbol.
_GLUED = ("kg", "day", "min", "hr", "m", "s", "h", "d")


def known(word: str) -> bool:
    """Return True if a word is a unit as it stands."""
    return word in _exact()


@cache
def _exact() -> Mapping[str, tuple[Unit, bool]]:
    """Map each spelling to its unit, and whether it needs no mention."""
    found: dict[str, tuple[Unit, bool]] = {}
    for symbol, pint, others, words, kind in _ROWS:
        unit = Unit(symbol, pint, kind)
        found[symbol] = (unit, True)
        found.update({other: (unit, False) for other in others.split()})
        for word in words.split():
            for form in (word, f"{word}s", word.capitalize(), f"{word.capitalize()}s"):
                found[form] = (unit, True)
    return found


@cache
def _any_case() -> Mapping[str, frozenset[Unit]]:
    found: dict[str, frozenset[Unit]] = {}
    for spelling, (unit, _) in _exact().items():
        found[spelling.lower()] = found.get(spelling.lower(), frozenset()) | {unit}
    return found


def unit(word: str) -> tuple[Unit, bool]:
    """Find a unit by one word.

    Returns
    -------
    tuple of Unit and bool
        The unit, and True if the word is its symbol or its full name.

    Raises
    ------
    UnitError
        If the word is no unit, or could be two.

    Examples
    --------
    >>> unit("HPA")
    (Unit(symbol='hPa', pint='hectopascal', kind=''), False)
    """
    if word.lower() in _REFUSED:
        raise UnitError(f"{word!r} is {_REFUSED[word.lower()]}")
    if word in _exact():
        return _exact()[word]
    found = _any_case().get(word.lower(), frozenset())
    if not found:
        raise UnitError(f"{word!r} is no unit that is known here")
    if len(found) > 1:
        names = " or ".join(sorted(unit.symbol for unit in found))
        raise UnitError(f"{word!r} may be {names}: write the one that is meant")
    (only,) = found
    if only.pint.startswith("milli") and word[0] == "M" and not word.isupper():
        raise UnitError(f"{word!r} is a mega- by the letter: write {only.symbol}")
    return only, False


def halves(word: str) -> tuple[Unit, Unit] | None:
    """Split two units that were run together, as in `kgm` of `kgm-2`.

    Examples
    --------
    >>> [half.symbol for half in halves("mmday")]
    ['mm', 'day']
    """
    found = []
    for second in _GLUED:
        first = word[: -len(second)]
        if word.isupper():
            fits = word.endswith(second.upper()) and len(_any_case().get(first.lower(), ())) == 1
        else:
            fits = word.endswith(second) and first in _exact()
        if fits:
            found.append((unit(first)[0], unit(second)[0]))
    return found[0] if len(found) == 1 else None
