"""Idle: GPUs for which the samples of a step leave no work, and what would give them some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from orbitlite.planning.advice import tiles
from orbitlite.planning.clusters import Gpu
from orbitlite.planning.curve import fastest, seconds_for
from orbitlite.planning.upkeep import Upkeep
from orbitlite.planning.workload import Workload


def way_on(
    work: Workload, gpu: Gpu, rows: Sequence[Mapping[str, Any]], halo: int, upkeep: Upkeep
) -> str:
    """Say why the samples of a curve leave GPUs without work, and what would use them.

    Parameters
    ----------
    work : Workload
    gpu : Gpu
    rows : sequence of mapping
        Of `curve`; empty text if each has a layout.
    halo : int
        Coarse cells of context around a tile.
    upkeep : Upkeep
    """
    idle = [row for row in rows if not row["fits"]]
    last = max((row["world_size"] for row in rows if row["fits"]), default=0)
    idle = [row for row in idle if row["world_size"] > last]
    if not idle:
        return ""
    gpus, samples = idle[0]["world_size"], idle[0]["samples"]
    heads = work.config.num_heads
    told = [
        f"No layout shares {samples:,} samples over {gpus:,} GPUs or more: as many share a sample "
        f"as divide its {heads} heads, {heads} at most. The way on"
    ]
    for words, tiled in tiles(work, halo):
        assert tiled.core is not None
        whole = (work.height, work.width)
        count = prod(-(-size // own) for size, own in zip(whole, tiled.core, strict=True))
        epoch = replace(upkeep, data=upkeep.data * count)
        best = fastest(tiled, gpu, gpus, samples * count, epoch)
        if best is not None:
            seconds = seconds_for(best, samples * count)
            told.append(
                f"; {words} makes {count} windows of a sample (halo {halo}): {seconds:.2g} s a "
                f"step on {gpus:,} GPUs, though attention stays within a window"
            )
            break
    told.append(
        "; ring attention (Liu et al. 2023) would share a sample's tokens among more GPUs than it "
        "has heads, which this package has not"
    )
    told.append("; or more samples a step, as far as the loss bears it")
    return "".join(told).replace("The way on;", "The way on:") + "."
