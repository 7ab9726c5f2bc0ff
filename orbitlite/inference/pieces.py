"""Pieces: what goes through the network at once, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, product

import numpy as np
from numpy.typing import NDArray

from orbitlite.data.tiles import Tile, TilePlan, take

READ_BYTES = 2**22
"""Input that is read at a time."""
CHUNK_BYTES = 2**22
"""Output that makes a chunk of its own."""
_LEAST_SPANS = 16  # of time, so that a short job shows how far it is


@dataclass(frozen=True)
class Piece:
    """Some steps of one member, for tiles of one row of tiles with windows of one size.

    Attributes
    ----------
    number : int
        Place in the order.
    member : tuple of int
        Place along each dim before time.
    steps : slice
        Time steps.
    tiles : tuple of Tile
    """

    number: int
    member: tuple[int, ...]
    steps: slice
    tiles: tuple[Tile, ...]

    @property
    def rows(self) -> slice:
        """Rows of its windows."""
        first = self.tiles[0]
        return slice(first.row, first.row + first.height)


@dataclass(frozen=True)
class Block:
    """Pieces whose input is read at a time: all columns of some rows and steps.

    Attributes
    ----------
    member : tuple of int
    steps : slice
    rows : slice
    pieces : tuple of Piece
    """

    member: tuple[int, ...]
    steps: slice
    rows: slice
    pieces: tuple[Piece, ...]

    def with_piece(self, piece: Piece) -> Block:
        """Return the block that holds another piece as well."""
        return Block(
            self.member,
            _union(self.steps, piece.steps),
            _union(self.rows, piece.rows),
            (*self.pieces, piece),
        )

    def windows(self, fields: NDArray[np.float32], piece: Piece) -> NDArray[np.float32]:
        """Cut the windows (g, n, C, h, w) of a piece out of the block's fields (n', C, rows, W)."""
        steps = slice(piece.steps.start - self.steps.start, piece.steps.stop - self.steps.start)
        tiles = (tile.with_row(tile.row - self.rows.start) for tile in piece.tiles)
        return np.stack([take(fields[steps], tile) for tile in tiles])


def pieces(
    lead: tuple[int, ...], plan: TilePlan, batch_size: int, channels: int, factor: int
) -> list[Piece]:
    """Cut a prediction into pieces; a piece's core of one target is a chunk of the output.

    Parameters
    ----------
    lead : tuple of int
        Sizes of the dims before the fields, time last.
    plan : TilePlan
    batch_size : int
        Windows that go through the network at a time. Where there are fewer steps, a piece has
        tiles side by side to make up for it.
    channels, factor : int
        What is read and written for a coarse cell.

    Returns
    -------
    list of Piece
        Ordered by member, steps, row, column.
    """
    *members, times = lead
    tiles = plan.tiles
    steps = _steps(times, tiles, batch_size, 4 * channels * plan.width, 4 * factor**2)
    groups = list(_groups(tiles, max(1, batch_size // steps)))
    found: list[Piece] = []
    for member in product(*(range(size) for size in members)):
        for start in range(0, times, steps):
            span = slice(start, min(start + steps, times))
            for group in groups:
                found.append(Piece(len(found), member, span, group))
    return found


def _steps(times: int, tiles: list[Tile], batch_size: int, row: int, cell: int) -> int:
    """Choose the steps of a piece: whole batches, as many as fill a chunk.

    `row`, `cell`: bytes of the input of one row, and of the output of one coarse cell, per step.
    """
    readable = max(1, READ_BYTES // (row * max(tile.height for tile in tiles)))
    if readable < batch_size:
        return min(readable, max(1, times))
    core = max(_length(tile.core[0]) * _length(tile.core[1]) for tile in tiles)
    most = min(CHUNK_BYTES // (cell * core), readable, -(-times // _LEAST_SPANS))
    return max(1, min(times, batch_size * max(1, most // batch_size)))


def _groups(tiles: list[Tile], most: int) -> Iterator[tuple[Tile, ...]]:
    for _, alike in groupby(tiles, key=lambda tile: (tile.row, tile.core[0].start, tile.width)):
        row = list(alike)
        for start in range(0, len(row), most):
            yield tuple(row[start : start + most])


def blocks(pieces: Iterable[Piece], bytes_per_row: int) -> Iterator[Block]:
    """Join pieces that follow each other to blocks of up to `READ_BYTES`, one piece at least.

    Parameters
    ----------
    pieces : iterable of Piece
        Those that are left to do, in order.
    bytes_per_row : int
        Input of one row of one step.
    """
    block: Block | None = None
    for piece in pieces:
        alone = Block(piece.member, piece.steps, piece.rows, (piece,))
        joined = alone if block is None else block.with_piece(piece)
        size = _length(joined.steps) * _length(joined.rows) * bytes_per_row
        if block is not None:
            # a piece that lies in what is read anyway costs nothing
            larger = (joined.steps, joined.rows) != (block.steps, block.rows)
            if piece.member != block.member or (larger and size > READ_BYTES):
                yield block
                joined = alone
        block = joined
    if block is not None:
        yield block


def _union(one: slice, other: slice) -> slice:
    return slice(min(one.start, other.start), max(one.stop, other.stop))


def _length(cells: slice) -> int:
    return int(cells.stop - cells.start)
