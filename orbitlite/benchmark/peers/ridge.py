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
_MOST = 2 * 10**8
"""Values of all predictors at all times, and of all fine cells."""


class Ridge(nn.Module):
    """A map through the singular vectors of the predictors, which all penalties share.

    Predictors are standardised, the truth is an anomaly from the mean of each fine cell, zero where
    missing. The penalty is that of the best validation.

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
        y = torch.cat([self._truth(peer, batch) for batch in batches])  # (T, cells)
        valid = torch.isfinite(y)
        centre = torch.where(valid, y, 0).sum(0) / valid.sum(0).clamp_min(1)
        anomaly = torch.where(valid, y - centre, 0)
        mean, std = x.mean(0), x.std(0, correction=0) + 1e-9
        u, s, patterns = torch.linalg.svd((x - mean) / std, full_matrices=False)
        projected = u.T @ anomaly
        fixed = {"mean": mean, "std": std, "patterns": patterns, "centre": centre}
        for name, value in fixed.items():
            self.weights[name] = nn.Parameter(value.float(), requires_grad=False)
        found = []
        for penalty in PENALTIES:
            self._respond(penalty, s, projected)
            found.append((score(), penalty))
        best = min(found)[1]
        self._respond(best, s, projected)
        return best

    def _respond(self, penalty: float, s: Tensor, projected: Tensor) -> None:
        responses = (s / (s**2 + penalty))[:, None] * projected
        self.weights["responses"] = nn.Parameter(responses.float(), requires_grad=False)

    def _truth(self, peer: Peer, batch: Batch) -> Tensor:
        assert batch.fine is not None
        truth = torch.where(peer.known(batch), batch.fine, torch.nan)
        return (
            ((truth - peer.base(batch)) / peer.frame.target_scale[:, None, None])
            .flatten(1)
            .double()
        )
