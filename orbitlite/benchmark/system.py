"""System: whatever draws members of the fine fields of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from orbitlite.batch import Batch
from orbitlite.benchmark.peers.peer import Peer
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.noise import Draw


class System(Protocol):
    """A network, or a method that draws from the training period."""

    @property
    def stochastic(self) -> bool:
        """Whether members differ; else there is one."""

    def members(self, batch: Batch, draw: Draw) -> Tensor:
        """Return (B, M, K, fH, fW) in physical units, the same for the same draw."""


@dataclass(frozen=True)
class NetworkSystem:
    """A network that is trained.

    Attributes
    ----------
    network : Downscaler or Peer
    stochastic : bool
    """

    network: Downscaler | Peer
    stochastic: bool

    def members(self, batch: Batch, draw: Draw) -> Tensor:
        """Return (B, M, K, fH, fW) in physical units."""
        network = self.network.eval()
        drawn = {"draw": draw} if self.stochastic else {}
        out: Tensor = network(batch, fill=True, **drawn)
        return out
