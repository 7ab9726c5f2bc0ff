"""Bytes that one rank receives in a training step, over each axis of a layout.

Of a collective over n ranks a rank receives: all-gather of S bytes in all, S (n - 1) / n;
reduce-scatter of S, as much; all-reduce of S, twice as much (the two, one after the other);
all-to-all of S held by each rank, S (n - 1) / n. Ring algorithms: Thakur et al. 2005 (optimization
of collective communication operations in MPICH).
"""

from __future__ import annotations

from orbitlite.model.decoder import FineDecoder
from orbitlite.planning.memory import WEIGHT, width_of
from orbitlite.planning.network import part
from orbitlite.planning.workload import Workload

AXES = ("tensor", "sequence", "weights", "replicate")


def traffic(work: Workload) -> dict[str, dict[str, float]]:
    """Count what crosses per pass forward and backward.

    Returns
    -------
    dict of str to dict of str to float
        For each of `AXES`, the bytes of its named exchanges. `weights` is the axis that weights are
        sharded over (data ranks of one copy, times sequence ranks), `replicate` that of its copies.
    """
    return {
        "tensor": _tensor(work),
        "sequence": _sequence(work),
        "weights": _weights(work),
        "replicate": _replicate(work),
    }


def received(work: Workload) -> dict[str, float]:
    """Return the bytes received over each axis."""
    return {axis: sum(named.values()) for axis, named in traffic(work).items()}


def exchanges(work: Workload) -> dict[str, int]:
    """Return how many exchanges one after the other each axis has."""
    config, layout = work.config, work.layout
    full = work.activation_checkpointing == "full"
    several = len(config.groups) > 1
    parts = len(work.units)
    counts = {
        "tensor": config.depth * (4 + _again(work)) + 2 + _presence_crosses(work) + several
        if layout.tensor > 1
        else 0,
        "sequence": config.depth * (6 if full else 4) + 3 if layout.sequence > 1 else 0,
        "weights": 3 * parts if work.shards > 1 else 0,
        "replicate": parts if layout.data > layout.shard else 0,
    }
    return counts


def _again(work: Workload) -> int:
    """All-reduces that a block's recomputation repeats: not that behind what is needed last."""
    if work.activation_checkpointing != "full":
        return 0
    return 2 if work.config.dropout else 1


def _presence_crosses(work: Workload) -> bool:
    """Where a target is no input, ranks tell each other which patches have any."""
    return any(name not in work.config.inputs for name in work.config.targets)


def _tensor(work: Workload) -> dict[str, float]:
    config, n = work.config, work.layout.tensor
    if n == 1:
        return {}
    dim, away = config.embed_dim, (n - 1) / n
    size = work.size
    tokens, patches = size.own_tokens * dim, size.batch * size.patches
    decoder = part(config, n).decoder
    assert isinstance(decoder, FineDecoder), "another one is not split"
    columns = n * decoder.head.weight.shape[0]
    found = {
        "blocks_forward": config.depth * (2 + _again(work)) * 2 * away * tokens * size.low,
        "blocks_backward": config.depth * 2 * 2 * away * tokens * size.wide,
        "head_forward": away * patches * columns * size.low,
        "head_backward": 2 * away * patches * dim * size.wide,
    }
    if _presence_crosses(work):
        found["presence_forward"] = 2 * away * patches  # a byte each
    if len(config.groups) > 1:
        # Each rank sends room for as many groups as the fullest holds, with their presence.
        most = len(part(config, n).channels.held)
        found["channels_forward"] = (n - 1) * size.positions * most * (dim + 1) * size.low
    return found


def _sequence(work: Workload) -> dict[str, float]:
    config, n = work.config, work.layout.sequence
    if n == 1:
        return {}
    dim, away, size = config.embed_dim, (n - 1) / n, work.size
    own = size.own_tokens * dim / work.layout.tensor
    passes = 3 if work.activation_checkpointing == "full" else 2
    return {
        "heads": config.depth * passes * 4 * away * own * size.low,
        "channels_forward": (n - 1) * size.positions * dim * size.low,
        "tokens_forward": (n - 1) * size.own_tokens * dim * size.low,
        "tokens_backward": (n - 1) * size.own_tokens * dim * size.low,
    }


def _weights(work: Workload) -> dict[str, float]:
    if work.shards == 1:
        return {}
    away = (work.shards - 1) / work.shards
    gathered = sum(unit.padded(work.shards) * width_of(work, unit) for unit in work.units)
    # Nothing stays whole between forward and backward; gradients are added in float32.
    whole = sum(unit.padded(work.shards) for unit in work.units) * WEIGHT
    return {
        "gather_forward": away * gathered,
        "gather_backward": away * gathered,
        "reduce_scatter": away * whole,
    }


def _replicate(work: Workload) -> dict[str, float]:
    copies = work.layout.data // work.layout.shard
    if copies == 1:
        return {}
    return {"all_reduce": 2 * (copies - 1) / copies * work.held() * WEIGHT}
