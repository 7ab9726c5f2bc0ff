"""Indices of climate: what the daily precipitation of a cell is like over the whole period."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from orbitlite.verification.annual import AnnualMaxima
from orbitlite.verification.persistence import Persistence
from orbitlite.verification.score import Entry
from orbitlite.verification.timeline import Timeline
from orbitlite.verification.upper_tail import UpperTail

PERCENTILES = (98.0, 99.9)
_LABELS = {
    "rx1day": ("Rx1day", "data"),
    "sdii": ("SDII", "data"),
    "cdd": ("CDD", "days"),
    "cwd": ("CWD", "days"),
    "lag1": ("Lag-1 autocorrelation", ""),
} | {f"cell_p{level:g}": (f"Percentile {level:g} of cells", "data") for level in PERCENTILES}
_RATIOS = frozenset(_LABELS) - {"lag1"}


class Indices:
    """Indices of the daily precipitation of each cell, and how they differ from the truth's.

    Those of CORDEX ML-Bench (WCRP-CORDEX/ml-benchmark, `evaluation/indices.py`): Rx1day, CDD and
    CWD (`AnnualMaxima`), SDII, the mean amount of the wet days of the period (Zhang et al. 2011,
    doi:10.1002/wcc.147), the lag-1 autocorrelation (`Persistence`) and percentiles over the days
    (`UpperTail`).

    Bias: the mean by area of index minus index of the truth. Ratio: the mean of the index over that
    of the truth. Both are over the cells where prediction and truth have the index, and over the
    members, of each of which it is computed.

    Parameters
    ----------
    days : Timeline
        Of the whole series.
    wet : float
        A day is wet from this amount on.
    shape : tuple of int
        (S, M, H, W): series, members of each, rows and columns.
    """

    entries: ClassVar[Mapping[str, Entry]] = MappingProxyType(
        {
            f"{name}_{kind}": entry
            for name, (label, unit) in _LABELS.items()
            for kind, entry in (
                ("bias", Entry(f"{label}, bias", "zero", unit, place=5)),
                ("ratio", Entry(f"{label}, ratio to truth", "one", place=5)),
            )
            if kind == "bias" or name in _RATIOS
        }
    )

    def __init__(self, days: Timeline, wet: float, shape: tuple[int, ...]) -> None:
        self._days, self._wet, self._shape = days, wet, shape
        self._annual = AnnualMaxima(wet, shape)
        self._persistence = Persistence(shape)
        self._tail = UpperTail(len(days), PERCENTILES[0] / 100, shape)
        self._amount = torch.zeros(2, *shape, dtype=torch.float64)
        self._area = torch.zeros(shape[0], 1, *shape[2:], dtype=torch.float64)

    def update(self, fields: Tensor, weights: Tensor, window: slice) -> None:
        """Add the next days.

        Parameters
        ----------
        fields : Tensor of shape (S T, M, H, W)
            In the unit of the threshold, the T days of each series side by side.
        weights : Tensor of shape (S T, H, W)
            Share of the area; zero marks a skipped value.
        window : slice
            Of the whole series.
        """
        series, members, *cells = self._shape
        amounts = fields.view(series, -1, members, *cells).transpose(0, 1)
        area = weights.view(series, -1, 1, *cells).transpose(0, 1)
        valid, days = area > 0, self._days.part(window)
        wet = valid & (amounts >= self._wet)
        self._amount += torch.stack([amounts.where(wet, 0.0).sum(0), wet.sum(0)])
        self._area = torch.maximum(self._area, area.amax(0))
        self._annual.update(amounts, valid, days)
        self._persistence.update(amounts, valid, days)
        self._tail.update(amounts, valid)

    def fields(self) -> dict[str, Tensor]:
        """Return each index, shape (S, M, H, W); NaN where a cell has none."""
        annual = zip(("rx1day", "cdd", "cwd"), self._annual.means(), strict=True)
        percentiles = {f"cell_p{level:g}": self._tail.at(level / 100) for level in PERCENTILES}
        amount, count = self._amount
        lag = self._persistence.correlation()
        return dict(annual) | {"sdii": amount / count, "lag1": lag} | percentiles

    def compute(self, truth: Indices) -> dict[str, float]:
        """Return `<index>_bias` and `<index>_ratio`; NaN where no cell has the index.

        Parameters
        ----------
        truth : Indices
            Of the truth at the same values, with one member.
        """
        scores, theirs = {}, truth.fields()
        for name, ours in self.fields().items():
            both = ours.isfinite() & theirs[name].isfinite()
            found = torch.stack([ours, theirs[name].expand_as(ours)]).where(both, 0.0)
            total = float((self._area * both).sum())
            mean, wanted = (self._area * found).sum((1, 2, 3, 4)).tolist()
            scores[f"{name}_bias"] = (mean - wanted) / total if total > 0 else math.nan
            if name in _RATIOS:
                scores[f"{name}_ratio"] = mean / wanted if wanted > 0 else math.nan
        return scores
