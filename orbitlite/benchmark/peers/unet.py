"""U-Net (Ronneberger et al. 2015, "U-Net: Convolutional Networks for Biomedical Segmentation")."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orbitlite.benchmark.peers.conv import Conv, space_to_depth
from orbitlite.benchmark.peers.size import Size

_WIDTHS = (32, 64, 96)


class DoubleConv(nn.Sequential):
    """Two convolutions, each with group normalisation and SiLU."""

    def __init__(self, inputs: int, outputs: int, wraps: bool) -> None:
        parts: list[nn.Module] = []
        for entering in (inputs, outputs):
            parts += [Conv(entering, outputs, wraps), nn.GroupNorm(8, outputs), nn.SiLU()]
        super().__init__(*parts)


class UNet(nn.Module):
    """Inputs repeated, fine statics beside them; two halvings and back.

    All is on the fine grid or, where the factor is even, on one of blocks of 2 x 2 fine cells,
    which are maps there: it takes a third of the time. Uneven sizes are rounded up where they are
    halved. The last convolution begins at zero, with the interpolated field.

    Parameters
    ----------
    size : Size
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.block = 2 - size.factor % 2
        self.repeats = size.factor // self.block
        entering = (size.inputs + size.statics * self.block**2, *_WIDTHS[:-1])
        pairs = zip(entering, _WIDTHS, strict=True)
        self.down = nn.ModuleList(DoubleConv(a, b, size.wraps) for a, b in pairs)
        rising = zip(_WIDTHS[-2::-1], _WIDTHS[:0:-1], strict=True)
        self.up = nn.ModuleList(DoubleConv(a + b, a, size.wraps) for a, b in rising)
        self.tail = nn.Conv2d(_WIDTHS[0], size.targets * self.block**2, 1)
        nn.init.zeros_(self.tail.weight)

    def forward(self, x: Tensor, statics: Tensor) -> Tensor:
        """Return (B, K, fH, fW) of inputs (B, C, H, W) and statics (B, S, fH, fW)."""
        repeated = F.interpolate(x, scale_factor=float(self.repeats))
        x = torch.cat([repeated, space_to_depth(statics, self.block)], dim=1)
        kept: list[Tensor] = []
        for i, level in enumerate(self.down):
            x = level(F.avg_pool2d(x, 2, ceil_mode=True) if i else x)
            kept.append(x)
        for skip, level in zip(kept[-2::-1], self.up, strict=True):
            x = level(torch.cat([skip, F.interpolate(x, skip.shape[-2:])], dim=1))
        return F.pixel_shuffle(self.tail(x), self.block)
