"""Layout: into which tiles a prediction is cut."""

from __future__ import annotations

import logging

from orbitlite.data.grid import LatLonGrid
from orbitlite.data.notice import notice
from orbitlite.data.tiles import TilePlan
from orbitlite.model.config import DownscalerConfig

logger = logging.getLogger(__name__)

# Beyond this many tokens attention, which grows with their square, outweighs all else.
_MOST_TOKENS = 16_384
_TILE_TOKENS = 64  # along one side of a tile's core that is chosen here
HALO_TOKENS = 4
"""Patches of context on each side where nothing else is asked for."""


def layout(
    grid: LatLonGrid,
    config: DownscalerConfig,
    tile: int | None = None,
    halo: int | None = None,
    tokens: float | None = None,
) -> TilePlan:
    """Choose the tiles of a grid.

    Parameters
    ----------
    grid : LatLonGrid
        Coarse.
    config : DownscalerConfig
    tile : int, optional
        Coarse cells of a core along one axis. None: the whole grid at once while it has at most
        16,384 tokens, else cores of 64 patches, which is said.
    halo : int, optional
        Coarse cells of context on each side. None: 4 patches.
    tokens : int or float, optional
        Leaf budget in place of the config's.

    Raises
    ------
    InputError
        If tile or halo is too small.
    """
    p = config.patch_size
    height, width = grid.shape
    halo = HALO_TOKENS * p if halo is None else halo
    count = -(-height // p) * -(-width // p)
    budget = config.tokens if tokens is None else tokens
    if budget is not None:
        count = int(count * budget) if isinstance(budget, float) else budget
    if tile is None and count > _MOST_TOKENS:
        tile = _TILE_TOKENS * p
        notice(
            logger,
            f"{height} x {width} cells are predicted in tiles of {tile} x {tile} with a halo of "
            f"{halo} (choose with tile and halo).",
        )
    return TilePlan(height, width, tile, halo, grid.wraps, p)
