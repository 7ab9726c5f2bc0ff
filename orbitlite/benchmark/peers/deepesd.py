"""DeepESD (Bano-Medina et al. 2020, doi 10.5194/gmd-13-2109-2020; 2022, 10.5194/gmd-15-6747-2022).

Three convolutions of 50, 25 and 10 (or 1) maps with ReLU, and a dense layer to all fine cells.
"""

from __future__ import annotations

from torch import Tensor, nn

from orbitlite.benchmark.peers.conv import Conv
from orbitlite.benchmark.peers.size import Size
from orbitlite.errors import InputError

_MOST = {10: 5_000_000, 1: 20_000_000}
"""Weights of the dense layer up to which it has so many maps."""


class DeepESD(nn.Module):
    """The published network; its answer is a correction of the interpolated field here.

    It has 10 maps before the dense layer where that has no more than 5 million weights then, else
    one, as published for precipitation. Fine statics are not read: the dense layer knows the place.

    Parameters
    ----------
    size : Size

    Raises
    ------
    InputError
        If the dense layer would have more than 20 million weights.
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        shape = size.targets, size.height * size.factor, size.width * size.factor
        cells = size.height * size.width
        weights = cells * shape[0] * shape[1] * shape[2]
        maps = [maps for maps, most in _MOST.items() if maps * weights <= most]
        if not maps:
            raise InputError(
                f"the dense layer of deepesd would have {weights:,} weights on this grid"
            )
        dense = nn.Linear(maps[0] * cells, shape[0] * shape[1] * shape[2])
        nn.init.zeros_(dense.weight)
        self.layers = nn.Sequential(
            Conv(size.inputs, 50, size.wraps), nn.ReLU(), Conv(50, 25, size.wraps), nn.ReLU(),
            Conv(25, maps[0], size.wraps), nn.ReLU(), nn.Flatten(), dense, nn.Unflatten(1, shape),
        )  # fmt: skip

    def forward(self, x: Tensor, statics: Tensor) -> Tensor:
        """Return (B, K, fH, fW) of inputs (B, C, H, W)."""
        out: Tensor = self.layers(x)
        return out
