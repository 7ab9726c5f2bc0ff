"""TilePlan: a grid cut into tiles, each with a core that is kept and a halo that is context.

TILES (Wang et al. 2025, ORBIT-2) attends inside tiles, so that the cost is linear in area.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orbitlite.errors import InputError
from orbitlite.grids.context import NO_CONTEXT, Context
from orbitlite.grids.grid import Grid, Places


@dataclass(frozen=True)
class Tile:
    """A window of a grid with its context, and the core in it.

    Attributes
    ----------
    row, column : int
        First row and column of the window, counted from those of the context.
    height, width : int
        Size of the window; its columns may go on from the first of the grid.
    core : tuple of slice
        Rows and columns of the core in the grid.
    inner : tuple of slice
        Rows and columns of the core in the window.
    decoded : tuple of slice
        Rows and columns of the window of which fine fields are made: the core, and beside one at
        the edge of a grid, that is smaller than others, what makes all of one size.
    own : tuple of slice
        Rows and columns of the window that no other tile counts as its own: the core, and at the
        edge of the grid the context beside it.
    """

    row: int
    column: int
    height: int
    width: int
    core: tuple[slice, slice]
    inner: tuple[slice, slice]
    decoded: tuple[slice, slice]
    own: tuple[slice, slice]

    @property
    def whole(self) -> bool:
        """Whether fine fields are made of all of the window."""
        return self.decoded == (slice(0, self.height), slice(0, self.width))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the window."""
        return self.height, self.width

    @property
    def core_shape(self) -> tuple[int, int]:
        """Rows and columns of what is decoded."""
        rows, columns = self.decoded
        return rows.stop - rows.start, columns.stop - columns.start

    @property
    def kept(self) -> tuple[slice, slice]:
        """Rows and columns of the core in what is decoded."""
        rows, columns = (
            _shifted(core, -made.start) for core, made in zip(self.inner, self.decoded, strict=True)
        )
        return rows, columns

    @property
    def made(self) -> tuple[slice, slice]:
        """Rows and columns of the grid that are decoded."""
        rows, columns = (
            _shifted(made, core.start - inner.start)
            for made, core, inner in zip(self.decoded, self.core, self.inner, strict=True)
        )
        return rows, columns

    def with_row(self, row: int) -> Tile:
        """Return the tile in fields that begin elsewhere: its window starts at `row`."""
        return replace(self, row=row)


