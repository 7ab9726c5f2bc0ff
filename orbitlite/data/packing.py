"""Packing: what stored numbers stand for, and which of them stand for nothing."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orbitlite.data.blocks import Positions
from orbitlite.data.screening import Floats, Tally
from orbitlite.errors import InputError
from orbitlite.notice import notice, warn

logger = logging.getLogger(__name__)

_FILLS = ("_FillValue", "missing_value")
_PACKING = ("scale_factor", "add_offset", "_Unsigned")
_KINDS = {
    "m": "lengths of time",
    "M": "dates",
    "c": "complex numbers",
    "U": "text",
    "S": "text",
    "T": "text",
}
# What the NetCDF library writes where nothing was written and no fill value is declared, and
# masks in reading (netcdf.h: NC_FILL_SHORT and others; bytes have none). That of floating numbers
# is beyond the limits of any quantity.
_DEFAULT_FILLS: dict[str, float] = {
    "i2": -32767, "u2": 65535, "i4": -2147483647, "u4": 4294967295,
    "i8": -9223372036854775806, "u8": 18446744073709551614,
}  # fmt: skip


@dataclass(frozen=True)
class Packing:
    """How the numbers of an array stand for values.

    Attributes
    ----------
    fills : tuple of float
        Numbers that are declared to be missing.
    default : float or None
        The one that the NetCDF library takes as missing though it is not declared.
    low, high : float
        Valid range: numbers beyond are missing.
    slack : float
        How far a number may be off one of the above: the array was unpacked already.
    signs : str or None
        Type that the bits are to be read as.
    scale, offset : float
        To unpack.
    """

    fills: tuple[float, ...] = ()
    default: float | None = None
    low: float = -np.inf
    high: float = np.inf
    slack: float = 0.0
    signs: str | None = None
    scale: float = 1.0
    offset: float = 0.0

    @classmethod
    def of(cls, data: xr.DataArray, limits: tuple[float, float]) -> Packing:
        """Read the attributes and the encoding of an array.

        Parameters
        ----------
        data : xr.DataArray
        limits : tuple of float
            What the quantity can be, in the unit of the array.

        Raises
        ------
        InputError
            If the array holds floating numbers beside attributes of packing, that may or may not
            have been applied.
        """
        undecoded = [name for name in _PACKING if name in data.attrs]
        if undecoded and data.dtype.kind in "iu":
            return cls._packed(data)
        if undecoded and _line(data.attrs, data.name) != (1.0, 0.0):
            raise InputError(
                f"{data.name!r} holds floating numbers and has the attribute {undecoded[0]}: if "
                "they are unpacked already, remove it; if not, unpack them with xarray.decode_cf."
            )
        return cls._unpacked(data, limits)

    @classmethod
    def _packed(cls, data: xr.DataArray) -> Packing:
        """Take an array that was opened without unpacking (`mask_and_scale=False`)."""
        scale, offset = _line(data.attrs, data.name)
        notice(
            logger, f"{data.name!r} holds packed numbers: its attributes say how to unpack them."
        )
        signs = _signs(data.attrs.get("_Unsigned"), data.dtype)
        held = np.dtype(signs) if signs else data.dtype
        fills = _as_signed(_declared(data.attrs), held)
        low, high = sorted(
            (value - offset) / scale if real else _as_signed((value,), held)[0]
            for value, real in _valid_range(data)
        )
        default = None if fills or _is_zarr(data) else _DEFAULT_FILLS.get(_code(data.dtype))
        if default is not None:
            (default,) = _as_signed((default,), held)
        return cls(fills, default, low, high, 0.0, signs, scale, offset)

    @classmethod
    def _unpacked(cls, data: xr.DataArray, limits: tuple[float, float]) -> Packing:
        """Take an array as xarray gives it; its encoding says how it was packed."""
        encoding = data.encoding
        stored = _stored(data)
        integers = stored is not None and stored.kind in "iu"
        scale, offset = _line(encoding, data.name) if integers else (1.0, 0.0)
        packed = (scale, offset) != (1.0, 0.0)
        signs = _signs(encoding.get("_Unsigned"), stored) if stored is not None else None
        held = np.dtype(signs) if signs else stored

        def value_of(number: float) -> float:
            return _as_signed((number,), held)[0] * scale + offset if integers else number

        fills = _declared(data.attrs)
        default = None
        if integers and not (fills or _declared(encoding) or _is_zarr(data)):
            default = _DEFAULT_FILLS.get(_code(stored))
            default = None if default is None else value_of(default)
        if not integers:
            fills += _overlooked(encoding, data.dtype)
        bounds = _valid_range(data)
        if stored is None and not _plausible(bounds, limits):
            warn(
                logger,
                f"{data.name!r} has a valid range of integers that is none in its unit: it was "
                "unpacked, and the range is ignored.",
            )
            bounds = [(-np.inf, True), (np.inf, True)]
        low, high = sorted(
            number if real or not packed else value_of(number) for number, real in bounds
        )
        return cls(fills, default, low, high, 0.25 * abs(scale) if packed else 0.0)

    def unpack(self, values: NDArray[Any], tally: Tally, positions: Positions) -> Floats:
        """Return the values of a block as float32 or float64, NaN where missing.

        Raises
        ------
        InputError
            If an array of objects holds something else than numbers.
        """
        numbers = _floats(values.view(self.signs) if self.signs else values, tally.name)
        missing = self._missing(numbers, tally, positions)
        if missing.any():
            numbers = np.where(missing, numbers.dtype.type(np.nan), numbers)
        if (self.scale, self.offset) == (1.0, 0.0):
            return numbers
        return numbers.astype(np.float64) * self.scale + self.offset

    def _missing(self, numbers: Floats, tally: Tally, positions: Positions) -> NDArray[np.bool_]:
        missing = np.zeros(np.shape(numbers), bool)
        for fill in self.fills:
            missing |= self._equal(numbers, fill)
        if self.default is not None:
            what = (
                f"are {self.default:.7g}, the fill value of the NetCDF library, and are taken as "
                "missing (declare it as _FillValue)"
            )
            found = self._equal(numbers, self.default)
            missing |= tally.tell("taken as missing", what, found, positions)
        if self.low > -np.inf or self.high < np.inf:
            what = (
                f"are outside of the valid range that the source states, {self.low:.7g} to "
                f"{self.high:.7g}, and are taken as missing"
            )
            found = (numbers < self.low - self.slack) | (numbers > self.high + self.slack)
            missing |= tally.tell("outside of the valid range", what, found & ~missing, positions)
        return missing

    def _equal(self, numbers: Floats, fill: float) -> NDArray[np.bool_]:
        if self.slack:
            close: NDArray[np.bool_] = np.abs(numbers - fill) <= self.slack
            return close
        with np.errstate(over="ignore"):
            same: NDArray[np.bool_] = numbers == numbers.dtype.type(fill)
        return same


def _floats(values: NDArray[Any], name: str) -> Floats:
    """Return numbers as float32, or float64 where that keeps digits; as they are where possible."""
    narrow = values.dtype.kind in "fV" and values.dtype.itemsize <= 4
    wanted = np.dtype(np.float32 if narrow or values.dtype == bool else np.float64)
    masked = np.ma.getmaskarray(values) if np.ma.isMaskedArray(values) else None
    try:
        numbers: Floats = np.asarray(values).astype(wanted, copy=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} holds objects that are no numbers ({error}).") from error
    if masked is not None and masked.any():
        numbers = np.where(masked, wanted.type(np.nan), numbers)
    return numbers


def check_numbers(data: xr.DataArray) -> None:
    """Raise InputError unless an array holds real numbers, as far as its type tells."""
    if data.dtype.kind not in "biufO":
        what = _KINDS.get(data.dtype.kind, f"values of the type {data.dtype}")
        raise InputError(f"{data.name!r} holds {what}: expected real numbers.")


def _line(attrs: Mapping[Any, Any], name: Any) -> tuple[float, float]:
    """Return scale_factor and add_offset."""
    found = []
    for key, usual in (("scale_factor", 1.0), ("add_offset", 0.0)):
        numbers = _numbers(attrs.get(key, usual))
        if len(numbers) != 1 or not np.isfinite(numbers[0][0]):
            raise InputError(f"{name!r} has {key} {attrs[key]!r}: expected one number.")
        found.append(numbers[0][0])
    if found[0] == 0:
        raise InputError(f"{name!r} has scale_factor 0: expected another number.")
    return found[0], found[1]


def _numbers(value: Any) -> list[tuple[float, bool]]:
    """Read an attribute as numbers, each with whether it is of a floating type; or as none."""
    if isinstance(value, (str, bytes)):
        text = value.decode(errors="replace") if isinstance(value, bytes) else value
        value = [float(word) if re.search(r"[.eE]", word) else int(word) for word in
                 re.findall(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", text)]  # fmt: skip
    found = np.ravel(np.asarray(value))
    if found.dtype.kind not in "iuf":
        return []
    return [(float(number), found.dtype.kind == "f") for number in found]


def _declared(attrs: Mapping[Any, Any]) -> tuple[float, ...]:
    numbers = [number for key in _FILLS if key in attrs for number, _ in _numbers(attrs[key])]
    return tuple(dict.fromkeys(number for number in numbers if np.isfinite(number)))


def _overlooked(encoding: Mapping[Any, Any], dtype: np.dtype[Any]) -> tuple[float, ...]:
    """Return the declared numbers that xarray did not find in floating values.

    It compares exactly: 1e20 as float64 is no float32 of 1e20, and the text "-9999" no number.
    """
    found = []
    for key in _FILLS:
        text = isinstance(encoding.get(key), (str, bytes))
        for number in _declared({key: encoding[key]} if key in encoding else {}):
            with np.errstate(over="ignore"):
                exact = dtype.kind == "f" and float(dtype.type(number)) == number
            if text or not exact:
                found.append(number)
    return tuple(found)


def _valid_range(data: xr.DataArray) -> list[tuple[float, bool]]:
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


def _plausible(bounds: list[tuple[float, bool]], limits: tuple[float, float]) -> bool:
    """Tell whether integer bounds can be in the unit of the values."""
    return all(real or limits[0] <= number <= limits[1] for number, real in bounds)


def _stored(data: xr.DataArray) -> np.dtype[Any] | None:
    """Return the type that the values have in their file, where it is known."""
    if data.dtype.kind in "iu":
        return data.dtype
    found = data.encoding.get("dtype")
    return None if found is None or found is str else np.dtype(found)


def _is_zarr(data: xr.DataArray) -> bool:
    return bool({"compressor", "compressors", "filters"} & {*data.encoding})


def _code(dtype: np.dtype[Any] | None) -> str:
    return "" if dtype is None else dtype.str[1:]


def _signs(stated: Any, dtype: np.dtype[Any]) -> str | None:
    """Return the type that integers are to be read as, where `_Unsigned` says another one."""
    word = str(stated).lower()
    if word in ("true", "1") and dtype.kind == "i":
        return dtype.str.replace("i", "u")
    if word in ("false", "0") and dtype.kind == "u":
        return dtype.str.replace("u", "i")
    return None


def _as_signed(numbers: tuple[float, ...], dtype: np.dtype[Any] | None) -> tuple[float, ...]:
    """Read numbers that are out of the range of an integer type as the same bits of that type."""
    if dtype is None or dtype.kind not in "iu":
        return numbers
    info, turn = np.iinfo(dtype), 2.0 ** (8 * dtype.itemsize)
    return tuple(
        number + turn if -turn / 2 <= number < info.min
        else number - turn if info.max < number < turn else number
        for number in numbers
    )  # fmt: skip
