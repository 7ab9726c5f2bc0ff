"""All scores of one system's fields, fed with chunks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from orbitlite.verification.quantiles import Quantiles
from orbitlite.verification.score import SCORES, Entry, Setting
from orbitlite.verification.spectra import MeanSpectrum, Spectrum, Transform

PERCENTILES = (95.0, 99.0, 99.9)


class Distribution:
    """How a system's values are spread: over amounts (quantiles) and over scales (spectrum).

    Parameters
    ----------
    transform : PlanarTransform or SphericalTransform
    """

    entries: ClassVar[Mapping[str, Entry]] = {
        f"p{level:g}_ratio": Entry(f"Percentile {level:g}, ratio to truth", "one", place=5)
        for level in PERCENTILES
    } | {
        "spectrum_distance": Entry("Distance of the power spectra", "low", "dB", place=9),
        "ralsd": Entry("RALSD of the power spectra", "low", "dB²", place=9),
    }

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

    def compute(self, truth: Distribution, ratios: bool) -> dict[str, float]:
        """Return the distances of the spectra and, if wanted, the ratios of the percentiles.

        Parameters
        ----------
        truth : Distribution
            Of the truth at the same values.
        ratios : bool
        """
        ours, theirs = self.spectrum(), truth.spectrum()
        scores = {"spectrum_distance": ours.distance(theirs), "ralsd": ours.ralsd(theirs)}
        if ratios:
            levels = [level / 100 for level in PERCENTILES]
            tops, bases = self.quantiles.at(levels), truth.quantiles.at(levels)
            for level, value, base in zip(PERCENTILES, tops, bases, strict=True):
                scores[f"p{level:g}_ratio"] = float(value / base) if base > 0 else math.nan
        return scores


class Scorer:
    """Every score that makes sense for a quantity, of one system.

    Parameters
    ----------
    setting : Setting
    transform : PlanarTransform or SphericalTransform
    """

    def __init__(self, setting: Setting, transform: Transform) -> None:
        begun = [kind.of(setting) for kind in SCORES.values()]
        self._parts = [part for part in begun if part is not None]
        self._rain = setting.quantity.precipitation
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
        self.distribution.update(prediction, weights)

    def compute(self, truth: Distribution) -> dict[str, float]:
        """Return the scores by name.

        Parameters
        ----------
        truth : Distribution
            Of the truth at the same values.
        """
        scores = self.distribution.compute(truth, self._rain)
        for part in self._parts:
            scores.update(part.known())
        return scores
