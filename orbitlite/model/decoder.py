"""From tokens to fine fields: convolutions on the coarse and on the fine grid."""

from __future__ import annotations

import math
from collections.abc import Iterable
from inspect import signature
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orbitlite.model.borders import Borders
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.convolution import Convolution
from orbitlite.model.cost import Cost, Flops, Pass, cost_of
from orbitlite.model.frame import Frame
from orbitlite.model.linear import Linear
from orbitlite.model.noise import Noise
from orbitlite.model.residual import ResidualBlock
from orbitlite.model.stage import Stage
from orbitlite.registry import Registry


class Decoder(nn.Module):
    """The part of a network that makes corrections on the fine grid of tokens.

    Parameters
    ----------
    config : DownscalerConfig
    context : int
        Maps of the context.

    Attributes
    ----------
    members : int
        Members M that it makes by itself of one field of tokens.
    takes_noise : bool
        Whether it makes members of noise (`DownscalerConfig.noise`). To one that does not, none is
        given.
    takes_frame : bool
        Whether it makes fine fields of a part of the windows alone, where no more is needed: its
        `forward` has an argument `frame`. Of one that does not, the part is cut out.
    """

    members = 1
    takes_noise = False

    def __init__(self, config: DownscalerConfig, context: int) -> None:
        super().__init__()
        self.takes_frame = "frame" in signature(self.forward).parameters

    def forward(
        self,
        tokens: Tensor,
        context: Tensor,
        borders: Borders,
        noise: Noise | None = None,
        frame: Frame | None = None,
    ) -> Tensor:
        """Return corrections: a gain and an offset of each target.

        Parameters
        ----------
        tokens : Tensor of shape (B, h, w, D)
            Of patches; B counts the members of the trunk as samples.
        context : Tensor of shape (B, 4 K + S, fH, fW)
            Of the interpolated coarse targets (`Base.maps`), then the standardised fine statics.
        borders : Borders
            What lies beyond the edges.
        noise : Noise, optional
            Of M members; None where the network is deterministic.
        frame : Frame, optional
            The coarse cells, h x w, that fine fields are made of; None: all.

        Returns
        -------
        Tensor of shape (B, M, 2 K, f h, f w)
            The K gains, dimensionless, then the K offsets, in units of `Base.unit`.
        """
        raise NotImplementedError


DECODERS = Registry[type[Decoder]]("decoder")
"""By the name that `DownscalerConfig.decoder` states."""


