"""Ridge regression per fine cell on all coarse predictors of the region.

What a network on small data must beat (Hoerl and Kennard 1970, "Ridge Regression").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from orbitlite.batch import Batch
from orbitlite.benchmark.peers.peer import Peer
from orbitlite.benchmark.peers.size import Size
from orbitlite.errors import InputError

PENALTIES = (30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0, 30000.0, 100000.0)
"""Beside the sums of squares of standardised predictors."""
_MOST = 2 * 10**8
"""Values of all predictors at all times, and of all fine cells."""


class Ridge(nn.Module):
    """A map through the singular vectors of the predictors, which all penalties share.

    Predictors are standardised, the truth is an anomaly from the mean of each fine cell, zero where
    missing. Penalty, and whether the truth itself or its difference from the interpolated field is
    predicted, are those of the best validation.

    Parameters
    ----------
    size : Size
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        self.shape = size.targets, size.height * size.factor, size.width * size.factor
        self.weights = nn.ParameterDict()

    def forward(self, x: Tensor, statics: Tensor) -> Tensor:
        """Return (B, K, fH, fW) of inputs (B, C, H, W)."""
        w = self.weights
        amplitudes = ((x.flatten(1) - w["mean"]) / w["std"]) @ w["patterns"].T
        out: Tensor = amplitudes @ w["responses"] + w["centre"]
        return out.view(-1, *self.shape)

    @torch.no_grad()
    def solve(
        self, peer: Peer, batches: Sequence[Batch], score: Callable[[], float]
    ) -> float | None:
        """Fit; return the penalty.

        Parameters
        ----------
        peer : Peer
            What this is the body of.
        batches : sequence of Batch
        score : callable
            Of `peer` on the validation period; less is better.

        Raises
        ------
        InputError
            If the predictors take too much memory.
        """
        times = sum(map(len, batches))
        cells = self.shape[0] * self.shape[1] * self.shape[2]
        values = times * max(self.size.inputs * self.size.height * self.size.width, cells)
        if values > _MOST:
            raise InputError(f"ridge would hold {values:,} values of predictors or truth")
        x = torch.cat([peer.seen(batch)[0].flatten(1) for batch in batches]).double()  # (T, P)
        mean, std = x.mean(0), x.std(0, correction=0) + 1e-9
        u, s, patterns = torch.linalg.svd((x - mean) / std, full_matrices=False)
        for name, value in (("mean", mean), ("std", std), ("patterns", patterns)):
            self._keep(name, value)
        found = []
        for peer.interpolated in (False, True):
            projected = self._project(peer, batches, u)
            for penalty in PENALTIES:
                self._respond(penalty, s, projected)
                found.append((score(), penalty, peer.interpolated))
        _, penalty, peer.interpolated = min(found)
        self._respond(penalty, s, self._project(peer, batches, u))
        return penalty

    def _project(self, peer: Peer, batches: Sequence[Batch], u: Tensor) -> Tensor:
        """Keep the mean of each fine cell; return the anomalies as (patterns, cells)."""
        y = torch.cat([self._wanted(peer, batch) for batch in batches])  # (T, cells)
        valid = torch.isfinite(y)
        centre = torch.where(valid, y, 0).sum(0) / valid.sum(0).clamp_min(1)
        self._keep("centre", centre)
        return u.T @ torch.where(valid, y - centre, 0)

    def _wanted(self, peer: Peer, batch: Batch) -> Tensor:
        assert batch.fine is not None
        truth = torch.where(peer.known(batch), batch.fine, torch.nan) - peer.base(batch)
        return (truth / peer.frame.target_scale[:, None, None]).flatten(1).double()

    def _respond(self, penalty: float, s: Tensor, projected: Tensor) -> None:
        self._keep("responses", (s / (s**2 + penalty))[:, None] * projected)

    def _keep(self, name: str, value: Tensor) -> None:
        self.weights[name] = nn.Parameter(value.float(), requires_grad=False)
