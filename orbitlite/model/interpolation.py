"""Coarse to fine interpolation on cell-centred grids, periodic in longitude where the grid is."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Mode = Literal["nearest", "bilinear", "bicubic"]
_MARGIN = {"nearest": 0, "bilinear": 1, "bicubic": 2}


def spans_globe(lon_edges: Tensor) -> Tensor:
    """Tell which samples go once round the globe.

    Parameters
    ----------
    lon_edges : Tensor of shape (B, W + 1)
        Edges in degrees.

    Returns
    -------
    Tensor of shape (B,), bool
    """
    return (lon_edges[:, -1] - lon_edges[:, 0] - 360.0).abs() < 1e-3


def pad(x: Tensor, margin: int, wraps: Tensor) -> Tensor:
    """Add `margin` cells on every side: circular in longitude where `wraps`, else edge values.

    Parameters
    ----------
    x : Tensor of shape (B, C, H, W)
    margin : int
        At most W.
    wraps : Tensor of shape (B,), bool

    Returns
    -------
    Tensor of shape (B, C, H + 2 margin, W + 2 margin)
    """
    if margin == 0:
        return x
    around = wraps[:, None, None, None]
    west = torch.where(around, x[..., -margin:], x[..., :1])
    east = torch.where(around, x[..., :margin], x[..., -1:])
    x = torch.cat([west, x, east], dim=-1)
    north = x[..., :1, :].expand(-1, -1, margin, -1)
    south = x[..., -1:, :].expand(-1, -1, margin, -1)
    return torch.cat([north, x, south], dim=-2)


def upsample(x: Tensor, factor: int, wraps: Tensor, mode: Mode = "bilinear") -> Tensor:
    """Interpolate cell means to a grid `factor` times finer along each axis.

    Weights of missing cells (NaN) are shared out among the valid ones; where every cell in reach
    is missing the result is NaN.

    Parameters
    ----------
    x : Tensor of shape (B, C, H, W)
    factor : int
    wraps : Tensor of shape (B,), bool
        Which samples are periodic in longitude (see `spans_globe`).
    mode : {"nearest", "bilinear", "bicubic"}

    Returns
    -------
    Tensor of shape (B, C, factor H, factor W)
    """
    margin = min(_MARGIN[mode], x.shape[-1])
    valid = torch.isfinite(x)
    plain = _interpolate(pad(x, margin, wraps), factor, margin, mode)
    if _readable(valid) and bool(valid.all()):
        return plain
    filled = torch.where(valid, x, torch.zeros_like(x))
    total = _interpolate(pad(filled, margin, wraps), factor, margin, mode)
    weight = _interpolate(pad(valid.to(x.dtype), margin, wraps), factor, margin, mode)
    # Bicubic weights can be negative; a small sum would blow the value up.
    floor = 1e-6 if mode != "bicubic" else 0.5
    shared = torch.where(weight > floor, total / weight.clamp_min(floor), torch.nan)
    # Weights sum to one up to rounding: where nothing is missing, nothing is divided.
    return torch.where(torch.isfinite(plain), plain, shared)


def _readable(x: Tensor) -> bool:
    """Tell whether values may be looked at: a GPU would wait, and a compiled graph would break."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def _interpolate(padded: Tensor, factor: int, margin: int, mode: Mode) -> Tensor:
    kwargs = {} if mode == "nearest" else {"align_corners": False}
    fine = F.interpolate(padded, scale_factor=float(factor), mode=mode, **kwargs)
    cut = margin * factor
    return fine[..., cut : fine.shape[-2] - cut, cut : fine.shape[-1] - cut]
