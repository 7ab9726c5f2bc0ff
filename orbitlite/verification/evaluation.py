"""Score a prediction against the truth, beside the baselines."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from orbitlite.data.axes import MEMBERS
from orbitlite.data.bounds import check_same_times
from orbitlite.data.members import partners
from orbitlite.data.regrid import Method
from orbitlite.errors import InputError
from orbitlite.grids.grid import Grid, dims_of
from orbitlite.grids.reading import read_grid
from orbitlite.notice import warn
from orbitlite.progress import bar
from orbitlite.verification import report
from orbitlite.verification.alignment import (
    cover_times,
    located,
    match_calendars,
    match_cells,
    match_times,
)
from orbitlite.verification.blocks import blocks_for, inside, onto
from orbitlite.verification.comparison import compare
from orbitlite.verification.quantity import Quantity
from orbitlite.verification.results import Results
from orbitlite.verification.series import Series
from orbitlite.verification.table import ScoreTable

logger = logging.getLogger(__name__)

_COARSE = "coarse input"
_PAST = ("coarse input of the training period", "truth of the training period")


class Evaluation(Results):
    """Scores of a prediction and of the baselines: what was found, to be printed and written.

    Its attributes are those of `Results`.
    """

    def table(self) -> ScoreTable:
        """Return the scores as a table with the best value of each row marked, to be printed."""
        return ScoreTable(self)

    def to_json(self, path: str | Path) -> None:
        """Write the scores as JSON; values that are not finite become null."""
        report.write_json(self, Path(path))

    def report(self, folder: str | Path) -> list[Path]:
        """Write the scores (JSON and text) and the pictures (PNG); return the paths."""
        return report.write(self, Path(folder))


def evaluate(
    prediction: xr.Dataset,
    truth: xr.Dataset,
    coarse: xr.Dataset | None = None,
    training: tuple[xr.Dataset, xr.Dataset] | None = None,
    *,
    regrid: Method | None = None,
    progress: bool = True,
) -> Evaluation:
    """Score a prediction and, where the coarse input is given, the baselines on the same cells.

    Only values that are present in the truth and in every system are scored; the others are
    counted. Weights are cell areas and sum to one over all that is scored.

    A dimension `realization`, `number`, `member` or `ensemble` of the prediction that the truth
    lacks makes an ensemble: what is scored as ours is the mean of its members, and their
    probabilities; as a system `members` each of them is a sample of its own, as are the values
    along other further dimensions. Those that the truth has too are paired by their labels.

    Daily precipitation has indices of climate (`orbitlite.verification.indices`) of every cell, of
    `members` those of each member and then the mean. Days that are missing are not bridged.

    Times of different calendars are matched by date. The times that prediction and truth share are
    scored; a coarse input that lacks some of them gives no baselines, which would be scored on
    others.

    Parameters
    ----------
    prediction, truth : xr.Dataset
        Canonical, on the same cells; the times that both have are scored.
    coarse : xr.Dataset, optional
        Canonical coarse input on the grid that the fine cells nest in; needed for baselines.
    training : tuple of xr.Dataset, optional
        (coarse, fine) of the training period; needed for quantile mapping.
    regrid : {"linear", "conservative"}, optional
        Bring coarse fields whose cells the fine ones do not nest in onto blocks of fine cells;
        see `orbitlite.verification.blocks`.
    progress : bool
        Show a progress bar if standard error is a terminal.

    Returns
    -------
    Evaluation

    Raises
    ------
    InputError
        If no variable, no time or no value is shared, or the cells do not coincide.
    """
    prediction, grid = located(prediction, "prediction")
    truth, truth_grid = located(truth, "truth")
    truth = match_cells(truth, truth_grid, grid, "truth", "prediction")
    roles = {"prediction": prediction, "truth": truth}
    coarse_grid = None
    if coarse is None and regrid is not None:
        warn(logger, "regrid concerns the coarse input; none is given, so it is not used.")
    if coarse is not None:
        coarse, _ = located(coarse, _COARSE)
        coarse = inside(coarse, grid)
        coarse_grid = read_grid(coarse)
        blocks = blocks_for(coarse_grid, grid, training) if regrid else None
        if regrid and blocks is not None:
            roles = {role: blocks.cut_fine(data) for role, data in roles.items()}
            coarse_grid, grid = blocks.grid, blocks.fine_grid
            coarse = onto(coarse, coarse_grid, regrid, _COARSE)
        roles[_COARSE] = coarse
        coarse_grid.factor_to(grid)
        if training:
            roles |= _past(training, coarse_grid, grid, regrid)
    elif training:
        warn(logger, "The training period is not used: baselines need the coarse input as well.")
    roles = _paired(match_calendars(roles))
    prediction, truth = match_times({role: roles[role] for role in ("prediction", "truth")})
    coarse, absent = _coarse(roles, prediction.indexes["time"])
    channels = _channels(prediction, truth)
    past = _matched_past(roles, prediction.indexes["time"]) if _PAST[0] in roles else None

    results = {}
    passes = 2 if past is None else 3  # a look at the values, the fit of the mapping, the scores
    with bar("Scoring", passes * len(channels), progress, keep=False) as advance:
        for channel in channels:
            found, why = None, absent
            if coarse is not None:
                found = coarse.get(channel)
                why = "the coarse input lacks this variable"
            series = Series(Quantity.of(channel), prediction[channel], truth[channel], found, grid)
            if result := compare(series, coarse_grid, past, why, advance):
                results[channel] = result
    _check_found(prediction[channels], results)
    return Evaluation(results, grid, coarse_grid, _land(truth))


def _paired(roles: dict[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """Bring what has the same further dims to the same order along them, and compare bounds."""
    found = dict(roles)
    for role, other in (("truth", "prediction"), (_COARSE, "prediction"), _PAST[::-1]):
        if role in roles:
            check_same_times(roles[role], roles[other], (role, other))
            found[role] = partners(roles[role], roles[other], (role, other))
    return found


def _check_found(prediction: xr.Dataset, results: Collection[str]) -> None:
    lacking = [str(channel) for channel in prediction if channel not in results]
    if lacking:
        text = f"{', '.join(lacking)}: no value that is present in both prediction and truth."
        if empty := _empty_members(prediction[lacking]):
            text += f" All values are missing of {', '.join(empty)}: leave out such members."
        if not results:
            raise InputError(text)
        warn(logger, f"Not scored: {text}")


def _empty_members(prediction: xr.Dataset) -> list[str]:
    """Return labels of members without any value: cells are scored where all members are."""
    found = []
    for channel, values in prediction.items():
        for name in (dim for dim in values.dims if dim in MEMBERS):
            there = values.notnull().any([dim for dim in values.dims if dim != name])
            labels = values[name].values[~there.values]
            if len(labels) < values.sizes[name]:
                found += [f"{channel} of {name} {label}" for label in labels]
    return found


def _coarse(roles: Mapping[str, xr.Dataset], times: pd.Index) -> tuple[xr.Dataset | None, str]:
    """Return the coarse input at the scored times; else why there is none.

    What is scored does not depend on it: with fewer times, the baselines are left out.
    """
    if _COARSE not in roles:
        return None, ""
    found = cover_times(roles[_COARSE], times, _COARSE)
    if found is not None:
        return found, ""
    lacking = int((~times.isin(roles[_COARSE].indexes["time"])).sum())
    return None, (
        f"the coarse input lacks {lacking} of the {len(times)} times that are scored; give one "
        "with all of them, or a prediction of fewer times"
    )


def _channels(prediction: xr.Dataset, truth: xr.Dataset) -> list[str]:
    offered = [str(name) for name, data in prediction.data_vars.items() if "time" in data.dims]
    channels = [name for name in offered if name in truth and "time" in truth[name].dims]
    if not channels:
        raise InputError(
            f"Prediction and truth share no variable: the prediction has "
            f"{', '.join(offered) or 'none'}, the truth {', '.join(map(str, truth.data_vars))}."
        )
    for name in offered:
        if name not in channels:
            warn(logger, f"{name} is not in the truth and is not scored.")
    return channels


def _past(
    training: tuple[xr.Dataset, xr.Dataset],
    coarse_grid: Grid,
    grid: Grid,
    regrid: Method | None,
) -> dict[str, xr.Dataset]:
    """Put the training period on the cells of the period that is scored."""
    aligned = {}
    for data, target, role in zip(training, (coarse_grid, grid), _PAST, strict=True):
        ordered, own = located(data, role)
        try:
            aligned[role] = match_cells(ordered, own, target, role, "data to be scored")
        except InputError:
            if regrid is None or target is not coarse_grid:
                raise
            aligned[role] = onto(ordered, target, regrid, role)
    return aligned


def _matched_past(
    roles: Mapping[str, xr.Dataset], times: pd.Index
) -> tuple[xr.Dataset, xr.Dataset]:
    """Return the training period at the times that both its datasets have."""
    coarse, fine = match_times({role: roles[role] for role in _PAST})
    seen = len(fine.indexes["time"].intersection(times))
    if seen:
        warn(
            logger,
            f"{seen} scored times lie in the training period of the quantile mapping, which makes "
            "it look better than it is.",
        )
    return coarse, fine


def _land(truth: xr.Dataset) -> NDArray[np.float32] | None:
    dims = dims_of(truth)
    if "land_sea_mask" not in truth or set(truth["land_sea_mask"].dims) != {*dims}:
        return None
    return truth["land_sea_mask"].transpose(*dims).values.astype(np.float32)
