"""EDSR (Lim et al. 2017, "Enhanced Deep Residual Networks for Single Image Super-Resolution")."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from orbitlite.benchmark.peers.conv import Conv, space_to_depth
from orbitlite.benchmark.peers.size import Size

_MAPS, _FINE_MAPS = 64, 16


class ResidualBlock(nn.Module):
    """Two convolutions with a ReLU between, added to the input; no normalisation, as published."""

    def __init__(self, maps: int, wraps: bool) -> None:
        super().__init__()
        self.first, self.second = Conv(maps, maps, wraps), Conv(maps, maps, wraps)

    def forward(self, x: Tensor) -> Tensor:
        """Return maps of the same shape."""
        out: Tensor = x + self.second(self.first(x).relu())
        return out


class EDSR(nn.Module):
    """Residual blocks on the coarse grid, one pixel shuffle, one convolution on the fine grid.

    The fine statics of a coarse cell are f x f more maps of it. The shuffle takes the factor at
    once, where the paper takes factors of two: it saves most of the time. The last convolution
    begins at zero, with the interpolated field.

    Parameters
    ----------
    size : Size
    blocks : int
        Residual blocks.
    """

    def __init__(self, size: Size, blocks: int = 4) -> None:
        super().__init__()
        f, wraps = size.factor, size.wraps
        self.factor = f
        self.head = Conv(size.inputs + size.statics * f**2, _MAPS, wraps)
        parts = [*(ResidualBlock(_MAPS, wraps) for _ in range(blocks)), Conv(_MAPS, _MAPS, wraps)]
        self.body = nn.Sequential(*parts)
        self.spread = nn.Sequential(
            Conv(_MAPS, _FINE_MAPS * f**2, wraps), nn.PixelShuffle(f), nn.ReLU()
        )
        self.tail = Conv(_FINE_MAPS, size.targets, wraps)
        nn.init.zeros_(self.tail.weight)

    def forward(self, x: Tensor, statics: Tensor) -> Tensor:
        """Return (B, K, fH, fW) of inputs (B, C, H, W) and statics (B, S, fH, fW)."""
        x = self.head(torch.cat([x, space_to_depth(statics, self.factor)], dim=1))
        out: Tensor = self.tail(self.spread(x + self.body(x)))
        return out
