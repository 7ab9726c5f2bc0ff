"""Scores of ensembles, cell by cell: CRPS, spread against error."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from orbitlite.verification.crps import crps


class Members:
    """Fair CRPS, and the spread of members over the error of their mean.

    Sums over all days and cells, weighted by area. Spread-skill ratio: the root of (M + 1) / M
    times the mean variance of the members (with M - 1 in the denominator) over the mean squared
    error of their mean; one if truth and members are drawn alike (Fortin et al. 2014, "Why
    should ensemble spread match the RMSE of the ensemble mean?", equation 15).
    """

    def __init__(self) -> None:
        self._sums = torch.zeros(4, dtype=torch.float64)

    def update(self, members: Tensor, truth: Tensor, weights: Tensor) -> None:
        """Add a chunk.

        Parameters
        ----------
        members : Tensor of shape (T, M, H, W)
        truth, weights : Tensor of shape (T, H, W)
            Weights are zero where the truth is missing.
        """
        count = members.shape[1]
        members = members.where(weights[:, None] > 0, 0.0)
        error = members.mean(1) - truth.where(weights > 0, 0.0)
        score = crps(members, truth.where(weights > 0, 0.0)[:, None])[:, 0]
        spread = members.var(1) * ((count + 1) / count) if count > 1 else torch.zeros_like(error)
        found = (weights * values for values in (score, spread, error.square()))
        self._sums += torch.stack([weights.sum(), *(values.sum() for values in found)])

    def merge(self, add: Callable[[Tensor], Tensor]) -> None:
        """Put in what other processes have counted; `add` returns the sum of a tensor over them."""
        self._sums = add(self._sums)

    def compute(self) -> dict[str, float]:
        """Return `crps` and `spread_skill`; NaN where nothing was scored."""
        weight, score, spread, error = self._sums.tolist()
        if weight == 0.0:
            return {"crps": math.nan, "spread_skill": math.nan}
        ratio = math.sqrt(spread / error) if error > 0.0 else math.nan
        return {"crps": score / weight, "spread_skill": ratio}
