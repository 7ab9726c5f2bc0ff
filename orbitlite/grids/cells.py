"""Cells: which of one grid are cells of another, with one tolerance for all who ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Two cells are the same if their edges are this share of the cell apart or less. Rounding to
# float32 moves an edge by up to 3e-5 degrees: 0.003 of a cell of 0.01 degrees; rounding to three
# decimals by 0.0005: 0.02 of one of 0.025. Grids that differ do so by a quarter of a cell or more.
TOLERANCE = 0.02


def coincide(one: Any, other: Any, cell: Any) -> NDArray[np.bool_]:
    """Tell which places are the same for cells of this size: degrees, shapes that broadcast."""
    near: NDArray[np.bool_] = np.abs(np.asarray(one) - other) <= TOLERANCE * cell
    return near


@dataclass(frozen=True, eq=False)
class Found:
    """Where n cells are among those of another grid, along one axis.

    Attributes
    ----------
    index : ndarray of shape (n,)
        Which of the other cells their middle lies in; the nearest where they lie beyond.
    same : ndarray of bool, shape (n,)
        Where it is that cell.
    within, outside : ndarray of bool, shape (n,)
        Where it lies between the first and the last edge of the other grid, and where it has no
        part there.
    apart : ndarray of shape (n,)
        Degrees from its edges to those of `index`, the larger of both.
    """

    index: NDArray[np.intp]
    same: NDArray[np.bool_]
    within: NDArray[np.bool_]
    outside: NDArray[np.bool_]
    apart: Floats


def find_cells(own: Floats, wanted: Floats, around: bool = False) -> Found:
    """Find the n cells between edges `wanted` among the N between edges `own`.

    Parameters
    ----------
    own, wanted : ndarray of shape (N + 1,) and (n + 1,)
        Ascending, in degrees.
    around : bool
        They are longitudes: whole turns make no difference.
    """
    start, end = wanted[:-1], wanted[1:]
    if around:
        turn = 360.0 * np.floor(((start + end) / 2 - own[0]) / 360.0)
        start, end = start - turn, end - turn
    slack = TOLERANCE * (end - start)
    index = (np.searchsorted(own, (start + end) / 2, side="right") - 1).clip(0, own.size - 2)
    apart = np.maximum(np.abs(own[index] - start), np.abs(own[index + 1] - end))
    within = (start >= own[0] - slack) & (end <= own[-1] + slack)
    behind = start >= own[-1] - slack
    # the middle of a longitude lies behind the first edge: what reaches over it is a turn further
    outside = (
        behind & (end - 360.0 <= own[0] + slack) if around else behind | (end <= own[0] + slack)
    )
    return Found(index, apart <= slack, within, outside, apart)


def nowhere(count: int) -> Found:
    """Return so many cells that are not those of another grid, though they may lie within it."""
    none = np.zeros(count, np.bool_)
    return Found(np.zeros(count, np.intp), none, ~none, none, np.full(count, np.inf))