@dataclass(frozen=True)
class TilePlan:
    """Equal tiles over a grid; their cores cover each cell once.

    Windows stay inside the grid: at poles and borders they shift inward instead of reaching beyond
    or shrinking, so that nothing has to be invented there. In longitude a global grid goes round.
    Windows begin at multiples of `align`; the last in a row or column ends with the grid, up to
    `align - 1` cells short. Around the grid there may be context, which windows reach into and
    cores do not.

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
    context : Context
        Cells around the grid.

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
    context: Context = NO_CONTEXT

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
                (row.decoded, column.decoded),
                (row.own, column.own),
            )
            for row in rows
            for column in columns
        ]

    @property
    def bands(self) -> tuple[list[Band], list[Band]]:
        """The rows and the columns of tiles."""
        step = _up(self.tile or self.height, self.align)
        shift = self.height % step if self.south_first else 0
        rows = self._bands(self.height, False, self.context.rows, shift)
        return rows, self._bands(self.width, self.wraps, self.context.columns)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the grid with its context."""
        return self.context.around((self.height, self.width))

    def _bands(
        self, cells: int, wraps: bool, context: tuple[int, int], shift: int = 0
    ) -> list[Band]:
        """Cut an axis into cores that follow each other, each in a window of equal size.

        With cores of s cells and m of margin a window has s + 2 m cells and begins m before its
        core, on the edge of a patch:

            cells    |....................................|
            cores    |-shift-|----s----|----s----|--rest--|
            window           first = core.start - m, of s + 2 m cells

        Windows are counted from the first cell of the context. An axis that wraps takes the window
        across its end; another one moves it inside, so that all windows have one size and only the
        last patch may be cut short.
        """
        ahead, whole = context[0], cells + sum(context)
        if self.tile is None:
            inner = slice(ahead, ahead + cells)
            return [Band(0, whole, slice(0, cells), inner, inner, slice(0, whole))]
        step = _up(self.tile, self.align)
        margin = _up(self.halo, self.align)
        stops = [*range(shift or step, cells, step), cells]
        cores = [slice(a, b) for a, b in zip([0, *stops[:-1]], stops, strict=True)]
        largest = max(core.stop - core.start for core in cores)
        # A window lies around what is decoded, or around the core where it is moved inside anyway.
        last = cells if wraps or (whole == cells and margin) else cells - largest
        begins = [ahead + min(core.start, last) for core in cores]
        # One that begins between patches takes its window from the patch before.
        between = any(begin % self.align for begin in begins)
        window = step + 2 * margin + (self.align if between else 0)
        if wraps and window >= cells:  # cut anywhere, it would have no surroundings at the cut
            return [Band(0, cells, core, core, slice(0, cells), core) for core in cores]
        found = []
        for core, begin in zip(cores, begins, strict=True):
            if wraps:
                first = (begin - margin) // self.align * self.align
                inner = slice(margin, margin + core.stop - core.start)
                decoded = slice(margin, margin + largest)
                found.append(Band(first % cells, window, core, inner, decoded, inner))
                continue
            made = slice(min(core.start, cells - largest), min(core.start + largest, cells))
            first = (begin - margin) // self.align * self.align
            first = max(0, min(first, _up(whole, self.align) - window))
            size = min(window, whole - first)
            inner, decoded = (_shifted(some, ahead - first) for some in (core, made))
            own = slice(inner.start if core.start else 0, inner.stop if core.stop < cells else size)
            found.append(Band(first, size, core, inner, decoded, own))
        return found


@dataclass(frozen=True)
class Band:
    """A tile along one axis: first cell, size, core in grid and window, what else it has."""

    first: int
    size: int
    core: slice
    inner: slice
    decoded: slice
    own: slice


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


def places_of(lattice: Grid, grid: Grid, fine: Grid) -> Places:
    """Return where the cells of a grid with its context lie, and how large the fine ones are."""
    return {**grid.places(fine), **lattice.lines}


def scaled(cells: slice, factor: int) -> slice:
    """Turn a slice of coarse cells into that of their fine cells."""
    return slice(cells.start * factor, cells.stop * factor)


def framed(core: NDArray[np.float32], tile: Tile, factor: int) -> NDArray[np.float32]:
    """Set a core's fine fields (..., f h', f w') into what is decoded, NaN around them."""
    shape = tuple(factor * (cells.stop - cells.start) for cells in tile.decoded)
    if core.shape[-2:] == shape:
        return core
    whole = np.full((*core.shape[:-2], *shape), np.nan, np.float32)
    rows, columns = (scaled(cells, factor) for cells in tile.kept)
    whole[..., rows, columns] = core
    return whole


def surrounded(fine: NDArray[np.float32], context: Context, factor: int) -> NDArray[np.float32]:
    """Put what is not known, NaN, around fine fields (..., f H, f W), where a grid has context."""
    if not any(context):
        return fine
    ends = ((factor * a, factor * b) for a, b in (context.rows, context.columns))
    return np.pad(fine, [*[(0, 0)] * (fine.ndim - 2), *ends], constant_values=np.nan)


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
    decoded = np.ix_(*(_fine_cells(cells, factor) for cells in tile.made))
    areas = places["areas"]
    areas = areas[decoded[0], decoded[1] % areas.shape[1]]
    return {"corners": corners[rows][:, columns], "areas": areas}


def _fine_cells(cells: slice, factor: int) -> NDArray[np.intp]:
    return np.arange(factor * cells.start, factor * cells.stop)


def _shifted(cells: slice, by: int) -> slice:
    return slice(cells.start + by, cells.stop + by)


def _up(value: int, align: int) -> int:
    return -(-value // align) * align