@DECODERS.register("convolutional")
class FineDecoder(Decoder):
    """Join tokens with what the fine grid knows, by convolutions on the coarse grid first.

    The head gives each coarse cell of a token its own features. Beside them go the fine statics,
    all f x f of a coarse cell (space to depth), and the coarse targets; residual blocks of two 3x3
    convolutions work on them at the coarse resolution, where they are cheap (Lim et al. 2017, EDSR,
    figure 2). Attention before carries what is far and convolution what is near, and no detail
    hangs on how tokens are compressed. Stages of two, where the factor allows it, take the features
    to the fine grid (`Stage`), where one convolution makes the corrections.

    Parameters
    ----------
    config : DownscalerConfig
        Of it `decoder_features` F, `decoder_blocks` and `noise`. Each stage halves the maps, down
        to 8. Noise enters in each stage: what is fine can vary inside a coarse cell, and the
        blocks work once for all members.
    context : int
        Maps of the context.
    """

    takes_noise = True

    def __init__(self, config: DownscalerConfig, context: int) -> None:
        super().__init__(config, context)
        width, targets, statics = (
            config.decoder_features, len(config.targets), len(config.statics),
        )  # fmt: skip
        self.factor, self.patch_size, self.width = config.factor, config.patch_size, width
        self.of_targets = context - statics
        self.head = Linear(config.embed_dim, width * config.patch_size**2)
        joined = width + self.of_targets + statics * config.factor**2
        self.join = Convolution(joined, width)
        self.body = nn.ModuleList(ResidualBlock(width) for _ in range(config.decoder_blocks))
        noise = config.noise
        self.stages = nn.ModuleList()
        maps, scale = width, 1
        for step, leaving in zip(stages_of(self.factor), maps_of(config), strict=True):
            scale *= step
            stage = Stage(maps, leaving, statics, step, scale, self.factor // scale, noise)
            self.stages.append(stage)
            maps = leaving
        self.margin = margins_of(self.stages)
        self.out = Convolution(maps, 2 * targets)
        self.dropout = nn.Dropout2d(config.dropout)
        # The first prediction is the interpolated field.
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(
        self,
        tokens: Tensor,
        context: Tensor,
        borders: Borders,
        noise: Noise | None = None,
        frame: Frame | None = None,
    ) -> Tensor:
        """Return corrections (B, M, 2 K, f h, f w); see `Decoder`."""
        f = self.factor
        near = self._on_cells(tokens, context.shape[-2] // f, context.shape[-1] // f)
        context = context.to(near.dtype)
        targets, statics = context[:, : self.of_targets], context[:, self.of_targets :]
        parts = [near, F.avg_pool2d(targets, f)]
        if statics.shape[1]:
            parts.append(F.pixel_unshuffle(statics, f))
        x = _last(torch.cat(parts, dim=1))  # (B, F + 4 K + S f^2, H, W)
        x = self.join(x, borders)
        for block in self.body:
            x = block(x, borders)
        core = Frame.all_of(x) if frame is None else frame
        own = core.around(self.margin)
        x = own.cut(x)
        for stage in self.stages:
            x, own = stage(x, own, core, statics, borders, noise)
        around = own.borders(borders).repeated(len(x) // len(tokens))
        out: Tensor = core.finer(f).cut(self.out(self.dropout(x), around), own)
        return out.view(len(tokens), -1, *out.shape[1:])

    def _on_cells(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """Give each of the p x p cells of a token its features: (B, h, w, D) to (B, F, H, W)."""
        b, rows, columns, _ = tokens.shape
        p = self.patch_size
        cells: Tensor = self.head(tokens.flatten(1, 2)).view(b, rows, columns, p, p, -1)
        cells = cells.transpose(2, 3).reshape(b, rows * p, columns * p, -1)
        cells = cells[:, :height, :width]
        return cells.permute(0, 3, 1, 2)

    def cost(self, size: Pass) -> Cost:
        """State what a pass takes: tokens, what enters each convolution and each SiLU."""
        columns, dim = self.head.weight.shape
        patches = size.batch * size.patches
        head = 2.0 * patches * dim * columns
        joined = self.join.cost(size, 1)
        found = joined + Cost(saved=patches * dim * size.low, flops={"head": Flops(head, 2 * head)})
        for block in self.body:
            found += cost_of(block, size)
        entering = size.part(1, self.margin)
        stage: Any
        for stage in self.stages:
            found += cost_of(stage, size, entering)
            entering = size.part(stage.scale, stage.margin)
        found += self.out.cost(entering.drawn, self.factor)
        # Gradients before and behind the last SiLU, or of what enters the body.
        last = entering.drawn.cells(self.factor) * self.out.in_channels * size.low
        return found + Cost(room=max(2 * last, joined.saved))


def margins_of(stages: Iterable[Any]) -> int:
    """Tell each stage which margin around the core it has to make; return what they need before.

    Beyond the edges of a frame nothing is known, though there may be something: each convolution
    takes a cell off what is right. So the margin grows from the fine grid, where the last one takes
    one, back to the coarse grid.
    """
    needed = 1
    for stage in reversed(list(stages)):
        stage.margin = needed + stage.reach
        needed = -(-stage.margin // stage.step) + 1
    return needed


def maps_of(config: DownscalerConfig) -> list[int]:
    """Return how many maps of features each stage has: half of those before it, at least 8.

    Examples
    --------
    >>> rain = ["total_precipitation_24hr"]
    >>> maps_of(DownscalerConfig(inputs=rain, factor=4, decoder_features=64))
    [32, 16]
    """
    count = len(stages_of(config.factor))
    return [max(8, config.decoder_features >> number) for number in range(1, count + 1)]


def reach(config: DownscalerConfig) -> int:
    """Return how many coarse cells around a cell `FineDecoder` makes it of.

    Two of the interpolation, one of each convolution on the coarse grid, and as much of a coarse
    cell as those behind look at.

    Parameters
    ----------
    config : DownscalerConfig
        Of it `factor` and `decoder_blocks`.

    Examples
    --------
    >>> rain = ["total_precipitation_24hr"]
    >>> reach(DownscalerConfig(inputs=rain, factor=2, decoder_blocks=0))
    5
    >>> reach(DownscalerConfig(inputs=rain, factor=8, decoder_blocks=4))
    15
    """
    near, scale = 0.0, 1
    steps = stages_of(config.factor)
    for number, step in enumerate(steps, 1):
        near += 1 / scale  # before the shuffle
        scale *= step
        near += (1 if number == len(steps) else 2) / scale  # the last convolution, or a block
    return 2 + 1 + 2 * config.decoder_blocks + math.ceil(near)


def stages_of(factor: int) -> list[int]:
    """Cut a factor into its prime factors, the small ones first.

    Examples
    --------
    >>> stages_of(4), stages_of(12), stages_of(10), stages_of(7), stages_of(1)
    ([2, 2], [2, 2, 3], [2, 5], [7], [1])
    """
    found, rest, step = [], factor, 2
    while rest > 1:
        while rest % step == 0:
            found.append(step)
            rest //= step
        step += 1
    return found or [1]


def _last(x: Tensor) -> Tensor:
    """Lay channels last: convolutions of few channels are several times faster so on a CPU."""
    return x.contiguous(memory_format=torch.channels_last)
