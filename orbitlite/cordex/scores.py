"""Scores: the benchmark's indices and diagnostics of a file of predictions against its truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import netCDF4
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orbitlite.cordex import wasserstein
from orbitlite.cordex.drawing import windows
from orbitlite.cordex.indices import SERIES, Fields, Series, compared, timeline
from orbitlite.cordex.spectrum import RadialSpectrum, ralsd
from orbitlite.cordex.task import TARGETS
from orbitlite.cordex.truth import Truth
from orbitlite.errors import InputError
from orbitlite.progress import Advance
from orbitlite.verification.ensembles import Members


@dataclass(frozen=True)
class Scored:
    """What was found of a file.

    Attributes
    ----------
    scores : mapping
        `{variable: {score: value}}`.
    ours, truth : mapping
        Indices of the prediction and of the truth, by variable.
    """

    scores: Mapping[str, Mapping[str, float]]
    ours: Mapping[str, Fields]
    truth: Mapping[str, Fields]


class _Errors:
    """Errors of a variable: of the mean, of members, of the ensemble, of spectra."""

    def __init__(self, members: int, shape: tuple[int, int]) -> None:
        self._squared = torch.zeros(2, *shape, dtype=torch.float64)
        self._days = 0
        self._ensemble = Members(alone=members == 1)
        self._spectra = RadialSpectrum(shape), RadialSpectrum(shape)

    def update(self, ours: Tensor, truth: Tensor) -> None:
        """Add days (T, M, H, W) and (T, 1, H, W)."""
        error = (ours.mean(1, keepdim=True) - truth).square().sum((0, 1))
        alone = (ours - truth).square().mean(1).sum(0)
        self._squared += torch.stack([error, alone])
        self._days += len(ours)
        self._ensemble.update(ours, truth[:, 0], torch.ones_like(truth[:, 0]))
        for spectrum, fields in zip(self._spectra, (truth, ours), strict=True):
            spectrum.update(fields)

    def compute(self) -> dict[str, float]:
        """Return `rmse`, `member_rmse`, `crps`, `spread_skill`, `rmse_unlimited` and `ralsd`.

        RMSE: over the days of each cell, then the mean over the cells. That of members is the root
        of the mean over them.
        """
        rmse, member = (self._squared / self._days).sqrt().mean((1, 2)).tolist()
        truth, ours = (spectrum.power() for spectrum in self._spectra)
        return {
            "rmse": rmse, "member_rmse": member, **self._ensemble.compute(),
            "ralsd": ralsd(truth, ours),
        }  # fmt: skip


class _Relation:
    """Correlation over the days of precipitation and maximum temperature in each cell."""

    def __init__(self) -> None:
        self._sums: Tensor | float = 0.0
        self._days = 0

    def update(self, rain: Tensor, warm: Tensor) -> None:
        """Add days (T, M, H, W)."""
        # Far from zero, squares would leave the variance few digits.
        rain, warm = rain.double(), warm.double() - 300.0
        parts = rain, warm, rain * rain, warm * warm, rain * warm
        self._sums = self._sums + torch.stack([part.sum(0) for part in parts])
        self._days += len(rain)

    def compute(self) -> Tensor:
        """Return it, shape (M, H, W); NaN where one of them does not change."""
        assert isinstance(self._sums, Tensor)
        rain, warm, rain2, warm2, both = self._sums / self._days
        variances = rain2 - rain.square(), warm2 - warm.square()
        varies = (variances[0] > 1e-12 * rain2) & (variances[1] > 1e-12 * warm2)
        found: Tensor = (both - rain * warm) / (variances[0] * variances[1]).sqrt()
        return found.where(varies, torch.nan)


def score(file: netCDF4.Dataset, truth: Truth, advance: Advance) -> Scored:
    """Score a file of predictions.

    Parameters
    ----------
    file : netCDF4.Dataset
        As a submission has it.
    truth : Truth
        At the same days, on the same cells.
    advance : callable
        Is told of the days that are done.

    Raises
    ------
    InputError
        If the file lacks a variable, or its shape is another.
    """
    members = _members(file, truth)
    days = timeline(truth.years)
    ours: dict[str, Series] = {n: SERIES[n](days, (members, *truth.shape)) for n in TARGETS}
    theirs: dict[str, Series] = {n: SERIES[n](days, (1, *truth.shape)) for n in TARGETS}
    errors = {name: _Errors(members, truth.shape) for name in TARGETS}
    relations = _Relation(), _Relation()
    for window in windows(len(truth.years), members, truth.shape):
        fields = {name: _days(file, name, window, truth) for name in TARGETS}
        wanted = {name: torch.from_numpy(truth.days(name, window))[:, None] for name in TARGETS}
        for name in TARGETS:
            ours[name].update(fields[name], window)
            theirs[name].update(wanted[name], window)
            errors[name].update(fields[name], wanted[name])
        for relation, found in zip(relations, (fields, wanted), strict=True):
            relation.update(found["pr"], found["tasmax"])
        advance(window.stop - window.start)
    found_ours = {name: one.fields() for name, one in ours.items()}
    found_truth = {name: one.fields() for name, one in theirs.items()}
    pairs = ({"pr_tasmax_correlation": relation.compute()} for relation in relations)
    scores = {
        name: errors[name].compute() | dict(_distances(file, name, truth, members))
        | compared(found_ours[name], found_truth[name])
        for name in TARGETS
    }  # fmt: skip
    scores["pr"] |= compared(*pairs)
    return Scored(scores, found_ours, found_truth)


def _members(file: netCDF4.Dataset, truth: Truth) -> int:
    """Return how many members a file has, and refuse one that is not of the truth's shape."""
    path = file.filepath()
    for name in TARGETS:
        if name not in file.variables:
            raise InputError(f"{path} has no {name}: expected {' and '.join(TARGETS)}.")
        found = file[name].shape
        expected = (truth.size, *truth.shape)
        if len(found) not in (3, 4) or found[-3:] != expected:
            raise InputError(
                f"{path}: expected {name} of the shape {expected}, members before it, found "
                f"{found}."
            )
    return file["pr"].shape[0] if file["pr"].ndim == 4 else 1


def _days(file: netCDF4.Dataset, name: str, window: slice, truth: Truth) -> Tensor:
    """Read days (T, M, H, W) that the truth has too."""
    values = _read(file, name, (..., truth.times[window], slice(None), slice(None)))
    fields = torch.from_numpy(values)
    return fields.movedim(0, 1) if fields.ndim == 4 else fields[:, None]


def _distances(
    file: netCDF4.Dataset, name: str, truth: Truth, members: int
) -> Iterator[tuple[str, float]]:
    """Yield Wasserstein distances, the means over the members."""
    wanted = truth.days(name, slice(None))
    found = []
    for member in range(members):
        place = (member,) if file[name].ndim == 4 else ()
        ours = _read(file, name, (*place, truth.times))
        found.append((wasserstein.of_cells(ours, wanted), wasserstein.pooled(ours, wanted)))
    cells, pooled = np.mean(found, axis=0)
    yield "wasserstein", float(cells)
    yield "wasserstein_pooled", float(pooled)


def _read(file: netCDF4.Dataset, name: str, place: tuple[object, ...]) -> NDArray[np.float32]:
    values = np.ma.filled(file[name][place], np.nan).astype(np.float32)
    if missing := int((~np.isfinite(values)).sum()):
        raise InputError(f"{file.filepath()}: {missing:,} values of {name} are missing.")
    return values
