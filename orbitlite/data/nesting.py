"""Nesting: which cells of a coarse and of a fine store belong together."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orbitlite.errors import InputError
from orbitlite.grids.cells import Floats, find_cells
from orbitlite.grids.context import Context
from orbitlite.grids.grid import Grid
from orbitlite.grids.latlon import LatLonGrid, divide
from orbitlite.notice import notice, warn

logger = logging.getLogger(__name__)

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Nesting:
    """Blocks of fine cells and the coarse cell of each.

    Attributes
    ----------
    grid : Grid
        The nested coarse grid, `(H, W)`.
    fine_grid : Grid
        What is kept of the fine grid, `(f H, f W)`.
    rows, columns : ndarray of shape (H,), (W,)
        Indices into the coarse store; -1 where it has no such cell.
    fine_rows, fine_columns : ndarray of shape (f H,), (f W,)
        Indices into the fine store.
    """

    grid: Grid
    fine_grid: Grid
    rows: Indices
    columns: Indices
    fine_rows: Indices
    fine_columns: Indices

    def cut(self, ds: xr.Dataset) -> xr.Dataset:
        """Take the nested cells of a coarse dataset, lazily; NaN where it has none."""
        return take(ds, self.rows, self.columns, self.grid.dims).assign_coords(
            self.grid.coordinates()
        )

    def cut_fine(self, ds: xr.Dataset) -> xr.Dataset:
        """Take the kept cells of a fine dataset, lazily."""
        cut = take(ds, self.fine_rows, self.fine_columns, self.grid.dims)
        return cut.assign_coords(self.fine_grid.coordinates())


def nest(fine: Grid, factor: int, coarse: Grid | None = None) -> Nesting:
    """Find the blocks of `factor` x `factor` fine cells that make coarse cells.

    Fine rows and columns at the edges that make no whole block are dropped, with a notice.

    Parameters
    ----------
    fine : Grid
    factor : int
    coarse : Grid, optional
        Its cells are the blocks. It may cover less or more, begin elsewhere on the
        globe, and count longitudes otherwise. None: blocks begin at the first fine cell.

    Returns
    -------
    Nesting

    Raises
    ------
    InputError
        If the coarse cells are not such blocks, or the grids have no cell in common.
    """
    if isinstance(fine, LatLonGrid) and isinstance(coarse, LatLonGrid | None):
        rows, columns = _of_edges(fine, factor, coarse)
    else:
        rows, columns = _of_corners(fine, factor, coarse)
    for axis, run, size in ((0, rows, fine.shape[0]), (1, columns, fine.shape[1])):
        if run.fine.size < size:
            _say_dropped(fine, factor, axis, run)
    fine_grid = fine.select(rows.fine, columns.fine)
    covered = coarse is not None and min(rows.coarse.min(), columns.coarse.min()) >= 0
    grid = (
        coarse.select(rows.coarse, columns.coarse)
        if coarse is not None and covered
        else fine_grid.coarsen(factor)
    )
    if coarse is not None and not covered:
        there = np.outer(rows.coarse >= 0, columns.coarse >= 0)
        warn(
            logger,
            f"The coarse store covers {there.sum()} of the {there.size} coarse cells of the fine "
            "region: the others are NaN.",
        )
    return Nesting(grid, fine_grid, rows.coarse, columns.coarse, rows.fine, columns.fine)


@dataclass(frozen=True, eq=False)
class Surroundings:
    """The cells of a coarse store in and around a grid that is made of them.

    Attributes
    ----------
    lattice : Grid
        The grid with its context.
    context : Context
        How many cells were added on each side.
    rows, columns : ndarray of int
        Indices into the coarse store; -1 where it has no such cell.
    """

    lattice: Grid
    context: Context
    rows: Indices
    columns: Indices

    def cut(self, ds: xr.Dataset) -> xr.Dataset:
        """Take the cells of a coarse dataset, lazily; NaN where it has none."""
        return take(ds, self.rows, self.columns, self.lattice.dims).assign_coords(
            self.lattice.coordinates()
        )


def surround(grid: Grid, coarse: Grid, rows: Indices, columns: Indices, cells: int) -> Surroundings:
    """Find what surrounds some cells of a coarse store; what it does not have is told.

    Parameters
    ----------
    grid : Grid
        Of the cells, (H, W).
    coarse : Grid
        Of the store.
    rows, columns : ndarray of int, shapes (H,) and (W,)
        Where the cells are in the store; -1: nowhere.
    cells : int
        Rows and columns on each side.
    """
    context = grid.room(cells)
    rows = _beyond(rows, context.rows, coarse.shape[0], around=False)
    columns = _beyond(columns, context.columns, coarse.shape[1], around=coarse.wraps)
    _tell_poles(rows, context, coarse.shape[0], cells)
    there = np.outer(rows >= 0, columns >= 0)
    lattice = _lattice(grid, coarse, rows, columns, context) if any(context) else grid
    tell_lack(there, context, grid.shape)
    return Surroundings(lattice, context, rows, columns)


def _lattice(grid: Grid, coarse: Grid, rows: Indices, columns: Indices, context: Context) -> Grid:
    """Return the cells of the store, continued where it has none."""
    known = [np.flatnonzero(index >= 0) for index in (rows, columns)]
    if any(place.size < place[-1] - place[0] + 1 for place in known):
        return grid.surround(context)
    inner = coarse.select(*(index[index >= 0] for index in (rows, columns)))
    ends = [
        (int(place[0]), int(index.size - 1 - place[-1]))
        for place, index in zip(known, (rows, columns), strict=True)
    ]
    more = Context(*ends[0], *ends[1])
    fits = all(own <= most for own, most in zip(more, inner.room(max(more)), strict=True))
    return inner.surround(more) if fits else grid.surround(context)


def _tell_poles(rows: Indices, context: Context, size: int, cells: int) -> None:
    """Say where a row of the store is left out though it lies in the context.

    Cells of the context are as high as those beside them, and between them and the pole there may
    be half cells: those of a grid that has points at the poles.
    """
    left = {
        "north": context.north < cells and rows[0] > 0,
        "south": context.south < cells and 0 <= rows[-1] < size - 1,
    }
    if poles := " and ".join(pole for pole, out in left.items() if out):
        notice(logger, f"The half cells at the pole ({poles}) are no part of the context.")


def tell_lack(there: NDArray[np.bool_], context: Context, shape: tuple[int, int]) -> None:
    """Say how much of the context of a grid of a shape there is, if not all (H, W, bool)."""
    outside = np.ones_like(there)
    outside[context.core(shape)] = False
    if not there[outside].all():
        warn(
            logger,
            f"The coarse store covers {there[outside].sum()} of the {outside.sum()} coarse cells "
            "of the context: the others are NaN.",
        )


def _beyond(index: Indices, more: tuple[int, int], size: int, around: bool) -> Indices:
    """Continue indices of cells that follow each other; -1 outside of the store."""
    known = int((index >= 0).argmax())
    whole = index[known] - known + np.arange(-more[0], index.size + more[1])
    return whole % size if around else np.where((whole >= 0) & (whole < size), whole, -1)


def _of_edges(fine: LatLonGrid, factor: int, coarse: LatLonGrid | None) -> tuple[_Axis, _Axis]:
    """Find the blocks along parallels and meridians."""
    axes = []
    for axis in ("lat", "lon"):
        sign = -1.0 if axis == "lat" else 1.0
        edges = sign * getattr(fine, f"{axis}_edges")
        cells = None if coarse is None else sign * getattr(coarse, f"{axis}_edges")
        best = _best(edges, factor, cells, around=axis == "lon", wraps=axis == "lon" and fine.wraps)
        if best is None:
            raise InputError(_mismatch(fine, factor, coarse))
        axes.append(best)
    return axes[0], axes[1]


def _of_corners(fine: Grid, factor: int, coarse: Grid | None) -> tuple[_Axis, _Axis]:
    """Find the blocks whose corners are those of coarse cells."""
    axes = []
    found = (None, None) if coarse is None else fine.find_blocks(coarse, factor)
    for size, parts in zip(fine.shape, found, strict=True):
        first, count = 0, size // factor
        coarse_cells = np.full(count, -1)
        if parts is not None:
            whole = parts.same.reshape(-1, factor).all(axis=1)
            if whole.any():
                first = int(parts.index.reshape(-1, factor)[whole][0, 0]) % factor
                count = (size - first) // factor
                coarse_cells = np.full(count, -1)
                blocks = parts.index.reshape(-1, factor)[whole, 0] // factor
                coarse_cells[blocks] = np.flatnonzero(whole)
        if not count or (parts is not None and (coarse_cells < 0).all()):
            raise InputError(_mismatch(fine, factor, coarse))
        axes.append(_Axis(first + np.arange(count * factor), coarse_cells))
    return axes[0], axes[1]


def _say_dropped(fine: Grid, factor: int, axis: int, run: _Axis) -> None:
    if isinstance(fine, LatLonGrid):
        words = ("row(s) of latitude", "column(s) of longitude")[axis]
        where = _list((fine.lat, fine.lon)[axis], run.fine)
    else:
        words = ("row(s)", "column(s)")[axis]
        where = _list(np.arange(fine.shape[axis], dtype=np.float64), run.fine)
    warn(
        logger,
        f"{fine.shape[axis] - run.fine.size} fine {words} at the edge make no whole block "
        f"of {factor} and were dropped: {where}.",
    )


@dataclass(frozen=True)
class _Axis:
    fine: Indices
    coarse: Indices


def _best(
    edges: Floats, factor: int, cells: Floats | None, around: bool, wraps: bool
) -> _Axis | None:
    """Choose where blocks begin: where most of them are coarse cells."""
    count = edges.size - 1
    if wraps and count % factor == 0:
        edges = np.append(edges, edges[1:factor] + 360.0)
    best, score = None, 0
    for first in range(factor if cells is not None else 1):
        blocks = min(count, edges.size - 1 - first) // factor
        found, good = _match(edges[first : first + blocks * factor + 1], factor, cells, around)
        start, stop = longest_run(good)
        matched = int((found[start:stop] >= 0).sum()) if cells is not None else stop - start
        if matched > score:
            fine = (first + np.arange(start * factor, stop * factor)) % count
            best, score = _Axis(fine, found[start:stop]), matched
    return best


def _match(
    edges: Floats, factor: int, cells: Floats | None, around: bool
) -> tuple[Indices, NDArray[np.bool_]]:
    """Find the coarse cell of every block (-1: none), and which blocks can be used.

    A block is good if its cells are equal parts of it, and it either is a coarse cell or does
    not touch one.
    """
    found = np.full(max(0, edges.size - 1) // factor, -1, np.int64)
    if not found.size:
        return found, np.zeros(0, np.bool_)

    def blocks(of: NDArray[Any]) -> NDArray[Any]:
        return of.reshape(-1, factor)

    good: NDArray[np.bool_] = np.all(
        blocks(find_cells(divide(edges[::factor], factor), edges).same), axis=1
    )
    if cells is None:
        return found, good
    parts = find_cells(divide(cells, factor), edges, around)
    index = blocks(parts.index)
    whole = index // factor
    same = (index == whole[:, :1] * factor + np.arange(factor)) & blocks(parts.same)
    found = np.where(same.all(axis=1), whole[:, 0], -1)
    good &= (found >= 0) | np.all(blocks(parts.outside), axis=1)
    return found, good


def longest_run(good: NDArray[np.bool_]) -> tuple[int, int]:
    """Return start and stop of the longest run of True; (0, 0) if there is none."""
    changes = np.flatnonzero(np.diff(np.concatenate([[0], good.astype(np.int8), [0]])))
    if not changes.size:
        return 0, 0
    starts, stops = changes[::2], changes[1::2]
    longest = int((stops - starts).argmax())
    return int(starts[longest]), int(stops[longest])


def take(ds: xr.Dataset, rows: Indices, columns: Indices, dims: tuple[str, str]) -> xr.Dataset:
    """Take rows and columns, lazily, without the coordinates along them; NaN at index -1."""
    index = dict(zip(dims, (rows, columns), strict=True))
    located = [name for name in ds.coords if {*dims} & {*ds[name].dims}]
    taken = ds.drop_vars(located).isel(
        {dim: _selection(cells) for dim, cells in index.items()}, missing_dims="ignore"
    )
    for dim, cells in index.items():
        if (cells < 0).any():
            taken = taken.where(xr.DataArray(cells >= 0, dims=dim))
    return taken


def _selection(index: Indices) -> slice | Indices:
    """Make a slice of consecutive indices: a view, and cheap for dask."""
    if index[0] >= 0 and (np.diff(index) == 1).all():
        return slice(int(index[0]), int(index[-1]) + 1)
    return index.clip(min=0)


def _list(points: Floats, kept: Indices) -> str:
    dropped = np.delete(points, kept)
    names = [f"{value:g}" for value in dropped[:6]] + ["..."] * (dropped.size > 6)
    return ", ".join(names)


def _mismatch(fine: Grid, factor: int, coarse: Grid | None) -> str:
    if coarse is None:
        return f"The fine grid ({fine.describe()}) has no block of {factor} x {factor} equal cells."
    return (
        f"The coarse grid ({coarse.describe()}) does not nest in the fine grid "
        f"({fine.describe()}) with factor {factor}: set regrid to linear or conservative to "
        "bring the coarse data onto a grid that does."
    )
