"""Overlap: which share of each cell of a grid lies in each cell of another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from orbitlite.errors import InputError
from orbitlite.grids.cells import TOLERANCE, Floats
from orbitlite.grids.crs import Crs
from orbitlite.grids.grid import Grid
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.grids.mesh import MeshGrid
from orbitlite.grids.sphere import angles, signed_areas, vectors


class Overlap(ABC):
    """Shares of target cells that lie in source cells, to sum a source's values with."""

    @abstractmethod
    def __call__(self, values: Floats) -> Floats:
        """Return sums (..., H, W) of values (..., h, w), weighted with the shares."""


def overlap(source: Grid, target: Grid) -> Overlap:
    """Find the shares.

    Parameters
    ----------
    source, target : Grid
        Both of latitude and longitude, or both along the axes of one plane.

    Raises
    ------
    InputError
        If they are neither.
    """
    if isinstance(source, LatLonGrid) and isinstance(target, LatLonGrid):
        return _Products.of(source, target)
    if isinstance(source, MeshGrid) and isinstance(target, MeshGrid) and _alike(source, target):
        return _Pieces.of(source, target)
    raise InputError(
        "regrid conservative serves two grids of latitude and longitude, or two whose rows and "
        f"columns lie along the axes of one reference system; found {source.describe()} to be "
        f"brought onto {target.describe()}: use linear."
    )


@dataclass(frozen=True, eq=False)
class _Products(Overlap):
    """Shares of rows (H, h) times shares of columns (W, w): sine of latitude and longitude."""

    rows: Floats
    columns: Floats

    @classmethod
    def of(cls, source: LatLonGrid, target: LatLonGrid) -> _Products:
        rows = _shares(np.sin(np.radians(source.lat_edges)), np.sin(np.radians(target.lat_edges)))
        near = round((target.lon_edges[0] - source.lon_edges[0]) / 360.0)
        turned = (source.turn(near + turns).lon_edges for turns in (-1, 0, 1))
        columns = sum((_shares(edges, target.lon_edges) for edges in turned), start=np.zeros(1))
        return cls(rows, columns)

    def __call__(self, values: Floats) -> Floats:
        summed: Floats = self.rows @ values @ self.columns.T
        return summed


def _shares(source: Floats, target: Floats) -> Floats:
    """Return which share of each target interval lies in each source interval, (target, source)."""
    (start, end), (first, last) = (
        np.sort(np.stack([edges[:-1], edges[1:]]), axis=0) for edges in (source, target)
    )
    shared = np.minimum(end, last[:, None]) - np.maximum(start, first[:, None])
    share: Floats = shared.clip(min=0.0) / (last - first)[:, None]
    return share


@dataclass(frozen=True, eq=False)
class _Pieces(Overlap):
    """Shares of the pieces that the lines of both grids cut a plane into.

    Cells are those of first-order conservative remapping (Jones 1999, Monthly Weather Review 127,
    2204-2210, equation 4). Pieces of one source cell are scaled to make up its area: between arcs
    of great circles, which are not quite straight in the plane, they leave slits.

    Attributes
    ----------
    shares : csr_array of shape (H W, h w)
        Areas on the sphere over those of the target cells.
    shape : tuple of int
        (H, W).
    """

    shares: csr_array
    shape: tuple[int, int]

    @classmethod
    def of(cls, source: MeshGrid, target: MeshGrid) -> _Pieces:
        """Measure the pieces."""
        assert source.axes is not None
        assert target.axes is not None
        assert source.axes.crs is not None
        crs = source.axes.crs
        own, wanted = source.axes.edges, target.axes.edges
        rows, columns = _Cuts.of(own[0], wanted[0]), _Cuts.of(own[1], wanted[1], crs.angular)
        size = target.lat.size, source.lat.size
        if not (rows.edges.size and columns.edges.size):
            return cls(csr_array(size), target.shape)
        areas = _areas(crs, rows.edges, columns.edges)
        whole = np.add.reduceat(np.add.reduceat(areas, rows.starts, 0), columns.starts, 1)
        cells = np.ix_(rows.source[rows.starts], columns.source[columns.starts])
        scale = source.areas[cells] / np.where(whole > 0, whole, np.inf)
        areas *= scale[np.ix_(rows.number, columns.number)]
        there = np.ix_(rows.used, columns.used)
        taken = _flat(rows.source[rows.used], columns.source[columns.used], source)
        given = _flat(rows.target[rows.used], columns.target[columns.used], target)
        shares = areas[there].ravel() / target.areas.ravel()[given]
        return cls(csr_array((shares, (given, taken)), size), target.shape)

    def __call__(self, values: Floats) -> Floats:
        flat = values.reshape(-1, self.shares.shape[1])
        summed: Floats = (self.shares @ flat.T).T.reshape(*values.shape[:-2], *self.shape)
        return summed


