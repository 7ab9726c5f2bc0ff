"""A learning curve: fits on the last years of a training period, with and without a bundle."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import torch

from orbitlite.benchmark.comparison import CHECKS
from orbitlite.benchmark.session import Session
from orbitlite.benchmark.task import Period, Task
from orbitlite.benchmark.timed_fit import fit
from orbitlite.data.datamodule import PairDataModule
from orbitlite.errors import InputError
from orbitlite.training.beginning import begin
from orbitlite.training.sources import data_of_config
from orbitlite.training.tuning import InitConfig
from orbitlite.verification.results import OURS


def rows(
    config: str,
    bundle: str,
    years: Sequence[int],
    variants: Sequence[str],
    budgets: Sequence[float],
    seeds: Sequence[int],
    period: Period,
    session: Session,
) -> Iterator[dict[str, Any]]:
    """Fit the network of a config to the last years of its training period, and score it.

    All variants learn for the same seconds of the processor with the config's optimisation; what is
    taken of the bundle learns more slowly, as `InitConfig` says. Each keeps the weights of its best
    validation.

    Parameters
    ----------
    config : str
        Of `orbitlite fit`.
    bundle : str
        What fits but those of `scratch` begin with.
    years : sequence of int
        Last years of the training period.
    variants : sequence of str
        Of `orbitlite.benchmark.transfer.VARIANTS`.
    budgets : sequence of float
        Seconds of the processor of each fit.
    seeds : sequence of int
    period : {"validate", "test"}
        What is scored.
    session : Session

    Yields
    ------
    dict
        A row for each number of years, variant, budget, seed and target.
    """
    fits = len(years) * len(variants) * len(seeds)
    session.label("reading the data", math.ceil(fits * sum(budgets)))
    for count in years:
        task = Task.on(config, last_years(data_of_config(config), count), session.device)
        task.data.dataset(period)
        for seconds in budgets:
            for variant in variants:
                for seed in seeds:
                    session.label(f"{count} years, {variant}, seed {seed}")
                    facts = _fitted(task, variant, bundle, seconds, seed, period, session)
                    for row in facts:
                        yield {"years": count, **row}


def last_years(data: PairDataModule, years: int) -> PairDataModule:
    """Let a data module learn from the last years of its training period alone.

    Raises
    ------
    InputError
        If it has no training period, or a shorter one.
    """
    if "train" not in data.periods:
        raise InputError("a learning curve needs a training period; state data.train")
    start, end = data.periods["train"]
    first = end.floor("s") + pd.Timedelta(seconds=1) - pd.DateOffset(years=years)
    if first < start - pd.DateOffset(months=6):
        raise InputError(
            f"--years {years}: the training period is shorter, {start:%Y-%m-%d} to {end:%Y-%m-%d}"
        )
    data.periods["train"] = max(first, start), end
    return data


def _fitted(
    task: Task, variant: str, bundle: str, seconds: float, seed: int, period: Period,
    session: Session,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Fit a network and yield its row for each target."""
    torch.manual_seed(seed)
    module = task.fresh()
    optimisation = module.optimisation
    if variant != "scratch":
        options = InitConfig(bundle=bundle, tune=variant)  # type: ignore[arg-type]
        module.tuning = begin(module.plain, options)
        module.tuning.freeze(module.plain)
        module.take_statistics(task.data)
    network = module.plain.to(task.device)
    found = fit(network, task, optimisation, seconds, CHECKS, session.advance, module.tuning)
    scored = task.evaluate(network, period)
    for target, result in scored.results.items():
        scores = result.scores[OURS]
        yield {
            "part": "transfer", "config": str(task.config), "bundle": bundle, "period": period,
            "variant": variant, "seed": seed, "target": target, "budget_seconds": seconds,
            "training_times": len(task.data.times("train")), "rmse": scores["rmse"],
            "mae": scores["mae"], "correlation": scores["pearson"], "samples": found.samples,
            "parameters": sum(weight.numel() for weight in network.parameters()),
            "learning": sum(w.numel() for w in network.parameters() if w.requires_grad),
        }  # fmt: skip
