"""Reading: what the text of a `units` attribute says, and whether it says so by the letter."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from orbitlite.variables import phrases
from orbitlite.variables.grammar import Factor, product
from orbitlite.variables.spellings import UnitError

# "0-1", "[0, 1]", "% (0 to 100)": the range that the numbers take
_RANGE = re.compile(
    r"(?P<before>.*?)[\s,;:]*[(\[]?\s*0(?:\.0*)?\s*(?:-|\.\.+|to|,|;|:|and|or)\s*"
    r"(?P<top>100|1)(?:\.0*)?\s*(?P<unit>%?)\s*[)\]]?[\s,;:]*(?P<after>.*)"
)
# A remark behind the unit, as in "mm day-1 (monthly mean of daily total)"; a bracket behind an
# operator belongs to the unit.
_REMARK = re.compile(r"(?P<unit>.*[^\s/*^.(\[])\s*(?<!\bper)\s*[(\[](?P<words>[^()\[\]]*)[)\]]")
_LONGEST = 200


@dataclass(frozen=True)
class Reading:
    """What a text was read as.

    Attributes
    ----------
    factors : tuple of Factor
        Their product is the unit; none for a plain number.
    literal : bool
        True if the text says just that, by symbols and full names.
    water : bool
        True if the text says that the amount is one of water.
    """

    factors: tuple[Factor, ...] = ()
    literal: bool = True
    water: bool = False

    def written(self) -> str:
        """Return the unit as CF writes it."""
        return " ".join(factor.written() for factor in self.factors) or "1"

    def angle(self) -> int:
        """Return the power of angle in the unit: pint counts angles as plain numbers."""
        return sum(factor.power for factor in self.factors if factor.unit.kind == "angle")


@lru_cache(512)
def read(text: str) -> Reading:
    """Read the text of a `units` attribute.

    Raises
    ------
    UnitError
        If it is no unit, or may be two.

    Examples
    --------
    >>> [read(text).written() for text in ("deg. C", "Wm-2", "mm/3h", "[0-1]", "m w.e.")]
    ['degC', 'W m-2', 'mm (3 h)-1', '1', 'm']
    """
    plain = phrases.signs(text)
    if len(plain) > _LONGEST:
        raise UnitError(f"{text[:20]!r}... is not a unit: it is too long")
    try:
        ranged = _RANGE.fullmatch(plain)
        if ranged:
            return _of_range(ranged)
        if phrases.unitless(plain):
            return Reading(literal=plain in ("1", "dimensionless"))
        if plain.lower() in phrases.PERCENT:
            return Reading(*product("%"))
        remark = _REMARK.fullmatch(plain)
        return _with_remark(remark["unit"], remark["words"]) if remark else _in_words(plain)
    except UnitError as error:
        raise UnitError(f"{text!r} is not a unit: {error}") from None


def _of_range(found: re.Match[str]) -> Reading:
    rest = f"{found['before']} {found['unit']} {found['after']}".strip(" ,;:()[]").lower()
    if found["top"] == "1" and phrases.unitless(rest):
        return Reading(literal=False)
    if found["top"] == "100" and rest in phrases.PERCENT:
        return Reading(product("%")[0], literal=False)
    raise UnitError("a range may say 0 to 1 of a fraction or 0 to 100 of %")


def _with_remark(unit: str, remark: str) -> Reading:
    reading = replace(read(unit.strip()), literal=False)
    if remark.strip() and not phrases.without_water(remark):
        return replace(reading, water=True)
    try:
        again = read(remark.strip())
    except UnitError:
        if phrases.matters(remark):
            raise UnitError(f"it is unclear what ({remark}) makes of it") from None
        return reading
    if again.written() != reading.written():
        raise UnitError(f"({remark}) is another one")
    return reading


def _in_words(text: str) -> Reading:
    dry = phrases.without_water(text)
    named = phrases.degrees(dry)
    factors, literal = product(named)
    return Reading(factors, literal and named == text, water=dry != text)
