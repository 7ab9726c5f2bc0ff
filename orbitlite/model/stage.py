"""Stage: from one grid to a finer one, where features meet the fine statics."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orbitlite.model.borders import Borders
from orbitlite.model.conditioning import Conditioning
from orbitlite.model.convolution import Convolution
from orbitlite.model.cost import Cost, Pass
from orbitlite.model.noise import Noise
from orbitlite.model.products import Products
from orbitlite.model.residual import ResidualBlock


class Stage(nn.Module):
    """A pixel shuffle (Shi et al. 2016), products with the statics, and a residual block.

    What all cells of a grid share in weights is learned from as many samples as there are cells; on
    the coarse grid alone each of the fine cells of a coarse one would learn by itself. On the fine
    grid, which is the end, a SiLU stands in the place of the block.

    Parameters
    ----------
    maps, outputs : int
        Maps of features that enter and leave.
    statics : int
        Fine statics S; zero: no products.
    step : int
        How many times finer the grid becomes along each axis.
    scale : int
        Of the grid that it comes to, over the coarse one.
    rest : int
        How many times finer the fine grid is; one at the end.
    noise : int
        Maps of noise; zero: no conditioning.
    """

    def __init__(
        self, maps: int, outputs: int, statics: int, step: int, scale: int, rest: int,
        noise: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.step, self.scale, self.rest = step, scale, rest
        self.rise = Convolution(maps, outputs * step**2)
        self.products = Products(statics * rest**2, outputs, scale) if statics else None
        self.conditioning = Conditioning(noise, outputs, scale) if noise else None
        self.block = ResidualBlock(outputs, scale) if rest > 1 else None

    def forward(
        self, x: Tensor, statics: Tensor, borders: Borders, noise: Noise | None = None
    ) -> Tensor:
        """Return features (B M, outputs, step H, step W).

        Parameters
        ----------
        x : Tensor of shape (B M, maps, H, W)
            Of M members of each sample, one after the other; or (B, ...) what all have in common.
        statics : Tensor of shape (B, S, fH, fW)
            On the fine grid, standardised.
        borders : Borders
            Of the samples.
        noise : Noise, optional
            Needed with conditioning.
        """
        x = F.pixel_shuffle(self.rise(x, borders.repeated(len(x) // len(statics))), self.step)
        x = x.contiguous(memory_format=torch.channels_last)
        if self.products is not None:
            x = self.products(x, F.pixel_unshuffle(statics, self.rest), borders)
        if self.conditioning is not None:
            assert noise is not None
            x = self.conditioning(x, noise)
        if self.block is None:
            return F.silu(x)
        out: Tensor = self.block(x, borders.repeated(len(x) // len(statics)))
        return out

    def cost(self, size: Pass) -> Cost:
        """State what a pass takes: of the end, what enters the SiLU."""
        # Up to the first noise all members have one field in common.
        before = replace(size, members=1) if self.scale == self.step else size
        found = self.rise.cost(before.drawn, self.scale // self.step)
        if self.products is not None:
            found += self.products.cost(before)
        if self.conditioning is not None:
            found += self.conditioning.cost(size.drawn)
        if self.block is not None:
            return found + self.block.cost(size.drawn)
        return found + Cost(saved=size.drawn.cells(self.scale) * self.maps * size.low)

    @property
    def maps(self) -> int:
        """Maps that leave."""
        return self.rise.out_channels // self.step**2
