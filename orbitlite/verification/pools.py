"""CRPS of means and maxima over squares of cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import MappingProxyType
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from orbitlite.verification.crps import crps
from orbitlite.verification.ensemble_score import ENSEMBLE_SCORES, EnsembleScore
from orbitlite.verification.score import Entry, Setting

WIDTHS = (4, 16)
"""Cells of a square along one axis."""


@ENSEMBLE_SCORES.register("pools")
class Pools(EnsembleScore):
    """Fair CRPS of the mean and of the maximum over squares of several widths.

    The CRPS of single cells says nothing of how the errors of neighbours hang together; that of
    what they amount to does (Ravuri et al. 2021, doi:10.1038/s41586-021-03854-z, "pooled CRPS").
    The squares lie side by side from the north-west corner on; those at the south and east borders
    may be cut off. Means are weighted by area, missing cells are left out of mean and maximum of
    members and truth alike, and a square counts by the area of the cells that it has.

    Parameters
    ----------
    widths : sequence of int
    """

    entries = MappingProxyType(
        {
            f"crps_{kind}_{width}": Entry(
                f"CRPS of {label} of {width} x {width} cells", "low", "data", place=0
            )
            for kind, label in (("mean", "means"), ("max", "maxima"))
            for width in WIDTHS
        }
    )

    @classmethod
    def of(cls, setting: Setting, members: int) -> Self | None:
        """Begin with the squares that fit into the grid."""
        widths = [width for width in WIDTHS if width <= min(setting.shape)]
        return cls(widths) if widths else None

    def __init__(self, widths: Sequence[int]) -> None:
        self._sums = {width: torch.zeros(3, dtype=torch.float64) for width in widths}

    def update(self, members: Tensor, truth: Tensor, weights: Tensor) -> None:
        """Add a chunk.

        Parameters
        ----------
        members : Tensor of shape (T, M, H, W)
        truth, weights : Tensor of shape (T, H, W)
        """
        # The truth runs along as one more member, so that it is pooled alike.
        fields, share = torch.cat([truth[:, None], members], dim=1), weights[:, None]
        lows = torch.where(share > 0, fields, -torch.inf)
        for width, sums in self._sums.items():
            area = _squares(share, width).sum((-3, -1))
            mean = _squares(share * fields, width).sum((-3, -1)) / area
            top = _squares(lows, width, -torch.inf).amax((-3, -1))
            sums[0] += area.sum()
            for place, pooled in enumerate((mean, top), start=1):
                found = torch.where(area > 0, pooled, 0.0)
                sums[place] += (area * crps(found[:, 1:], found[:, :1])).sum()

    def compute(self) -> dict[str, float]:
        """Return `crps_mean_<width>` and `crps_max_<width>`; NaN where nothing was scored."""
        scores = {}
        for width, sums in self._sums.items():
            area, mean, top = sums.tolist()
            scores[f"crps_mean_{width}"] = mean / area if area > 0.0 else math.nan
            scores[f"crps_max_{width}"] = top / area if area > 0.0 else math.nan
        return scores


def _squares(fields: Tensor, width: int, beyond: float = 0.0) -> Tensor:
    """Cut into squares, padded at the borders: to (..., rows, width, columns, width)."""
    height, length = fields.shape[-2:]
    padded = F.pad(fields, (0, -length % width, 0, -height % width), value=beyond)
    rows, columns = (size // width for size in padded.shape[-2:])
    return padded.view(*fields.shape[:-2], rows, width, columns, width)
