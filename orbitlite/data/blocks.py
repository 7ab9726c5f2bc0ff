"""Blocks: what of an array is read at a time, and a function on it when that is read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

Positions: TypeAlias = Sequence[Any]
"""Where a block lies: for every dim of the whole array a range, an array or one number."""


class Function(Protocol):
    """What is done to a block: values of any type in, float32 of the same shape out."""

    def __call__(self, values: NDArray[Any], positions: Positions) -> NDArray[np.float32]:
        """Return what becomes of a block."""


def mapped(variable: xr.Variable, function: Function) -> xr.Variable:
    """Apply a function to the values of a variable: now if they are in memory, else when read.

    Parameters
    ----------
    variable : xr.Variable
    function : callable
        Of the values of a block and their positions in the whole array.

    Returns
    -------
    xr.Variable
        float32, without attributes and encoding; dask where it was dask.
    """
    data: Any
    if variable.chunks is not None:
        data = _of_dask(variable.data, function)
    elif variable._in_memory:
        data = function(np.asarray(variable.values), [range(size) for size in variable.shape])
    else:
        lazy = indexing.LazilyIndexedArray(_Mapped(variable, function))
        data = indexing.MemoryCachedArray(lazy)  # type: ignore[no-untyped-call]
    return xr.Variable(variable.dims, data)


def _of_dask(array: Any, function: Function) -> Any:
    starts = [np.cumsum([0, *sizes[:-1]]) for sizes in array.chunks]
    return array.map_blocks(
        _block,
        function=function,
        starts=starts,
        dtype=np.float32,
        meta=np.empty((0,) * array.ndim, np.float32),
    )


def _block(
    values: NDArray[Any],
    function: Function,
    starts: list[NDArray[np.intp]],
    block_id: tuple[int, ...] = (),
) -> NDArray[np.float32]:
    first = [int(start[number]) for start, number in zip(starts, block_id, strict=True)]
    positions = [range(a, a + size) for a, size in zip(first, values.shape, strict=True)]
    return function(values, positions)


def spans(ds: xr.Dataset, at_once: int) -> list[slice]:
    """Divide the steps of a dataset into runs of about `at_once`, which divide no chunk of dask.

    Chunks are those of the variable that has the fewest.
    """
    steps = ds.sizes["time"]
    ends = np.arange(at_once, steps, at_once)
    lazy = [ds[name] for name in ds.data_vars if ds[name].chunks and "time" in ds[name].dims]
    if lazy:
        longest = min(lazy, key=lambda field: len(field.chunksizes["time"]))
        bounds = np.cumsum(longest.chunksizes["time"])
        ends = np.unique(bounds[np.searchsorted(bounds, ends).clip(max=bounds.size - 1)])
    edges = [0, *map(int, ends[ends < steps]), steps]
    return [slice(start, end) for start, end in pairwise(edges)]


class _Mapped(BackendArray):
    """A variable that is read when it is looked into, as xarray's own backends have it."""

    def __init__(self, variable: xr.Variable, function: Function) -> None:
        self.variable, self.function = variable, function
        self.shape, self.dtype = variable.shape, np.dtype(np.float32)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        outer = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, outer, self._read)

    def _read(self, key: tuple[Any, ...]) -> NDArray[np.float32]:
        positions = [range(n)[k] if isinstance(k, (int, np.integer, slice)) else np.arange(n)[k]
                     for n, k in zip(self.shape, key, strict=True)]  # fmt: skip
        return self.function(np.asarray(self.variable[key].values), positions)
