"""Systems that draw members, trained for the same time on the same pairs, and scored alike."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from orbitlite.benchmark import variants
from orbitlite.benchmark.comparison import CHECKS, RATES, TRIAL, Network, best_rate, leave_out
from orbitlite.benchmark.ensemble_scores import EnsembleScores
from orbitlite.benchmark.session import Session
from orbitlite.benchmark.system import NetworkSystem, System
from orbitlite.benchmark.task import Period, Task
from orbitlite.benchmark.timed_fit import Fitted, clock_of, fit
from orbitlite.errors import InputError
from orbitlite.model.geometry import Geometry
from orbitlite.model.noise import Draw
from orbitlite.training.optimisation import Optimisation

_DRAWN = 10
"""Members of the prediction that is timed."""


@dataclass(frozen=True)
class EnsembleContest:
    """The variants of one task.

    Attributes
    ----------
    task : Task
        Of the config as it stands.
    period : {"validate", "test"}
        What is scored.
    members : int
        That each stochastic variant draws of a sample.
    nearest : int
        Days that count as near, of `analog`.
    session : Session
    """

    task: Task
    period: Period
    members: int
    nearest: int
    session: Session

    def rows(
        self, names: Sequence[str], budgets: Sequence[float], seeds: Sequence[int]
    ) -> Iterator[dict[str, Any]]:
        """Yield the rows of variants: what is fitted once before what is trained.

        Networks see the same batches for the same seconds of the processor. Ours are optimised as
        the config says; NoisyViT by AdamW with warm-up and cosine, at the best of three rates, each
        tried with the first seed for a quarter of the time and compared on the validation period.
        Each keeps the weights of its best validation, one with members by their CRPS. What cannot
        be built is left out, with a warning.
        """
        for name in variants.METHODS:
            if name in names:
                yield from self._method(name, seeds)
        for seconds in budgets:
            for name in variants.TRAINED:
                if name in names:
                    yield from self._trained(name, seconds, seeds)

    def _method(self, name: str, seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
        self.session.label(name)
        try:
            system = variants.METHODS[name](self.task, self.nearest)
        except InputError as error:
            leave_out(name, str(error))
            return
        facts = dict.fromkeys(("budget_seconds", "samples", "learning_rate"))
        for seed in seeds:
            yield from self._rows(name, system, seed, parameters=0, **facts)

    def _trained(self, name: str, seconds: float, seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
        own = self.task.settings.optimisation
        try:
            task = variants.TRAINED[name][0](self.task)
            if name == "noisyvit":
                plain = Optimisation(weight_decay=own.weight_decay, betas=own.betas)
                own = best_rate(
                    [replace(plain, lr=rate) for rate in RATES],
                    lambda one: self._fit(name, task, one, seconds * TRIAL, seeds[0], 1)[1].score,
                )
        except InputError as error:
            leave_out(name, str(error))
            return
        for seed in seeds:
            network, fitted = self._fit(name, task, own, seconds, seed, CHECKS)
            system = NetworkSystem(network, task.settings.objective.stochastic)
            yield from self._rows(
                name, system, seed, parameters=sum(w.numel() for w in network.parameters()),
                budget_seconds=seconds, samples=fitted.samples, learning_rate=own.lr,
            )  # fmt: skip

    def _fit(
        self, name: str, task: Task, optimisation: Optimisation, seconds: float, seed: int,
        checks: int,
    ) -> tuple[Network, Fitted]:  # fmt: skip
        self.session.label(f"{name}, rate {optimisation.lr:.1e}, seed {seed}, {seconds:g} s")
        torch.manual_seed(seed)
        network = variants.TRAINED[name][1](task).to(task.device)
        advance = self.session.advance
        return network, fit(network, task, optimisation, seconds, checks, advance)

    def _rows(self, name: str, system: System, seed: int, **facts: Any) -> Iterator[dict[str, Any]]:
        """Yield the row of each target; of RainFARM, those that it refines."""
        self.session.label(f"scores of {name}, seed {seed}")
        members, one = self.seconds(system, seed)
        drawn = variants.rain(self.task) if name == "rainfarm" else None
        for number, (target, scores) in enumerate(self.scores(system, seed).items()):
            if drawn is None or drawn[number] is not None:
                yield {
                    "part": "ensembles", "config": str(self.task.config), "period": self.period,
                    "variant": name, "seed": seed, "target": target,
                    "members": self.members if system.stochastic else 1, **scores,
                    "seconds_per_member": members, "seconds_per_prediction": one, **facts,
                }  # fmt: skip

    @torch.no_grad()
    def scores(self, system: System, seed: int) -> dict[str, dict[str, float | None]]:
        """Score the members of a seed over the period, by target, over the same cells for all."""
        task, draw = self.task, Draw.of(seed, range(self.members))
        frame, grid = task.frame, task.data.fine_grid
        found = {name: EnsembleScores(name, grid) for name in frame.config.targets}
        for batch in task.loader(self.period):
            batch = batch.to(task.device)
            fields = system.members(batch, draw).cpu()
            truth = task.truth(frame, batch).cpu()
            areas = Geometry.of_core(batch).areas(frame.config.factor)
            for number, scores in enumerate(found.values()):
                scores.update(fields[:, :, number], truth[:, number], areas.cpu())
        return {name: scores.compute() for name, scores in found.items()}

    @torch.no_grad()
    def seconds(self, system: System, seed: int) -> tuple[float, float]:
        """Return the seconds of the processor of one of ten members, and of one by itself.

        Of the first sample of the period, medians of the rounds after one that is not counted.
        """
        clock = clock_of(self.task.device)
        batch = self.task.data.dataset(self.period)[0].to(self.task.device)

        def timed(count: int) -> float:
            draw, start = Draw.of(seed, range(count)), clock()
            system.members(batch, draw)
            return (clock() - start) / count

        rounds = [(timed(_DRAWN), timed(1)) for _ in range(self.session.repeats + 1)][1:]
        together, alone = (statistics.median(column) for column in zip(*rounds, strict=True))
        return (together, alone) if system.stochastic else (alone, alone)


def seconds_of(names: Sequence[str], budgets: Sequence[float], seeds: Sequence[int]) -> int:
    """Return the seconds of training that variants take."""
    shares = {"noisyvit": len(RATES) * TRIAL}
    fits = sum(shares.get(n, 0.0) + len(seeds) for n in variants.TRAINED if n in names)
    return math.ceil(fits * sum(budgets))


def rows(
    config: str,
    names: Sequence[str],
    budgets: Sequence[float],
    seeds: Sequence[int],
    contest: tuple[Period, int, int],
    session: Session,
) -> Iterator[dict[str, Any]]:
    """Read the data of a config and yield the rows of its variants.

    Parameters
    ----------
    config : str
        Of `orbitlite fit`.
    names : sequence of str
        Of `orbitlite.benchmark.ensembles.VARIANTS`.
    budgets : sequence of float
        Seconds of the processor of each fit.
    seeds : sequence of int
        Of fits and of members.
    contest : tuple of str, int and int
        Period, members and days that count as near.
    session : Session
    """
    session.label("reading the data")
    task = Task.of(config, session.device)
    task.data.dataset(contest[0])
    session.label("", seconds_of(names, budgets, seeds))
    yield from EnsembleContest(task, *contest, session).rows(names, budgets, seeds)
