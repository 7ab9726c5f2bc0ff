"""Units: read the `units` attribute of real files and find the linear map to another unit.

Conversion itself is pint's, through the registry of cf-xarray, which knows the CF spellings
(`m**2 s**-2`, `degC`, `kg m-2 s-1`).
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

_SPELLINGS = {
    "": "1",
    "~": "1",
    "-": "1",
    "(0 - 1)": "1",
    "(0-1)": "1",
    "0-1": "1",
    "none": "1",
    "fraction": "1",
    "proportion": "1",
    "mb": "millibar",
    "deg c": "degC",
    "°c": "degC",
    "degree_c": "degC",
    "degrees_c": "degC",
    "deg k": "K",
    "degrees kelvin": "K",
    "gpdm": "dam",
    "m of water equivalent": "m",
    "m of water": "m",
    "mm of water equivalent": "mm",
}
# A remark in words after the unit, as in "mm day-1 (monthly mean of daily total)".
_REMARK = re.compile(r"\s+\([^()]*[A-Za-z]{2}[^()]*\)\s*$")

# A period in the denominator, as in "mm/24h", which pint would read as mm/24 times h.
_PERIOD = re.compile(r"/\s*(\d+)\s*([A-Za-z]+)$")


class UnitError(ValueError):
    """A unit that cannot be read, or cannot be converted to the one wanted."""


@dataclass(frozen=True)
class Conversion:
    """The map `scale * x + offset`, and whether the source was a rate (an amount per time)."""

    scale: float
    offset: float
    rate: bool


@cache
def _registry() -> Any:
    # pint takes half a second to load: only files that are read need it. It warns of every unit
    # that cf-xarray redefines on purpose.
    log = logging.getLogger("pint.util")
    level = log.level
    log.setLevel(logging.ERROR)
    from cf_xarray.units import units

    log.setLevel(level)
    return units


def parse(text: str) -> Any:
    """Read a unit as a pint quantity.

    Parameters
    ----------
    text : str
        The `units` attribute of a file.

    Returns
    -------
    pint.Quantity
        One of that unit, or the plain number it holds (`mm/24h`).

    Raises
    ------
    UnitError
        If the text is no unit.

    Examples
    --------
    >>> f"{parse('mm day-1 (monthly mean of daily total)').units}"
    'millimeter / day'
    """
    registry = _registry()
    plain = _REMARK.sub("", str(text)).strip()
    plain = _SPELLINGS.get(plain.lower(), plain)
    plain = _PERIOD.sub(r"/(\1 * \2)", plain)
    try:
        return registry.Quantity(1.0, registry.parse_units(plain))
    except Exception:  # pint raises many kinds for text that is no plain product of units
        pass
    try:
        quantity = registry.Quantity(registry.parse_expression(plain))
    except Exception as error:
        raise UnitError(f"{text!r} is not a unit") from error
    return quantity.to_reduced_units()


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
        Allow mass per area for the depth of liquid water (1 kg m-2 = 1 mm, 1000 kg m-3).
    gravity : bool
        Allow geopotential for height and height for geopotential (9.80665 m s-2, the standard
        gravity of geopotential metres).

    Returns
    -------
    Conversion

    Raises
    ------
    UnitError
        If the dimensions do not agree.

    Examples
    --------
    >>> conversion("degC", "K").offset
    273.15
    >>> round(conversion("kg m-2 s-1", "mm", hours=24, water=True).scale)
    86400
    """
    registry = _registry()
    source, wanted = parse(text), parse(target)
    bridges = [registry.Quantity(1.0, "")]
    if water:
        bridges.append(1 / registry.Quantity(1000.0, "kg m-3"))
    if gravity:
        standard = registry.Quantity(9.80665, "m s-2")
        bridges += [standard, 1 / standard]
    for bridge in bridges:
        plain = bridge.dimensionless
        dimensions = source.dimensionality * bridge.dimensionality
        if dimensions == wanted.dimensionality:
            return _linear(source, wanted) if plain else _product(source * bridge, wanted, False)
        if hours is not None and dimensions * _time() == wanted.dimensionality:
            return _product(source * bridge * registry.Quantity(hours, "hour"), wanted, True)
    raise UnitError(f"{text!r} does not convert to {target!r}")


def _time() -> Any:
    return _registry().Quantity(1.0, "hour").dimensionality


def _linear(source: Any, wanted: Any) -> Conversion:
    # two points of the line, for scales with an offset (degC)
    unit, zero = wanted.units, _registry().Quantity(0.0, source.units)
    offset = zero.to(unit).magnitude
    scale = _registry().Quantity(source.magnitude, source.units).to(unit).magnitude - offset
    return Conversion(_tidy(scale), float(offset), False)


def _product(source: Any, wanted: Any, rate: bool) -> Conversion:
    return Conversion(_tidy(source.to(wanted.units).magnitude), 0.0, rate)


def _tidy(scale: float) -> float:
    # 86400 / 86.4 and the like come out one rounding away from the number meant
    return float(f"{scale:.13g}")
