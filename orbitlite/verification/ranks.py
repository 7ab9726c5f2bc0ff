"""The rank histogram of an ensemble."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Self

import torch
from torch import Tensor

from orbitlite.verification.ensemble_score import ENSEMBLE_SCORES, EnsembleScore
from orbitlite.verification.score import Entry, Setting


@ENSEMBLE_SCORES.register("ranks")
class RankHistogram(EnsembleScore):
    """How often the truth has each rank among the members, and how far that is from flat.

    The rank is the number of members below the truth, 0 to M; each is equally frequent if truth
    and members are drawn alike (Hamill 2001, doi:10.1175/1520-0493(2001)129<0550:IORHFV>2.0.CO;2).
    Where members equal the truth, the value is shared evenly among all ranks that it may have.
    Counted by area. The distance is the sum of |frequency - 1 / (M + 1)| over the ranks (the
    reliability index of Delle Monache et al. 2006): zero if flat, less than 2. Chance alone makes
    it larger for more members, so that only ensembles of one size compare.

    Parameters
    ----------
    members : int
        M.
    dry : float
        Smaller values count as zero, so that members and truth that are all but dry are ties.
    """

    entries = MappingProxyType(
        {"rank_distance": Entry("Rank histogram, distance from flat", "low", place=0)}
    )

    @classmethod
    def of(cls, setting: Setting, members: int) -> Self | None:
        """Begin, for several members; amounts below a tenth of a wet one's are dry."""
        limits = setting.quantity.thresholds
        dry = limits.wet / 10 if limits else -math.inf
        return cls(members, dry) if members > 1 else None

    def __init__(self, members: int, dry: float = -math.inf) -> None:
        self._dry = dry
        self._steps = torch.zeros(members + 2, dtype=torch.float64)

    def update(self, members: Tensor, truth: Tensor, weights: Tensor) -> None:
        """Add a chunk.

        Parameters
        ----------
        members : Tensor of shape (T, M, H, W)
        truth, weights : Tensor of shape (T, H, W)
        """
        members, truth = (torch.where(x < self._dry, 0.0, x) for x in (members, truth[:, None]))
        below = (members < truth).sum(1).flatten()
        ties = (members == truth).sum(1).flatten()
        each = weights.flatten() / (ties + 1)
        # A share for each rank from `below` to `below + ties`: one step up and one down, which
        # are summed at the end.
        size = len(self._steps)
        self._steps += torch.bincount(below, each, size)
        self._steps -= torch.bincount(below + ties + 1, each, size)

    def frequencies(self) -> Tensor:
        """Return the share of each rank, shape (M + 1,); NaN where nothing was scored."""
        counts = self._steps[:-1].cumsum(0).clamp_min(0.0)
        return counts / counts.sum()

    def compute(self) -> dict[str, float]:
        """Return `rank_distance`; NaN where nothing was scored."""
        found = self.frequencies()
        return {"rank_distance": float((found - 1 / len(found)).abs().sum())}
