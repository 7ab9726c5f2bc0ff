"""Scores of ensembles, cell by cell: CRPS, spread against error."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import MappingProxyType
from typing import Self

import torch
from torch import Tensor

from orbitlite.verification.crps import crps
from orbitlite.verification.ensemble_score import ENSEMBLE_SCORES, EnsembleScore
from orbitlite.verification.score import Entry, Setting


@ENSEMBLE_SCORES.register("members")
class Members(EnsembleScore):
    """Fair CRPS, spread of members over the error of their mean, error of the mean of all members.

    Sums over all days and cells, weighted by area. Spread-skill ratio: the root of (M + 1) / M
    times the mean variance of the members (with M - 1 in the denominator) over the mean squared
    error of their mean; one if truth and members are drawn alike (Fortin et al. 2014, "Why
    should ensemble spread match the RMSE of the ensemble mean?", equation 15). The mean of M
    members errs by 1 / M of their variance more, in the mean square, than that of unlimited ones:
    `rmse_unlimited` is without it, and compares with the error of a deterministic field (a field
    of 16 members that is right in all else is 3 % behind the mean that it is drawn around). It is
    NaN where members spread so much farther than they err that nothing is left.

    Parameters
    ----------
    alone : bool
        There is a single member: its CRPS is its mean absolute error, and it has no spread.
    """

    entries = MappingProxyType(
        {
            "crps": Entry("CRPS (fair)", "low", "data", place=0),
            "spread_skill": Entry("Spread over error of the mean", "one", place=0),
            "rmse_unlimited": Entry("RMSE, mean of unlimited members", "low", "data", place=0),
        }
    )

    @classmethod
    def of(cls, setting: Setting, members: int) -> Self | None:
        """Begin, without a spread for a deterministic system."""
        return cls(alone=members == 1)

    def __init__(self, alone: bool = False) -> None:
        self._alone = alone
        self._sums = torch.zeros(5, dtype=torch.float64)

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
        variance = members.var(1) if count > 1 else torch.zeros_like(error)
        parts = score, variance * ((count + 1) / count), error.square(), variance / count
        found = (weights * values for values in parts)
        self._sums += torch.stack([weights.sum(), *(values.sum() for values in found)])

    def merge(self, add: Callable[[Tensor], Tensor]) -> None:
        """Put in what other processes have counted; `add` returns the sum of a tensor over them."""
        self._sums = add(self._sums)

    def compute(self) -> dict[str, float]:
        """Return `crps` and, of several members, the others; NaN where nothing was scored."""
        weight, score, spread, error, drawn = self._sums.tolist()
        found = {"crps": score / weight if weight > 0.0 else math.nan}
        if self._alone:
            return found
        found["spread_skill"] = math.sqrt(spread / error) if error > 0.0 else math.nan
        left = error - drawn  # an estimate, which chance may carry below zero
        known = weight > 0.0 and left >= 0.0
        return found | {"rmse_unlimited": math.sqrt(left / weight) if known else math.nan}
