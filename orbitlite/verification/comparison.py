"""One variable: the prediction and the baselines, scored on the same values."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from orbitlite.data.grid import LatLonGrid
from orbitlite.notice import notice, warn
from orbitlite.verification.baselines import (
    BASELINES,
    QUANTILE_MAPPED,
    QuantileMap,
    fit_quantile_map,
)
from orbitlite.verification.catalogue import catalogue
from orbitlite.verification.results import LEVELS, OURS, TRUTH, Day, Result
from orbitlite.verification.score import Setting
from orbitlite.verification.scorer import Distribution, Scorer
from orbitlite.verification.series import Series, common_members, read
from orbitlite.verification.spectra import transform_for
from orbitlite.verification.truth import TruthSummary

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


@dataclass
class Counts:
    """How many values there are, and how many are present.

    Attributes
    ----------
    total, true, ours, scored : int
        All; of the truth; of truth and prediction; of these and every baseline.
    """

    total: int = 0
    true: int = 0
    ours: int = 0
    scored: int = 0

    def update(self, chunk: Chunk) -> Tensor:
        """Count a chunk; return where a value is in all, shape (T, H, W)."""
        true = torch.isfinite(chunk.truth)
        valid = ours = true & torch.isfinite(chunk.systems[OURS])
        for values in chunk.systems.values():
            valid = valid & torch.isfinite(values)
        self.total += valid.numel()
        self.true += int(true.sum())
        self.ours += int(ours.sum())
        self.scored += int(valid.sum())
        return valid


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
        cls,
        series: Series,
        coarse_grid: LatLonGrid | None,
        past: Past | None,
        absent: str,
        advance: Advance,
    ) -> Baselines:
        """Fit what needs fitting; say and note what cannot be built.

        `absent`: why there is no coarse input, if there is none; empty if none is asked for.
        """
        name = series.quantity.name
        if series.coarse is None or coarse_grid is None:
            note = f"No baselines: {absent or 'the coarse input is not given'}."
            (warn if absent else notice)(logger, f"{name}: {note}")
            return cls(notes=[note])
        factor = coarse_grid.factor_to(series.grid)
        if past is None:
            note = "No quantile mapping: no training period is given to fit it on."
            notice(logger, f"{name}: {note}")
            return cls(factor, notes=[note])
        if name not in past[0] or name not in past[1]:
            note = "No quantile mapping: no training period with this variable is given."
            warn(logger, f"{name}: {note}")
            return cls(factor, notes=[note])
        mapping = _fit(series, past, factor, advance)
        if mapping.idle:
            note = f"No quantile mapping: {mapping.idle}."
            warn(logger, f"{name}: {note}")
            return cls(factor, notes=[note])
        fitted = f"Quantile mapping fitted on {mapping.basis} of the training period"
        note = f"{'; '.join([fitted, *mapping.doubts])}."
        (warn if mapping.doubts else notice)(logger, f"{name}: {note}")
        return cls(factor, mapping, [note])

    def build(self, series: Series, coarse: Tensor) -> dict[str, Tensor]:
        """Return the baselines of a chunk, shape (T, H, W) each."""
        fields: dict[str, Tensor] = {}
        for name, make in BASELINES.items():
            found = make(
                coarse, self.factor, series.grid.wraps, nonnegative=series.quantity.nonnegative
            )
            expected = len(coarse), *series.grid.shape
            if tuple(found.shape) != expected:
                raise ValueError(
                    f"the baseline {name} should have the shape {expected}, found "
                    f"{tuple(found.shape)}"
                )
            fields[name] = found
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
    series: Series,
    coarse_grid: LatLonGrid | None,
    past: Past | None,
    absent: str,
    advance: Advance,
) -> Result | None:
    """Score the prediction and its baselines.

    Parameters
    ----------
    series : Series
    coarse_grid : LatLonGrid or None
    past : tuple of xr.Dataset or None
        (coarse, fine) of the training period.
    absent : str
        Why the coarse input is not there although it is asked for; else empty.
    advance : callable
        Told the share of a pass over the data that is done.

    Returns
    -------
    Result or None
        None if no value is present in both prediction and truth.
    """
    grid = series.grid
    weights = torch.tensor(grid.weights, dtype=torch.float64)
    summary = TruthSummary.of(series, weights)
    advance(1.0)
    baselines = Baselines.of(series, coarse_grid, past, absent, advance)
    transform = transform_for(grid.lat, grid.lat_edges, grid.lon_edges)
    reference, scorers = Distribution(transform), dict[str, Scorer]()
    setting = Setting(series.quantity, summary, grid.wraps)
    chosen, days, counts = _chosen(summary.daily), list[Day](), Counts()
    for chunk in _chunks(series, baselines):
        valid = counts.update(chunk)
        share, truth = weights * valid, torch.where(valid, chunk.truth, 0.0)
        reference.update(truth, share)
        for name, values in chunk.systems.items():
            if name not in scorers:
                scorers[name] = Scorer(setting, transform)
            scorers[name].update(torch.where(valid, values, 0.0), truth, share)
        advance(valid.shape[0] / series.samples)
        days += _days(series, chunk, chosen)
    if not counts.scored:
        if not counts.ours:
            return None
        why = "the coarse input has no value where prediction and truth have some"
        return compare(replace(series, coarse=None), coarse_grid, past, why, advance)
    notes = [*_extent(series, summary.daily.size, counts), *baselines.notes]
    cells = {"cells": float(counts.scored), "skipped_cells": float(counts.total - counts.scored)}
    spreads = {name: scorer.distribution for name, scorer in scorers.items()} | {TRUTH: reference}
    return Result(
        series.quantity,
        {name: _ordered(scorer.compute(reference) | cells) for name, scorer in scorers.items()},
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


def _extent(series: Series, times: int, counts: Counts) -> list[str]:
    """Say how much is scored, and what is not: missing values, and members taken one by one."""
    name, total, scored = series.quantity.name, counts.total, counts.scored
    missing = f"{total - scored:,} ({1 - scored / total:.1%}) skipped as missing"
    if scored == total:
        missing = "none missing"
    notes = [f"{times} times, {scored:,} values scored, {missing}."]
    notice(logger, f"{name}: {notes[0]}")
    doubts = []
    if lost := counts.true - counts.ours:
        doubts.append(f"{lost:,} values of the truth are not scored: the prediction lacks them.")
    if lost := counts.ours - scored:
        doubts.append(
            f"{lost:,} values of prediction and truth are not scored: the coarse input lacks them."
        )
    if members := series.members:
        sizes = " x ".join(f"{size} ({dim})" for dim, size in members.items())
        doubts.append(
            f"Scores are over {sizes} members, each counted as a sample of its own; their mean is "
            "not scored."
        )
    for doubt in doubts:
        warn(logger, f"{name}: {doubt}")
    return notes + doubts


def _ordered(scores: Mapping[str, float]) -> dict[str, float]:
    order = {name: place for place, name in enumerate(catalogue())}
    return dict(sorted(scores.items(), key=lambda score: order[score[0]]))
