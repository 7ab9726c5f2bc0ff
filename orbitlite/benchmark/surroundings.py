"""A region in the middle of a grid, whose inputs reach beyond it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from orbitlite.benchmark.ensemble_contest import EnsembleContest, seconds_of
from orbitlite.benchmark.session import Session
from orbitlite.benchmark.task import Period, Task
from orbitlite.data.nesting import take
from orbitlite.data.pairing import Pairs
from orbitlite.training.sources import data_of_config

_VARIANTS = ("deterministic", "ours")


def rows(
    config: str,
    cells: Sequence[int],
    part: float,
    budgets: Sequence[float],
    seeds: Sequence[int],
    period: Period,
    members: int,
    session: Session,
) -> Iterator[dict[str, Any]]:
    """Fit the network of a config to a region of its grid, with more and with less around it.

    The same targets each time; what changes is how many coarse cells around them inputs are of.

    Parameters
    ----------
    config : str
        Of `orbitlite fit`.
    cells : sequence of int
        Coarse cells on each side; beyond a pole or the edge of the grid there are none.
    part : float
        Of the rows and of the columns of the grid, in its middle.
    budgets : sequence of float
        Seconds of the processor of each fit.
    seeds : sequence of int
    period : {"validate", "test"}
        What is scored.
    members : int
        Of each sample.
    session : Session

    Yields
    ------
    dict
        A row for each width of the context, variant (a deterministic network and one that draws
        members), budget, seed and target.
    """
    session.label("reading the data")
    whole = data_of_config(config).pairs
    session.label("", len(cells) * seconds_of(_VARIANTS, budgets, seeds))
    for count in cells:
        task = regional(config, whole, part, count, session.device)
        task.data.dataset(period)
        contest = EnsembleContest(task, period, members, 1, session)
        for row in contest.rows(_VARIANTS, budgets, seeds):
            yield {**row, "part": "context", "context": count, "region": list(task.data.grid.shape)}


def regional(config: str, whole: Pairs, part: float, context: int, device: torch.device) -> Task:
    """Return the task of a config whose targets are those of the middle of its grid.

    Parameters
    ----------
    config : str
        Of `orbitlite fit`.
    whole : Pairs
        Those of the config.
    part : float
        Of the rows and of the columns.
    context : int
        Coarse cells around it that inputs are of.
    device : device
    """
    data = data_of_config(config)
    factor = data.pairing.factor
    rows, columns = (
        np.arange(factor * run.start, factor * run.stop) for run in _middle(whole.grid.shape, part)
    )
    grid, dims = whole.fine_grid.select(rows, columns), whole.grid.dims
    fine, statics = (
        take(ds, rows, columns, dims).assign_coords(grid.coordinates())
        for ds in (whole.fine, whole.statics)
    )
    data.pairing = replace(
        data.pairing, fine=fine, coarse=whole.coarse, context=context, regrid=None, resample=None,
        statics=statics if statics.data_vars else None,
    )  # fmt: skip
    return Task.on(config, data, device)


def _middle(shape: tuple[int, int], part: float) -> list[slice]:
    sizes = [max(1, round(part * cells)) for cells in shape]
    starts = [(cells - own) // 2 for cells, own in zip(shape, sizes, strict=True)]
    return [slice(start, start + own) for start, own in zip(starts, sizes, strict=True)]
