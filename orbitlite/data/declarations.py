"""Declarations: what the attributes of a variable say of its numbers."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from orbitlite.errors import InputError
from orbitlite.notice import warn

logger = logging.getLogger(__name__)

_FILLS = ("_FillValue", "missing_value")


def _numbers(value: Any) -> list[tuple[float, bool]]:
    """Read an attribute as numbers, each with whether it is of a floating type; or as none."""
    if isinstance(value, (str, bytes)):
        text = value.decode(errors="replace") if isinstance(value, bytes) else value
        value = [float(word) if re.search(r"[.eE]", word) else int(word) for word in
                 re.findall(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", text)]  # fmt: skip
    try:
        found = np.ravel(np.asarray(value))
    except ValueError:  # lists of several lengths
        return []
    if found.dtype.kind not in "iuf":
        return []
    return [(float(number), found.dtype.kind == "f") for number in found]


def scale_and_offset(attrs: Mapping[Any, Any], name: Any) -> tuple[float, float]:
    """Return scale_factor and add_offset, 1 and 0 where they are not stated.

    Raises
    ------
    InputError
        If one is no number, or the scale is zero.
    """
    found = []
    for key, usual in (("scale_factor", 1.0), ("add_offset", 0.0)):
        numbers = _numbers(attrs.get(key, usual))
        if len(numbers) != 1 or not np.isfinite(numbers[0][0]):
            raise InputError(f"{name!r} has {key} {attrs[key]!r}: expected one number.")
        found.append(numbers[0][0])
    if found[0] == 0:
        raise InputError(f"{name!r} has scale_factor 0: expected another number.")
    return found[0], found[1]


def declared(attrs: Mapping[Any, Any]) -> tuple[float, ...]:
    """Return the numbers that are declared to be missing, NaN apart."""
    numbers = [number for key in _FILLS if key in attrs for number, _ in _numbers(attrs[key])]
    return tuple(dict.fromkeys(number for number in numbers if np.isfinite(number)))


def overlooked(encoding: Mapping[Any, Any], dtype: np.dtype[Any]) -> tuple[float, ...]:
    """Return the declared numbers that xarray did not find in floating values.

    It compares exactly: 1e20 as float64 is no float32 of 1e20, and the text "-9999" no number.
    """
    found = []
    for key in _FILLS:
        text = isinstance(encoding.get(key), (str, bytes))
        for number in declared({key: encoding[key]} if key in encoding else {}):
            with np.errstate(over="ignore"):
                exact = dtype.kind == "f" and float(dtype.type(number)) == number
            if text or not exact:
                found.append(number)
    return tuple(found)


def valid_range(data: xr.DataArray) -> list[tuple[float, bool]]:
    """Return the two ends of the valid range, each with whether it is of a floating type.

    One of a floating type is in the unit of the values, one of integers in packed numbers where
    the array is packed (NetCDF User's Guide, Attribute Conventions).
    """
    bounds = [(-np.inf, True), (np.inf, True)]
    for key, place in (("valid_range", slice(0, 2)), ("valid_min", 0), ("valid_max", 1)):
        if key not in data.attrs:
            continue
        numbers = _numbers(data.attrs[key])
        if isinstance(place, slice) and len(numbers) == 2:
            bounds[place] = numbers
        elif isinstance(place, int) and len(numbers) == 1:
            bounds[place] = numbers[0]
        else:
            warn(logger, f"{data.name!r} has {key} {data.attrs[key]!r}, which is not understood.")
    if not bounds[0][0] <= bounds[1][0]:
        warn(logger, f"{data.name!r} has a valid range that ends before it begins: ignored.")
        return [(-np.inf, True), (np.inf, True)]
    # An end that is open is in the numbers of the other one: these may run the other way.
    kinds = [real for number, real in bounds if np.isfinite(number)] or [True]
    return [(number, real if np.isfinite(number) else kinds[0]) for number, real in bounds]


def plausible(bounds: list[tuple[float, bool]], limits: tuple[float, float]) -> bool:
    """Tell whether integer bounds can be in the unit of the values."""
    return all(
        real or np.isinf(number) or limits[0] <= number <= limits[1] for number, real in bounds
    )
