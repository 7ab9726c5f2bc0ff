"""Forecast probabilities of events: the Brier score, and how reliable they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import MappingProxyType
from typing import Self

import torch
from torch import Tensor

from orbitlite.verification.ensemble_score import ENSEMBLE_SCORES, EnsembleScore
from orbitlite.verification.score import Entry, Setting
from orbitlite.verification.thresholds import THRESHOLDS

_EVENTS = sorted({event for period in THRESHOLDS.values() for event in period.events})


@ENSEMBLE_SCORES.register("probabilities")
class Probabilities(EnsembleScore):
    """Fair Brier score of events at given thresholds.

    With p the share of the M members in which the event (value >= threshold) is, and o = 1 where
    it is in the truth, else 0: the mean of (p - o)^2 - p (1 - p) / (M - 1) by area (Ferro 2014,
    doi:10.1002/qj.2270), which does not depend on M if members are drawn alike. Of one member it
    is (p - o)^2, the share of the wrong answers.

    Parameters
    ----------
    members : int
        M.
    thresholds : sequence of float
        In mm over the period of the amounts; scores `brier_<threshold>mm`.
    """

    entries = MappingProxyType(
        {
            f"brier_{event:g}mm": Entry(f"Brier score (fair) at {event:g} {{unit}}", "low", place=6)
            for event in _EVENTS
        }
    )

    @classmethod
    def of(cls, setting: Setting, members: int) -> Self | None:
        """Begin, for precipitation."""
        limits = setting.quantity.thresholds
        return None if limits is None else cls(members, limits.events)

    def __init__(self, members: int, thresholds: Sequence[float]) -> None:
        self._size = members
        # Of each number of members with the event: the area there, and where the truth has it too.
        self._areas = {
            event: torch.zeros(2, members + 1, dtype=torch.float64) for event in thresholds
        }

    def update(self, members: Tensor, truth: Tensor, weights: Tensor) -> None:
        """Add a chunk.

        Parameters
        ----------
        members : Tensor of shape (T, M, H, W)
            In the unit of the thresholds.
        truth, weights : Tensor of shape (T, H, W)
        """
        for event, areas in self._areas.items():
            count = (members >= event).sum(1).flatten()
            for area, share in zip(areas, (weights, weights * (truth >= event)), strict=True):
                area += torch.bincount(count, share.flatten(), self._size + 1)

    def reliability(self) -> dict[float, Tensor]:
        """Return areas by threshold, shape (2, M + 1).

        Of each number of members with the event: the share of all values, and the share of all
        values where the truth has the event too.
        """
        return {event: areas / areas[0].sum() for event, areas in self._areas.items()}

    def compute(self) -> dict[str, float]:
        """Return `brier_<threshold>mm`; NaN where nothing was scored."""
        p = torch.arange(self._size + 1, dtype=torch.float64) / self._size
        excess = p * (1 - p) / (self._size - 1) if self._size > 1 else torch.zeros_like(p)
        scores = {}
        for event, (forecast, both) in self.reliability().items():
            # (p - o)^2 = p^2 - 2 p o + o, as o is 0 or 1.
            brier = forecast @ (p * p - excess) + both @ (1 - 2 * p)
            scores[f"brier_{event:g}mm"] = float(brier) if not brier.isnan() else math.nan
        return scores
