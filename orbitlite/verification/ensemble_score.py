"""EnsembleScore: what is computed of the members of a system."""

from __future__ import annotations

from typing import Self

from torch import Tensor

from orbitlite.registry import Registry
from orbitlite.verification.score import Setting, Values


class EnsembleScore(Values):
    """One or several values of a system's members, fed with chunks of time.

    Where a prediction is an ensemble, those of deterministic systems are computed too, to compare:
    of a single member.
    """

    @classmethod
    def of(cls, setting: Setting, members: int) -> Self | None:
        """Begin the score of a system; None where it makes no sense for it.

        Parameters
        ----------
        setting : Setting
        members : int
            M; one of a deterministic system.
        """
        return cls()

    def update(self, members: Tensor, truth: Tensor, weights: Tensor) -> None:
        """Add a chunk.

        Parameters
        ----------
        members : Tensor of shape (T, M, H, W)
            float64, in the unit of the quantity.
        truth, weights : Tensor of shape (T, H, W)
            float64; weight zero marks a skipped value, which is finite in all and means nothing.
        """
        raise NotImplementedError


ENSEMBLE_SCORES = Registry[type[EnsembleScore]]("ensemble score")
"""By name; what `orbitlite evaluate` computes of an ensemble."""
