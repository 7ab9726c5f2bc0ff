"""Spread of members against the error of their mean, and the CRPS of each cell, for pictures."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from orbitlite.verification.crps import crps

# Four bins to a factor of two, from 2^-30 to 2^30, and one of no spread at all.
_PER_OCTAVE, _OCTAVES = 4, 30
_BINS = 2 * _OCTAVES * _PER_OCTAVE + 1


class SpreadBins:
    """Error of the mean of members, by the spread that they have.

    The spread is the standard deviation of the members (with M - 1 in the denominator) times
    sqrt((M + 1) / M), which the error of the mean has if truth and members are drawn alike
    (Fortin et al. 2014, doi:10.1175/JHM-D-14-0008.1). Bins of equal width in the logarithm of the
    spread are the same for any chunks.
    """

    def __init__(self) -> None:
        self._sums = torch.zeros(3, _BINS, dtype=torch.float64)

    def update(self, members: Tensor, truth: Tensor, weights: Tensor) -> None:
        """Add a chunk.

        Parameters
        ----------
        members : Tensor of shape (T, M, H, W)
            M at least 2.
        truth, weights : Tensor of shape (T, H, W)
        """
        count = members.shape[1]
        variance, mean = torch.var_mean(members, 1)
        variance = variance * ((count + 1) / count)
        place = torch.floor(_PER_OCTAVE * (0.5 * variance.log2() + _OCTAVES)).clamp(0, _BINS - 2)
        place = torch.where(variance > 0, place + 1, 0).to(torch.int64).flatten()
        found = (weights, weights * variance, weights * (mean - truth).square())
        for sums, values in zip(self._sums, found, strict=True):
            sums += torch.bincount(place, values.flatten(), _BINS)

    def bins(self) -> Tensor:
        """Return the bins that hold something, shape (3, bins), from the least spread on.

        Root of the mean squared spread, root of the mean squared error, share of the values. The
        first may have no spread.
        """
        area, variance, error = self._sums[:, self._sums[0] > 0]
        return torch.stack([(variance / area).sqrt(), (error / area).sqrt(), area / area.sum()])


class CrpsMap:
    """Mean fair CRPS of each cell over the times.

    Parameters
    ----------
    shape : tuple of int
        (H, W).
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._sums = torch.zeros(2, *shape, dtype=torch.float64)

    def update(self, members: Tensor, truth: Tensor, weights: Tensor) -> None:
        """Add a chunk.

        Parameters
        ----------
        members : Tensor of shape (T, M, H, W)
        truth, weights : Tensor of shape (T, H, W)
        """
        found = crps(members, truth[:, None])[:, 0]
        self._sums += torch.stack([weights.sum(0), (weights * found).sum(0)])

    def mean(self) -> Tensor:
        """Return the means, shape (H, W), in the unit of the truth; NaN where none was scored."""
        weight, total = self._sums
        return torch.where(weight > 0, total / weight, math.nan)
