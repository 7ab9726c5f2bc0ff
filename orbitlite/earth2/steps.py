"""Steps: the dimensions in front of the fields, and the steps and members that they stand for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orbitlite.earth2.grid import Coords
from orbitlite.errors import InputError

_LAST = ("variable", "lat", "lon")
_TIMES = ("lead_time", "time")


@dataclass(frozen=True)
class Steps:
    """What stands in front of `variable`, `lat` and `lon`.

    Attributes
    ----------
    sizes : dict of str to int
        Of these dimensions, in their order; 0 where coordinates leave one free.
    cells : tuple of int
        Rows and columns of the fields.
    coords : Coords
        Of all dimensions.
    """

    sizes: dict[str, int]
    cells: tuple[int, int]
    coords: Coords

    @classmethod
    def of(cls, coords: Coords, shape: Sequence[int] | None = None) -> Steps:
        """Read them.

        Parameters
        ----------
        coords : Coords
            `(..., variable, lat, lon)`.
        shape : sequence of int, optional
            Of the tensor; None: as the coordinates have it.

        Raises
        ------
        InputError
            If the last dimensions are others, the shape is another or empty, a variable stands
            there twice, times are no dates, or there are lead times without times.
        """
        dims = tuple(coords)
        if dims[-3:] != _LAST:
            raise InputError(
                f"coords: expected dimensions that end in {', '.join(_LAST)}, found "
                f"{', '.join(dims) or 'none'}"
            )
        if "lead_time" in dims and "time" not in dims:
            raise InputError("coords: lead_time without time: expected the start of the forecast")
        for dim, kind, what in (("time", "M", "dates"), ("lead_time", "m", "lengths of time")):
            if dim in dims and len(coords[dim]) and coords[dim].dtype.kind != kind:
                raise InputError(f"coords: expected {what} in {dim}, found {coords[dim].dtype}")
        names, counts = np.unique(coords["variable"], return_counts=True)
        if (counts > 1).any():
            raise InputError(f"coords: the variable {names[counts > 1][0]} stands there twice")
        lengths = [*(len(coords[dim]) for dim in dims[:-1]), coords["lon"].shape[-1]]
        found = lengths if shape is None else [*shape]
        if "batch" in dims and not len(coords["batch"]) and len(found) == len(dims):
            lengths[dims.index("batch")] = found[dims.index("batch")]  # it is free
        if lengths != found or (shape is not None and 0 in found):
            raise InputError(
                f"x has the shape {tuple(found)}: expected that of its coordinates, none empty, "
                f"{', '.join(f'{dim} {n}' for dim, n in zip(dims, lengths, strict=True))}"
            )
        sizes = dict(zip(dims[:-3], found[:-3], strict=True))
        return cls(sizes, (found[-2], found[-1]), coords)

    def front(self, values: NDArray[Any]) -> NDArray[Any]:
        """Bring (..., rest) to (E, L, T, rest): members of the input, lead times, times."""
        given, count = [*self.sizes], len(self.sizes)
        axes = [given.index(dim) for dim in self._order]
        moved = values.transpose(*axes, *range(count, values.ndim))
        members = math.prod(self.sizes[dim] for dim in self._beside)
        leads, times = (self.sizes.get(dim, 1) for dim in _TIMES)
        return moved.reshape(members, leads, times, *values.shape[count:])

    def back(self, values: NDArray[Any]) -> NDArray[Any]:
        """Bring (E, L, T, rest) to (..., rest); T may be another than it was."""
        sizes = {**self.sizes, "time": values.shape[2]}
        spread = values.reshape(*(sizes[dim] for dim in self._order), *values.shape[3:])
        axes = [self._order.index(dim) for dim in self.sizes]
        return spread.transpose(*axes, *range(len(axes), spread.ndim))

    def valid_times(self, lead: int) -> NDArray[Any] | None:
        """Return the valid times (T,) of a lead time; None if there are no times."""
        if "time" not in self.sizes:
            return None
        times = self.coords["time"]
        return times + self.coords["lead_time"][lead] if self.sizes.get("lead_time") else times

    def starts(self, valid: NDArray[Any]) -> NDArray[Any]:
        """Return the times (T,) of valid times of the first lead time."""
        lead = self.sizes.get("lead_time")
        return valid - self.coords["lead_time"][0] if lead else valid

    @property
    def numbers(self) -> list[int]:
        """Numbers of the members of the input (E,), by their coordinate; zero of one alone.

        Raises
        ------
        InputError
            If several dimensions may count them, or they are no whole numbers.
        """
        long = [dim for dim in self._beside if self.sizes[dim] > 1]
        counted = long or [dim for dim in self._beside if dim == "ensemble"]
        if not counted:
            return [0]
        values = self.coords[counted[0]]
        if not values.size:
            values = np.arange(self.sizes[counted[0]])
        if len(counted) > 1 or values.dtype.kind not in "iu" or values.min() < 0:
            found = ", ".join(f"{dim} ({self.coords[dim].dtype})" for dim in counted)
            raise InputError(
                "A stochastic model draws for each member of its input by the member's number: "
                "expected one dimension of whole numbers, such as ensemble, beside time and "
                f"lead_time, found {found}"
            )
        return [int(value) for value in values]

    @property
    def _beside(self) -> list[str]:
        return [dim for dim in self.sizes if dim not in _TIMES]

    @property
    def _order(self) -> list[str]:
        return [*self._beside, *(dim for dim in _TIMES if dim in self.sizes)]
