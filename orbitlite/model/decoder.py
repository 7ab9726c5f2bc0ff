"""From tokens to fine fields: convolutions on the coarse and on the fine grid."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orbitlite.model.borders import Borders
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.convolution import Convolution
from orbitlite.model.cost import Cost, Flops, Pass, cost_of
from orbitlite.model.products import Products
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
        Members M that it makes of one field of tokens; one where it is deterministic.
    """

    members = 1

    def __init__(self, config: DownscalerConfig, context: int) -> None:
        super().__init__()

    def forward(self, tokens: Tensor, context: Tensor, borders: Borders) -> Tensor:
        """Return corrections: a gain and an offset of each target.

        Parameters
        ----------
        tokens : Tensor of shape (B, h, w, D)
            Of patches; B counts the members of the trunk as samples.
        context : Tensor of shape (B, 4 K + S, fH, fW)
            Of the interpolated coarse targets (`Base.maps`), then the standardised fine statics.
        borders : Borders
            What lies beyond the edges.

        Returns
        -------
        Tensor of shape (B, M, 2 K, fH, fW)
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
    hangs on how tokens are compressed. A pixel shuffle (Shi et al. 2016), in stages of at most 4,
    takes the features to the fine grid. There they meet the statics (`Products`), and one
    convolution makes the corrections: more of them there cost more than they gain.

    Parameters
    ----------
    config : DownscalerConfig
        Of it `decoder_features` F and `decoder_blocks`. The fine grid has F / 4 maps, at least 8.
    context : int
        Maps of the context.
    """

    def __init__(self, config: DownscalerConfig, context: int) -> None:
        super().__init__(config, context)
        width, targets, statics = (
            config.decoder_features, len(config.targets), len(config.statics),
        )  # fmt: skip
        self.factor, self.patch_size, self.width = config.factor, config.patch_size, width
        self.of_targets = context - statics
        self.head = nn.Linear(config.embed_dim, width * config.patch_size**2)
        joined = width + self.of_targets + statics * config.factor**2
        self.join = Convolution(joined, width)
        self.body = nn.ModuleList(ResidualBlock(width) for _ in range(config.decoder_blocks))
        fine, maps = fine_maps(width), width
        self.stages = stages_of(config.factor)
        self.rise = nn.ModuleList()
        for step in self.stages:
            self.rise.append(Convolution(maps, fine * step**2))
            maps = fine
        self.products = Products(statics, maps) if statics else None
        self.out = Convolution(maps, 2 * targets)
        self.dropout = nn.Dropout2d(config.dropout)
        # The first prediction is the interpolated field.
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, tokens: Tensor, context: Tensor, borders: Borders) -> Tensor:
        """Return corrections (B, 1, 2 K, fH, fW); see `Decoder`."""
        f = self.factor
        near = self._on_cells(tokens, context.shape[-2] // f, context.shape[-1] // f)
        context = context.to(near.dtype)
        targets, statics = context[:, : self.of_targets], context[:, self.of_targets :]
        parts = [near, F.avg_pool2d(targets, f)]
        if self.products is not None:
            parts.append(F.pixel_unshuffle(statics, f))
        x = _last(torch.cat(parts, dim=1))  # (B, F + 4 K + S f^2, H, W)
        x = self.join(x, borders)
        for block in self.body:
            x = block(x, borders)
        for number, (step, convolution) in enumerate(zip(self.stages, self.rise, strict=True), 1):
            x = _last(F.pixel_shuffle(convolution(x, borders), step))
            if self.products is not None and number == len(self.stages):
                x = self.products(x, statics, borders)
            x = F.relu(x)
        out: Tensor = self.out(self.dropout(x), borders)  # of (B, F / 4, fH, fW)
        return out.unsqueeze(1)

    def _on_cells(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """Give each of the p x p cells of a token its features: (B, h, w, D) to (B, F, H, W)."""
        b, rows, columns, _ = tokens.shape
        p = self.patch_size
        cells: Tensor = self.head(tokens.flatten(1, 2)).view(b, rows, columns, p, p, -1)
        cells = cells.transpose(2, 3).reshape(b, rows * p, columns * p, -1)
        cells = cells[:, :height, :width]
        return cells.permute(0, 3, 1, 2)

    def cost(self, size: Pass) -> Cost:
        """State what a pass takes: tokens, what enters each convolution, what leaves each ReLU."""
        columns, dim = self.head.weight.shape
        patches = size.batch * size.patches
        head = 2.0 * patches * dim * columns
        joined = self.join.cost(size, 1)
        found = joined + Cost(saved=patches * dim * size.low, flops={"head": Flops(head, 2 * head)})
        for block in self.body:
            found += cost_of(block, size)
        scale = 1
        for step, layer in zip(self.stages, self.rise, strict=True):
            assert isinstance(layer, Convolution)
            found += layer.cost(size, scale)
            scale *= step
            shuffled = size.cells(scale) * (layer.out_channels // step**2) * size.low
            found += Cost(saved=shuffled)
        if self.products is not None:
            found += self.products.cost(size)
        found += self.out.cost(size, scale)
        # Gradients before and behind the last ReLU, or of what enters the body.
        return found + Cost(room=max(2 * shuffled, joined.saved))


class ResidualBlock(nn.Module):
    """x + conv(ReLU(conv(x))), 3x3, without normalisation; the identity at first.

    Parameters
    ----------
    width : int
        Maps F.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = Convolution(width, width)
        self.second = Convolution(width, width)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, borders: Borders) -> Tensor:
        """Return maps of the same shape, (B, F, H, W)."""
        out: Tensor = self.second(F.relu(self.first(x, borders)), borders)
        return x + out

    def cost(self, size: Pass) -> Cost:
        """State what a pass takes: what enters the convolutions and leaves the ReLU."""
        inside = Cost(saved=size.cells(1) * self.first.out_channels * size.low)
        return self.first.cost(size, 1) + inside + self.second.cost(size, 1)


def fine_maps(width: int) -> int:
    """Return how many maps of `decoder_features` the fine grid has.

    Examples
    --------
    >>> fine_maps(16), fine_maps(64)
    (8, 16)
    """
    return max(8, width // 4)


def reach(blocks: int) -> int:
    """Return how many coarse cells around a cell `FineDecoder` makes it of.

    Two of the interpolation, one of each convolution on the coarse grid and of the first shuffle,
    at most one of those behind it.

    Parameters
    ----------
    blocks : int
        `decoder_blocks`.

    Examples
    --------
    >>> reach(0), reach(4)
    (5, 13)
    """
    return 2 + 1 + 2 * blocks + 1 + 1


def stages_of(factor: int) -> list[int]:
    """Cut a factor into steps of at most 4 where its divisors allow it.

    Examples
    --------
    >>> stages_of(4), stages_of(8), stages_of(10), stages_of(9), stages_of(7), stages_of(1)
    ([4], [4, 2], [5, 2], [3, 3], [7], [1])
    """
    found, rest = [], factor
    while rest > 4 and (steps := [n for n in (4, 3, 2, *range(5, rest)) if rest % n == 0]):
        found.append(steps[0])
        rest //= steps[0]
    return sorted([*found, rest], reverse=True)


def _last(x: Tensor) -> Tensor:
    """Lay channels last: convolutions of few channels are several times faster so on a CPU."""
    return x.contiguous(memory_format=torch.channels_last)
