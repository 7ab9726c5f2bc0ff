"""Units: the linear map from the unit that a file states to another. The factors are pint's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

from orbitlite.variables.reading import Reading, read
from orbitlite.variables.spellings import UNEVEN, UnitError

__all__ = ["Conversion", "UnitError", "conversion", "parse"]


@dataclass(frozen=True)
class Conversion:
    """The map `scale * x + offset`.

    Attributes
    ----------
    scale, offset : float
        Finite; the scale is positive.
    rate : bool
        True if the source was a rate (an amount per time).
    read : str
        What the text was read as, where it does not say just that.
    guess : str
        What was assumed of it.
    """

    scale: float
    offset: float
    rate: bool
    read: str = ""
    guess: str = ""


@cache
def _registry() -> Any:
    # pint takes half a second to load: only files that are read need it
    import pint

    return pint.UnitRegistry()


def parse(text: str) -> Any:
    """Read a unit as a pint quantity.

    Parameters
    ----------
    text : str
        The `units` attribute of a file.

    Returns
    -------
    pint.Quantity
        One of that unit.

    Raises
    ------
    UnitError
        If the text is no unit.

    Examples
    --------
    >>> f"{parse('mm day-1 (monthly mean of daily total)').units}"
    'millimeter / day'
    """
    return _quantity(read(text))


def conversion(
    text: str,
    target: str,
    *,
    hours: float | None = None,
    water: bool = False,
    gravity: bool = False,
) -> Conversion:
    """Find the map from the unit `text` to the unit `target`.

    Parameters
    ----------
    text, target : str
        Units.
    hours : float, optional
        Period over which a rate makes an amount: then `text` may be `target` per time.
    water : bool
        Allow mass per area for the depth of liquid water (1 kg m-2 = 1 mm, 1000 kg m-3), and
        texts that speak of water (`m of water equivalent`).
    gravity : bool
        Allow geopotential for height and height for geopotential (9.80665 m s-2, the standard
        gravity of geopotential metres).

    Returns
    -------
    Conversion

    Raises
    ------
    UnitError
        If the text is no unit, or the dimensions do not agree.

    Examples
    --------
    >>> conversion("deg. C", "K")
    Conversion(scale=1.0, offset=273.15, rate=False, read='degC', guess='')
    >>> round(conversion("kg m-2 s-1", "mm", hours=24, water=True).scale)
    86400
    """
    registry = _registry()
    reading, meant = read(text), read(target)
    source, wanted = _quantity(reading), _quantity(meant)
    said = ("" if reading.literal else reading.written(), _guess(reading))
    bridges = [registry.Quantity(1.0, "")]
    if water:
        bridges.append(1 / registry.Quantity(1000.0, "kg / m**3"))
    if gravity:
        standard = registry.Quantity(9.80665, "m / s**2")
        bridges += [standard, 1 / standard]
    if reading.angle() == meant.angle() and (water or not reading.water):
        for bridge in bridges:
            dimensions = source.dimensionality * bridge.dimensionality
            if dimensions == wanted.dimensionality:
                if bridge.dimensionless:
                    return _checked(*_linear(source, wanted), False, *said)
                return _checked(_ratio(source * bridge, wanted), 0.0, False, *said)
            if hours is not None and dimensions * _time() == wanted.dimensionality:
                amount = source * bridge * registry.Quantity(hours, "hour")
                return _checked(_ratio(amount, wanted), 0.0, True, *said)
    raise UnitError(f"{text!r} does not convert to {target!r}")


def _quantity(reading: Reading) -> Any:
    registry = _registry()
    if len(reading.factors) == 1 and reading.factors[0].power == 1:
        return registry.Quantity(1.0, reading.factors[0].unit.pint)
    whole = registry.Quantity(1.0, "")
    for factor in reading.factors:
        # in a product, a temperature is a difference: K day-1
        difference = "delta_" if factor.unit.symbol in ("degC", "degF") else ""
        unit = registry.Quantity(factor.length, difference + factor.unit.pint)
        whole = whole * unit**factor.power
    return whole


def _guess(reading: Reading) -> str:
    uneven = [f.unit.symbol for f in reading.factors if f.unit.symbol in UNEVEN]
    return " and ".join(f"a {name} is taken as {UNEVEN[name]}" for name in dict.fromkeys(uneven))


def _time() -> Any:
    return _registry().Quantity(1.0, "hour").dimensionality


def _linear(source: Any, wanted: Any) -> tuple[float, float]:
    # two points of the line, for scales with an offset (degC)
    unit, zero = wanted.units, _registry().Quantity(0.0, source.units)
    offset = zero.to(unit).magnitude
    scale = _registry().Quantity(source.magnitude, source.units).to(unit).magnitude - offset
    return scale, float(offset)


def _ratio(source: Any, wanted: Any) -> float:
    return float(source.to(wanted.units).magnitude)


def _checked(scale: float, offset: float, rate: bool, read: str, guess: str) -> Conversion:
    if not (math.isfinite(scale) and scale > 0 and math.isfinite(offset)):
        raise UnitError(f"a factor of {scale:g} is no conversion")
    # 86400 / 86.4 and the like come out one rounding away from the number meant
    return Conversion(float(f"{scale:.13g}"), offset, rate, read, guess)
