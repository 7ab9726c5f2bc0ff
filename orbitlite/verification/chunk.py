"""Chunk: some times of all systems, and how many of their values are scored."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from orbitlite.verification.results import OURS


@dataclass(frozen=True)
class Chunk:
    """Some times of the truth and of every system.

    Attributes
    ----------
    window : slice
    truth : Tensor of shape (T, H, W)
        float64 in the unit of the quantity, NaN where missing.
    systems : dict
        `{system: Tensor of shape (T, M, H, W)}`; M is one where a system is deterministic.
    coarse : Tensor of shape (T, h, w) or None
        Of several members, their mean.
    """

    window: slice
    truth: Tensor
    systems: dict[str, Tensor]
    coarse: Tensor | None


@dataclass
class Counts:
    """How many values there are, and how many are present.

    Attributes
    ----------
    total, true, ours, scored : int
        All; of the truth; of truth and prediction; of these and every baseline. Of an ensemble a
        value counts once, and is present if all members have it.
    """

    total: int = 0
    true: int = 0
    ours: int = 0
    scored: int = 0

    def update(self, chunk: Chunk) -> Tensor:
        """Count a chunk; return where a value is in all, shape (T, H, W)."""
        true = torch.isfinite(chunk.truth)
        valid = ours = true & torch.isfinite(chunk.systems[OURS]).all(1)
        for values in chunk.systems.values():
            valid = valid & torch.isfinite(values).all(1)
        self.total += valid.numel()
        self.true += int(true.sum())
        self.ours += int(ours.sum())
        self.scored += int(valid.sum())
        return valid

    def cells(self, samples: int = 1) -> dict[str, float]:
        """Return the rows of the table that count; each value `samples` times."""
        skipped = self.total - self.scored
        return {"cells": float(samples * self.scored), "skipped_cells": float(samples * skipped)}
