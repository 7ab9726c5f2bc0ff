"""Persistence: how much a day is like the day before, cell by cell."""

from __future__ import annotations

import torch
from torch import Tensor

from orbitlite.verification.timeline import Timeline


class Persistence:
    """Lag-1 autocorrelation of the days of each cell.

    The Pearson correlation of x(t - 1) and x(t) over all pairs of days that follow one another and
    have both a value, with the means and variances of either side of these pairs, as in CORDEX
    ML-Bench (WCRP-CORDEX/ml-benchmark, `evaluation/indices.py`), where a gap is bridged, however.

    Parameters
    ----------
    shape : tuple of int
        (S, M, H, W): series, members of each, rows and columns.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        series, _, *cells = shape
        self._last = torch.zeros(1, *shape, dtype=torch.float64)
        self._there = torch.zeros(1, series, 1, *cells, dtype=torch.bool)
        self._pairs = torch.zeros(series, 1, *cells)
        self._sums = torch.zeros(5, *shape, dtype=torch.float64)

    def update(self, amounts: Tensor, valid: Tensor, days: Timeline) -> None:
        """Add the next days.

        Parameters
        ----------
        amounts : Tensor of shape (T, S, M, H, W)
        valid : Tensor of bool, shape (T, S, 1, H, W)
        days : Timeline
            Of these T days.
        """
        joined = torch.from_numpy(days.joined).view(-1, 1, 1, 1, 1)
        both = torch.cat([self._there, valid[:-1]]) & valid & joined
        before = torch.cat([self._last, amounts[:-1]]).where(both, 0.0)
        after = amounts.where(both, 0.0)
        self._pairs += both.sum(0)
        found = (before, after, before * before, after * after, before * after)
        for total, values in zip(self._sums, found, strict=True):
            total += values.sum(0)
        self._last, self._there = amounts[-1:].clone(), valid[-1:].clone()

    def correlation(self) -> Tensor:
        """Return the correlations, shape (S, M, H, W); NaN where either side is constant."""
        means, product = self._sums[:4] / self._pairs, self._sums[4] / self._pairs
        variances = means[2:] - means[:2].square()
        # Differences below rounding are a constant series, not a variance.
        varies = (variances > 1e-13 * means[2:]).all(0)
        found = (product - means[0] * means[1]) / variances.prod(0).sqrt()
        return found.where(varies, torch.nan)
