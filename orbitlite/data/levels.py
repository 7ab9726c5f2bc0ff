"""Levels: pressure coordinates of any name and unit, read in hPa."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orbitlite.errors import InputError
from orbitlite.notice import notice, warn
from orbitlite.variables.units import UnitError, conversion

logger = logging.getLogger(__name__)

_LEVELS = {
    "level": None,
    "pressure_level": None,
    "plev": None,
    "lev": None,
    "pressure": None,
    "isobaricinhpa": "hPa",
    "isobaricinpa": "Pa",
}
# pressure levels of ERA5, hPa
_ERA5_LEVELS = frozenset(
    {1, 2, 3, 5, 7, 10, 20, 30, 50, 70, *range(100, 251, 25), *range(300, 751, 50)}
    | set(range(750, 1001, 25))
)


def is_pressure(coordinate: xr.DataArray) -> bool:
    """Return True if a coordinate is called like one of pressure levels."""
    standard = coordinate.attrs.get("standard_name") == "air_pressure"
    return coordinate.ndim <= 1 and (str(coordinate.name).lower() in _LEVELS or standard)


def pressures(data: xr.DataArray) -> tuple[str, list[int | None]] | None:
    """Read the pressure coordinate of an array, along a dimension or scalar.

    Returns
    -------
    tuple of str and list, or None
        Name of the coordinate and its levels in hPa (None for one that is no whole number of
        hPa); None if the array has no pressure coordinate.

    Raises
    ------
    InputError
        If it holds no numbers, or its unit is missing and its values are not pressure levels of
        ERA5, or is no pressure.
    """
    for name, coordinate in data.coords.items():
        if not is_pressure(coordinate):
            continue
        key = str(name).lower()
        values = _numbers(coordinate)
        units = coordinate.attrs.get("units", _LEVELS.get(key))
        scale = _to_hpa(str(name), units, values)
        if scale is None:
            continue
        rounded = np.round(values * scale)
        whole = np.abs(values * scale - rounded) < 1e-3
        return str(name), [int(v) if w else None for v, w in zip(rounded, whole, strict=True)]
    return None


def _numbers(coordinate: xr.DataArray) -> NDArray[np.float64]:
    values = np.atleast_1d(coordinate.values)
    try:
        if values.dtype.kind in "biufO":
            return values.astype(np.float64)
    except (TypeError, ValueError):  # objects that are no numbers
        pass
    raise InputError(f"The level coordinate {coordinate.name!r} holds no numbers: expected levels.")


def _to_hpa(name: str, text: str | None, values: NDArray[Any]) -> float | None:
    if text is None:
        if set(values.tolist()) <= _ERA5_LEVELS:
            warn(logger, f"{name!r} has no units; its values are ERA5 levels: taken as hPa.")
            return 1.0
        raise InputError(
            f"The level coordinate {name!r} has no units attribute; accepted are hPa and Pa."
        )
    try:
        change = conversion(str(text), "hPa")
    except UnitError:
        if name.lower() in ("lev", "level"):  # model levels, sigma
            return None
        raise InputError(
            f"The level coordinate {name!r} has the unit {text!r}; accepted are hPa and Pa."
        ) from None
    if change.read:
        notice(logger, f"The unit {text!r} is read as {change.read}.")
    return change.scale
