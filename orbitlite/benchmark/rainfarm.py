"""RainFARM: fine precipitation by the power law of the coarse field (Rebora et al. 2006).

J. Hydrometeor. 7, 724-738, doi:10.1175/JHM517.1, of fields in space: here time is not refined.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from orbitlite.batch import Batch
from orbitlite.errors import InputError
from orbitlite.model.constraint import block_mean
from orbitlite.model.geometry import Geometry
from orbitlite.model.noise import Draw, Noise
from orbitlite.verification.planar import cosine_transform

_USUAL = 3.0
"""Slope where a field has none of its own."""
_COARSE = 0.25
"""Largest wavenumber per cell that a slope is fitted to."""
_MODES = 3
"""Least number of modes for that."""
_LEAST = 1e-12
"""Share of the largest power below which a mode is rounding."""


class RainFARM:
    """Draw fine fields whose spectrum goes on as that of the coarse field.

    A Gaussian field g of unit variance has Fourier coefficients of random phases and of power
    |k|^-a, with the slope a of the coarse field. r = exp(g), times a factor for each coarse cell
    that gives it its mean. Nothing is trained. What it draws is a function of seed, member and
    time.

    Parameters
    ----------
    columns : sequence of int or None
        Of each target, its place among the inputs; None: it is not drawn, and NaN.
    factor : int

    Raises
    ------
    InputError
        If there is none to draw.
    """

    stochastic = True

    def __init__(self, columns: Sequence[int | None], factor: int) -> None:
        self.columns, self.factor = columns, factor
        if not any(column is not None for column in columns):
            raise InputError("it refines precipitation that is an input, and no target is")

    def members(self, batch: Batch, draw: Draw) -> Tensor:
        """Return (B, M, K, fH, fW) in physical units; NaN where coarse rain is missing."""
        geometry = Geometry.of(batch)
        noise = Noise.of(draw, batch, geometry)
        white = noise.maps(len(self.columns), self.factor)
        white = white.view(-1, noise.members, *white.shape[1:]).cpu()
        shares = geometry.shares(self.factor).cpu()
        nothing = torch.full_like(white[:, :, 0], torch.nan)
        drawn = [
            nothing if column is None
            else refined(batch.coarse[:, column].cpu(), white[:, :, k], shares, self.factor)
            for k, column in enumerate(self.columns)
        ]  # fmt: skip
        return torch.stack(drawn, dim=2)


def refined(coarse: Tensor, white: Tensor, shares: Tensor, factor: int) -> Tensor:
    """Return fine rain (B, M, fH, fW).

    Parameters
    ----------
    coarse : Tensor of shape (B, H, W)
        Rain; NaN where missing.
    white : Tensor of shape (B, M, fH, fW)
        Independent normal numbers, whose phases are taken.
    shares : Tensor of shape (B, fH, 1) or (B, fH, fW)
        See `Geometry.shares`.
    factor : int
    """
    g = power_law(white, slopes(coarse))
    rough = g.exp()[:, :, None]
    means = block_mean(rough, shares, factor)
    change = coarse.clamp_min(0)[:, None, None] / means
    spread = change.repeat_interleave(factor, -2).repeat_interleave(factor, -1)
    return (rough * spread)[:, :, 0]


def slopes(coarse: Tensor) -> Tensor:
    """Return a of power ~ |k|^-a of fields (B, H, W), (B,); not below zero.

    A line through the logarithms of power and wavenumber of all modes of four cells or longer: at
    its own cells a coarse field has too little power. Modes of the cosine transform, as a region is
    not periodic; a missing cell is the mean of the others.
    """
    there = coarse.isfinite()
    mean = coarse.nanmean((-2, -1), keepdim=True)
    anomaly = torch.where(there, coarse - mean, 0).double()
    height, width = coarse.shape[-2:]
    wavenumber = torch.hypot(
        torch.arange(height).double()[:, None] / (2 * height),
        torch.arange(width).double() / (2 * width),
    )
    used = (wavenumber > 0) & (wavenumber <= _COARSE)
    if used.sum() < _MODES:
        return torch.full((len(coarse),), _USUAL)
    x = wavenumber[used].log()
    power = cosine_transform(anomaly).square()[:, used]
    most = power.amax(1, keepdim=True)
    y = power.maximum(_LEAST * most).clamp_min(torch.finfo(power.dtype).tiny).log()
    x = x - x.mean()
    found = -(y * x).sum(1) / x.square().sum()
    return torch.where(most[:, 0] > 0, found.clamp_min(0), _USUAL).float()


def power_law(white: Tensor, slope: Tensor) -> Tensor:
    """Return Gaussian fields of unit variance and power |k|^-a with the phases of white noise.

    Parameters
    ----------
    white : Tensor of shape (B, M, h, w)
    slope : Tensor of shape (B,)
        a.
    """
    height, width = white.shape[-2:]
    rows, columns = torch.fft.fftfreq(height), torch.fft.rfftfreq(width)
    wavenumber = torch.hypot(rows[:, None], columns)
    wavenumber[0, 0] = math.inf  # no mean
    amplitude = wavenumber ** (-slope / 2)[:, None, None, None]
    waves = torch.fft.rfft2(white)
    waves = amplitude * waves / waves.abs().clamp_min(1e-30)
    fields: Tensor = torch.fft.irfft2(waves, (height, width))
    return fields / fields.std((-2, -1), correction=0, keepdim=True)
