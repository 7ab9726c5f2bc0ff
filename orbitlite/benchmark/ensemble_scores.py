"""Scores of the members of one target: how far they are, how they spread, how they look."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from orbitlite.benchmark.fine_power import fine_power_ratio
from orbitlite.grids.grid import Grid
from orbitlite.verification.ensembles import Members
from orbitlite.verification.quantiles import Quantiles
from orbitlite.verification.quantity import Quantity
from orbitlite.verification.scores import Errors
from orbitlite.verification.spectra import MeanSpectrum, transform_for

_LEVELS = (0.99, 0.999)


class EnsembleScores:
    """Sums over days and cells, weighted by area; cells without truth count for nothing.

    `crps`, `spread_skill` and `rmse_unlimited` are those of `Members`; `mae` and `rmse_mean` are
    of the mean over members. The others are of single members: `ralsd` of their mean power
    spectrum (see `Spectrum.ralsd`); ratios to the truth's percentiles, share of wet cells, and
    power at two to four fine cells.

    Parameters
    ----------
    channel : str
        The target.
    grid : Grid
        The fine one.
    """

    def __init__(self, channel: str, grid: Grid) -> None:
        self.quantity = Quantity.of(channel)
        self._grid = grid
        transform = transform_for(grid)
        self._members, self._errors = Members(), Errors()
        self._looks = [_Look(self.quantity, MeanSpectrum(transform)) for _ in range(2)]

    def update(self, members: Tensor, truth: Tensor, areas: Tensor) -> None:
        """Add a batch.

        Parameters
        ----------
        members : Tensor of shape (B, M, fH, fW)
            Physical units.
        truth : Tensor of shape (B, fH, fW)
            NaN where there is none.
        areas : Tensor of shape (B, fH, 1) or (B, fH, fW)
            Of a cell in each row.
        """
        weights = truth.isfinite() * areas.double()
        scale = self.quantity.scale
        truth, members = truth.double().nan_to_num() * scale, members.double() * scale
        members = members.where(weights[:, None] > 0, 0.0)
        self._members.update(members, truth, weights)
        self._errors.update(members.mean(1), truth, weights)
        ours, theirs = self._looks
        ours.update(members.flatten(0, 1), weights.repeat_interleave(members.shape[1], 0))
        theirs.update(truth, weights)

    def compute(self) -> dict[str, float | None]:
        """Return the scores by name; None where one makes no sense for the target."""
        errors = self._errors.compute()
        ours, theirs = self._looks
        power, true = (look.spectrum.compute() for look in self._looks)
        return {
            **self._members.compute(), "mae": errors["mae"], "rmse_mean": errors["rmse"],
            "ralsd": true.ralsd(power), **ours.ratios(theirs),
            "fine_power_ratio": fine_power_ratio(power, true, self._grid),
        }  # fmt: skip


class _Look:
    """Distribution and spectrum of single fields."""

    def __init__(self, quantity: Quantity, spectrum: MeanSpectrum) -> None:
        self._wet = quantity.thresholds.wet if quantity.thresholds else math.nan
        self.spectrum, self._quantiles = spectrum, Quantiles()
        self._share = torch.zeros(2, dtype=torch.float64)

    def update(self, fields: Tensor, weights: Tensor) -> None:
        """Add fields (T, H, W) with weights."""
        self.spectrum.update(fields, weights)
        self._quantiles.update(fields, weights)
        self._share += torch.stack([(weights * (fields >= self._wet)).sum(), weights.sum()])

    def ratios(self, truth: _Look) -> dict[str, float | None]:
        """Return those of percentiles and of the share of wet cells, of precipitation."""
        names = ("p99_ratio", "p999_ratio", "wet_ratio")
        if math.isnan(self._wet):
            return dict.fromkeys(names)
        ours, theirs = (
            [*look._quantiles.at(_LEVELS).tolist(), float(look._share[0] / look._share[1])]
            for look in (self, truth)
        )
        return {
            name: a / b if b > 0 else None for name, a, b in zip(names, ours, theirs, strict=True)
        }
