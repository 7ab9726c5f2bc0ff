"""Layout: into which tiles a prediction is cut, and how many go through the network at once."""

from __future__ import annotations

import logging

from orbitlite.data.grid import LatLonGrid
from orbitlite.data.tiles import TilePlan
from orbitlite.errors import InputError
from orbitlite.inference.device import available
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.decoder import feature_maps
from orbitlite.model.position import FEATURES
from orbitlite.notice import notice

logger = logging.getLogger(__name__)

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


def layout(
    grid: LatLonGrid,
    config: DownscalerConfig,
    tile: int | None = None,
    halo: int | None = None,
    tokens: float | None = None,
    batch_size: int | None = None,
    device: str = "cpu",
    south_first: bool = False,
) -> tuple[TilePlan, int]:
    """Choose the tiles of a grid and the batch.

    Parameters
    ----------
    grid : LatLonGrid
        Coarse.
    config : DownscalerConfig
    tile : int, optional
        Coarse cells of a core along one axis. None: the whole grid at once while it has at most
        16,384 tokens, else cores of 64 patches, fewer where a window would take too much memory.
        What was chosen is said.
    halo : int, optional
        Coarse cells of context on each side. None: 4 patches.
    tokens : int or float, optional
        Leaf budget in place of the config's.
    batch_size : int, optional
        Windows at a time. None: as many as fit in half of the free memory, at most 64 on a GPU; 8
        and 256 MiB on a CPU.
    device : str
    south_first : bool
        The source's rows, and with them its chunks and the output's, begin in the south.

    Returns
    -------
    TilePlan, int
        Tiles and batch.

    Raises
    ------
    InputError
        If tile or halo is too small, or a network with modes would get less than the whole grid.
    """
    if config.foreign and (tile is None or batch_size is None):
        notice(
            logger,
            f"What the {config.foreign} takes of memory is not known: tile and batch are chosen as "
            "for the trunk vit (choose with tile and batch_size).",
        )
    p = config.patch_size
    halo = HALO_TOKENS * p if halo is None else halo
    budget = config.tokens if tokens is None else tokens
    room = int(_SHARE * available(device))

    def planned(tile: int | None) -> TilePlan:
        return TilePlan(*grid.shape, tile, halo, grid.wraps, p, south_first=south_first)

    kind = device.split(":")[0]
    comfort = min(room, _CPU_BYTES) if kind == "cpu" else room
    whole = _leaves(config, *grid.shape, budget) <= _MOST_TOKENS
    plan = planned(tile)
    chosen = tile
    if tile is None and not (whole and _size(config, plan, budget) <= room):
        chosen = _TILE_TOKENS * p
        plan = planned(chosen)
        while _size(config, plan, budget) > comfort and chosen > _LEAST_TILE_TOKENS * p:
            chosen //= 2
            plan = planned(chosen)
    if config.modes and len(plan.tiles) > 1:
        raise InputError(
            f"a network with modes ({config.modes}) needs the whole grid at once, found "
            f"{len(plan.tiles)} tiles for {plan.height} x {plan.width} cells: leave out tile, and "
            "train networks for grids of this size with model.network.modes 0"
        )
    most = _BATCH.get(kind, 64)
    fitting = max(1, min(most, comfort // _size(config, plan, budget)))
    if tile is None and chosen is not None:
        notice(
            logger,
            f"{plan.height} x {plan.width} cells are predicted in tiles of {chosen} x {chosen} "
            f"with a halo of {halo} (choose with tile and halo).",
        )
    if batch_size is None and kind != "cpu" and fitting < most:
        notice(logger, f"{fitting} windows go through the network at once: memory is short.")
    return plan, fitting if batch_size is None else batch_size


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
    features = len(config.fine_statics) + 4 * feature_maps(config.embed_dim)
    if config.modes:
        features += FEATURES + 2 * config.modes
    decoder = (features + 8 * len(config.targets)) * config.factor**2 * cells
    return int(4 * (inputs + 3 * config.embed_dim * patches + max(blocks, decoder)))
