"""One variable: the prediction and the baselines, scored on the same values."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from orbitlite.data.grid import LatLonGrid
from orbitlite.errors import InputError
from orbitlite.verification.baselines import (
    INTERPOLATIONS,
    QUANTILE_MAPPED,
    QuantileMap,
    fit_quantile_map,
    interpolate,
)
from orbitlite.verification.catalogue import SCORES
from orbitlite.verification.results import LEVELS, OURS, TRUTH, Day, Result
from orbitlite.verification.scorer import Distribution, Scorer, Survey
from orbitlite.verification.series import Series, common_members, read
from orbitlite.verification.spectra import transform_for

logger = logging.getLogger(__name__)

Advance = Callable[[float], None]
Past = tuple[xr.Dataset, xr.Dataset]


@dataclass(frozen=True)
class Chunk:
    """Some times of the truth and of every system.

    Attributes
    ----------
    window : slice
    truth : Tensor of shape (T, H, W)
        float64 in the unit of the quantity, NaN where missing.
    systems : dict
        `{system: Tensor of shape (T, H, W)}`.
    coarse : Tensor of shape (T, h, w) or None
    """

    window: slice
    truth: Tensor
    systems: dict[str, Tensor]
    coarse: Tensor | None


@dataclass(frozen=True)
class Baselines:
    """What is needed to build the baselines of a series.

    Attributes
    ----------
    factor : int
    mapping : QuantileMap or None
    notes : list of str
        Which baselines are left out, and why.
    """

    factor: int = 1
    mapping: QuantileMap | None = None
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls, series: Series, coarse_grid: LatLonGrid | None, past: Past | None, advance: Advance
    ) -> Baselines:
        """Fit what needs fitting; log and note what cannot be built."""
        name, factor = series.quantity.name, 1
        if series.coarse is None or coarse_grid is None:
            note = "No baselines: the coarse input is not given or lacks this variable."
        else:
            factor = coarse_grid.factor_to(series.grid)
            if past is not None and name in past[0] and name in past[1]:
                days = past[0].sizes["time"]
                note = f"Quantile mapping fitted on {days} times of the training period."
                return cls(factor, _fit(series, past, factor, advance), [note])
            why = "is given to fit it on" if past is None else "with this variable is given"
            note = f"No quantile mapping: no training period {why}."
        logger.info("%s: %s", name, note)
        return cls(factor, notes=[note])

    def build(self, series: Series, coarse: Tensor) -> dict[str, Tensor]:
        """Return the baselines of a chunk, shape (T, H, W) each."""
        fields: dict[str, Tensor] = {
            mode: interpolate(
                coarse, self.factor, series.grid.wraps, mode, series.quantity.nonnegative
            )
            for mode in INTERPOLATIONS
        }
        if self.mapping is not None:
            fields[QUANTILE_MAPPED] = self.mapping.apply(fields["bilinear"])
        return fields


def _fit(series: Series, past: Past, factor: int, advance: Advance) -> QuantileMap:
    coarse, fine = (data[series.quantity.name] for data in past)
    members = common_members(coarse, fine)
    count = coarse.sizes["time"] * math.prod(members.values())
    return fit_quantile_map(
        lambda rows: read(coarse.isel(lat=rows), members),
        lambda rows: read(fine.isel(lat=rows), members),
        (count, coarse.sizes["lat"], coarse.sizes["lon"]),
        factor,
        series.grid.wraps,
        series.quantity.nonnegative,
        advance,
    )


def compare(
    series: Series, coarse_grid: LatLonGrid | None, past: Past | None, advance: Advance
) -> Result:
    """Score the prediction and its baselines.

    Parameters
    ----------
    series : Series
    coarse_grid : LatLonGrid or None
    past : tuple of xr.Dataset or None
        (coarse, fine) of the training period.
    advance : callable
        Told the share of a pass over the data that is done.

    Returns
    -------
    Result

    Raises
    ------
    InputError
        If no value is present in the truth and in every system.
    """
    grid = series.grid
    weights = torch.tensor(grid.weights, dtype=torch.float64)
    survey = Survey.of(series, weights)
    advance(1.0)
    baselines = Baselines.of(series, coarse_grid, past, advance)
    transform = transform_for(grid.lat, grid.lat_edges, grid.lon_edges)
    reference, scorers = Distribution(transform), dict[str, Scorer]()
    chosen, days = _chosen(survey.daily), list[Day]()
    scored = total = 0
    for chunk in _chunks(series, baselines):
        valid = torch.isfinite(chunk.truth)
        for values in chunk.systems.values():
            valid &= torch.isfinite(values)
        scored, total = scored + int(valid.sum()), total + valid.numel()
        share, truth = weights * valid, torch.where(valid, chunk.truth, 0.0)
        reference.update(truth, share)
        for name, values in chunk.systems.items():
            if name not in scorers:
                scorers[name] = Scorer(series.quantity, survey, transform, grid.wraps)
            scorers[name].update(torch.where(valid, values, 0.0), truth, share)
            advance(valid.shape[0] / series.samples)
        days += _days(series, chunk, chosen)
    if not scored:
        raise InputError(
            f"{series.quantity.name!r} has no value that is present in both prediction and truth."
        )
    notes = [_extent(survey.daily.size, scored, total), *baselines.notes]
    logger.info("%s: %s", series.quantity.name, notes[0])
    counts = {"cells": float(scored), "skipped_cells": float(total - scored)}
    spreads = {name: scorer.distribution for name, scorer in scorers.items()} | {TRUTH: reference}
    return Result(
        series.quantity,
        {name: _ordered(scorer.compute(reference) | counts) for name, scorer in scorers.items()},
        {name: spread.spectrum() for name, spread in spreads.items()},
        {name: spread.quantiles.at(LEVELS) for name, spread in spreads.items()},
        days,
        notes,
        series.step,
    )


def _chunks(series: Series, baselines: Baselines) -> Iterator[Chunk]:
    scale = series.quantity.scale
    for window in series.windows():
        truth = series.read(series.truth, window).double() * scale
        systems = {OURS: series.read(series.prediction, window)}
        coarse = None
        if series.coarse is not None:
            coarse = series.read(series.coarse, window)
            systems |= baselines.build(series, coarse)
            coarse = coarse * scale
        systems = {name: values.double() * scale for name, values in systems.items()}
        yield Chunk(window, truth, systems, coarse)


def _chosen(daily: NDArray[np.float64]) -> dict[str, int]:
    """Pick the day with the highest mean and the day in the middle of the ranking."""
    order = np.argsort(daily)[: int(np.isfinite(daily).sum())]
    if not len(order):
        return {}
    wettest, median = int(order[-1]), int(order[(len(order) - 1) // 2])
    return {"wettest": wettest} | ({} if median == wettest else {"median": median})


def _days(series: Series, chunk: Chunk, chosen: Mapping[str, int]) -> list[Day]:
    """Keep the chosen days of a chunk, of the first member."""
    window, found = chunk.window, []
    for kind, index in chosen.items():
        if not window.start <= index < window.stop:
            continue
        at = index - window.start
        time = series.prediction.indexes["time"][index]
        label = time.strftime("%Y-%m-%d" if series.step == "day" else "%Y-%m-%d %H:%M")
        wet = series.quantity.precipitation or kind == "median"
        coarse = None if chunk.coarse is None else chunk.coarse[at].float().numpy()
        fields = [values[at].float().numpy() for values in (chunk.systems[OURS], chunk.truth)]
        found.append(Day(str(label), kind if wet else "highest mean", coarse, *fields))
    return found


def _extent(times: int, scored: int, total: int) -> str:
    missing = f"{total - scored:,} ({1 - scored / total:.1%}) skipped as missing"
    return (
        f"{times} times, {scored:,} values scored, {missing if scored < total else 'none missing'}."
    )


def _ordered(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: scores[name] for name in SCORES if name in scores}
