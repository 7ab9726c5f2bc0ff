"""All scores of one system's members, fed with chunks."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor

from orbitlite.verification.ensemble_score import ENSEMBLE_SCORES, EnsembleScore
from orbitlite.verification.score import Setting

Kind = TypeVar("Kind", bound=EnsembleScore)


class EnsembleScorer:
    """Every score of members that makes sense for a quantity, of one system.

    Parameters
    ----------
    setting : Setting
    members : int
        M; one of a deterministic system.
    """

    def __init__(self, setting: Setting, members: int) -> None:
        begun = [kind.of(setting, members) for kind in ENSEMBLE_SCORES.values()]
        self._parts = [part for part in begun if part is not None]

    def update(self, members: Tensor, truth: Tensor, weights: Tensor) -> None:
        """Add a chunk.

        Parameters
        ----------
        members : Tensor of shape (T, M, H, W)
        truth, weights : Tensor of shape (T, H, W)
            As of an `EnsembleScore`.
        """
        for part in self._parts:
            part.update(members, truth, weights)

    def part(self, kind: type[Kind]) -> Kind | None:
        """Return the score of a kind, if it is computed."""
        return next((part for part in self._parts if isinstance(part, kind)), None)

    def compute(self) -> dict[str, float]:
        """Return the scores by name."""
        return {name: value for part in self._parts for name, value in part.known().items()}
