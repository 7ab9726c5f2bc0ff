"""The fractions skill score of a field and of an ensemble."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from orbitlite.verification.ensemble_score import ENSEMBLE_SCORES, EnsembleScore
from orbitlite.verification.score import SCORES, Entry, Score, Setting
from orbitlite.verification.thresholds import THRESHOLDS

WIDTHS = (3, 5, 9)
"""Cells of a neighbourhood along one axis."""
_AMOUNTS = sorted({period.fractions for period in THRESHOLDS.values()})


def _entries(prefix: str, label: str) -> Mapping[str, Entry]:
    return MappingProxyType(
        {
            f"{prefix}_{amount:g}mm_{width}cells": Entry(
                f"{label} at {amount:g} {{unit}}, {width} cells", "high", place=7
            )
            for amount in _AMOUNTS
            for width in WIDTHS
        }
    )


class Neighbourhoods:
    """Sums of the fractions skill score over days and cells.

    Parameters
    ----------
    threshold : float
        In mm over the period of the amounts.
    widths : sequence of int
        Odd numbers of cells.
    wraps : bool
        Whether the grid is periodic in longitude.
    """

    def __init__(self, threshold: float, widths: Sequence[int], wraps: bool) -> None:
        self._threshold = threshold
        self._wraps = wraps
        self._sums = {width: [0.0, 0.0] for width in widths}

    def update(self, members: Tensor, truth: Tensor, weights: Tensor) -> None:
        """Add a chunk.

        Parameters
        ----------
        members : Tensor of shape (T, M, H, W), in the unit of the threshold
        truth, weights : Tensor of shape (T, H, W)
        """
        valid = weights > 0
        layers = (
            valid,
            (members >= self._threshold).sum(1) * valid,
            (truth >= self._threshold) & valid,
        )
        integral, margin = self._integral(torch.stack(layers, dim=1))
        for width, sums in self._sums.items():
            first = margin - width // 2
            boxes = _boxes(integral, first, width, truth.shape[-2:])
            count, forecast, observed = boxes.to(torch.float64).unbind(1)
            count = count.clamp_min(1.0)
            forecast, observed = forecast / (count * members.shape[1]), observed / count
            sums[0] += float((weights * (forecast - observed).square()).sum())
            sums[1] += float((weights * (forecast.square() + observed.square())).sum())

    def _integral(self, layers: Tensor) -> tuple[Tensor, int]:
        """Return sums over all cells above and left of each corner, and the margin around."""
        margin = max(self._sums) // 2
        counts, width = layers.to(torch.int32), layers.shape[-1]
        if self._wraps:
            counts = counts[..., torch.arange(-margin, width + margin) % width]
        else:
            counts = F.pad(counts, (margin, margin))
        counts = F.pad(counts, (1, 0, margin + 1, margin))
        return counts.cumsum(-1, dtype=torch.int32).cumsum(-2, dtype=torch.int32), margin

    def scores(self, prefix: str) -> dict[str, float]:
        """Return `<prefix>_<threshold>mm_<width>cells`; NaN if the event is in neither field."""
        event = f"{prefix}_{self._threshold:g}mm"
        return {
            f"{event}_{width}cells": 1.0 - apart / most if most > 0 else math.nan
            for width, (apart, most) in self._sums.items()
        }


@SCORES.register("fractions")
class Fractions(Score):
    """Fractions skill score of an event in square neighbourhoods of several widths.

    FSS = 1 - sum w (P - O)^2 / sum w (P^2 + O^2) over all days and cells, where P and O are the
    shares of the neighbourhood's valid cells with at least the threshold in the prediction and in
    the truth (Roberts and Lean 2008, doi:10.1175/2007MWR2123.1, equations 5 to 7). At the border of
    the grid the neighbourhood is what lies inside; on a grid that goes round the globe it wraps.

    Parameters
    ----------
    threshold, widths, wraps
        Those of `Neighbourhoods`.
    """

    entries = _entries("fss", "FSS")

    @classmethod
    def of(cls, setting: Setting) -> Self | None:
        """Begin, for precipitation."""
        limits = setting.quantity.thresholds
        return None if limits is None else cls(limits.fractions, WIDTHS, setting.wraps)

    def __init__(self, threshold: float, widths: Sequence[int], wraps: bool) -> None:
        self._found = Neighbourhoods(threshold, widths, wraps)

    def update(self, prediction: Tensor, truth: Tensor, weights: Tensor) -> None:
        """Add a chunk.

        Parameters
        ----------
        prediction, truth, weights : Tensor of shape (T, H, W), values in the unit of the threshold
        """
        self._found.update(prediction[:, None], truth, weights)

    def compute(self) -> dict[str, float]:
        """Return `fss_<threshold>mm_<width>cells`; NaN if the event is in neither field."""
        return self._found.scores("fss")


@ENSEMBLE_SCORES.register("fractions")
class EnsembleFractions(EnsembleScore):
    """Fractions skill score of the neighbourhood probabilities of an ensemble.

    As `Fractions`, where P is the mean over the members of their shares: the neighbourhood ensemble
    probability (Schwartz et al. 2010, doi:10.1175/2009WAF2222267.1), which is compared with the
    share of the truth. Of one member it is the score of `Fractions`. It grows with the number of
    members (Necker et al. 2024, doi:10.1002/qj.4824, "pFSS"), so that only ensembles of one size
    compare.

    Parameters
    ----------
    threshold, widths, wraps
        Those of `Neighbourhoods`.
    """

    entries = _entries("ensemble_fss", "Ensemble FSS")

    @classmethod
    def of(cls, setting: Setting, members: int) -> Self | None:
        """Begin, for precipitation."""
        limits = setting.quantity.thresholds
        return None if limits is None else cls(limits.fractions, WIDTHS, setting.wraps)

    def __init__(self, threshold: float, widths: Sequence[int], wraps: bool) -> None:
        self._found = Neighbourhoods(threshold, widths, wraps)

    def update(self, members: Tensor, truth: Tensor, weights: Tensor) -> None:
        """Add a chunk.

        Parameters
        ----------
        members : Tensor of shape (T, M, H, W), in the unit of the threshold
        truth, weights : Tensor of shape (T, H, W)
        """
        self._found.update(members, truth, weights)

    def compute(self) -> dict[str, float]:
        """Return `ensemble_fss_<threshold>mm_<width>cells`; NaN if the event is in no field."""
        return self._found.scores("ensemble_fss")


def _boxes(integral: Tensor, first: int, width: int, shape: torch.Size) -> Tensor:
    """Sum over the square of `width` cells around every cell, from the integral."""
    height, length = shape
    top, left = slice(first, first + height), slice(first, first + length)
    bottom = slice(first + width, first + width + height)
    right = slice(first + width, first + width + length)
    return (
        integral[..., bottom, right] - integral[..., top, right]
        - integral[..., bottom, left] + integral[..., top, left]
    )  # fmt: skip
