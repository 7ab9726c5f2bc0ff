"""Peers: processes of a run that read data for each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from orbitlite.data.sharing import Read, Sharing
from orbitlite.parallel.agreement import together
from orbitlite.parallel.mesh import Ranks


class Peers(Sharing):
    """The processes of a run, or those of them that read the same channels.

    Whoever of the others is asked as well takes part in the exchange, which is one of all.

    Parameters
    ----------
    ranks : Ranks
    same_channels : bool
        Those at one place of the tensor axis alone.
    """

    def __init__(self, ranks: Ranks, same_channels: bool = False) -> None:
        self._ranks = ranks
        places = {rank: ranks.sizes.place(rank) for rank in range(ranks.sizes.world_size)}
        self._peers = [
            rank for rank, (*_, tensor) in places.items()
            if not same_channels or tensor == ranks.tensor_rank
        ]  # fmt: skip
        here = (ranks.data_rank, ranks.sequence_rank, ranks.tensor_rank)
        self.rank = [places[rank] for rank in self._peers].index(here)
        self.size = len(self._peers)

    def gather(self, read: Callable[[], Read]) -> list[Read]:
        """Read, and return what each peer has read; all processes of the run call it alike.

        Raises
        ------
        SharedError
            On all processes of the run, if any of them met a mistake.
        """
        with together():
            own = read()
        parts = self._ranks.gather(own)
        return [cast("Read", parts[rank]) for rank in self._peers]
