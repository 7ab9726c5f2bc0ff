"""Plan: into which tiles a prediction is cut, and what goes through the network at once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from orbitlite.data.tiles import Tile, TilePlan, take
from orbitlite.errors import InputError
from orbitlite.grids.context import NO_CONTEXT, Context
from orbitlite.grids.grid import Grid
from orbitlite.inference.options import PredictOptions
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.decoder import maps_of, reach
from orbitlite.notice import notice

logger = logging.getLogger(__name__)

READ_BYTES = 2**22
"""Input that is read at a time."""
CHUNK_BYTES = 2**22
"""Output that makes a chunk of its own."""
_LEAST_SPANS = 16  # of time, so that a short job shows how far it is
# Beyond this many tokens attention, which grows with their square, outweighs all else.
_MOST_TOKENS = 16_384
_TILE_TOKENS = 64  # along one side of a tile's core that is chosen here
_LEAST_TILE_TOKENS = 8
HALO_TOKENS = 4
"""Patches of context on each side where nothing else is asked for."""
# A CPU gains nothing from more; a GPU is busy long before.
_BATCH = {"cpu": 8, "cuda": 64}
# What a CPU computes with at once: more leaves its caches, and the system clears pages for long.
_CPU_BYTES = 2**28
# Part of the free memory that the network may take: reading, writing and others need some too.
_SHARE = 0.5
_CGROUP = Path("/sys/fs/cgroup")


def choose_tiles(
    grid: Grid,
    config: DownscalerConfig,
    options: PredictOptions,
    device: str = "cpu",
    south_first: bool = False,
    context: Context = NO_CONTEXT,
) -> tuple[TilePlan, int]:
    """Choose the tiles of a grid and the batch.

    Without a tile size, the whole grid is taken at once while it has at most 16,384 tokens, else
    in cores of 64 patches, fewer where a window would take too much memory; a notice says which.
    Without a batch, as many windows as fit in half of the free memory: at most 64 on a GPU; 8
    and 256 MiB on a CPU.

    Parameters
    ----------
    grid : Grid
        Coarse.
    config : DownscalerConfig
    options : PredictOptions
        Tile, halo, tokens and batch.
    device : str
    south_first : bool
        The source's rows, and with them its chunks and the output's, begin in the south.
    context : Context
        Cells around the grid.

    Returns
    -------
    TilePlan, int
        Tiles and batch.

    Raises
    ------
    InputError
        If a network with a regression would get less than the whole grid.
    """
    tile = options.tile
    if config.foreign and (tile is None or options.batch_size is None):
        notice(
            logger,
            f"What the {config.foreign} takes of memory is not known: tile and batch are chosen as "
            "for the trunk vit (choose with tile and batch_size).",
        )
    p = config.patch_size
    usual = max(HALO_TOKENS * p, reach(config))
    halo = usual if options.halo is None else options.halo
    budget = config.tokens if options.tokens is None else options.tokens
    room = int(_SHARE * available(device))

    def planned(tile: int | None) -> TilePlan:
        return TilePlan(*grid.shape, tile, halo, grid.wraps, p, south_first, context)

    kind = device.split(":")[0]
    comfort = min(room, _CPU_BYTES) if kind == "cpu" else room
    whole = _leaves(config, *context.around(grid.shape), budget) <= _MOST_TOKENS
    plan = planned(tile)
    chosen = tile
    if tile is None and not (whole and _size(config, plan, budget) <= room):
        chosen = _TILE_TOKENS * p
        plan = planned(chosen)
        while _size(config, plan, budget) > comfort and chosen > _LEAST_TILE_TOKENS * p:
            chosen //= 2
            plan = planned(chosen)
    if config.ridge is not None and len(plan.tiles) > 1:
        raise InputError(
            "a network with a regression (ridge) needs the whole grid at once, found "
            f"{len(plan.tiles)} tiles for {plan.height} x {plan.width} cells: leave out tile, and "
            "train networks for grids of this size with model.network.ridge null"
        )
    most = _BATCH.get(kind, 64)
    fitting = max(1, min(most, comfort // _size(config, plan, budget)))
    if tile is None and chosen is not None:
        notice(
            logger,
            f"{plan.height} x {plan.width} cells are predicted in tiles of {chosen} x {chosen} "
            f"with a halo of {halo} (choose with tile and halo).",
        )
    if options.batch_size is None and kind != "cpu" and fitting < most:
        notice(logger, f"{fitting} windows go through the network at once: memory is short.")
    return plan, fitting if options.batch_size is None else options.batch_size


def _size(config: DownscalerConfig, plan: TilePlan, budget: float | None) -> int:
    window = plan.tiles[0]
    leaves = _leaves(config, window.height, window.width, budget)
    return window_bytes(config, window.height, window.width, leaves)


def _leaves(config: DownscalerConfig, height: int, width: int, budget: float | None) -> int:
    count = -(-height // config.patch_size) * -(-width // config.patch_size)
    if budget is None:
        return count
    return int(count * budget) if isinstance(budget, float) and budget <= 1 else int(budget)


def window_bytes(config: DownscalerConfig, height: int, width: int, leaves: int) -> int:
    """Estimate what the network holds at its peak for one window, in float32.

    Parameters
    ----------
    config : DownscalerConfig
    height, width : int
        Coarse cells of the window.
    leaves : int
        Tokens that go through the blocks.
    """
    cells, patches = height * width, _leaves(config, height, width, None)
    inputs = 4 * len(config.inputs) * cells
    # the residual stream, queries, keys and values, or the hidden layer of the MLP
    blocks = (4 + 2 * config.mlp_ratio) * config.embed_dim * leaves
    # the statics, the decoder's features and their copies, the targets
    features = len(config.statics) + 4 * maps_of(config)[-1]
    decoder = (features + 8 * len(config.targets)) * config.factor**2 * cells
    return int(4 * (inputs + 3 * config.embed_dim * patches + max(blocks, decoder)))


def available(device: str) -> int:
    """Return the bytes that a device can still give: on a CPU within the limits of a container."""
    if torch.device(device).type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = int(psutil.virtual_memory().available)
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
    except (OSError, ValueError):
        return free
    return min(free, max(0, int(limit) - used)) if limit.isdigit() else free


@dataclass(frozen=True)
class WorkItem:
    """Some steps of one member of the source, for tiles of one row with windows of one size.

    Attributes
    ----------
    number : int
        Place in the order.
    member : tuple of int
        Place along each dim before time.
    steps : slice
        Time steps.
    tiles : tuple of Tile
    draws : slice
        Members that the network draws.
    """

    number: int
    member: tuple[int, ...]
    steps: slice
    tiles: tuple[Tile, ...]
    draws: slice

    @property
    def rows(self) -> slice:
        """Rows of its windows."""
        first = self.tiles[0]
        return slice(first.row, first.row + first.height)


@dataclass(frozen=True)
class ReadBlock:
    """Pieces whose input is read at a time: all columns of some rows and steps.

    Attributes
    ----------
    member : tuple of int
    steps : slice
    rows : slice
    pieces : tuple of WorkItem
    """

    member: tuple[int, ...]
    steps: slice
    rows: slice
    pieces: tuple[WorkItem, ...]

    def with_item(self, piece: WorkItem) -> ReadBlock:
        """Return the block that holds another piece as well."""
        return ReadBlock(
            self.member,
            _union(self.steps, piece.steps),
            _union(self.rows, piece.rows),
            (*self.pieces, piece),
        )

    def windows(self, fields: NDArray[np.float32], piece: WorkItem) -> NDArray[np.float32]:
        """Cut the windows (g, n, C, h, w) of a piece out of the block's fields (n', C, rows, W)."""
        steps = slice(piece.steps.start - self.steps.start, piece.steps.stop - self.steps.start)
        tiles = (tile.with_row(tile.row - self.rows.start) for tile in piece.tiles)
        return np.stack([take(fields[steps], tile) for tile in tiles])


def work_items(
    lead: tuple[int, ...],
    plan: TilePlan,
    batch_size: int,
    channels: int,
    factor: int,
    draws: Sequence[slice] = (slice(0, 1),),
) -> list[WorkItem]:
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
    draws : sequence of slice
        Members that the network draws at once.

    Returns
    -------
    list of WorkItem
        Ordered by member, steps, row, column, members that are drawn.
    """
    *members, times = lead
    tiles = plan.tiles
    most = _length(draws[0])
    batch_size = max(1, batch_size // most)
    steps = _steps(times, tiles, batch_size, 4 * channels * plan.shape[1], 4 * factor**2 * most)
    groups = list(_groups(tiles, max(1, batch_size // steps)))
    found: list[WorkItem] = []
    for member in product(*(range(size) for size in members)):
        for start in range(0, times, steps):
            span = slice(start, min(start + steps, times))
            for group, some in product(groups, draws):
                found.append(WorkItem(len(found), member, span, group, some))
    return found


def together(draws: int, batch_size: int) -> list[slice]:
    """Cut members into groups that are drawn at once, of about one size: at most a batch.

    Examples
    --------
    >>> together(10, 8)
    [slice(0, 5, None), slice(5, 10, None)]
    """
    count = -(-draws // batch_size)
    size = -(-draws // count)
    return [slice(start, min(start + size, draws)) for start in range(0, draws, size)]


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


def read_blocks(pieces: Iterable[WorkItem], bytes_per_row: int) -> Iterator[ReadBlock]:
    """Join pieces that follow each other to blocks of up to `READ_BYTES`, one piece at least.

    Parameters
    ----------
    pieces : iterable of WorkItem
        Those that are left to do, in order.
    bytes_per_row : int
        Input of one row of one step.
    """
    block: ReadBlock | None = None
    for piece in pieces:
        alone = ReadBlock(piece.member, piece.steps, piece.rows, (piece,))
        joined = alone if block is None else block.with_item(piece)
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
