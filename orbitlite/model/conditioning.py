"""Conditioning: features that noise scales and shifts."""

from __future__ import annotations

from torch import Tensor, nn

from orbitlite.model.cost import Cost, Flops, Pass
from orbitlite.model.noise import Noise


class Conditioning(nn.Module):
    """x (1 + A n) + B n of features x and noise n, cell by cell; the identity at first.

    As in conditional normalisation (Chen et al. 2021, AdaSpeech, section 2.3), without the
    normalisation, which would take away how much it rains.

    Parameters
    ----------
    noise, maps : int
        Maps N of noise, F of x.
    scale : int
        Of their grid, over the coarse one.
    """

    def __init__(self, noise: int, maps: int, scale: int = 1) -> None:
        super().__init__()
        self.scale = scale
        self.both = nn.Linear(noise, 2 * maps)
        nn.init.zeros_(self.both.weight)
        nn.init.zeros_(self.both.bias)

    def forward(self, x: Tensor, noise: Noise) -> Tensor:
        """Return features (B M, F, H, W), of M members of each sample one after the other.

        Parameters
        ----------
        x : Tensor of shape (B M, F, H, W), or (B, F, H, W) what all members have in common
        noise : Noise
        """
        drawn = noise.maps(self.both.in_features, self.scale).to(x.dtype)
        both = self.both(drawn.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        gain, shift = both.chunk(2, dim=1)
        x = x.repeat_interleave(len(drawn) // len(x), 0)
        out: Tensor = x + x * gain + shift
        return out

    def cost(self, size: Pass) -> Cost:
        """State what a pass takes: noise, features and gains are kept."""
        columns, count = self.both.weight.shape
        cells = size.cells(self.scale)
        product = 2.0 * count * columns * cells
        return Cost(
            saved=(count + 1.5 * columns) * cells * size.low,
            flops={"convolutions": Flops(product, product)},
        )
