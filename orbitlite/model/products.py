"""Products: what weather and place make together."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from orbitlite.model.borders import Borders
from orbitlite.model.convolution import Convolution
from orbitlite.model.cost import Cost, Flops, Pass
from orbitlite.model.linear import Linear


class Products(nn.Module):
    """z + W (z g(s)) of features z, with g a 3x3 convolution of the statics s of their grid.

    Rain of air that ascends a slope is the product of wind and slope (Smith 1979, "The influence of
    mountains on the atmosphere", section 5). Here weather meets place in such products, by the same
    weights in every cell; from convolutions on the coarse grid they would have to be learned for
    each of the fine cells of a coarse one.

    Parameters
    ----------
    statics, maps : int
        Maps S of s, F of z.
    scale : int
        Of their grid, over the coarse one.
    """

    def __init__(self, statics: int, maps: int, scale: int = 1) -> None:
        super().__init__()
        self.scale = scale
        self.place = Convolution(statics, maps)
        self.mix = Linear(maps, maps)

    def forward(self, z: Tensor, statics: Tensor, borders: Borders) -> Tensor:
        """Return features of the shape of z.

        Parameters
        ----------
        z : Tensor of shape (B M, F, H, W)
            Of M members of each sample, one after the other.
        statics : Tensor of shape (B, S, H, W)
            Standardised.
        borders : Borders
            Of the samples.
        """
        # One layout for both factors: mixed ones are several times slower on a CPU.
        last = torch.channels_last
        place = self.place(statics.contiguous(memory_format=last), borders)
        place = place.contiguous(memory_format=last).permute(0, 2, 3, 1)
        members = z.permute(0, 2, 3, 1).reshape(len(statics), -1, *place.shape[1:])
        mixed: Tensor = self.mix((members * place[:, None]).flatten(0, 1))  # (B M, H, W, F)
        return z + mixed.permute(0, 3, 1, 2)

    def cost(self, size: Pass) -> Cost:
        """State what a pass takes: both factors and their product are kept."""
        maps, cells = self.mix.out_features, size.drawn.cells(self.scale)
        product = 2.0 * maps * maps * cells
        mix = Cost(
            saved=(2 * cells + size.cells(self.scale)) * maps * size.low,
            flops={"convolutions": Flops(product, 2 * product)},
        )
        return self.place.cost(size, self.scale, data=True) + mix
