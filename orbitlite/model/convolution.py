"""Convolution: 3x3, periodic in longitude where the grid is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from orbitlite.model.borders import Borders
from orbitlite.model.cost import Cost, Flops, Pass

_ONEDNN = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


class Convolution(nn.Conv2d):
    """A 3x3 convolution that keeps the size of its maps.

    Longitude is periodic where a sample goes round the globe, and beyond a pole lies what is before
    it. Beyond other edges lie zeros: nothing is known there. A network of one region can so tell
    its edges from what is inside, which a repetition of edge values would hide.

    Parameters
    ----------
    inputs, outputs : int
        Maps.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3)

    def forward(self, x: Tensor, borders: Borders) -> Tensor:  # type: ignore[override]
        """Convolve.

        Parameters
        ----------
        x : Tensor of shape (B, inputs, H, W)
        borders : Borders

        Returns
        -------
        Tensor of shape (B, outputs, H, W)
        """
        around = _Around.apply(x, *borders)
        if self._by_one_kernel(around):
            one = (1, 1)
            found: Tensor = torch.mkldnn_convolution(
                around, self.weight, self.bias, (0, 0), one, one, 1
            )
            return found
        out: Tensor = super().forward(around)
        return out

    def _by_one_kernel(self, x: Tensor) -> bool:
        """Tell whether to ask for oneDNN, of which no gradient can be had.

        On one thread torch takes it for batches of 16 samples or 20,481 values, and another kernel
        for smaller ones: a prediction would depend, in the last bits, on what else is computed.
        """
        return (
            _ONEDNN
            and x.device.type == "cpu"
            and x.dtype == torch.float32
            and type(self.weight) is nn.Parameter
            and self.weight.dtype == torch.float32
            and not torch.is_grad_enabled()
            and not torch.compiler.is_compiling()
            and not torch.is_autocast_enabled("cpu")
        )

    def cost(self, size: Pass, scale: int, data: bool = False) -> Cost:
        """State what a pass takes on a grid `scale` times finer: what enters is kept.

        Of `data` no gradient is made.
        """
        cells = (size.height * scale + 2) * (size.width * scale + 2)
        product = 2.0 * 9 * self.in_channels * self.out_channels * size.cells(scale)
        return Cost(
            saved=size.batch * cells * self.in_channels * size.low,
            flops={"convolutions": Flops(product, (1 if data else 2) * product)},
        )


class _Around(torch.autograd.Function):
    """Add what lies around: (B, C, H, W) to (B, C, H + 2, W + 2).

    Autograd would make a tensor of zeros for each slice on the way back, a good part of a step.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, wraps: Tensor, north: Tensor, south: Tensor) -> Tensor:
        ctx.save_for_backward(wraps, north, south)
        b, c, h, w = x.shape
        out = torch.empty(
            (b, c, h + 2, w + 2), dtype=x.dtype, device=x.device, memory_format=_layout(x)
        )
        inside = out[:, :, 1:-1]
        inside[..., 1:-1] = x
        inside[..., 0] = _where(wraps, x[..., -1])
        inside[..., -1] = _where(wraps, x[..., 0])
        out[:, :, 0] = _where(north, inside[:, :, 0])
        out[:, :, -1] = _where(south, inside[:, :, -1])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        wraps, north, south = ctx.saved_tensors
        out = gradient[:, :, 1:-1, 1:-1].clone(memory_format=_layout(gradient))
        west, east = gradient[:, :, 1:-1, 0].clone(), gradient[:, :, 1:-1, -1].clone()
        for row, pole, beyond in ((0, north, 0), (-1, south, -1)):
            over = _where(pole, gradient[:, :, beyond])
            out[:, :, row] += over[..., 1:-1]
            west[..., row] += over[..., 0]
            east[..., row] += over[..., -1]
        out[..., -1] += _where(wraps, west)
        out[..., 0] += _where(wraps, east)
        return out, None, None, None


def _where(flags: Tensor, x: Tensor) -> Tensor:
    """Return (B, C, N) of the samples that have the flag, zeros of the others."""
    return torch.where(flags[:, None, None], x, 0.0)


def _layout(x: Tensor) -> torch.memory_format:
    """Return the layout of maps; that of a single map, which is both, must not go by the batch."""
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format
