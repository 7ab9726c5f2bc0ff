"""Amplification: how much of a store is decoded for a sample that is read by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orbitlite.data.steps import Index

Windows: TypeAlias = Sequence[Mapping[str, Index]]
"""Cells of samples by the dims of the grid. Of any other dim a sample is one place."""


def amplification(sides: Sequence[tuple[xr.Dataset, Windows]]) -> float:
    """Return how many values are decoded for each that a sample needs, in the mean.

    Chunks are those of dask, which are the stored ones; what is in memory does not count.

    Parameters
    ----------
    sides : sequence of (xr.Dataset, sequence of mapping)
        What samples are read from, and their windows.
    """
    counts = np.array([_counts(ds, windows) for ds, windows in sides]).sum(0)
    return float(counts[0] / counts[1]) if counts[1] else 1.0


def _counts(ds: xr.Dataset, windows: Windows) -> tuple[float, float]:
    """Return the values that are decoded for a sample, and those that it needs, in the mean."""
    decoded = needed = 0.0
    known: dict[object, tuple[float, float]] = {}
    for field in ds.data_vars.values():
        if not field.chunks:
            continue
        layout = (field.dims, field.chunks)
        if layout not in known:
            sizes = dict(zip(map(str, field.dims), map(np.array, field.chunks), strict=True))
            around = float(np.prod([
                (own**2).sum() / own.sum() for dim, own in sizes.items() if dim not in windows[0]
            ]))  # fmt: skip
            cells = np.array([
                [_touched(sizes[dim], index) for dim, index in window.items()]
                for window in windows
            ])  # fmt: skip
            whole, own = cells.prod(1).mean(0)
            known[layout] = around * float(whole), float(own)
        decoded, needed = decoded + known[layout][0], needed + known[layout][1]
    return decoded, needed


def _touched(sizes: NDArray[np.intp], index: Index) -> tuple[int, int]:
    """Return the cells of the chunks that an index touches along an axis, and its own."""
    cells = np.arange(sizes.sum())[index]
    return int(sizes[np.unique(np.searchsorted(sizes.cumsum(), cells, "right"))].sum()), cells.size
