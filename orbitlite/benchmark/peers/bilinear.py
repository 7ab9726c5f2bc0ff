"""The bilinear coarse field alone, as a peer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from orbitlite.batch import Batch
from orbitlite.benchmark.peers.peer import Peer


class Bilinear(nn.Module):
    """No correction."""

    def forward(self, x: Tensor, statics: Tensor) -> Tensor:
        """Return zero."""
        return x.new_zeros(1)

    def solve(self, peer: Peer, batches: Sequence[Batch], score: Callable[[], float]) -> None:
        """Nothing is fitted."""
