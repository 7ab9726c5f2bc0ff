"""One variable: the prediction and the baselines, scored on the same values."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
import xarray as xr
from torch import Tensor

from orbitlite.grids.grid import Grid, dims_of
from orbitlite.notice import notice, warn
from orbitlite.verification.baselines import (
    BASELINES,
    QUANTILE_MAPPED,
    QuantileMap,
    fit_quantile_map,
)
from orbitlite.verification.chunk import Chunk, Counts
from orbitlite.verification.days import chosen, days
from orbitlite.verification.results import LEVELS, MEMBERS, OURS, Day, Result
from orbitlite.verification.score import Setting
from orbitlite.verification.scoreboard import Scoreboard
from orbitlite.verification.series import Series, common_dims, read
from orbitlite.verification.spectra import transform_for
from orbitlite.verification.truth import TruthSummary

logger = logging.getLogger(__name__)

Advance = Callable[[float], None]
Past = tuple[xr.Dataset, xr.Dataset]


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
        coarse_grid: Grid | None,
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
        """Return the baselines of a chunk.

        Parameters
        ----------
        series : Series
        coarse : Tensor of shape (T, M, h, w)

        Returns
        -------
        dict
            Tensors of shape (T, M, H, W) by name.
        """
        times, coarse = len(coarse), coarse.flatten(0, 1)
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
        shape = times, -1, *series.grid.shape
        return {name: field.reshape(shape) for name, field in fields.items()}


def _fit(series: Series, past: Past, factor: int, advance: Advance) -> QuantileMap:
    coarse, fine = (data[series.quantity.name] for data in past)
    dims = common_dims(coarse, fine)
    count = coarse.sizes["time"] * math.prod(dims.values())
    along, across = dims_of(coarse)
    return fit_quantile_map(
        lambda rows: read(coarse.isel({along: rows}), dims)[:, 0],
        lambda rows: read(fine.isel({along: rows}), dims)[:, 0],
        (count, coarse.sizes[along], coarse.sizes[across]),
        factor,
        series.grid.wraps,
        series.quantity.nonnegative,
        advance,
    )


def compare(
    series: Series,
    coarse_grid: Grid | None,
    past: Past | None,
    absent: str,
    advance: Advance,
) -> Result | None:
    """Score the prediction and its baselines.

    Parameters
    ----------
    series : Series
    coarse_grid : Grid or None
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
    transform = transform_for(grid)
    setting = Setting(series.quantity, summary, grid.wraps, grid.shape, series.days)
    board, counts = Scoreboard(setting, transform, series.members), Counts()
    wanted, shown = chosen(summary.daily), list[Day]()
    for chunk in _chunks(series, baselines):
        board.update(chunk, weights * counts.update(chunk))
        advance(len(chunk.truth) / series.samples)
        shown += days(series, chunk, wanted)
    if not counts.scored:
        if not counts.ours:
            return None
        why = "the coarse input has no value where prediction and truth have some"
        return compare(replace(series, coarse=None), coarse_grid, past, why, advance)
    notes = [*_extent(series, summary.daily.size, counts), *baselines.notes]
    spreads = board.distributions()
    return Result(
        series.quantity,
        board.compute(counts),
        {name: spread.spectrum() for name, spread in spreads.items()},
        {name: spread.quantiles.at(LEVELS) for name, spread in spreads.items()},
        shown,
        notes,
        series.step,
        board.calibration(),
    )


def _chunks(series: Series, baselines: Baselines) -> Iterator[Chunk]:
    scale = series.quantity.scale
    for window in series.windows():
        truth = series.read(series.truth, window)[:, 0].double() * scale
        systems = {OURS: series.read(series.prediction, window)}
        coarse = None
        if series.coarse is not None:
            coarse = series.read(series.coarse, window)
            systems |= baselines.build(series, coarse)
            coarse = coarse.mean(1) * scale
        systems = {name: values.double() * scale for name, values in systems.items()}
        yield Chunk(window, truth, systems, coarse)


def _extent(series: Series, times: int, counts: Counts) -> list[str]:
    """Say how much is scored, what of members is, and what is not scored: missing values."""
    name, total, scored = series.quantity.name, counts.total, counts.scored
    missing = f"{total - scored:,} ({1 - scored / total:.1%}) skipped as missing"
    if scored == total:
        missing = "none missing"
    notes = [f"{times} times, {scored:,} values scored, {missing}."]
    if series.ensemble:
        notes.append(
            f"{OURS} is the mean of {_sizes(series.ensemble)} members, and its probabilities are "
            f"their shares; {MEMBERS} are the same fields, each counted as a sample of its own."
        )
    for note in notes:
        notice(logger, f"{name}: {note}")
    doubts = []
    if lost := counts.true - counts.ours:
        doubts.append(f"{lost:,} values of the truth are not scored: the prediction lacks them.")
    if lost := counts.ours - scored:
        doubts.append(
            f"{lost:,} values of prediction and truth are not scored: the coarse input lacks them."
        )
    if math.prod(series.others.values()) > 1:
        doubts.append(
            f"Scores are over {_sizes(series.others)} fields of each time, each counted as a "
            "sample of its own; their mean is not scored."
        )
    for doubt in doubts:
        warn(logger, f"{name}: {doubt}")
    return notes + doubts


def _sizes(dims: Mapping[str, int]) -> str:
    return " x ".join(f"{size} ({dim})" for dim, size in dims.items())
