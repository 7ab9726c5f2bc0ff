"""TruthSummary: what of the truth the scores need beforehand."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orbitlite.verification.quantiles import Quantiles
from orbitlite.verification.series import Series

TAILS = (68.27, 95.45, 99.73)
"""Percentiles of the truth beyond which errors are scored."""


@dataclass(frozen=True)
class TruthSummary:
    """What one pass over the truth finds.

    Attributes
    ----------
    thresholds : tuple of float
        The truth's percentiles 68.27, 95.45 and 99.73 over all days and cells, by area.
    low, high, mean : float
    daily : ndarray of shape (T,)
        Area mean of each day (of the first sample of it), NaN where all is missing.
    """

    thresholds: tuple[float, ...]
    low: float
    high: float
    mean: float
    daily: NDArray[np.float64]

    @property
    def center(self) -> float:
        """The mean, zero where there is none: subtracted so that sums lose no digits."""
        return self.mean if math.isfinite(self.mean) else 0.0

    @classmethod
    def of(cls, series: Series, weights: Tensor) -> TruthSummary:
        """Read the truth once.

        Parameters
        ----------
        series : Series
        weights : Tensor of shape (H, W)
            Sum to one.
        """
        quantiles, daily = Quantiles(), []
        low, high = math.inf, -math.inf
        for window in series.windows():
            truth = series.read(series.truth, window)[:, 0].double() * series.quantity.scale
            valid = torch.isfinite(truth)
            share = weights * valid
            days = torch.where(valid, truth * weights, 0.0).sum(dim=(-2, -1)) / share.sum((-2, -1))
            daily.append(days[: window.stop - window.start])
            quantiles.update(truth, share)
            if bool(valid.any()):
                low = min(low, float(truth[valid].min()))
                high = max(high, float(truth[valid].max()))
        means = torch.cat(daily).numpy()
        mean = float(np.nanmean(means)) if np.isfinite(means).any() else math.nan
        thresholds = tuple(quantiles.at([tail / 100 for tail in TAILS]).tolist())
        return cls(thresholds, low, high, mean, means)
