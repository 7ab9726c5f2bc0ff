"""Structural similarity and peak signal-to-noise ratio."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Self

import torch
from torch import Tensor

from orbitlite.verification.score import SCORES, Entry, Score, Setting

_SIGMA = 1.5
_RADIUS = 5
_K1, _K2 = 0.01, 0.03


@SCORES.register("similarity")
class Similarity(Score):
    """SSIM and PSNR with one data range for all days.

    SSIM follows Wang et al. 2004 (doi:10.1109/TIP.2003.819861): Gaussian window of sigma 1.5 cut
    to 11 x 11 cells, K1 = 0.01, K2 = 0.03, computed in two dimensions for each day at the cells
    whose window lies inside the grid, averaged over the day's cells by area, then over the days.
    Missing cells leave the window, the others share their weight. NaN on grids smaller than the
    window.

    PSNR = 10 log10(range^2 / MSE) with the area-weighted MSE of all days and cells, so one perfect
    day does not make it infinite.

    Parameters
    ----------
    data_range : float
        Largest minus smallest truth of the whole period. One range for all days keeps a dry day
        from being stretched to full contrast.
    center : float
        A value near the mean; subtracted so that the products lose no digits. It does not enter
        the means that SSIM compares.
    """

    entries = MappingProxyType(
        {"ssim": Entry("SSIM", "high", place=2), "psnr": Entry("PSNR", "high", "dB", place=2)}
    )

    @classmethod
    def of(cls, setting: Setting) -> Self | None:
        """Begin with the range of the truth."""
        truth = setting.truth
        return cls(truth.high - truth.low, truth.center)

    def __init__(self, data_range: float, center: float = 0.0) -> None:
        self._range = data_range
        self._center = center
        self._ssim, self._days = 0.0, 0
        self._squared, self._weight = 0.0, 0.0

    def update(self, prediction: Tensor, truth: Tensor, weights: Tensor) -> None:
        """Add a chunk.

        Parameters
        ----------
        prediction, truth, weights : Tensor of shape (T, H, W)
        """
        self._squared += float((weights * (prediction - truth).square()).sum())
        self._weight += float(weights.sum())
        if min(truth.shape[-2:]) <= 2 * _RADIUS:
            return
        inner = (..., slice(_RADIUS, -_RADIUS), slice(_RADIUS, -_RADIUS))
        share = weights[inner]
        total = share.sum(dim=(-2, -1))
        daily = (share * self._map(prediction, truth, weights > 0)).sum(dim=(-2, -1))
        used = total > 0
        self._ssim += float((daily[used] / total[used]).sum())
        self._days += int(used.sum())

    def _map(self, prediction: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
        mask = valid.to(torch.float64)
        p, t = (prediction - self._center) * mask, (truth - self._center) * mask
        smooth = _blur(torch.stack([mask, p, t, p * p, t * t, p * t], dim=1))
        share = smooth[:, :1].clamp_min(1e-12)
        mean_p, mean_t, pp, tt, pt = (smooth[:, 1:] / share).unbind(1)
        covariance = pt - mean_p * mean_t
        variances = pp - mean_p.square() + tt - mean_t.square()
        mean_p, mean_t = mean_p + self._center, mean_t + self._center
        c1, c2 = (_K1 * self._range) ** 2, (_K2 * self._range) ** 2
        above = (2 * mean_p * mean_t + c1) * (2 * covariance + c2)
        return above / ((mean_p.square() + mean_t.square() + c1) * (variances + c2))

    def compute(self) -> dict[str, float]:
        """Return `ssim` and `psnr` (dB); NaN where the truth is constant or nothing was scored."""
        if self._weight == 0.0 or not self._range > 0.0:
            return {"ssim": math.nan, "psnr": math.nan}
        mse = self._squared / self._weight
        psnr = 10 * math.log10(self._range**2 / mse) if mse > 0.0 else math.inf
        return {"ssim": self._ssim / self._days if self._days else math.nan, "psnr": psnr}


def _blur(fields: Tensor) -> Tensor:
    """Gaussian mean over whole windows: (T, C, H, W) to (T, C, H - 10, W - 10)."""
    offsets = torch.arange(-_RADIUS, _RADIUS + 1, dtype=fields.dtype)
    kernel = torch.exp(-0.5 * (offsets / _SIGMA).square())
    kernel = kernel / kernel.sum()
    # Shifted sums: several times faster in float64 than a convolution.
    for axis in (-2, -1):
        length = fields.shape[axis] - 2 * _RADIUS
        blurred = kernel[0] * fields.narrow(axis, 0, length)
        for shift in range(1, 2 * _RADIUS + 1):
            blurred.add_(fields.narrow(axis, shift, length), alpha=float(kernel[shift]))
        fields = blurred
    return fields
