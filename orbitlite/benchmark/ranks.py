"""Channels over ranks: what one rank holds, and what crosses between ranks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from orbitlite.benchmark.measure import Call, peak_memory
from orbitlite.benchmark.session import Session
from orbitlite.model.channels import Exchange, HierarchicalChannels
from orbitlite.model.groups import channel_groups
from orbitlite.parallel.channels import GatherGroups, groups_of_rank
from orbitlite.parallel.launch import run_ranks
from orbitlite.parallel.received import Received

GROUPS = 8
SIZES = (1, 2, 4)
_PATCH_CELLS, _HEADS = 4, 4


def rows(channels: int, embed_dim: int, session: Session) -> Iterator[dict[str, Any]]:
    """Measure one rank's memory and the bytes that it receives, for 1, 2 and 4 ranks.

    Memory is the peak growth of a fresh process that makes the first rank's share of what belongs
    to channels (parameters, patches, gradients) and runs the first level forward and backward, at
    64x128 patches. Bytes are counted in the collectives of a real step of that many processes at
    8x16 patches, and scaled to one position; beside them, those of gathering every channel's token.

    Returns
    -------
    iterator of dict
        One per world size: `channels`, `embed_dim`, `groups`, `world_size`, `peak_mib`,
        `bytes_per_position`, `raw_bytes_per_position`.
    """
    return session.over(
        SIZES,
        lambda size: f"C={channels} on {size} ranks",
        lambda size: 1,
        lambda size: [_row(channels, embed_dim, size)],
    )


def _row(channels: int, embed_dim: int, size: int) -> dict[str, Any]:
    build = partial(share, channels, embed_dim, size)
    received, raw = crossing(channels, embed_dim, size) if size > 1 else (0.0, 0.0)
    return {
        "part": "ranks",
        "channels": channels,
        "embed_dim": embed_dim,
        "groups": GROUPS,
        "world_size": size,
        "peak_mib": peak_memory(build, torch.device("cpu")),
        "bytes_per_position": received,
        "raw_bytes_per_position": raw,
    }


def _level_one(channels: int, embed_dim: int, size: int, rank: int) -> HierarchicalChannels:
    groups = channel_groups([f"channel{i}" for i in range(channels)], GROUPS)
    held = groups_of_rank(GROUPS, size, rank)
    return HierarchicalChannels(groups, _PATCH_CELLS, embed_dim, _HEADS, held=held)


def share(channels: int, embed_dim: int, size: int) -> Call:
    """Return a call that builds and trains the first rank's share of the first level once."""
    return partial(_train_share, channels, embed_dim, size)


def _train_share(channels: int, embed_dim: int, size: int) -> None:
    module = _level_one(channels, embed_dim, size, 0)
    patches = torch.randn(1, 64 * 128, len(module.columns), _PATCH_CELLS)
    present = torch.ones(patches.shape[:3], dtype=torch.bool)
    tokens, _ = module.level_one(patches, present)
    torch.autograd.backward(tokens.square().mean())


def crossing(channels: int, embed_dim: int, size: int) -> tuple[float, float]:
    """Return the bytes per position that a rank receives: of groups' tokens, of raw tokens."""
    found = run_ranks(size, _count, channels, embed_dim)
    return max(one for one, _ in found), max(raw for _, raw in found)


def _count(rank: int, size: int, channels: int, embed_dim: int) -> tuple[float, float]:
    module = _level_one(channels, embed_dim, size, rank)
    counts = [len(groups_of_rank(GROUPS, size, r)) for r in range(size)]
    module.exchange = GatherGroups(counts)
    positions = 8 * 16
    patches = torch.randn(1, positions, len(module.columns), _PATCH_CELLS)
    present = torch.ones(patches.shape[:3], dtype=torch.bool)
    with Received() as groups:
        torch.autograd.backward(module(patches, present).square().mean())
    columns = [len(_level_one(channels, embed_dim, size, r).columns) for r in range(size)]
    gather: Exchange = GatherGroups(columns)
    tokens = torch.randn(1, positions, columns[rank], embed_dim)
    with Received() as raw:
        gather(tokens, torch.ones(tokens.shape[:3], dtype=torch.bool))
    return groups.bytes["all"] / positions, raw.bytes["all"] / positions
