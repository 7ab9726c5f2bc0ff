"""Bytes that one rank needs for a training step, by part.

What autograd keeps follows the code of the network, operation by operation; it is checked against
the tensors that a real pass leaves alive.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from orbitlite.benchmark.parameters import Unit, units
from orbitlite.benchmark.workload import Workload
from orbitlite.model.absorbed import WORKSPACE
from orbitlite.model.position import FEATURES

WEIGHT = 4
"""Bytes of a weight, of its gradient, of each of AdamW's two moments and of its average."""

PARTS = (
    "weights", "gradients", "optimiser", "average", "casts", "batch", "channels", "blocks",
    "decoder", "workspace", "collectives",
)  # fmt: skip
_STAGES = ("rest", "channels", "blocks", "decoder")


def memory(work: Workload, average: bool = True, accumulated: bool = True) -> dict[str, float]:
    """Estimate the peak of a training step.

    What is kept shrinks as the backward pass goes on, while gradients come and each stage needs
    room of its own: the parts are those of the fullest moment.

    Parameters
    ----------
    work : Workload
    average : bool
        A moving average of the weights is kept.
    accumulated : bool
        Gradients of a pass before are there all the time: always so where batches are added up, and
        until the backward pass begins in every `fit`. Otherwise they come as it goes on.

    Returns
    -------
    dict of str to float
        Bytes of each of `PARTS`.
    """
    held = sum(_shards(work, unit) for unit in units(work.config, work.layout.tensor))
    state = {"weights": held, "optimiser": 2 * held, "average": held if average else 0.0}
    moments = [moment | ({"gradients": held} if accumulated else {}) for moment in _moments(work)]
    found = state | {"batch": _batch(work)} | max(moments, key=lambda m: sum(m.values()))
    return {part: found[part] for part in PARTS}


def activations(work: Workload) -> dict[str, float]:
    """Estimate what the backward pass needs of the forward pass, in bytes.

    Returns
    -------
    dict of str to float
        `channels` (with positions and compression), `blocks` and `decoder` (with the loss).
    """
    return {"channels": _channels(work), "blocks": _blocks(work), "decoder": _decoder(work)}


def _channels(work: Workload) -> float:
    config, n = work.config, work.positions
    dim, groups, heads = config.embed_dim, len(config.groups), config.num_heads
    # Values and presence of the patches; the absorbed attention keeps nothing more.
    total = 0.0
    for c in work.groups:
        if config.group_aggregation == "linear":
            total += n * c * (config.patch_size**2 + 1) * work.low
        else:
            total += n * c * (config.patch_size**2 * 4 + 1) + n * dim * work.low
    if groups > 1:
        # Normalisation before and behind, shares of the groups, the mix of each head, its values.
        mixing = 4 * heads * groups + (work.low * heads * groups if work.half else 0)
        width = groups * (work.wide + work.low) + (heads + 1) * work.low
        total += n * (width * dim + mixing)
    patches, tokens = work.batch * work.patches, work.batch * work.tokens
    total += patches * (FEATURES * work.low + 1)
    if config.tokens is not None:
        # Share of each patch in its leaf, and the leaf's number twice.
        total += tokens * FEATURES * work.low + patches * (4 + 16)
        if config.saliency == "learned":
            total += patches * dim * (work.wide + 2 * work.low) + tokens * dim * work.low
    return total


def _blocks(work: Workload) -> float:
    """What all blocks keep, and the normalisation behind them."""
    entry = work.own_tokens * work.config.embed_dim * work.low
    last = work.batch * work.tokens * work.config.embed_dim * work.wide
    if work.recompute == "none":
        return work.config.depth * _block(work) + last
    if work.recompute == "selective":
        return work.config.depth * (entry + _products(work)) + last
    return work.config.depth * entry + last


def _block(work: Workload) -> float:
    """What a block keeps for the backward pass."""
    config, m, dim = work.config, work.own_tokens, work.config.embed_dim
    own = dim // work.layout.tensor
    # Before each of two normalisations, and behind them; before and behind the GELU.
    total: float = m * (2 * dim * (work.wide + work.low) + 2 * work.hidden * work.low)
    total += _inside(work) * (4 if config.tokens is not None else 1)
    total += 3 * m * own * work.low if config.tokens is None else 0
    # A copy of attention's output where it is no view: of wider heads, or from other ranks.
    if config.tokens is not None or work.layout.sequence > 1:
        total += m * own * work.low
    if config.dropout:
        total += 2 * m * dim * _mask(work)
    return total + _sums(work)


def _products(work: Workload) -> float:
    """What `selective` keeps of a block: the results of products, attention and exchanges."""
    m, dim = work.own_tokens, work.config.embed_dim
    own = dim // work.layout.tensor
    total = m * (3 * own + 2 * dim + work.hidden) * work.low + _inside(work) + _sums(work)
    if work.layout.tensor > 1:
        total += 2 * m * dim * work.low
    if work.layout.sequence > 1:
        total += 4 * m * own * work.low
    return total


def _inside(work: Workload) -> float:
    """Bytes of one of query, key, value and output inside attention."""
    heads = work.config.num_heads / (work.layout.tensor * work.layout.sequence)
    return work.batch * heads * work.tokens * work.mixed_width * work.low


def _sums(work: Workload) -> float:
    """Bytes of the logarithms of attention's sums, which its kernel keeps."""
    heads = work.config.num_heads / (work.layout.tensor * work.layout.sequence)
    return 4 * work.batch * heads * work.tokens


def _mask(work: Workload) -> int:
    """Bytes of an entry of a dropout mask."""
    return work.low if work.device == "cpu" else 1


