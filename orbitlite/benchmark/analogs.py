"""Analogs: a regression, with what it missed on similar days."""

from __future__ import annotations

import torch
from torch import Tensor

from orbitlite.batch import Batch
from orbitlite.benchmark.archive import Archive, hashes
from orbitlite.errors import InputError
from orbitlite.model.noise import Draw
from orbitlite.model.ridge import Ridge
from orbitlite.training.regression import held_out, solve

NEAREST = 100
"""Training days that residuals are drawn from."""
_MOST = 2 * 10**8
"""Weights of the regression."""


class Analogs:
    """Ridge regression of each fine cell, plus whole fields of residuals of the nearest days.

    As regression on predictors of the large scale is joined with resampling of analogs (Zorita and
    von Storch 1999, J. Climate 12, 2474-2489), here of residuals. Residuals of a fifth of the
    training period are those of a regression on the rest: what has seen a day misses too little of
    it. Days are near where the roots of the predicted amounts are alike (area-weighted squares).

    Parameters
    ----------
    archive : Archive
    amounts : Tensor of shape (K,), bool
        Targets without negative values.
    areas : Tensor of shape (fH, 1) or (fH, fW)
        Of the fine cells of each row.
    scale : Tensor of shape (K,)
        Unit in which targets are compared.
    nearest : int
        Days that residuals are drawn from; all, where there are fewer.

    Raises
    ------
    InputError
        If there are too few samples, or the regression takes too much memory.
    """

    stochastic = True

    def __init__(
        self, archive: Archive, amounts: Tensor, areas: Tensor, scale: Tensor, nearest: int
    ) -> None:
        self.shape, self.nearest = archive.fine.shape[1:], min(nearest, len(archive))
        self.amounts, self.areas, self.scale = amounts[:, None, None], areas, scale[:, None, None]
        predictors, responses = archive.coarse[0].numel(), archive.fine[0].numel()
        if (weights := predictors * responses) > _MOST:
            raise InputError(f"the regression would have {weights:,} weights, {_MOST:,} at most")
        self.ridge = Ridge(predictors, responses)
        samples = [(archive.coarse, archive.fine, archive.times)]
        self.penalty = solve(self.ridge, samples, len(archive))
        kept = held_out(samples, self.penalty)
        predicted = kept.fields[torch.searchsorted(kept.times, archive.times)]
        self.residuals = (archive.fine - predicted).nan_to_num()
        self.places = self._place(self._bounded(predicted))

    def members(self, batch: Batch, draw: Draw) -> Tensor:
        """Return (B, M, K, fH, fW) in physical units."""
        mean = self._bounded(self.ridge(batch.coarse.cpu()).view(-1, *self.shape))
        apart = torch.cdist(self._place(mean), self.places)
        near = apart.topk(self.nearest, largest=False, sorted=True).indices  # (B, K)
        picked = near.gather(1, hashes(batch, draw).remainder(self.nearest))
        return self._bounded(mean[:, None] + self.residuals[picked])

    def _bounded(self, fields: Tensor) -> Tensor:
        return torch.where(self.amounts, fields.clamp_min(0), fields)

    def _place(self, fields: Tensor) -> Tensor:
        """Return where fields (T, K, fH, fW) lie, (T, K fH fW)."""
        scaled = fields / self.scale
        rooted = torch.where(self.amounts, scaled.clamp_min(0).sqrt(), scaled)
        return (rooted * self.areas.sqrt()).flatten(1)
