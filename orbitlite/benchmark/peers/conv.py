"""A convolution that knows of the globe, and fine fields as maps of the coarse grid."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Conv(nn.Conv2d):
    """Keep the size: longitude is periodic where the grid wraps, beyond other edges is zero.

    Parameters
    ----------
    inputs, outputs : int
        Maps.
    wraps : bool
    kernel : int
        Odd.
    """

    def __init__(self, inputs: int, outputs: int, wraps: bool, kernel: int = 3) -> None:
        self.margin = kernel // 2
        super().__init__(
            inputs, outputs, kernel, padding=(self.margin, 0 if wraps else self.margin)
        )
        self.wraps = wraps

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, H, W) of (B, inputs, H, W)."""
        if self.wraps:
            x = F.pad(x, (self.margin, self.margin, 0, 0), mode="circular")
        out: Tensor = super().forward(x)
        return out


def space_to_depth(fine: Tensor, factor: int) -> Tensor:
    """Return (B, S f f, H, W) of (B, S, fH, fW); S may be zero, unlike in torch's own."""
    b, maps, rows, columns = fine.shape
    h, w = rows // factor, columns // factor
    parts = fine.reshape(b, maps, h, factor, w, factor).permute(0, 1, 3, 5, 2, 4)
    return parts.reshape(b, maps * factor**2, h, w)