def _decoder(work: Workload) -> float:
    config, targets = work.config, len(work.config.targets)
    total = work.batch * work.patches * config.embed_dim * work.low
    total += work.fine_cells(4) * (work.features + work.context) * work.low
    total += 2 * work.fine_cells(2) * 2 * work.features * work.low
    # Bend, gain and offset, anomaly, output; difference to the truth and weights of the loss.
    maps = 5 + 2
    if config.constraint != "none":
        maps += 1
    if config.constraint == "conserve":
        maps += 2
    if config.modes:
        # Places, and patterns before and behind the GELU; on the coarse grid with a constant.
        cells = work.batch * work.height * work.width
        total += (
            work.fine_cells() * (FEATURES + len(config.fine_statics) + 2 * config.modes) * work.low
        )
        total += cells * (FEATURES + 3 * config.modes + 1 + sum(work.groups)) * work.low
    return total + work.fine_cells() * targets * maps * 4


def _batch(work: Workload) -> float:
    """Bytes of the fields of the batch, and of the maps that join the decoder's."""
    config = work.config
    coarse = work.batch * work.height * work.width * len(config.inputs) * (4 + 1 + 4)
    fine = len(config.targets) + len(config.fine_statics) + work.context
    return coarse + work.fine_cells() * fine * 4


def casts(work: Workload, name: str | None = None) -> float:
    """Bytes of the weights in bfloat16 that autocast makes and the backward pass needs.

    `name` picks the units of a stage; None: all.
    """
    if not work.half:
        return 0.0
    # Sharded blocks are gathered in it, those computed again are cast again.
    blocks = work.layout.world_size == 1 and work.recompute == "none"
    return 2.0 * sum(
        unit.size for unit in units(work.config, work.layout.tensor)
        if name in (None, unit.name) and (blocks or unit.name != "blocks")
    )  # fmt: skip


def _shards(work: Workload, unit: Unit) -> float:
    """Bytes of this rank's part of a unit's weights."""
    shards = work.layout.shard * work.layout.sequence
    return unit.padded(shards) / shards * WEIGHT


def _moments(work: Workload) -> Iterator[dict[str, float]]:
    """Give what is there as the backward pass goes through decoder, blocks and channels.

    Of the blocks, the first to come and the last: in between it changes evenly.
    """
    parts = units(work.config, work.layout.tensor)
    depth, alone = work.config.depth, work.layout.world_size == 1
    kept, cast = activations(work), {name: casts(work, name) for name in _STAGES}
    total = {
        name: sum(_shards(work, unit) for unit in parts if unit.name == name) for name in _STAGES
    }
    rooms = {"decoder": _decoder_room(work), "blocks": _block_room(work), "channels": _mixing(work)}
    done = 0.0  # gradients of the stages behind
    for stage in ("decoder", "blocks", "channels"):
        count = depth if stage == "blocks" else 1
        for left in dict.fromkeys((count, 1) if count else ()):
            own = total[stage] * (1 - (left if not alone else left - 1) / count)
            yield {
                **kept, stage: kept[stage] * left / count,
                "gradients": done + own,
                "casts": sum(cast.values()) - cast[stage] * (1 - left / count),
                "workspace": rooms[stage],
                "collectives": 0.0 if alone else _gathered(work, parts, stage, left == 1),
            }  # fmt: skip
        done += total[stage]
        kept[stage] = cast[stage] = 0.0
    yield {
        **kept, "gradients": sum(total.values()), "casts": 0.0, "collectives": 0.0,
        "workspace": _update_room(work, parts),
    }  # fmt: skip


def _decoder_room(work: Workload) -> float:
    width = 2 * 2 * work.features + work.features + work.context
    return work.fine_cells(4) * width * work.low


def _block_room(work: Workload) -> float:
    room: float = work.own_tokens * (2 * work.hidden + 2 * work.config.embed_dim) * work.low
    if work.recompute != "none":
        room += _block(work) - (_products(work) if work.recompute == "selective" else 0.0)
    return room


def _mixing(work: Workload) -> float:
    """Bytes of three tensors of weighted patches of a chunk: see `absorbed_attention`."""
    if work.config.group_aggregation == "linear":
        return 0.0
    width = max(work.groups) * (work.config.patch_size**2 + 1)
    whole = WEIGHT * work.positions * work.config.num_heads * width
    return 3.0 * min(whole, WORKSPACE[work.device])


def _update_room(work: Workload, parts: tuple[Unit, ...]) -> float:
    """Bytes of what AdamW computes of the largest weight; on a GPU one kernel does it all."""
    if work.device == "cuda":
        return 0.0
    shards = work.layout.shard * work.layout.sequence
    return 2.0 * WEIGHT * max(prod(shape) for unit in parts for shape in unit.shapes) / shards


def _gathered(work: Workload, parts: tuple[Unit, ...], stage: str, last: bool) -> float:
    """Bytes of a unit of a stage and of the next, and of its gradients, also in float32."""
    bytes_of = {unit.name: unit.size * _width(work, unit) for unit in parts}
    size = max((unit.size for unit in parts if unit.name == stage), default=0)
    next_stage = {"decoder": "blocks", "blocks": "channels" if last else "blocks"}.get(stage, "")
    own, following = bytes_of.get(stage, 0), bytes_of.get(next_stage, 0)
    # Gloo receives into a buffer of its own, before there are gradients.
    spare = following if work.device == "cpu" else 0
    return own + following + max(own, spare) + WEIGHT * size


def _width(work: Workload, unit: Unit) -> int:
    return work.low if unit.name == "blocks" else WEIGHT
