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
from orbitlite.model.frame import Frame
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

    Attributes
    ----------
    margin : int
        Cells around the core that it makes; the decoder says it (`margins_of`).
    """

    def __init__(
        self, maps: int, outputs: int, statics: int, step: int, scale: int, rest: int,
        noise: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.step, self.scale, self.rest = step, scale, rest
        self.margin = 0
        self.rise = Convolution(maps, outputs * step**2)
        self.products = Products(statics * rest**2, outputs, scale) if statics else None
        self.conditioning = Conditioning(noise, outputs, scale) if noise else None
        self.block = ResidualBlock(outputs, scale) if rest > 1 else None

    @property
    def reach(self) -> int:
        """Cells that its convolutions on the finer grid take off what is right."""
        return (self.products is not None) + 2 * (self.block is not None)

    def forward(
        self,
        x: Tensor,
        entering: Frame,
        core: Frame,
        statics: Tensor,
        borders: Borders,
        noise: Noise | None = None,
    ) -> tuple[Tensor, Frame]:
        """Return features (B M, outputs, h', w') on the finer grid, and the frame that they fill.

        Parameters
        ----------
        x : Tensor of shape (B M, maps, h, w)
            Of M members of each sample, one after the other; or (B, ...) what all have in common.
        entering : Frame
            What x fills.
        core : Frame
            On the coarse grid.
        statics : Tensor of shape (B, S, fH, fW)
            On the fine grid, standardised, of the whole windows.
        borders : Borders
            Of the windows.
        noise : Noise, optional
            Needed with conditioning.
        """
        members = len(x) // len(statics)
        x = F.pixel_shuffle(self.rise(x, entering.borders(borders).repeated(members)), self.step)
        own = core.finer(self.scale).around(self.margin)
        x = own.cut(x, entering.finer(self.step)).contiguous(memory_format=torch.channels_last)
        around = own.borders(borders)
        if self.products is not None:
            there = own.finer(self.rest).cut(statics)
            x = self.products(x, F.pixel_unshuffle(there, self.rest), around)
        if self.conditioning is not None:
            assert noise is not None
            x = self.conditioning(x, noise, own)
        if self.block is None:
            return F.silu(x), own
        return self.block(x, around.repeated(len(x) // len(statics))), own

    def cost(self, size: Pass, entering: Pass) -> Cost:
        """State what a pass takes: of the end, what enters the SiLU.

        Parameters
        ----------
        size : Pass
            Of the whole windows.
        entering : Pass
            Of what enters.
        """
        own = size.part(self.scale, self.margin)
        # Up to the first noise all members have one field in common.
        alone = 1 if self.scale == self.step else size.members
        found = self.rise.cost(replace(entering, members=alone).drawn, self.scale // self.step)
        if self.products is not None:
            found += self.products.cost(replace(own, members=alone))
        if self.conditioning is not None:
            found += self.conditioning.cost(own.drawn)
        if self.block is not None:
            return found + self.block.cost(own.drawn)
        return found + Cost(saved=own.drawn.cells(self.scale) * self.maps * size.low)

    @property
    def maps(self) -> int:
        """Maps that leave."""
        return self.rise.out_channels // self.step**2
