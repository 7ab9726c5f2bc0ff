"""Grammar: the text of a unit as a product of units.

Words, each with a power, joined by blanks, dots, stars, slashes, `per` and brackets. A number is a
power, the 1 of `1/s`, or the length of an accumulation period (`mm/3h`, `mm 3h-1`: per 3 hours).
Every other text is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from orbitlite.variables import spellings
from orbitlite.variables.spellings import Unit, UnitError

_TOKEN = re.compile(
    r"(?P<blank>\s*)(?:(?P<number>[+-]?\d+(?:\.\d+)?)"
    r"|(?P<word>degrees_north|[A-Za-zμ°%‰]+)|(?P<sign>\*\*|\S))"
)
_LARGEST_POWER = 4


@dataclass(frozen=True)
class Factor:
    """A unit with its power; `length` is that of a period: 3 in `(3 h)-1`."""

    unit: Unit
    power: int = 1
    length: float = 1.0

    def written(self) -> str:
        """Return the factor as CF writes it."""
        name = self.unit.symbol if self.length == 1 else f"{self.length:g} {self.unit.symbol}"
        if self.power == 1:
            return name
        return f"({name}){self.power}" if " " in name else f"{name}{self.power}"


def product(text: str) -> tuple[tuple[Factor, ...], bool]:
    """Read a text as a product of units.

    Returns
    -------
    tuple of tuple of Factor and bool
        The factors, none for the plain 1; and True if every unit stands there by its symbol or
        full name.

    Raises
    ------
    UnitError
        If it is none, or may be two.

    Examples
    --------
    >>> factors, literal = product("kg m-2 6hr-1")
    >>> [factor.written() for factor in factors], literal
    (['kg', 'm-2', '(6 h)-1'], False)
    """
    plain = re.sub("(?<!degrees)_", " ", text).replace("[", "(").replace("]", ")")
    grammar = _Grammar(_TOKEN.finditer(plain))
    factors = grammar.product()
    grammar.expect_end()
    for factor in factors:
        if factor.length != 1 and factor.power != -1:
            raise UnitError(f"the number {factor.length:g} is neither a power nor a period")
        if abs(factor.power) > _LARGEST_POWER:
            raise UnitError(f"the power {factor.power} is too large")
    return factors, grammar.literal


class _Grammar:
    """product: term, then any of `* term`, `/ term`, `term`; term: word or (product), power."""

    def __init__(self, tokens: Iterable[re.Match[str]]) -> None:
        self.tokens = list(tokens)
        self.place = 0
        self.literal = True

    def product(self) -> tuple[Factor, ...]:
        factors = self.term()
        divided = False
        while not self.at_end() and self.text() != ")":
            over = self.text() == "/" or self.text().lower() == "per"
            if over or self.text() in ("*", ".", "-"):
                self.place += 1
            more = self.term()
            if over:
                more, divided = _raised(more, -1), True
            elif divided and any(factor.power > 0 for factor in more):
                raise UnitError("what stands below the slash? Use negative powers or brackets")
            factors += more
        return factors

    def term(self) -> tuple[Factor, ...]:
        if self.take("("):
            inner = self.product()
            if not self.take(")"):
                raise UnitError("a bracket is not closed")
            return _raised(inner, self.power())
        if not self.at_end() and self.tokens[self.place]["number"]:
            return self.after_number()
        return self.word()

    def after_number(self) -> tuple[Factor, ...]:
        number = self.text()
        self.place += 1
        length = float(number) if number[0] not in "+-" else 0.0
        if length == 1 and (not self.at_word() or self.text() == "per"):
            return ()
        if length != 1 and self.text() in ("*", "-"):
            self.place += 1
        factors = self.word() if length == 1 or self.at_word() else ()
        if length == 1:
            return factors
        if len(factors) != 1 or factors[0].unit.kind != "time" or not length > 0:
            raise UnitError(f"the number {number} is neither a power nor a period")
        self.literal = False
        return (replace(factors[0], length=length),)

    def word(self) -> tuple[Factor, ...]:
        if not self.at_word():
            where = f"in place of {self.text()!r}" if self.text() else "at its end"
            raise UnitError(f"a unit is expected {where}")
        word = self.text()
        self.place += 1
        power = self.power()
        try:
            unit, literal = spellings.unit(word)
        except UnitError:
            pair = spellings.halves(word) if power < 0 else None
            if pair is None:
                raise
            self.literal = False
            return (Factor(pair[0]), Factor(pair[1], power))
        self.literal &= literal
        return (Factor(unit, power),)

    def power(self) -> int:
        raised = self.take("**") or self.take("^")
        bracket = raised and self.take("(")
        token = None if self.at_end() else self.tokens[self.place]
        # without a sign of raising, "m2" and "m -2" are powers and "m 2" is not
        if (
            token is None
            or not token["number"]
            or not (raised or token["number"][0] in "+-" or not token["blank"])
        ):
            if raised:
                raise UnitError("a power is missing")
            return 1
        self.place += 1
        if not re.fullmatch(r"[+-]?[1-9]\d*", token["number"]):
            raise UnitError(f"{token['number']} is no power")
        if bracket and not self.take(")"):
            raise UnitError("a bracket is not closed")
        return int(token["number"])

    def at_end(self) -> bool:
        return self.place >= len(self.tokens)

    def at_word(self) -> bool:
        return not self.at_end() and bool(self.tokens[self.place]["word"])

    def text(self) -> str:
        return "" if self.at_end() else self.tokens[self.place][0].strip()

    def take(self, sign: str) -> bool:
        found = self.text() == sign
        self.place += found
        return found

    def expect_end(self) -> None:
        if not self.at_end():
            raise UnitError(f"{self.text()!r} is out of place")


def _raised(factors: tuple[Factor, ...], power: int) -> tuple[Factor, ...]:
    return tuple(replace(factor, power=factor.power * power) for factor in factors)
