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
    back = work.returns("blocks")
    several = len(config.groups) > 1
    parts = len(work.units)
    returned = sum(work.returns(unit.name) for unit in work.units)
    learning = sum(bool(unit.learning) for unit in work.units)
    tensor = config.depth * ((4 if back else 2) + _again(work))
    tensor += 2 + _presence_crosses(work) + several
    sequence = config.depth * 2 * _passes(work) + (3 if back else 2)
    return {
        "tensor": tensor if layout.tensor > 1 else 0,
        "sequence": sequence if layout.sequence > 1 else 0,
        "weights": parts + returned + learning if work.shards > 1 else 0,
        "replicate": learning if layout.data > layout.shard else 0,
    }


def _passes(work: Workload) -> int:
    """Times that tokens go through the blocks in a step."""
    if not work.returns("blocks"):
        return 1
    return 3 if work.activation_checkpointing == "full" else 2


def _again(work: Workload) -> int:
    """All-reduces that a block's recomputation repeats: not that behind what is needed last."""
    if work.activation_checkpointing != "full" or not work.returns("blocks"):
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
        "head_forward": away * patches * columns * size.low,
    }
    if work.returns("blocks"):
        found["blocks_backward"] = config.depth * 2 * 2 * away * tokens * size.wide
        found["head_backward"] = 2 * away * patches * dim * size.wide
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
    found = {
        "heads": config.depth * _passes(work) * 4 * away * own * size.low,
        "channels_forward": (n - 1) * size.positions * dim * size.low,
        "tokens_forward": (n - 1) * size.own_tokens * dim * size.low,
    }
    if work.returns("blocks"):
        found["tokens_backward"] = (n - 1) * size.own_tokens * dim * size.low
    return found


def _weights(work: Workload) -> dict[str, float]:
    if work.shards == 1:
        return {}
    away = (work.shards - 1) / work.shards
    sizes = [(unit, unit.padded(work.shards) * width_of(work, unit)) for unit in work.units]
    forward = sum(size for _, size in sizes)
    again = sum(size for unit, size in sizes if work.returns(unit.name))
    # Nothing stays whole between forward and backward; gradients are added in float32.
    whole = sum(unit.padded(work.shards, learning=True) for unit in work.units) * WEIGHT
    return {
        "gather_forward": away * forward,
        "gather_backward": away * again,
        "reduce_scatter": away * whole,
    }


def _replicate(work: Workload) -> dict[str, float]:
    copies = work.layout.data // work.layout.shard
    if copies == 1:
        return {}
    return {"all_reduce": 2 * (copies - 1) / copies * work.held(learning=True) * WEIGHT}
