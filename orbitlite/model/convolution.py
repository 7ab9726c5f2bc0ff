"""Convolution: 3x3, periodic in longitude where the grid is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from orbitlite.model.cost import Cost, Flops, Pass


class Convolution(nn.Conv2d):
    """A 3x3 convolution that keeps the size of its maps.

    Longitude is periodic where a sample goes round the globe. Beyond other edges lie zeros: nothing
    is known there. A network of one region can so tell its edges from what is inside, which a
    repetition of edge values would hide.

    Parameters
    ----------
    inputs, outputs : int
        Maps.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=(1, 0))

    def forward(self, x: Tensor, wraps: Tensor) -> Tensor:  # type: ignore[override]
        """Convolve.

        Parameters
        ----------
        x : Tensor of shape (B, inputs, H, W)
        wraps : Tensor of shape (B,), bool
            Which samples are periodic in longitude.

        Returns
        -------
        Tensor of shape (B, outputs, H, W)
        """
        out: Tensor = super().forward(_Around.apply(x, wraps))
        return out

    def cost(self, size: Pass, scale: int) -> Cost:
        """State what a pass takes on a grid `scale` times finer: what enters is kept."""
        width = size.width * scale + 2
        product = 2.0 * 9 * self.in_channels * self.out_channels * size.cells(scale)
        return Cost(
            saved=size.batch * size.height * scale * width * self.in_channels * size.low,
            flops={"convolutions": Flops(product, 2 * product)},
        )


class _Around(torch.autograd.Function):
    """Add a column on either side: (B, C, H, W) to (B, C, H, W + 2).

    Autograd would make a tensor of zeros for each slice on the way back, a good part of a step.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, wraps: Tensor) -> Tensor:
        ctx.save_for_backward(wraps)
        around = wraps[:, None, None, None]
        nothing = torch.zeros_like(x[..., :1])
        west = torch.where(around, x[..., -1:], nothing)
        east = torch.where(around, x[..., :1], nothing)
        return torch.cat([west, x, east], dim=-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (wraps,) = ctx.saved_tensors
        around = wraps[:, None, None, None]
        out = gradient[..., 1:-1].clone()
        nothing = torch.zeros_like(out[..., :1])
        out[..., -1:] += torch.where(around, gradient[..., :1], nothing)
        out[..., :1] += torch.where(around, gradient[..., -1:], nothing)
        return out, None
