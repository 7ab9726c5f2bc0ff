"""Room: whether the weights of a network that is to be built fit the machine."""

from __future__ import annotations

from dataclasses import replace

import psutil

from orbitlite.errors import SharedError
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.outline import count_weights


def check_room(config: DownscalerConfig, nodes: int = 1) -> None:
    """Refuse a network whose weights alone are more than the memory of the machine.

    Parameters
    ----------
    config : DownscalerConfig
    nodes : int
        Machines like this one that hold the weights together.

    Raises
    ------
    SharedError
        The message says how large they are.
    """
    needed, there = 4 * _count(config), psutil.virtual_memory().total
    if needed > nodes * there:
        machines = f"each of {nodes} machines" if nodes > 1 else "this machine"
        raise SharedError(
            f"model.network: weights of {needed / 2**30:,.0f} GiB (depth {config.depth}, embed_dim "
            f"{config.embed_dim}, mlp_ratio {config.mlp_ratio}), and {machines} has "
            f"{there / 2**30:,.0f} GiB of memory; state a smaller network"
        )


def _count(config: DownscalerConfig) -> int:
    """Count weights without making them; blocks of `vit` are alike, two tell of all."""

    def of(depth: int) -> int:
        return count_weights(replace(config, depth=depth))

    if config.depth < 2 or config.foreign:
        return of(config.depth)
    one = of(1)
    return one + (config.depth - 1) * (of(2) - one)
