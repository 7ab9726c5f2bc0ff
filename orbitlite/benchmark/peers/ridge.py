"""Ridge regression per fine cell on all coarse predictors of the region.

What a network on small data must beat (Hoerl and Kennard 1970, "Ridge Regression").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from orbitlite.batch import Batch
from orbitlite.benchmark.peers.peer import Peer
from orbitlite.benchmark.peers.size import Size
from orbitlite.model import ridge
from orbitlite.training.regression import solve


class Ridge(ridge.Ridge):
    """The regression that a network may have beside it (`DownscalerConfig.ridge`), by itself.

    Parameters
    ----------
    size : Size
    """

    def __init__(self, size: Size) -> None:
        self.shape = size.targets, size.height * size.factor, size.width * size.factor
        cells = size.height * size.width
        super().__init__(size.inputs * cells, size.targets * cells * size.factor**2)

    def forward(self, x: Tensor, statics: Tensor) -> Tensor:  # type: ignore[override]
        """Return (B, K, fH, fW) of inputs (B, C, H, W)."""
        return super().forward(x).view(-1, *self.shape)

    def solve(self, peer: Peer, batches: Sequence[Batch], score: Callable[[], float]) -> float:
        """Fit; return the penalty.

        Parameters
        ----------
        peer : Peer
            What this is the body of.
        batches : sequence of Batch
        score : callable
            Not asked: the training period itself tells the penalty.

        Raises
        ------
        InputError
            If there are too few samples, or they take too much memory.
        """
        peer.interpolated = False
        samples = ((peer.seen(batch)[0], _wanted(peer, batch), _times(batch)) for batch in batches)
        return solve(self, samples, sum(map(len, batches)))


def _wanted(peer: Peer, batch: Batch) -> Tensor:
    assert batch.fine is not None
    truth = torch.where(peer.known(batch), batch.fine, torch.nan)
    return truth / peer.frame.target_scale[:, None, None]


def _times(batch: Batch) -> Tensor:
    assert batch.time is not None
    return batch.time
