"""Headers: what a NetCDF file says of itself, to tell which files differ in their steps alone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import cftime
import netCDF4
import numpy as np
from numpy.typing import NDArray
from xarray.backends.netCDF4_ import NETCDF4_PYTHON_LOCK

LOCK = NETCDF4_PYTHON_LOCK
"""That of xarray: the libraries behind NetCDF fail where two threads are in them at once."""

# What may be another in each file: who made it and when.
_OWN_NOTES = (
    "history", "date_created", "creation_date", "date_modified", "date_issued", "tracking_id",
    "uuid", "time_coverage_start", "time_coverage_end", "NCO", "CDO",
)  # fmt: skip
# What has no steps is compared by value; a file that has more of it is opened alone.
_MOST_BYTES = 2**24
# A variable with at most so many values in a step is read with the header.
_FEW = 8
# Times that are packed are not shifted to other units: what is stored counts something else.
_PACKING = ("scale_factor", "add_offset")


@dataclass(frozen=True)
class Header:
    """A file without its fields.

    Attributes
    ----------
    path : str
    kind : bytes
        Digest of all but its steps: the same for files that differ in these alone.
    dim : str
        The dimension of its steps.
    units, calendar : str
        In which their time is counted.
    dates : tuple of str
        What is counted in these: the time, and its bounds.
    small : mapping of str to ndarray
        Raw values of what has few of them in a step, the time among them.
    stamp : tuple of int
        When the file was written, and its size in bytes: others in a file that was replaced.
    """

    path: str
    kind: bytes
    dim: str
    units: str
    calendar: str
    dates: tuple[str, ...]
    small: Mapping[str, NDArray[Any]]
    stamp: tuple[int, int]

    @property
    def time(self) -> NDArray[Any]:
        """Raw times, shape (steps,)."""
        return self.small[self.dim]

    @property
    def digest(self) -> bytes:
        """Digest of all that is known of the file, its steps included."""
        return hashlib.sha256(
            self.kind + b"".join(np.asarray(own).tobytes() for own in self.small.values())
        ).digest()

    @classmethod
    def read(cls, path: str) -> Header | None:
        """Read the header of a file on this machine; None if the file is to be opened alone."""
        stamp = stamp_of(path)
        with LOCK, opened(path) as file:
            return cls.of(file, path, stamp)

    @classmethod
    def of(cls, file: netCDF4.Dataset, path: str, stamp: tuple[int, int]) -> Header | None:
        """Read the header of an open file while the lock is held; None as `read` gives it."""
        dim = _steps_of(file)
        if dim is None or not all(map(_is_plain, file.variables.values())):
            return None
        time = file.variables[dim]
        dates = (dim, *_bounds_of(file, time))
        found = _values(file, dim)
        if found is None or any(name not in found[0] for name in dates):
            return None
        if any(hasattr(file.variables[name], key) for name in dates for key in _PACKING):
            return None
        small, fixed = found
        kind = hashlib.sha256(repr(_said(file, dim, dates)).encode() + fixed).digest()
        calendar = str(getattr(time, "calendar", "standard"))
        return cls(path, kind, dim, str(time.units), calendar, dates, small, stamp)

    def counted_in(self, units: str) -> Header | None:
        """Return it with times in other units; None where these are no whole numbers."""
        if units == self.units:
            return self
        shift = _shift(self.units, units, self.calendar)
        values = {name: self.small[name] for name in self.dates}
        if shift is None or any((own != np.floor(own)).any() for own in values.values()):
            return None
        shifted = {name: own.astype(np.int64) + shift for name, own in values.items()}
        return replace(self, units=units, small={**self.small, **shifted})


def opened(path: str) -> netCDF4.Dataset:
    """Open a file whose values are given as they are stored. The lock is held."""
    file = netCDF4.Dataset(path)
    file.set_auto_maskandscale(False)
    file.set_auto_chartostring(False)
    return file


def stamp_of(path: str) -> tuple[int, int]:
    """Return when a file was written, in nanoseconds, and its size in bytes."""
    found = os.stat(path)
    return found.st_mtime_ns, found.st_size


def _bounds_of(file: netCDF4.Dataset, time: Any) -> list[str]:
    """Name the bounds of a time that are counted as it is, not in units of their own."""
    stated = [str(getattr(time, key, None)) for key in ("bounds", "climatology")]
    return [
        name for name in stated if name in file.variables
        and getattr(file.variables[name], "units", time.units) == time.units
    ]  # fmt: skip


def _steps_of(file: netCDF4.Dataset) -> str | None:
    """Name the dimension whose coordinate is a time, if there is one."""
    found = [
        name for name, dim in file.dimensions.items()
        if len(dim) and name in file.variables and file.variables[name].dimensions == (name,)
        and " since " in str(getattr(file.variables[name], "units", ""))
    ]  # fmt: skip
    return found[0] if len(found) == 1 else None


def _is_plain(variable: Any) -> bool:
    """Tell whether it holds numbers or letters of fixed size."""
    kind = variable.datatype
    return isinstance(kind, np.dtype) and kind.kind in "iufS"


def _values(file: netCDF4.Dataset, dim: str) -> tuple[dict[str, NDArray[Any]], bytes] | None:
    """Read what has few values in a step, and the bytes of all that has no steps."""
    small, fixed, size = {}, [], 0
    for name, variable in file.variables.items():
        if dim not in variable.dimensions:
            size += variable.size * variable.dtype.itemsize
            if size > _MOST_BYTES:
                return None
            fixed.append(np.asarray(variable[...]).tobytes())
        elif variable.size <= _FEW * len(file.dimensions[dim]):
            if variable.dimensions[0] != dim:
                return None
            small[name] = np.asarray(variable[...])
    return small, b"".join(fixed)


def _said(file: netCDF4.Dataset, dim: str, dates: tuple[str, ...]) -> list[Any]:
    """List names, sizes, types and attributes."""
    sizes = {name: len(own) for name, own in file.dimensions.items() if name != dim}
    notes = {key: value for key, value in _attributes(file).items() if key not in _OWN_NOTES}
    said: list[Any] = [sizes, notes, [*file.groups]]
    for name, variable in file.variables.items():
        attrs = _attributes(variable)
        if name in dates:
            attrs.pop("units", None)
        said.append((name, variable.dimensions, variable.dtype.str, attrs))
    return said


def _attributes(holder: Any) -> dict[str, Any]:
    values = {key: holder.getncattr(key) for key in holder.ncattrs()}
    return {
        key: (value.dtype.str, value.tobytes()) if isinstance(value, np.ndarray) else value
        for key, value in values.items()
    }


def _shift(units: str, others: str, calendar: str) -> int | None:
    """Return how much later the first units begin than others of one length, in these."""
    if units.split(" since ")[0] != others.split(" since ")[0]:
        return None
    try:
        start = cftime.num2date(0, units, calendar)
        shift = cftime.date2num(start, others, calendar)
    except (ValueError, OverflowError):
        return None  # what is wrong with them is told where the file is opened
    return int(shift) if shift == int(shift) else None
