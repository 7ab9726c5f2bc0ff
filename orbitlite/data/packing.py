"""Packing: what stored numbers stand for, and which of them stand for nothing."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orbitlite.data.blocks import Positions
from orbitlite.data.declarations import (
    declared,
    overlooked,
    plausible,
    scale_and_offset,
    valid_range,
)
from orbitlite.data.screening import Floats, Tally
from orbitlite.errors import InputError
from orbitlite.notice import notice, warn

logger = logging.getLogger(__name__)

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
        if undecoded and scale_and_offset(data.attrs, data.name) != (1.0, 0.0):
            raise InputError(
                f"{data.name!r} holds floating numbers and has the attribute {undecoded[0]}: if "
                "they are unpacked already, remove it; if not, unpack them with xarray.decode_cf."
            )
        return cls._unpacked(data, limits)

    @classmethod
    def _packed(cls, data: xr.DataArray) -> Packing:
        """Take an array that was opened without unpacking (`mask_and_scale=False`)."""
        scale, offset = scale_and_offset(data.attrs, data.name)
        notice(
            logger, f"{data.name!r} holds packed numbers: its attributes say how to unpack them."
        )
        signs = _signs(data.attrs.get("_Unsigned"), data.dtype)
        held = np.dtype(signs) if signs else data.dtype
        fills = _as_signed(declared(data.attrs), held)
        low, high = sorted(
            (value - offset) / scale if real else _as_signed((value,), held)[0]
            for value, real in valid_range(data)
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
        scale, offset = scale_and_offset(encoding, data.name) if integers else (1.0, 0.0)
        packed = (scale, offset) != (1.0, 0.0)
        signs = _signs(encoding.get("_Unsigned"), stored) if stored is not None else None
        held = np.dtype(signs) if signs else stored

        def value_of(number: float) -> float:
            return _as_signed((number,), held)[0] * scale + offset if integers else number

        fills = declared(data.attrs)
        default = None
        if integers and not (fills or declared(encoding) or _is_zarr(data)):
            default = _DEFAULT_FILLS.get(_code(stored))
            default = None if default is None else value_of(default)
        if not integers:
            fills += overlooked(encoding, data.dtype)
        bounds = valid_range(data)
        if stored is None and not plausible(bounds, limits):
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
        if self._declares:
            missing = self._missing(numbers, tally, positions)
            if missing.any():
                numbers = np.where(missing, numbers.dtype.type(np.nan), numbers)
        if (self.scale, self.offset) == (1.0, 0.0):
            return numbers
        return numbers.astype(np.float64) * self.scale + self.offset

    @property
    def _declares(self) -> bool:
        """Whether any number is missing by declaration."""
        return bool(self.fills) or self.default is not None or self._ranged

    @property
    def _ranged(self) -> bool:
        return self.low > -np.inf or self.high < np.inf

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
        if self._ranged:
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
