"""Base: the coarse targets on the fine grid, and what corrections of them are measured in."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from orbitlite.model.frame import Frame
from orbitlite.model.interpolation import pad, upsample
from orbitlite.model.transform import log1p

_LEAST = 1e-6
"""Least unit of an amount, in typical sizes of a change: a dry region stays dry."""
_LEAST_OF_REGRESSION = 0.1
"""The same where the base is a regression, which may have no rain where some falls."""
_LEAST_BOUND = 8


@dataclass(frozen=True)
class TargetNorm:
    """Statistics of the K targets.

    Attributes
    ----------
    mean, std : Tensor of shape (K,)
        Of the transformed values.
    log_transformed : Tensor of shape (K,), bool
        Targets that are transformed by log(1 + x).
    amounts : Tensor of shape (K,), bool
        Targets without negative values.
    """

    mean: Tensor
    std: Tensor
    log_transformed: Tensor
    amounts: Tensor

    @property
    def scale(self) -> Tensor:
        """Typical size of a change in physical units, shape (K,)."""
        amount = torch.expm1(self.mean.clamp_min(0) + self.std)
        return torch.where(self.log_transformed, amount, self.std)

    @property
    def typical(self) -> Tensor:
        """What stands where nothing is known, in physical units, shape (K,)."""
        amount = torch.expm1(self.mean.clamp_min(0))
        return torch.where(self.log_transformed, amount, self.mean)

    @property
    def rest(self) -> Tensor:
        """Where a gain has no effect: zero for amounts, else the mean; shape (K,)."""
        return torch.where(self.amounts, torch.zeros_like(self.mean), self.mean)

    def standardise(self, values: Tensor) -> Tensor:
        """Transform and scale (B, K, fH, fW); zeros where missing."""
        values = torch.where(self.log_transformed[:, None, None], log1p(values), values)
        scaled = (values - self.mean[:, None, None]) / self.std[:, None, None]
        return torch.nan_to_num(scaled, nan=0.0)


@dataclass(frozen=True)
class Base:
    """The coarse targets on the fine grid.

    An amount is corrected in parts of the amounts around it: its `unit` is the largest coarse value
    of the 3 x 3 cells around, interpolated. So a prediction does not depend on the unit in which
    rain is counted, nor does drizzle appear where nothing falls in reach. Where the coarse target
    is missing, and for targets of both signs, the unit is the typical size of a change.

    Attributes
    ----------
    values : Tensor of shape (B, K, fH, fW)
        Physical units; between bilinear and bicubic; what is typical where the coarse target is
        missing.
    unit : Tensor of shape (B, K, fH, fW)
        Size of a correction by one, in physical units.
    relative : Tensor of shape (B, K, fH, fW), bool
        Where the unit is an amount.
    maps : Tensor of shape (B, 4 K, fH, fW)
        What a decoder sees of it: standardised, in units, what bicubic differs from bilinear in
        units, whether known.
    """

    values: Tensor
    unit: Tensor
    relative: Tensor
    maps: Tensor

    def cut(self, frame: Frame) -> Base:
        """Return the fields of a part of the fine cells; what a decoder sees stays whole."""
        values, unit = frame.cut(self.values), frame.cut(self.unit)
        return Base(values, unit, frame.cut(self.relative), self.maps)

    def beginning_at(self, regression: Tensor, norm: TargetNorm, factor: int) -> Base:
        """Return the base whose values are a regression.

        Amounts are measured by the largest value of it within a coarse cell around, smoothed, and
        no less than a tenth of a typical change: where the coarse model has no rain, or the
        regression none, some may fall. A decoder sees the coarse targets beside it.

        Parameters
        ----------
        regression : Tensor of shape (B, K, fH, fW)
            Physical units.
        norm : TargetNorm
        factor : int
        """
        scale, rest = norm.scale[:, None, None], norm.rest[:, None, None]
        amounts = norm.amounts[:, None, None]
        values = torch.where(amounts, regression.clamp_min(0), regression)
        near = F.pad(values, (2 * factor,) * 4, mode="replicate")
        around = F.avg_pool2d(F.max_pool2d(near, 2 * factor + 1, 1), 2 * factor + 1, 1)
        unit = torch.where(amounts, around + _LEAST_OF_REGRESSION * scale, scale)
        known = self.maps[:, -values.shape[1] :]
        maps = [norm.standardise(values), (values - rest) / unit, (self.values - rest) / unit]
        relative = amounts.expand_as(values)
        return Base(values, unit, relative, torch.cat([*maps, known], dim=1))

    @classmethod
    def of(
        cls, coarse: Tensor, factor: int, wraps: Tensor, norm: TargetNorm, blend: Tensor
    ) -> Base:
        """Interpolate.

        Parameters
        ----------
        coarse : Tensor of shape (B, K, H, W)
            Physical units, NaN where missing.
        factor : int
        wraps : Tensor of shape (B,), bool
        norm : TargetNorm
        blend : Tensor of shape (K,)
            Share of the bicubic field.
        """
        fine = upsample(coarse, factor, wraps)  # (B, K, fH, fW), as all below
        known = torch.isfinite(fine)
        bend = torch.nan_to_num(upsample(coarse, factor, wraps, "bicubic") - fine)
        plain = torch.where(known, fine, norm.typical[:, None, None])
        scale, rest = norm.scale[:, None, None], norm.rest[:, None, None]
        around = F.max_pool2d(pad(torch.nan_to_num(coarse, nan=0.0), 1, wraps), 3, 1)
        local = upsample(around, factor, wraps).clamp_min(0) + _LEAST * scale
        relative = norm.amounts[:, None, None] & known
        unit = torch.where(relative, local, scale)
        maps = [norm.standardise(fine), (plain - rest) / unit, bend / unit, known.to(fine.dtype)]
        return cls(plain + blend[:, None, None] * bend, unit, relative, torch.cat(maps, dim=1))

    def corrected(self, gain: Tensor, offset: Tensor, norm: TargetNorm, factor: int) -> Tensor:
        """Return base + g (base - rest) + o unit.

        Where the unit is an amount, gain and offset are bounded smoothly, with slope one at zero:
        -1 < g < T and -T < o < T with T = max(f^2, 8). A fine cell that holds all the rain of its
        coarse cell has f^2 times its mean; and the rain of a coarse model may be a small part of
        what is observed. So such an output is at most 2 T + 1 times the larger of base and unit.

        Parameters
        ----------
        gain, offset : Tensor of shape (B, M, K, fH, fW)
            As the decoder gives them.
        norm : TargetNorm
        factor : int

        Returns
        -------
        Tensor of shape (B, M, K, fH, fW)
        """
        relative, top = self.relative[:, None], float(max(factor**2, _LEAST_BOUND))
        below = torch.tanh(gain.clamp_max(0))
        above = top * torch.tanh(gain.clamp_min(0) / top)
        gain = torch.where(relative, below + above, gain)
        offset = torch.where(relative, top * torch.tanh(offset / top), offset)
        base = self.values[:, None]
        anomaly = base - norm.rest[:, None, None]
        return base + gain * anomaly + offset * self.unit[:, None]
