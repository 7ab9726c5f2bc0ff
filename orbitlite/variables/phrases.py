"""Phrases: what stands beside the units in their texts, and is seen to before these are read.

Signs that stand for others, whole texts for plain numbers and percent, degrees of temperature in
several words, the water of water equivalents, and remarks.
"""

from __future__ import annotations

import re
import unicodedata

from orbitlite.variables.spellings import known

# Whole texts that say that a number has no unit, and that it is in percent; any case.
UNITLESS = frozenset(
    {"", "1", "~", "-", "--", "none", "no unit", "no units", "unitless", "dimensionless"}
    | {"non-dimensional", "nondimensional", "numeric", "fraction", "fractional", "proportion"}
    | {"ratio", "flag", "mask", "boolean", "class", "classes", "category"}
)
PERCENT = frozenset({"%", "percent", "pct", "percentage", "per cent"})

# Words of a remark that make the numbers something else than the unit before it says.
_OTHERWISE = frozenset(
    {"anomaly", "anomalies", "departure", "departures", "difference", "differences", "delta"}
    | {"change", "changes", "deviation", "variance", "increment", "bias", "log"}
    | {"ln", "normalized", "normalised", "standardized", "standardised", "scaled", "times"}
    | {"factor", "tenth", "tenths", "hundredth", "hundredths", "thousandth", "thousandths"}
    | {"tens", "hundreds", "thousands", "squared", "sqrt", "snow", "per"}
)

# Signs, rewritten before anything is read: before and after compatible characters become plain
# ones (² to 2, ℃ to °C).
_BEFORE = ((r"Â(?=[°º²³µ])", ""), (r"[º˚∘]", "°"))
_AFTER = (
    (r"\^?\\circ", "°"),
    (r"\\%", "%"),
    (r"\\(?:mathrm|text|rm)|\\[,;!]|[${}]", ""),
    ("[\u2010-\u2014\u2212]", "-"),  # dashes and minus
    ("[\u00b7\u00d7\u2022\u2219\u22c5]", " "),  # dots and crosses
)

_DEGREES = re.compile(
    r"(?<![A-Za-z])(?:(?:degrees?|degs?|°)\.?[\s_-]*|(?-i:o(?=[CF])))"
    r"(?:(?P<C>c|celsius|celcius|centigrade)|(?P<F>f|fahrenheit)|(?P<K>k|kelvins?)|(?P<N>n|north))"
    r"(?![A-Za-z])",
    re.IGNORECASE,
)
_OF_DEGREES = {"C": "degC", "F": "degF", "K": "K", "N": "degrees_north"}

# "of liquid water equivalent", "H2O", "w.e.", "swe" behind a depth or a mass
_WATER = re.compile(
    r"[\s_]*(?<![a-z])(?:of[\s_]+)?(?:liquid[\s_-]+|snow[\s_-]+)*"
    r"(?:(?:water|h2o)(?:[\s_-]*(?:equivalents?|equiv|eq)\b\.?)?"
    r"|[sl]?w\.?[\s]?e(?:q|qv)?(?:\b\.?|\.))(?![a-z])",
    re.IGNORECASE,
)


def unitless(text: str) -> bool:
    """Return True if a whole text says that the numbers have no unit.

    Examples
    --------
    >>> unitless("Dimensionless"), unitless("(Code table 4.213)"), unitless("K")
    (True, True, False)
    """
    plain = text.lower()
    return plain in UNITLESS or bool(re.fullmatch(r"\(?code table [\d.]+\)?", plain))


def signs(text: str) -> str:
    """Write a text with plain signs: superscripts, typographic dashes and dots, LaTeX.

    Examples
    --------
    >>> signs("m$^{-2}$"), signs("W m⁻²"), signs("º C")
    ('m^-2', 'W m-2', '° C')
    """
    for pattern, plain in _BEFORE:
        text = re.sub(pattern, plain, text)
    text = unicodedata.normalize("NFKC", text)
    for pattern, plain in _AFTER:
        text = re.sub(pattern, plain, text)
    return re.sub(r"(?<=[A-Za-z])\.(?=\s|[/)]|$)", "", text).strip()  # in., hr.


def degrees(text: str) -> str:
    """Write every spelling of a degree of temperature, or of north, as one word.

    Examples
    --------
    >>> degrees("deg. C"), degrees("Degrees Kelvin"), degrees("°F day-1")
    ('degC', 'K', 'degF day-1')
    """
    return _DEGREES.sub(lambda found: _OF_DEGREES[str(found.lastgroup)], text)


def without_water(text: str) -> str:
    """Leave out the words that say that an amount is one of water.

    Examples
    --------
    >>> without_water("mm w.e. day-1"), without_water("m of water equivalent")
    ('mm day-1', 'm')
    """
    return _WATER.sub("", text).strip()


def matters(remark: str) -> bool:
    """Return True if a remark behind a unit may say that the numbers are not in that unit.

    Examples
    --------
    >>> matters("monthly mean of daily total"), matters("per second"), matters("anomaly")
    (False, True, True)
    """
    words = set(re.findall(r"[^\W\d_]+", remark)) - {"in", "a", "min"}
    return bool(
        re.search(r"\d", remark)
        or _OTHERWISE & {word.lower() for word in words}
        or any(known(word) for word in words)
    )
