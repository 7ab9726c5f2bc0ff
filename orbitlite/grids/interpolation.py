"""Interpolation on the sphere: from the points of any grid to those of another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.spatial import KDTree

from orbitlite.grids.cells import Floats
from orbitlite.grids.grid import Grid
from orbitlite.grids.sphere import vectors

_INSIDE = -1e-9
"""Least share of a corner for a point that lies in a triangle, rounding allowed for."""
# The eight neighbours of a point, in a ring: with two that follow each other it makes a triangle.
_RING = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
_CHUNK = 2**16


@dataclass(frozen=True, eq=False)
class Weights:
    """What each cell of a target takes of each of a source: a sparse matrix.

    Attributes
    ----------
    linear : csr_array of shape (H W, h w)
        Barycentric weights in the triangle of source points that a target point lies in; beyond the
        outermost points, but within their cells, all of the nearest. Rows of points that lie beyond
        the source are empty.
    nearest : ndarray of shape (H W,)
        The source cell that a target point lies in; -1 beyond the source.
    shape : tuple of int
        (H, W).
    """

    linear: csr_array
    nearest: NDArray[np.intp]
    shape: tuple[int, int]

    @classmethod
    def of(cls, source: Grid, target: Grid) -> Weights:
        """Find them: triangles in the gnomonic projection about each target point.

        There arcs of great circles are straight lines.

        Parameters
        ----------
        source, target : Grid
        """
        points = vectors(*target.centres).reshape(-1, 3)
        net = _Net.of(source)
        parts = [
            net.find(points[start : start + _CHUNK]) for start in range(0, len(points), _CHUNK)
        ]
        index, share, nearest = (np.concatenate(column) for column in zip(*parts, strict=True))
        rows = np.repeat(np.arange(len(points)), 3)
        kept = share.ravel() > 0
        size = len(points), source.shape[0] * source.shape[1]
        entries = share.ravel()[kept], (rows[kept], index.ravel()[kept])
        return cls(csr_array(entries, shape=size), nearest, target.shape)

    def __call__(self, values: Floats) -> Floats:
        """Return sums (..., H, W) of values (..., h, w)."""
        flat = values.reshape(-1, self.linear.shape[1])
        out: Floats = (self.linear @ flat.T).T.reshape(*values.shape[:-2], *self.shape)
        return out

    def at(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the values (..., H, W) of the cells that the points lie in; NaN beyond."""
        flat = values.reshape(*values.shape[:-2], -1)[..., self.nearest.clip(0)]
        found = np.where(self.nearest >= 0, flat, np.nan)
        return found.reshape(*values.shape[:-2], *self.shape)


@dataclass(frozen=True, eq=False)
class _Net:
    """Source points (h, w, 3), their corners (h + 1, w + 1, 3), and a tree of the points."""

    points: Floats
    corners: Floats
    tree: KDTree
    wraps: bool

    @classmethod
    def of(cls, source: Grid) -> _Net:
        points = vectors(*source.centres)
        corners = vectors(source.corners[..., 0], source.corners[..., 1])
        return cls(points, corners, KDTree(points.reshape(-1, 3)), source.wraps)

    def find(self, wanted: Floats) -> tuple[NDArray[np.intp], Floats, NDArray[np.intp]]:
        """Return for points (n, 3) indices (n, 3) with shares (n, 3), and the nearest cell (n,)."""
        width = self.points.shape[1]
        _, near = self.tree.query(wanted)
        row, column = np.divmod(near, width)
        index = np.repeat(near[:, None], 3, axis=1)
        share = np.zeros((len(wanted), 3))
        open_ = np.ones(len(wanted), np.bool_)
        for one, other in zip(_RING, (*_RING[1:], _RING[0]), strict=True):
            ends = [self._neighbour(row, column, step) for step in (one, other)]
            there = open_ & (ends[0] >= 0) & (ends[1] >= 0)
            corners = np.stack([near, *(end.clip(0) for end in ends)], axis=1)
            found = _barycentric(self.points.reshape(-1, 3)[corners], wanted)
            inside = there & (found >= _INSIDE).all(axis=1)
            index[inside], share[inside] = corners[inside], found[inside].clip(0)
            open_ &= ~inside
        cell = self._cell_of(row, column, wanted)
        edge = open_ & (cell >= 0)
        index[edge, 0], share[edge, 0] = cell[edge], 1.0
        return index, share, cell

    def _cell_of(
        self, row: NDArray[np.intp], column: NDArray[np.intp], wanted: Floats
    ) -> NDArray[np.intp]:
        """Return the cell that points lie in, one of those about the nearest point; -1: none."""
        width, cell = self.points.shape[1], np.full(len(wanted), -1)
        for step in ((0, 0), *_RING):
            other = self._neighbour(row, column, step)
            some = np.flatnonzero((cell < 0) & (other >= 0))
            inside = self._within(*np.divmod(other[some], width), wanted[some])
            cell[some[inside]] = other[some[inside]]
        return cell

    def _neighbour(
        self, row: NDArray[np.intp], column: NDArray[np.intp], step: tuple[int, int]
    ) -> NDArray[np.intp]:
        height, width = self.points.shape[:2]
        row, column = row + step[0], column + step[1]
        if self.wraps:
            column = column % width
        there = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        return np.where(there, row * width + column, -1)

    def _within(
        self, row: NDArray[np.intp], column: NDArray[np.intp], wanted: Floats
    ) -> NDArray[np.bool_]:
        """Tell which points lie in the cell of a point: in one of its two triangles."""
        a, b, c, d = (
            self.corners[row + down, column + right]
            for down, right in ((0, 0), (0, 1), (1, 1), (1, 0))
        )
        halves = [_barycentric(np.stack(three, axis=1), wanted) for three in ((a, b, c), (a, c, d))]
        inside: NDArray[np.bool_] = np.any([(half >= -1e-6).all(axis=1) for half in halves], axis=0)
        return inside


def _barycentric(corners: Floats, points: Floats) -> Floats:
    """Return the shares (n, 3) of corners (n, 3, 3) whose weighted sum points to (n, 3).

    NaN where a triangle has no area or lies on the other side of the sphere.
    """
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    parts = np.stack(
        [(points * np.cross(*pair)).sum(-1) for pair in ((b, c), (c, a), (a, b))], axis=1
    )
    total, volume = parts.sum(axis=1), (a * np.cross(b, c)).sum(-1)
    good = (np.abs(volume) > 1e-15) & (total / np.where(volume == 0, 1, volume) > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares: Floats = np.where(good[:, None], parts / total[:, None], np.nan)
    return shares
