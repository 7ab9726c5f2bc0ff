"""The fractions skill score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import MappingProxyType
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from orbitlite.verification.score import SCORES, Entry, Score, Setting
from orbitlite.verification.thresholds import THRESHOLDS

WIDTHS = (3, 5, 9)
"""Cells of a neighbourhood along one axis."""
_AMOUNTS = sorted({period.fractions for period in THRESHOLDS.values()})


@SCORES.register("fractions")
class Fractions(Score):
    """Fractions skill score of an event in square neighbourhoods of several widths.

    FSS = 1 - sum w (P - O)^2 / sum w (P^2 + O^2) over all days and cells, where P and O are the
    shares of the neighbourhood's valid cells with at least the threshold in the prediction and in
    the truth (Roberts and Lean 2008, doi:10.1175/2007MWR2123.1). At the border of the grid the
    neighbourhood is what lies inside; on a grid that goes round the globe it wraps.

    Parameters
    ----------
    threshold : float
        In mm over the period of the amounts.
    widths : sequence of int
        Odd numbers of cells.
    wraps : bool
        Whether the grid is periodic in longitude.
    """

    entries = MappingProxyType(
        {
            f"fss_{amount:g}mm_{width}cells": Entry(
                f"FSS at {amount:g} {{unit}}, {width} cells", "high", place=7
            )
            for amount in _AMOUNTS
            for width in WIDTHS
        }
    )

    @classmethod
    def of(cls, setting: Setting) -> Self | None:
        """Begin, for precipitation."""
        limits = setting.quantity.thresholds
        return None if limits is None else cls(limits.fractions, WIDTHS, setting.wraps)

    def __init__(self, threshold: float, widths: Sequence[int], wraps: bool) -> None:
        self._threshold = threshold
        self._wraps = wraps
        self._sums = {width: [0.0, 0.0] for width in widths}

    def update(self, prediction: Tensor, truth: Tensor, weights: Tensor) -> None:
        """Add a chunk.

        Parameters
        ----------
        prediction, truth, weights : Tensor of shape (T, H, W), values in the unit of the threshold
        """
        valid = weights > 0
        layers = (
            valid,
            (prediction >= self._threshold) & valid,
            (truth >= self._threshold) & valid,
        )
        integral, margin = self._integral(torch.stack(layers, dim=1))
        for width, sums in self._sums.items():
            first = margin - width // 2
            boxes = _boxes(integral, first, width, truth.shape[-2:])
            count, forecast, observed = boxes.to(torch.float64).unbind(1)
            count = count.clamp_min(1.0)
            forecast, observed = forecast / count, observed / count
            sums[0] += float((weights * (forecast - observed).square()).sum())
            sums[1] += float((weights * (forecast.square() + observed.square())).sum())

    def _integral(self, layers: Tensor) -> tuple[Tensor, int]:
        """Return sums over all cells above and left of each corner, and the margin around."""
        margin = max(self._sums) // 2
        mode = "circular" if self._wraps else "constant"
        padded = F.pad(layers.to(torch.float32), (margin, margin, 0, 0), mode=mode)
        padded = F.pad(padded, (1, 0, margin + 1, margin))
        counts = padded.to(torch.int32)
        return counts.cumsum(-1, dtype=torch.int32).cumsum(-2, dtype=torch.int32), margin

    def compute(self) -> dict[str, float]:
        """Return `fss_<threshold>mm_<width>cells`; NaN if the event is in neither field."""
        return {
            f"fss_{self._threshold:g}mm_{width}cells": 1.0 - apart / most if most > 0 else math.nan
            for width, (apart, most) in self._sums.items()
        }


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
