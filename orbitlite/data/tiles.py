"""TilePlan: a grid cut into tiles, each with a core that is kept and a halo that is context.

TILES (Wang et al. 2025, ORBIT-2) attends inside tiles, so that the cost is linear in area.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orbitlite.errors import InputError
from orbitlite.grids.grid import Places


@dataclass(frozen=True)
class Tile:
    """A window of a grid, and the core in it.

    Attributes
    ----------
    row, column : int
        First row and column of the window.
    height, width : int
        Size of the window; its columns may go on from the first of the grid.
    core : tuple of slice
        Rows and columns of the core in the grid.
    inner : tuple of slice
        Rows and columns of the core in the window.
    """

    row: int
    column: int
    height: int
    width: int
    core: tuple[slice, slice]
    inner: tuple[slice, slice]

    def with_row(self, row: int) -> Tile:
        """Return the tile in fields that begin elsewhere: its window starts at `row`."""
        return replace(self, row=row)


@dataclass(frozen=True)
class TilePlan:
    """Equal tiles over a grid; their cores cover each cell once.

    Windows stay inside the grid: at poles and borders they shift inward instead of reaching beyond
    or shrinking, so that nothing has to be invented there. In longitude a global grid goes round.
    Windows begin at multiples of `align`; the last in a row or column ends with the grid, up to
    `align - 1` cells short.

    Parameters
    ----------
    height, width : int
        Cells of the grid.
    tile : int, optional
        Cells of a core along one axis. None: one tile, the grid.
    halo : int
        Cells of context on each side.
    wraps : bool
        The grid goes once round in longitude.
    align : int
        Cells of a patch: tile and halo are rounded up to multiples.
    south_first : bool
        The rows of cores are counted from the last row, so that they are the chunks of a store
        that begins there; the first row of tiles is the smaller one then.

    Raises
    ------
    InputError
        If tile or halo is too small.

    Examples
    --------
    >>> plan = TilePlan(8, 12, tile=4, halo=2, wraps=True)
    >>> len(plan.tiles), plan.tiles[0].column, plan.tiles[0].width
    (6, 10, 8)
    """

    height: int
    width: int
    tile: int | None = None
    halo: int = 0
    wraps: bool = False
    align: int = 1
    south_first: bool = False

    def __post_init__(self) -> None:
        if self.tile is not None and self.tile < 1:
            raise InputError(f"tile: expected 1 or more coarse cells, found {self.tile}")
        if self.halo < 0:
            raise InputError(f"halo: expected 0 or more coarse cells, found {self.halo}")

    @property
    def tiles(self) -> list[Tile]:
        """Row by row, from the first corner of the grid."""
        rows, columns = self.bands
        return [
            Tile(
                row.first,
                column.first,
                row.size,
                column.size,
                (row.core, column.core),
                (row.inner, column.inner),
            )
            for row in rows
            for column in columns
        ]

    @property
    def bands(self) -> tuple[list[Band], list[Band]]:
        """The rows and the columns of tiles."""
        step = _up(self.tile or self.height, self.align)
        rows = self._bands(self.height, False, self.height % step if self.south_first else 0)
        return rows, self._bands(self.width, self.wraps)

    def _bands(self, cells: int, wraps: bool, shift: int = 0) -> list[Band]:
        """Cut an axis into cores that follow each other, each in a window of equal size.

        With cores of s cells and m of margin a window has s + 2 m cells and begins m before its
        core, on the edge of a patch:

            cells    |....................................|
            cores    |-shift-|----s----|----s----|--rest--|
            window           first = core.start - m, of s + 2 m cells

        An axis that wraps takes the window across its end; another one moves it inside, so that all
        windows have one size and only the last patch may be cut short.
        """
        if self.tile is None:
            return [Band(0, cells, slice(0, cells), slice(0, cells))]
        step = _up(self.tile, self.align)
        margin = _up(self.halo, self.align)
        # a core that begins between patches takes its window from the patch before
        window = step + 2 * margin + (self.align if shift % self.align else 0)
        stops = [*range(shift or step, cells, step), cells]
        cores = [slice(a, b) for a, b in zip([0, *stops[:-1]], stops, strict=True)]
        if window >= cells:
            return [Band(0, cells, core, core) for core in cores]
        found = []
        for core in cores:
            first = (core.start - margin) // self.align * self.align
            if wraps:
                inner = slice(margin, margin + core.stop - core.start)
                found.append(Band(first % cells, window, core, inner))
                continue
            first = min(max(first, 0), _up(cells, self.align) - window)
            size = min(window, cells - first)
            inner = slice(core.start - first, core.stop - first)
            found.append(Band(first, size, core, inner))
        return found


@dataclass(frozen=True)
class Band:
    """A tile along one axis: first cell, size, core in the grid, core in the window."""

    first: int
    size: int
    core: slice
    inner: slice


def take(values: NDArray[np.float32], tile: Tile, factor: int = 1) -> NDArray[np.float32]:
    """Cut a window out of fields.

    Parameters
    ----------
    values : ndarray of shape (..., f H, f W)
    tile : Tile
    factor : int
        f: cells of `values` per cell of the plan along one axis.

    Returns
    -------
    ndarray of shape (..., f height, f width)
    """
    rows = slice(factor * tile.row, factor * (tile.row + tile.height))
    first, last = factor * tile.column, factor * (tile.column + tile.width)
    total = values.shape[-1]
    if last <= total:
        return values[..., rows, first:last]
    return np.concatenate([values[..., rows, first:], values[..., rows, : last - total]], axis=-1)


def window_index(tile: Tile, columns: int, dims: tuple[str, str]) -> dict[str, Any]:
    """Return what selects a window by its dims, of a grid of so many columns."""
    rows, last = slice(tile.row, tile.row + tile.height), tile.column + tile.width
    if last <= columns:
        return dict(zip(dims, (rows, slice(tile.column, last)), strict=True))
    return dict(zip(dims, (rows, np.arange(tile.column, last) % columns), strict=True))


def scaled(cells: slice, factor: int) -> slice:
    """Turn a slice of coarse cells into that of their fine cells."""
    return slice(cells.start * factor, cells.stop * factor)


def framed(core: NDArray[np.float32], tile: Tile, factor: int) -> NDArray[np.float32]:
    """Set a core's fine fields (..., f h', f w') into its window, NaN around them."""
    shape = (factor * tile.height, factor * tile.width)
    if core.shape[-2:] == shape:
        return core
    whole = np.full((*core.shape[:-2], *shape), np.nan, np.float32)
    rows, columns = (scaled(cells, factor) for cells in tile.inner)
    whole[..., rows, columns] = core
    return whole


def window_edges(
    lat_edges: NDArray[np.float64], lon_edges: NDArray[np.float64], tile: Tile
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the edges of a window; longitudes go on beyond the last edge of a global grid."""
    rows = lat_edges[tile.row : tile.row + tile.height + 1]
    cells = len(lon_edges) - 1
    columns = np.arange(tile.column, tile.column + tile.width + 1)
    turn = lon_edges[-1] - lon_edges[0]
    return rows, lon_edges[columns % cells] + turn * (columns // cells)


def window_places(places: Places, tile: Tile, factor: int) -> Places:
    """Return where the cells of a window lie (see `Grid.places`), the fine ones `factor` finer."""
    if "corners" not in places:
        lat, lon = window_edges(places["lat_edges"], places["lon_edges"], tile)
        return {"lat_edges": lat, "lon_edges": lon}
    corners, columns = places["corners"], np.arange(tile.column, tile.column + tile.width + 1)
    cells = corners.shape[1] - 1
    if columns[-1] > cells:
        columns = columns % cells
    rows = slice(tile.row, tile.row + tile.height + 1)
    areas = take(places["areas"], tile, factor)
    return {"corners": corners[rows][:, columns], "areas": areas}


def _up(value: int, align: int) -> int:
    return -(-value // align) * align
