"""A learning curve: fits on the last years of a training period, with and without a bundle."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import torch

from orbitlite.benchmark.comparison import CHECKS
from orbitlite.benchmark.ensemble_contest import EnsembleContest
from orbitlite.benchmark.session import Session
from orbitlite.benchmark.system import NetworkSystem
from orbitlite.benchmark.task import Period, Task
from orbitlite.benchmark.timed_fit import fit
from orbitlite.data.datamodule import PairDataModule
from orbitlite.errors import InputError
from orbitlite.training.beginning import begin
from orbitlite.training.sources import data_of_config
from orbitlite.training.tuning import InitConfig


def rows(
    config: str,
    bundle: str,
    years: Sequence[int],
    variants: Sequence[str],
    budgets: Sequence[float],
    seeds: Sequence[int],
    period: Period,
    members: int,
    session: Session,
) -> Iterator[dict[str, Any]]:
    """Fit the network of a config to the last years of its training period, and score it.

    All variants learn for the same seconds of the processor with the config's optimisation; what is
    taken of the bundle learns more slowly, as `InitConfig` says. Each keeps the weights of its best
    validation. Of a deterministic network `crps` is the mean absolute error.

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
    members : int
        That a stochastic network draws of each sample.
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
        contest = EnsembleContest(task, period, members, 1, session)
        for seconds in budgets:
            for variant in variants:
                for seed in seeds:
                    session.label(f"{count} years, {variant}, seed {seed}")
                    for row in _fitted(contest, variant, bundle, seconds, seed):
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
    contest: EnsembleContest, variant: str, bundle: str, seconds: float, seed: int
) -> Iterator[dict[str, Any]]:
    """Fit a network and yield its row for each target."""
    task = contest.task
    torch.manual_seed(seed)
    module = task.fresh()
    optimisation = module.optimisation
    if variant != "scratch":
        options = InitConfig(bundle=bundle, tune=variant)  # type: ignore[arg-type]
        module.tuning = begin(module.plain, options)
        module.tuning.freeze(module.plain)
        module.take_statistics(task.data)
    network = module.plain.to(task.device)
    advance = contest.session.advance
    found = fit(network, task, optimisation, seconds, CHECKS, advance, module.tuning)
    system = NetworkSystem(network, task.settings.objective.stochastic)
    for target, scores in contest.scores(system, seed).items():
        yield {
            "part": "transfer", "config": str(task.config), "bundle": bundle,
            "period": contest.period, "variant": variant, "seed": seed, "target": target,
            "budget_seconds": seconds, "training_times": len(task.data.times("train")),
            "members": contest.members if system.stochastic else 1, **scores,
            "samples": found.samples,
            "parameters": sum(weight.numel() for weight in network.parameters()),
            "learning": sum(w.numel() for w in network.parameters() if w.requires_grad),
        }  # fmt: skip
