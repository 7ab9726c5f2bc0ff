"""Scores of single cells: errors, correlation, errors in the tail, yes-no events.

Every accumulator here has `update(prediction, truth, weights)`, called once per time chunk with
float64 tensors of shape (T, H, W), and `compute()`, which returns the scores by name. A weight is
the cell's share of the area, zero where the truth or the prediction is missing; dividing by the
sum of all weights makes them sum to one over the days and cells that are scored. The result does
not depend on the chunks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Self

import torch
from torch import Tensor

from orbitlite.model.transform import log1p
from orbitlite.verification.score import SCORES, Entry, Score, Setting
from orbitlite.verification.thresholds import THRESHOLDS
from orbitlite.verification.truth import TAILS


@SCORES.register("errors")
class Errors(Score):
    """Bias, RMSE, MAE, R2 and Pearson correlation, area-weighted over all days and cells.

    With weights w that sum to one, e = prediction - truth, and m the weighted mean of the truth:
    bias = sum w e; RMSE = sqrt(sum w e^2), the root of the mean over all days and cells, not the
    mean of daily roots; MAE = sum w |e|; R2 = 1 - sum w e^2 / sum w (truth - m)^2 (the
    Nash-Sutcliffe efficiency); Pearson = weighted covariance over the product of the weighted
    standard deviations. R2 and Pearson are NaN for a constant truth, Pearson also for a constant
    prediction.

    Parameters
    ----------
    center : float
        A value near the mean; subtracted before squaring so that sums lose no digits.
    """

    entries = MappingProxyType(
        {
            "bias": Entry("Bias", "zero", "data", place=0),
            "rmse": Entry("RMSE", "low", "data", place=0),
            "mae": Entry("MAE", "low", "data", place=0),
            "r2": Entry("R2", "high", place=0),
            "pearson": Entry("Pearson correlation", "high", place=0),
        }
    )

    @classmethod
    def of(cls, setting: Setting) -> Self | None:
        """Begin with sums around the mean of the truth."""
        return cls(setting.truth.center)

    def __init__(self, center: float = 0.0) -> None:
        self._center = center
        self._sums = torch.zeros(8, dtype=torch.float64)

    def update(self, prediction: Tensor, truth: Tensor, weights: Tensor) -> None:
        """Add a chunk.

        Parameters
        ----------
        prediction, truth, weights : Tensor of shape (T, H, W)
        """
        p, t, error = prediction - self._center, truth - self._center, prediction - truth
        wp, wt = weights * p, weights * t
        products = ((wp, p), (wt, t), (wp, t), (weights, error.abs()), (weights, error * error))
        sums = [torch.dot(a.flatten(), b.flatten()) for a, b in products]
        self._sums += torch.stack([weights.sum(), wp.sum(), wt.sum(), *sums])

    def merge(self, add: Callable[[Tensor], Tensor]) -> None:
        """Put in what other processes have counted.

        Parameters
        ----------
        add : callable
            Returns the sum of a tensor over the processes; all of them have the same `center`.
        """
        self._sums = add(self._sums)

    def compute(self) -> dict[str, float]:
        """Return `bias`, `rmse`, `mae`, `r2`, `pearson`; NaN where nothing was scored."""
        weight = float(self._sums[0])
        if weight == 0.0:
            return dict.fromkeys(("bias", "rmse", "mae", "r2", "pearson"), math.nan)
        p, t, pp, tt, pt, absolute, squared = (self._sums[1:] / weight).tolist()
        # Differences below rounding are a constant field, not a variance.
        variance_p = _clean(pp - p * p, pp)
        variance_t = _clean(tt - t * t, tt)
        spread = math.sqrt(variance_p * variance_t)
        return {
            "bias": p - t,
            "rmse": math.sqrt(squared),
            "mae": absolute,
            "r2": 1.0 - squared / variance_t if variance_t > 0.0 else math.nan,
            "pearson": (pt - p * t) / spread if spread > 0.0 else math.nan,
        }


def _clean(variance: float, square: float) -> float:
    return variance if variance > 1e-13 * square else 0.0


@SCORES.register("log_errors")
class LogErrors(Score):
    """RMSE, R2 and Pearson correlation of log(1 + x), for skewed amounts."""

    entries = MappingProxyType(
        {
            "rmse_log1p": Entry("RMSE of log1p", "low", place=1),
            "r2_log1p": Entry("R2 of log1p", "high", place=1),
            "pearson_log1p": Entry("Pearson correlation of log1p", "high", place=1),
        }
    )

    def __init__(self) -> None:
        self._errors = Errors()

    @classmethod
    def of(cls, setting: Setting) -> Self | None:
        """Begin, for what the table of variables has taken so."""
        return cls() if setting.quantity.log1p else None

    def update(self, prediction: Tensor, truth: Tensor, weights: Tensor) -> None:
        """Add a chunk; values below zero count as zero."""
        logs = [log1p(field) for field in (prediction, truth)]
        self._errors.update(logs[0], logs[1], weights)

    def compute(self) -> dict[str, float]:
        """Return `rmse_log1p`, `r2_log1p`, `pearson_log1p`; NaN where nothing was scored."""
        found = self._errors.compute()
        return {f"{name}_log1p": found[name] for name in ("rmse", "r2", "pearson")}


@SCORES.register("tail_errors")
class TailErrors(Score):
    """RMSE over the cells where the truth lies above given thresholds.

    ORBIT-2 scores the cells above the truth's percentiles 68.27, 95.45 and 99.73 and calls them
    sigma 1, 2 and 3. Above means strictly above: where the percentile is zero, only wet cells
    count.

    Parameters
    ----------
    thresholds : sequence of float
    names : sequence of str
        Name of the score of each threshold.
    """

    entries = MappingProxyType(
        {
            f"rmse_above_p{tail:g}": Entry(f"RMSE above truth's p{tail:g}", "low", "data", place=3)
            for tail in TAILS
        }
    )

    @classmethod
    def of(cls, setting: Setting) -> Self | None:
        """Begin with the percentiles of the truth."""
        return cls(setting.truth.thresholds, list(cls.entries))

    def __init__(self, thresholds: Sequence[float], names: Sequence[str]) -> None:
        self._thresholds = dict(zip(names, thresholds, strict=True))
        self._weight = dict.fromkeys(names, 0.0)
        self._squared = dict.fromkeys(names, 0.0)

    def update(self, prediction: Tensor, truth: Tensor, weights: Tensor) -> None:
        """Add a chunk.

        Parameters
        ----------
        prediction, truth, weights : Tensor of shape (T, H, W)
        """
        squared = (prediction - truth).square()
        for name, threshold in self._thresholds.items():
            inside = weights * (truth > threshold)
            self._weight[name] += float(inside.sum())
            self._squared[name] += float((inside * squared).sum())

    def compute(self) -> dict[str, float]:
        """Return one RMSE per threshold; NaN where no cell lies above it."""
        return {
            name: math.sqrt(self._squared[name] / weight) if weight > 0.0 else math.nan
            for name, weight in self._weight.items()
        }


_EVENTS = sorted({event for period in THRESHOLDS.values() for event in period.events})


@SCORES.register("events")
class Events(Score):
    """Critical success index at given thresholds, and how often it is wet.

    CSI = hits / (hits + misses + false alarms), each the area share of the cells and times where
    the event (value >= threshold) is in both, only in the truth, only in the prediction (Schaefer
    1990, doi:10.1175/1520-0434(1990)005<0570:TCSIAA>2.0.CO;2). NaN if the event is in neither.

    Parameters
    ----------
    thresholds : sequence of float
        In mm over the period of the amounts; scores `csi_<threshold>mm`.
    wet : float
        It is wet from this amount on.
    name : str
        Of the frequency: of wet days, or of wet periods of another length.
    """

    entries = MappingProxyType(
        {
            f"{name}{kind}": entry
            for name, label in (("wet_day", "Wet-day"), ("wet", "Wet"))
            for kind, entry in (
                ("_frequency", Entry(label + " frequency (>= {wet:g} {unit})", "none", place=4)),
                ("_frequency_ratio", Entry(f"{label} frequency, ratio to truth", "one", place=4)),
            )
        }
        | {
            f"csi_{event:g}mm": Entry(f"CSI at {event:g} {{unit}}", "high", place=6)
            for event in _EVENTS
        }
    )

    @classmethod
    def of(cls, setting: Setting) -> Self | None:
        """Begin, for precipitation."""
        limits = setting.quantity.thresholds
        if limits is None:
            return None
        name = "wet_day_frequency" if setting.quantity.daily else "wet_frequency"
        return cls(limits.events, limits.wet, name)

    def __init__(
        self, thresholds: Sequence[float], wet: float, name: str = "wet_day_frequency"
    ) -> None:
        self._thresholds = tuple(thresholds)
        self._wet = wet
        self._name = name
        self._weight = 0.0
        self._counts = {value: [0.0, 0.0, 0.0] for value in (*thresholds, wet)}

    def update(self, prediction: Tensor, truth: Tensor, weights: Tensor) -> None:
        """Add a chunk.

        Parameters
        ----------
        prediction, truth, weights : Tensor of shape (T, H, W), values in the unit of thresholds
        """
        self._weight += float(weights.sum())
        for threshold, counts in self._counts.items():
            forecast, observed = prediction >= threshold, truth >= threshold
            for index, event in enumerate((forecast & observed, forecast, observed)):
                counts[index] += float((weights * event).sum())

    def compute(self) -> dict[str, float]:
        """Return the frequency of wet times and its ratio to the truth's, and the CSI values."""
        _, forecast, observed = self._counts[self._wet]
        scores = {
            self._name: forecast / self._weight if self._weight > 0.0 else math.nan,
            f"{self._name}_ratio": forecast / observed if observed > 0.0 else math.nan,
        }
        for threshold in self._thresholds:
            hits, forecast, observed = self._counts[threshold]
            either = forecast + observed - hits
            scores[f"csi_{threshold:g}mm"] = hits / either if either > 0.0 else math.nan
        return scores
