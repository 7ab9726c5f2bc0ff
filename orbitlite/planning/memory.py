"""Bytes that one rank needs for a training step, by part.

What a pass keeps the modules state; here it is put together over a step and its layout, and checked
against the tensors that a real pass leaves alive.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from orbitlite.planning.network import Unit
from orbitlite.planning.workload import Workload

WEIGHT = 4
"""Bytes of a weight, of its gradient, of each of AdamW's two moments and of its average."""

PARTS = (
    "weights", "gradients", "optimiser", "average", "casts", "batch", "channels", "blocks",
    "decoder", "workspace", "collectives",
)  # fmt: skip
_STAGES = ("rest", "channels", "blocks", "decoder")
_LOSS = 2
"""Maps of each target that the loss keeps: difference to the truth, weights."""


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
    held, learning = work.held() * WEIGHT, work.held(learning=True) * WEIGHT
    state = {"weights": held, "optimiser": 2 * learning, "average": held if average else 0.0}
    own = {"gradients": learning} if accumulated else {}
    moments = [moment | own for moment in _moments(work)]
    fullest = max(moments, key=lambda moment: sum(moment.values()))
    found = state | {"batch": work.costs["batch"].saved} | fullest
    return {part: found[part] for part in PARTS}


def activations(work: Workload) -> dict[str, float]:
    """Estimate what the backward pass needs of the forward pass, in bytes.

    Returns
    -------
    dict of str to float
        `channels` (with positions and compression), `blocks` (with what is behind them) and
        `decoder` (with the loss).
    """
    costs = work.costs
    loss = work.size.part(1, 0).drawn.fine_cells() * len(work.config.targets) * _LOSS * 4
    found = {
        "channels": costs["channels"].saved,
        "blocks": _blocks(work) + costs["rest"].saved,
        "decoder": costs["decoder"].saved + loss,
    }
    return {stage: size if work.returns(stage) else 0.0 for stage, size in found.items()}


def _blocks(work: Workload) -> float:
    """What all blocks keep."""
    blocks, size = work.costs["blocks"], work.size
    if work.activation_checkpointing == "none":
        return blocks.saved
    entries = work.config.depth * size.own_tokens * work.config.embed_dim * size.low
    return entries + (_results(work) if work.activation_checkpointing == "selective" else 0.0)


def _results(work: Workload) -> float:
    """What `selective` keeps of all blocks: results of products, attention and exchanges.

    With n own tokens of width D a result of that size has n D values. The tensor axis sums two of
    them per block (behind attention and MLP); the sequence axis exchanges four (queries, keys,
    values, result), of the heads of one tensor rank.
    """
    layout, size = work.layout, work.size
    entries = work.config.depth * size.own_tokens * work.config.embed_dim * size.low
    summed = 2 * entries if layout.tensor > 1 else 0
    exchanged = 4 * entries // layout.tensor if layout.sequence > 1 else 0
    return work.costs["blocks"].results + summed + exchanged


def width_of(work: Workload, unit: Unit) -> int:
    """Bytes of a weight of a unit as ranks gather it."""
    return work.size.low if unit.name == "blocks" else WEIGHT


def casts(work: Workload, name: str | None = None) -> float:
    """Bytes of the weights in bfloat16 that autocast makes and the backward pass needs.

    `name` picks the units of a stage; None: all.
    """
    if not work.half:
        return 0.0
    # Sharded blocks are gathered in it, those computed again are cast again.
    blocks = work.layout.world_size == 1 and work.activation_checkpointing == "none"
    return 2.0 * sum(
        unit.size for unit in work.units
        if name in (None, unit.name) and (blocks or unit.name != "blocks")
        and work.returns(unit.name)
    )  # fmt: skip


def _moments(work: Workload) -> Iterator[dict[str, float]]:
    """Give what is there as the backward pass goes through decoder, blocks and channels.

    With `left` of `count` blocks to come, left / count of what they keep and of their casts is
    still there, and gradients of the others. Alone, the gradient of the block at work is there
    too (left - 1); shards get theirs when it is done. In between it changes evenly, so that the
    first block and the last are enough.
    """
    depth, alone = work.config.depth, work.layout.world_size == 1
    kept, cast = activations(work), {name: casts(work, name) for name in _STAGES}
    total = {name: work.held(name, learning=True) * WEIGHT for name in _STAGES}
    rooms = _rooms(work)
    if not work.returns("blocks"):  # on the way forward nothing of them is kept, but at work
        yield {
            **dict.fromkeys(kept, 0.0), "gradients": 0.0, "casts": 0.0,
            "workspace": rooms["blocks"],
            "collectives": 0.0 if alone else _gathered(work, "blocks", False),
        }  # fmt: skip
    done = 0.0  # gradients of the stages behind
    for stage in filter(work.returns, ("decoder", "blocks", "channels")):
        count = depth if stage == "blocks" else 1
        for left in dict.fromkeys((count, 1) if count else ()):
            own = total[stage] * (1 - (left if not alone else left - 1) / count)
            yield {
                **kept, stage: kept[stage] * left / count,
                "gradients": done + own,
                "casts": sum(cast.values()) - cast[stage] * (1 - left / count),
                "workspace": rooms[stage],
                "collectives": 0.0 if alone else _gathered(work, stage, left == 1),
            }  # fmt: skip
        done += total[stage]
        kept[stage] = cast[stage] = 0.0
    yield {
        **kept, "gradients": sum(total.values()), "casts": 0.0, "collectives": 0.0,
        "workspace": _update_room(work),
    }  # fmt: skip


def _rooms(work: Workload) -> dict[str, float]:
    """Bytes that each stage needs for a while; a block that is computed again comes back whole."""
    rooms = {stage: work.costs[stage].room for stage in ("channels", "blocks", "decoder")}
    if work.activation_checkpointing != "none" and work.config.depth:
        kept = _results(work) if work.activation_checkpointing == "selective" else 0.0
        rooms["blocks"] += (work.costs["blocks"].saved - kept) / work.config.depth
    return rooms


def _update_room(work: Workload) -> float:
    """Bytes of what AdamW computes of the largest weight; on a GPU one kernel does it all."""
    if work.device == "cuda":
        return 0.0
    largest = max(prod(shape) for unit in work.units for shape in unit.shapes)
    return 2.0 * WEIGHT * largest / work.shards


def _gathered(work: Workload, stage: str, last: bool) -> float:
    """Bytes of a unit of a stage and of the next, and of its gradients, also in float32."""
    bytes_of = {unit.name: unit.size * width_of(work, unit) for unit in work.units}
    size = max((unit.size for unit in work.units if unit.name == stage), default=0)
    next_stage = {"decoder": "blocks", "blocks": "channels" if last else "blocks"}.get(stage, "")
    own, following = bytes_of.get(stage, 0), bytes_of.get(next_stage, 0)
    # Gloo receives into a buffer of its own, before there are gradients.
    spare = following if work.device == "cpu" else 0
    return own + following + max(own, spare) + WEIGHT * size
