"""Output constraints: no negative amounts, and the mean of the coarse cell kept."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SOFTNESS = 0.1
"""Share of the unit within which an amount bends towards zero."""
_LOWEST = -10.0
"""Where the bend ends, in softnesses below zero: further down its gradients are numbers so small
that a processor computes with them many times slower than with others."""
DRY = 0.1
"""Share of the coarse amount below which a coarse cell's prediction is filled up evenly."""


def nonnegative(fine: Tensor, unit: Tensor) -> Tensor:
    """Keep amounts at or above zero: close to max(x, 0), with a gradient on the dry side too.

    On that side it ends at `SOFTNESS` times 5e-5 of the unit, one unit below zero.

    Parameters
    ----------
    fine : Tensor of shape (B, M, K, fH, fW)
    unit : Tensor, of a shape that broadcasts
        Size of a correction by one (`Base.unit`).

    Returns
    -------
    Tensor of shape (B, M, K, fH, fW)
    """
    soft = SOFTNESS * unit
    return soft * F.softplus((fine / soft).clamp_min(_LOWEST))


def block_mean(fine: Tensor, weights: Tensor, factor: int) -> Tensor:
    """Area-weighted mean of the fine cells of each coarse cell.

    Parameters
    ----------
    fine : Tensor of shape (B, M, K, fH, fW)
    weights : Tensor of shape (B, fH, 1) or (B, fH, fW)
        Share of each fine cell in its coarse one (`Geometry.shares`).
    factor : int

    Returns
    -------
    Tensor of shape (B, M, K, H, W)
    """
    *lead, height, width = fine.shape
    cut = (fine * weights[:, None, None]).view(
        *lead, height // factor, factor, width // factor, factor
    )
    return cut.sum(dim=-3).mean(dim=-1)


def row_shares(lat_edges: Tensor, factor: int) -> Tensor:
    """Share of each fine row in the area of its coarse row, for `factor` equal parts in latitude.

    Parameters
    ----------
    lat_edges : Tensor of shape (B, H + 1)
        Coarse edges in degrees.
    factor : int

    Returns
    -------
    Tensor of shape (B, factor H, 1), float32
        The area between two latitudes is proportional to the difference of their sines.
    """
    edges = torch.deg2rad(lat_edges.double())
    steps = torch.arange(factor + 1, device=edges.device, dtype=edges.dtype) / factor
    fine = edges[:, :-1, None] + (edges[:, 1:] - edges[:, :-1])[..., None] * steps
    share = fine.sin().diff(dim=-1)
    return (share / share.sum(dim=-1, keepdim=True)).flatten(1)[..., None].float()


def conserve(fine: Tensor, coarse: Tensor, shares: Tensor, factor: int, scale: bool) -> Tensor:
    """Make the mean of each coarse cell's fine cells equal to the coarse value.

    Parameters
    ----------
    fine : Tensor of shape (B, M, K, fH, fW)
        Prediction; non-negative if `scale`.
    coarse : Tensor of shape (B, 1, K, H, W)
        Coarse field; where it is NaN nothing is changed.
    shares : Tensor of shape (B, fH, 1) or (B, fH, fW)
        See `Geometry.shares`.
    factor : int
    scale : bool
        Multiply (keeps zero and sign; Harder et al. 2023, "Hard-Constrained Deep Learning for
        Climate Downscaling", multiplicative layer) or else add (their additive layer). What is
        multiplied is first filled up evenly where its mean is less than `DRY` of the coarse value:
        so no cell grows more than 1 / `DRY` times, and a dry prediction under a wet coarse cell
        becomes uniform.

    Returns
    -------
    Tensor of shape (B, M, K, fH, fW)
    """

    def spread(blocks: Tensor) -> Tensor:
        return blocks.repeat_interleave(factor, -2).repeat_interleave(factor, -1)

    known = torch.isfinite(coarse)
    wanted = torch.where(known, coarse, torch.zeros_like(coarse))
    mean = block_mean(fine, shares, factor)
    if not scale:
        change = wanted - mean
        return fine + spread(torch.where(known, change, torch.zeros_like(change)))
    wanted = wanted.clamp_min(0)
    least = DRY * wanted + 1e-30
    lack = torch.where(known, (least - mean).clamp_min(0), torch.zeros_like(mean))
    change = wanted / torch.maximum(mean, least)
    change = torch.where(known, change, torch.ones_like(change))
    return (fine + spread(lack)) * spread(change)