@dataclass(frozen=True, eq=False)
class _Cuts:
    """The intervals into which lines of a source and of a target cut an axis.

    They cover whole source cells: those that the target touches.

    Attributes
    ----------
    edges : ndarray of shape (n + 1,)
        Ascending; empty if the target touches no source cell.
    source, target : ndarray of int, shape (n,)
        The cells that they lie in; -1 where there is none.
    number : ndarray of int, shape (n,)
        Of the source cell, counted along the axis.
    """

    edges: Floats
    source: NDArray[np.intp]
    target: NDArray[np.intp]
    number: NDArray[np.intp]

    @classmethod
    def of(cls, source: Floats, target: Floats, around: bool = False) -> _Cuts:
        """Cut along edges (h + 1,) and (H + 1,), which both go one way.

        Parameters
        ----------
        source, target : ndarray
        around : bool
            They are degrees that go round: whole turns make no difference.
        """
        near = 360.0 * round((target.mean() - source.mean()) / 360.0) if around else 0.0
        turned = [source + near + turn for turn in ((-360.0, 0.0, 360.0) if around else (0.0,))]
        edges = np.unique(np.concatenate([target, *turned]))
        middles = (edges[1:] + edges[:-1]) / 2
        wanted, cells = _cells(target, middles), np.full(middles.size, -1)
        for lines in turned:
            cells = np.maximum(cells, _cells(lines, middles))
        touched = np.isin(cells, cells[(cells >= 0) & (wanted >= 0)])
        if not touched.any():
            return cls(edges[:0], cells[:0], cells[:0], cells[:0])
        first, last = np.flatnonzero(touched)[[0, -1]]
        kept = slice(first, last + 1)
        cells = cells[kept]
        number = np.cumsum(np.diff(cells, prepend=cells[0]) != 0)
        return cls(edges[first : last + 2], cells, wanted[kept], number)

    @property
    def starts(self) -> NDArray[np.intp]:
        """Where each source cell begins."""
        return np.flatnonzero(np.diff(self.number, prepend=-1))

    @property
    def used(self) -> NDArray[np.intp]:
        """Which lie in cells of both grids."""
        return np.flatnonzero((self.source >= 0) & (self.target >= 0))


def _cells(edges: Floats, places: Floats) -> NDArray[np.intp]:
    """Return which cells between edges, ascending or not, places (n,) lie in; -1: none."""
    up = bool(edges[-1] > edges[0])
    count = edges.size - 1
    index = np.searchsorted(edges if up else edges[::-1], places, side="right") - 1
    there = (index >= 0) & (index < count)
    return np.where(there, index if up else count - 1 - index, -1)


def _flat(rows: NDArray[np.intp], columns: NDArray[np.intp], grid: Grid) -> NDArray[np.intp]:
    """Return the numbers of cells of all rows and columns among those of a grid."""
    return (rows[:, None] * grid.shape[1] + columns).ravel()


def _areas(crs: Crs, y: Floats, x: Floats) -> Floats:
    """Return the areas (h, w) of cells between lines (h + 1,) and (w + 1,), in steradians."""
    corners = crs.degrees(*np.meshgrid(y, x, indexing="ij"))
    return np.abs(signed_areas(vectors(*corners)))


def _alike(source: MeshGrid, target: MeshGrid) -> bool:
    """Tell whether the planes are one: both systems say the same places of the target's corners."""
    one, other = source.axes, target.axes
    if one is None or other is None or one.crs is None or other.crs is None:
        return False
    y, x = np.meshgrid(*other.edges, indexing="ij")
    try:
        ours = vectors(*one.crs.degrees(y, x))
    except InputError:  # beyond the reach of the source's
        return False
    theirs = vectors(*other.crs.degrees(y, x))
    return bool((angles(ours, theirs) <= TOLERANCE * min(target.spacing)).all())
