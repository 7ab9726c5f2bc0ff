"""Growth: whether the first steps of a series behave like a running total."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orbitlite.data.totals import NOISE

_LARGEST = 2**26  # bytes that may be read to find out
_STEPS_IN_MEMORY, _STEPS_IN_FILES = 744, 26
# Values that differ by less than this share of the largest are the same.
_SAME = 1e-4
# Steps that could fall and do not; amounts of rain fall at about every second one.
_ENOUGH = 12


@dataclass(frozen=True)
class Growth:
    """What happens from each step to the next, over all cells.

    Attributes
    ----------
    falls : ndarray of bool, shape (steps - 1,)
        Some cell falls by more than noise.
    wet : ndarray of bool, shape (steps - 1,)
        Some cell was above noise before.
    stands : bool
        Cells above noise often keep their value, as totals do while nothing is added.
    """

    falls: NDArray[np.bool_]
    wet: NDArray[np.bool_]
    stands: bool

    @classmethod
    def of(cls, data: xr.DataArray, dim: str, single: Sequence[str], least: float) -> Self | None:
        """Read the first steps of a series.

        Parameters
        ----------
        data : xr.DataArray
        dim : str
            Dimension of the series.
        single : sequence of str
            Other dims of which the first value is enough.
        least : float
            What is noise in any case, in the unit of the data.

        Returns
        -------
        Growth or None
            None if the data are lazy arrays of dask, or much would have to be read.
        """
        if data.chunks:
            return None
        in_memory = data.variable._in_memory
        steps = _STEPS_IN_MEMORY if in_memory else _STEPS_IN_FILES
        first = {dim: steps, **dict.fromkeys(single, 1)}
        if not in_memory and _bytes_read(data, first) > _LARGEST:
            return None
        data = data.isel({name: slice(n) for name, n in first.items() if name in data.dims})
        data = data.transpose(dim, ...)
        while data.nbytes > _LARGEST and max(data.shape[1:]) > 3:  # the middle of the longest side
            longest = max(data.dims[1:], key=lambda name: data.sizes[name])
            quarter = data.sizes[longest] // 4
            data = data.isel({longest: slice(quarter, -quarter)})
        return cls._between(data.values.astype(np.float64).reshape(data.sizes[dim], -1), least)

    @classmethod
    def _between(cls, values: NDArray[np.float64], least: float) -> Self:
        known = np.abs(values[np.isfinite(values)])
        largest = float(known.max(initial=0.0))
        noise = max(least, NOISE * largest)
        before, change = values[:-1], np.diff(values, axis=0)
        wet = before > noise
        still = wet & (np.abs(change) <= _SAME * largest)
        falls: Any = (change < -noise).any(axis=1)
        often = bool((change > noise).any()) and still.sum() > 0.05 * wet.sum()
        return cls(falls, np.asarray(wet.any(axis=1)), bool(often))

    def grows(self, where: NDArray[np.bool_]) -> bool:
        """Tell whether none of the steps `where` falls, though enough of them could."""
        enough = (self.wet & where).sum() >= _ENOUGH
        return bool(enough and self.stands and not self.falls[where].any())


def _bytes_read(data: xr.DataArray, first: Mapping[str, int]) -> int:
    """Return the bytes of the stored chunks that the `first` values of some dims lie in."""
    chunks = data.encoding.get("preferred_chunks") or {}
    lengths = []
    for dim, size in data.sizes.items():
        wanted = min(first.get(str(dim), size), size)
        chunk = max(1, int(np.max(chunks.get(dim, 1))))
        lengths.append(min(size, math.ceil(wanted / chunk) * chunk))
    return math.prod(lengths) * data.dtype.itemsize
