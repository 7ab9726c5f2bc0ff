"""Residual block: two convolutions, added to what enters."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from orbitlite.model.borders import Borders
from orbitlite.model.convolution import Convolution
from orbitlite.model.cost import Cost, Pass


class ResidualBlock(nn.Module):
    """x + conv(SiLU(conv(x))), 3x3, without normalisation; the identity at first.

    As in EDSR (Lim et al. 2017, figure 2), with SiLU (Elfwing et al. 2018) for ReLU.

    Parameters
    ----------
    width : int
        Maps F.
    scale : int
        Of its grid, over the coarse one.
    """

    def __init__(self, width: int, scale: int = 1) -> None:
        super().__init__()
        self.scale = scale
        self.first = Convolution(width, width)
        self.second = Convolution(width, width)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, borders: Borders) -> Tensor:
        """Return maps of the same shape, (B, F, H, W)."""
        out: Tensor = self.second(F.silu(self.first(x, borders)), borders)
        return x + out

    def cost(self, size: Pass) -> Cost:
        """State what a pass takes: what enters the convolutions and the SiLU."""
        scale = self.scale
        inside = Cost(saved=size.cells(scale) * self.first.out_channels * size.low)
        return self.first.cost(size, scale) + inside + self.second.cost(size, scale)
