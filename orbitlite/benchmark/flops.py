"""Floating-point operations of a training step on one rank, counted by part.

Two per multiply-add; matrix products, attention and convolutions count, what is done element by
element does not.
"""

from __future__ import annotations

from dataclasses import dataclass

from orbitlite.benchmark.workload import Workload
from orbitlite.model.position import FEATURES


@dataclass(frozen=True)
class Flops:
    """Operations of a part.

    Attributes
    ----------
    forward, backward : float
        What is computed again counts as backward.
    """

    forward: float
    backward: float

    @property
    def total(self) -> float:
        """Both."""
        return self.forward + self.backward


def flops(work: Workload) -> dict[str, Flops]:
    """Count one pass forward and backward.

    Returns
    -------
    dict of str to Flops
        `channels` (first level), `across` (groups), `linear` and `attention` of the blocks,
        `position`, `head` and `convolutions` of the decoder, `modes`.
    """
    return {
        "channels": _channels(work),
        "across": _across(work),
        "position": _position(work),
        "linear": _linear(work),
        "attention": _attention(work),
        "head": _head(work),
        "convolutions": _convolutions(work),
        "modes": _modes(work),
    }


def _channels(work: Workload) -> Flops:
    config, n = work.config, work.positions
    dim, heads, p = config.embed_dim, config.num_heads, config.patch_size**2
    forward = backward = 0.0
    for c in work.groups:
        values = 2.0 * c * (p + 1) * dim
        if config.group_aggregation == "linear":
            forward += n * values
            backward += n * values
            continue
        # Weights are folded once a pass; patches need no gradient, scores are computed again.
        folded = 2.0 * dim**2 + 2 * c * (p + 1) * dim * heads + values * dim
        scores, out = 2.0 * n * c * p * heads, 2.0 * n * dim**2
        forward += folded + scores + n * values + out
        backward += 2 * folded + 2 * scores + 2 * n * values + 2 * out
    return Flops(forward, backward)


def _across(work: Workload) -> Flops:
    config, n = work.config, work.positions
    groups, dim = len(config.groups), config.embed_dim
    if groups == 1:
        return Flops(0.0, 0.0)
    mixing = 4.0 * n * groups * dim * config.num_heads
    forward = mixing + 4.0 * n * dim**2 + 2.0 * dim**2
    return Flops(forward, 2 * forward)


def _position(work: Workload) -> Flops:
    places = work.patches + (work.tokens if work.config.tokens is not None else 0)
    # Features need no gradient.
    forward = 2.0 * work.batch * places * FEATURES * work.config.embed_dim
    return Flops(forward, forward)


def _linear(work: Workload) -> Flops:
    config, tensor = work.config, work.layout.tensor
    own = config.embed_dim // tensor
    attention = 2.0 * work.own_tokens * 4 * config.embed_dim * own
    mlp = 2.0 * work.own_tokens * config.embed_dim * work.hidden
    forward = config.depth * (attention + 2 * mlp)
    # Nothing needs the output of a block's last product again.
    again = config.depth * (attention + mlp) if work.recompute == "full" else 0.0
    return Flops(forward, 2 * forward + again)


def _attention(work: Workload) -> Flops:
    config, layout = work.config, work.layout
    heads = config.num_heads / (layout.tensor * layout.sequence)
    product = 2.0 * work.batch * heads * work.tokens**2 * work.mixed_width * config.depth
    # Fused kernels keep no scores: five products backward (Dao et al. 2022, FlashAttention).
    again = 2 * product if work.recompute == "full" else 0.0
    return Flops(2 * product, 5 * product + again)


def _head(work: Workload) -> Flops:
    config = work.config
    columns = work.features * (config.patch_size * config.factor) ** 2 / work.layout.tensor
    forward = 2.0 * work.batch * work.patches * config.embed_dim * columns
    return Flops(forward, 2 * forward)


def _convolutions(work: Workload) -> Flops:
    width = 2 * work.features
    mix = work.fine_cells(2) * (work.features + work.context) * width
    out = work.fine_cells() * width * 2 * len(work.config.targets)
    forward = 2.0 * 9 * (mix + out)
    return Flops(forward, 2 * forward)


def _modes(work: Workload) -> Flops:
    config, b, targets = work.config, work.batch, len(work.config.targets)
    modes, cells = config.modes, work.batch * work.height * work.width
    if not modes:
        return Flops(0.0, 0.0)
    channels = sum(work.groups)
    # Features, statics and fields need no gradient: of these products that of the weights is left.
    fine = work.fine_cells() * (FEATURES + len(config.fine_statics)) * modes
    fixed = 2.0 * (cells * (FEATURES * modes + channels * (modes + 1)) + fine)
    amplitudes = 2.0 * b * (channels * (modes + 1) * modes + targets * modes**2)
    free = amplitudes + 2.0 * work.fine_cells() * targets * modes
    return Flops(fixed + free, fixed + 2 * free)
