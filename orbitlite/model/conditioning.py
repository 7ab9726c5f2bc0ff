"""Conditioning: features that noise scales and shifts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from orbitlite.model.cost import Cost, Flops, Pass
from orbitlite.model.frame import Frame
from orbitlite.model.linear import Linear
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
        self.gain = Linear(noise, maps)
        self.shift = Linear(noise, maps)
        for part in (self.gain.weight, self.gain.bias, self.shift.weight, self.shift.bias):
            nn.init.zeros_(part)

    def forward(self, x: Tensor, noise: Noise, frame: Frame | None = None) -> Tensor:
        """Return features (B M, F, H, W), of M members of each sample one after the other.

        Parameters
        ----------
        x : Tensor of shape (B M, F, H, W), or (B, F, H, W) what all members have in common
        noise : Noise
        frame : Frame, optional
            The cells of x, where these are not those of whole windows.
        """
        drawn = noise.maps(self.gain.in_features, self.scale, frame).to(x.dtype)
        drawn = drawn.permute(0, 2, 3, 1).contiguous()  # once for both
        features = x.permute(0, 2, 3, 1)
        if len(x) < len(drawn):
            features = features.repeat_interleave(len(drawn) // len(x), 0)
        out = torch.addcmul(features + self.shift(drawn), features, self.gain(drawn))
        return out.permute(0, 3, 1, 2)

    def cost(self, size: Pass) -> Cost:
        """State what a pass takes: noise, features and gains are kept."""
        maps, count = self.gain.weight.shape
        cells = size.cells(self.scale)
        product = 4.0 * count * maps * cells
        return Cost(
            saved=(count + 2 * maps) * cells * size.low,
            flops={"convolutions": Flops(product, product)},
        )
