"""All scores of one system, fed with chunks; and what of the truth they need beforehand."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orbitlite.verification.catalogue import FRACTIONS_WIDTHS, PERCENTILES, TAILS
from orbitlite.verification.fractions import Fractions
from orbitlite.verification.quantiles import Quantiles
from orbitlite.verification.quantity import Quantity
from orbitlite.verification.scores import Errors, Events, TailErrors
from orbitlite.verification.series import Series
from orbitlite.verification.similarity import Similarity
from orbitlite.verification.spectra import MeanSpectrum, Spectrum, Transform


@dataclass(frozen=True)
class Survey:
    """What one pass over the truth finds.

    Attributes
    ----------
    thresholds : tuple of float
        The truth's percentiles 68.27, 95.45 and 99.73 over all days and cells, by area.
    low, high, mean : float
    daily : ndarray of shape (T,)
        Area mean of each day (of the first member), NaN where all is missing.
    """

    thresholds: tuple[float, ...]
    low: float
    high: float
    mean: float
    daily: NDArray[np.float64]

    @classmethod
    def of(cls, series: Series, weights: Tensor) -> Survey:
        """Read the truth once.

        Parameters
        ----------
        series : Series
        weights : Tensor of shape (H, W)
            Sum to one.
        """
        quantiles, daily = Quantiles(), []
        low, high = math.inf, -math.inf
        for window in series.windows():
            truth = series.read(series.truth, window).to(torch.float64) * series.quantity.scale
            valid = torch.isfinite(truth)
            share = weights * valid
            days = torch.where(valid, truth * weights, 0.0).sum(dim=(-2, -1)) / share.sum((-2, -1))
            daily.append(days[: window.stop - window.start])
            quantiles.update(truth, share)
            if bool(valid.any()):
                low = min(low, float(truth[valid].min()))
                high = max(high, float(truth[valid].max()))
        means = torch.cat(daily).numpy()
        mean = float(np.nanmean(means)) if np.isfinite(means).any() else math.nan
        thresholds = tuple(quantiles.at([tail / 100 for tail in TAILS]).tolist())
        return cls(thresholds, low, high, mean, means)


class Distribution:
    """How a system's values are spread: over amounts (quantiles) and over scales (spectrum).

    Parameters
    ----------
    transform : PlanarTransform or SphericalTransform
    """

    def __init__(self, transform: Transform) -> None:
        self.quantiles = Quantiles()
        self._spectrum = MeanSpectrum(transform)

    def update(self, fields: Tensor, weights: Tensor) -> None:
        """Add a chunk.

        Parameters
        ----------
        fields, weights : Tensor of shape (T, H, W)
        """
        self.quantiles.update(fields, weights)
        self._spectrum.update(fields, weights)

    def spectrum(self) -> Spectrum:
        """Return the mean spectrum."""
        return self._spectrum.compute()


class Scorer:
    """Every score that makes sense for a quantity, of one system.

    Parameters
    ----------
    quantity : Quantity
    survey : Survey
    transform : PlanarTransform or SphericalTransform
    wraps : bool
    """

    def __init__(
        self, quantity: Quantity, survey: Survey, transform: Transform, wraps: bool
    ) -> None:
        names = [f"rmse_above_p{tail:g}" for tail in TAILS]
        center = survey.mean if math.isfinite(survey.mean) else 0.0
        self._parts: list[Errors | TailErrors | Events | Fractions | Similarity] = [
            Errors(center),
            TailErrors(survey.thresholds, names),
            Similarity(survey.high - survey.low, center),
        ]
        self._rain, self._skewed = quantity.precipitation, quantity.log1p
        self._log = Errors()
        if limits := quantity.thresholds:
            name = "wet_day_frequency" if quantity.daily else "wet_frequency"
            self._parts.append(Events(limits.events, limits.wet, name))
            self._parts.append(Fractions(limits.fractions, FRACTIONS_WIDTHS, wraps))
        self.distribution = Distribution(transform)

    def update(self, prediction: Tensor, truth: Tensor, weights: Tensor) -> None:
        """Add a chunk.

        Parameters
        ----------
        prediction, truth, weights : Tensor of shape (T, H, W)
            float64, in the unit of the quantity; weight zero marks a skipped value, which must
            be finite.
        """
        for part in self._parts:
            part.update(prediction, truth, weights)
        if self._skewed:
            logs = [torch.log1p(field.clamp_min(0.0)) for field in (prediction, truth)]
            self._log.update(logs[0], logs[1], weights)
        self.distribution.update(prediction, weights)

    def compute(self, truth: Distribution) -> dict[str, float]:
        """Return the scores by name.

        Parameters
        ----------
        truth : Distribution
            Of the truth at the same values.
        """
        scores: dict[str, float] = {}
        for part in self._parts:
            scores.update(part.compute())
        scores["spectrum_distance"] = self.distribution.spectrum().distance(truth.spectrum())
        if self._skewed:
            log = self._log.compute()
            scores.update({f"{name}_log1p": log[name] for name in ("rmse", "r2", "pearson")})
        if self._rain:
            levels = [level / 100 for level in PERCENTILES]
            ours, theirs = self.distribution.quantiles.at(levels), truth.quantiles.at(levels)
            for level, value, base in zip(PERCENTILES, ours, theirs, strict=True):
                scores[f"p{level:g}_ratio"] = float(value / base) if base > 0 else math.nan
        return scores
