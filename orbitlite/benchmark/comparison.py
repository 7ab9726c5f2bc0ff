"""Networks trained on the same pairs for the same time, and scored."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from orbitlite.benchmark import measure
from orbitlite.benchmark.fine_power import fine_power_ratio
from orbitlite.benchmark.peers.bilinear import Bilinear
from orbitlite.benchmark.peers.deepesd import DeepESD
from orbitlite.benchmark.peers.edsr import EDSR
from orbitlite.benchmark.peers.linear import Linear
from orbitlite.benchmark.peers.peer import Peer
from orbitlite.benchmark.peers.reslim import Reslim
from orbitlite.benchmark.peers.ridge import Ridge
from orbitlite.benchmark.peers.size import Size
from orbitlite.benchmark.peers.unet import UNet
from orbitlite.benchmark.session import Session
from orbitlite.benchmark.task import Period, Task
from orbitlite.benchmark.timed_fit import Fitted, clock_of, fit
from orbitlite.errors import InputError
from orbitlite.model.downscaler import Downscaler
from orbitlite.notice import warn
from orbitlite.training.optimisation import Optimisation
from orbitlite.verification.evaluation import Evaluation
from orbitlite.verification.results import OURS, TRUTH

logger = logging.getLogger(__name__)

Network = Downscaler | Peer
CHECKS = 8
"""Validations of a fit; of one that tries a learning rate there is one, at its end."""
TRIAL = 0.25
"""Share of the time of a fit that each learning rate is tried for."""
RATES = (3e-4, 1e-3, 3e-3)
_OWN_RATES = (1 / 3, 1.0, 3.0)
"""Of our network: times the rate of the config."""

_TRAINED: dict[str, Callable[[Size, Task], Network]] = {
    "ours": lambda size, task: task.fresh().plain,
    "edsr": lambda size, task: Peer(task.frame, EDSR(size)),
    "unet": lambda size, task: Peer(task.frame, UNet(size)),
    "deepesd": lambda size, task: Peer(task.frame, DeepESD(size)),
    "reslim": lambda size, task: Peer(task.frame, Reslim(size, task.frame.config)),
}
_SOLVED: dict[str, Callable[[Size, Task], Peer]] = {
    "bilinear": lambda size, task: Peer(task.frame, Bilinear(), linear=True),
    "linear": lambda size, task: Peer(task.frame, Linear(size), linear=True),
    "ridge": lambda size, task: Peer(task.frame, Ridge(size), linear=True),
}


def rows(
    config: str,
    networks: Sequence[str],
    budgets: Sequence[float],
    seeds: Sequence[int],
    periods: Sequence[Period],
    rates: Sequence[float] | None,
    session: Session,
) -> Iterator[dict[str, Any]]:
    """Train networks on the pairs of a config for the same time each, and score them.

    Our network is built and optimised as `orbitlite fit` does, the peers by AdamW with warm-up and
    cosine and the config's decay of the weights; loss, variations of the batches (mixup, mirror,
    rescaling), averaging of the weights, clipping, batches and their order are those of the config
    for all. Each network takes the best of some learning rates, tried with the first seed for a
    quarter of the time each and compared on the validation period; and the weights of its best
    validation. Regressions are solved. Where the config's network is stochastic, validation is by
    the CRPS of eight members, and what is scored is their mean.

    Parameters
    ----------
    config : str
        Of `orbitlite fit`.
    networks : sequence of str
        Of `orbitlite.benchmark.skill.NETWORKS`.
    budgets : sequence of float
        Seconds of the processor of each fit.
    seeds : sequence of int
    periods : sequence of {"validate", "test"}
        What is scored.
    rates : sequence of float, optional
        Learning rates that are tried, of every network; one alone is taken. By default three, which
        for ours lie around that of the config.
    session : Session

    Yields
    ------
    dict
        A row for each network, budget, seed, period and target. Networks that cannot be built for
        the grid are left out, with a warning.
    """
    session.label("reading the data")
    task = Task.of(config, session.device)
    for period in periods:
        task.data.dataset(period)
    contest = Contest(task, periods, rates, session)
    trained = [name for name in _TRAINED if name in networks]
    fits = contest.trials * TRIAL + len(seeds)
    session.label("", math.ceil(len(trained) * sum(budgets) * fits))
    for name in _SOLVED:
        if name in (*networks, "bilinear"):
            yield from contest.solved(name)
    for seconds in budgets:
        for name in trained:
            yield from contest.trained(name, seconds, seeds)


@dataclass(frozen=True)
class Contest:
    """The networks of one task.

    Attributes
    ----------
    task : Task
    periods : sequence of {"validate", "test"}
        What is scored.
    rates : sequence of float, optional
        Learning rates that are tried; by default three.
    session : Session
    """

    task: Task
    periods: Sequence[Period]
    rates: Sequence[float] | None
    session: Session

    @property
    def trials(self) -> int:
        """Learning rates that are tried of each network; one alone is not."""
        found = len(RATES if self.rates is None else self.rates)
        return 0 if found == 1 else found

    def solved(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the rows of a regression, or of what needs no fit."""
        self.session.label(name)
        task, clock = self.task, clock_of(self.task.device)
        batches = [batch.to(task.device) for batch in task.data.train_dataloader()]
        peer = _SOLVED[name](Size.of(task.data), task).to(task.device)
        body: Any = peer.body
        start = clock()
        try:
            penalty = body.solve(peer, batches, lambda: task.validate(peer))
        except InputError as error:
            leave_out(name, str(error))
            return
        yield from self._rows(name, peer, seconds=clock() - start, penalty=penalty)

    def trained(self, name: str, seconds: float, seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Yield the rows of a network, of each seed."""
        own = self.task.settings.optimisation
        mine = name == "ours"
        base = own if mine else Optimisation(weight_decay=own.weight_decay, betas=own.betas)
        usual = [own.lr * share for share in _OWN_RATES] if mine else RATES
        tries = [replace(base, lr=rate) for rate in self.rates or usual]
        try:
            chosen = (
                tries[0]
                if not self.trials
                else best_rate(
                    tries, lambda one: self._fit(name, one, seconds * TRIAL, seeds[0], 1)[1].score
                )
            )
        except InputError as error:
            leave_out(name, str(error))
            return
        for seed in seeds:
            network, fitted = self._fit(name, chosen, seconds, seed, CHECKS)
            yield from self._rows(
                name, network, budget_seconds=seconds, seed=seed, seconds=fitted.seconds,
                samples=fitted.samples, learning_rate=chosen.lr,
            )  # fmt: skip

    def _fit(
        self, name: str, optimisation: Optimisation, seconds: float, seed: int, checks: int
    ) -> tuple[Network, Fitted]:
        self.session.label(f"{name}, rate {optimisation.lr:.1e}, seed {seed}, {seconds:g} s")
        torch.manual_seed(seed)
        network = _TRAINED[name](Size.of(self.task.data), self.task).to(self.task.device)
        advance = self.session.advance
        return network, fit(network, self.task, optimisation, seconds, checks, advance)

    def _rows(self, name: str, network: Network, **facts: Any) -> Iterator[dict[str, Any]]:
        """Yield the row of each period and target."""
        costs = {
            "parameters": sum(weight.numel() for weight in network.parameters()),
            "flops": self._flops(network), "seconds_per_sample": self._seconds_per_sample(network),
        }  # fmt: skip
        for period in self.periods:
            found = self.task.evaluate(network, period)
            for target, result in found.results.items():
                scores = result.scores[OURS]
                yield {
                    "part": "skill", "config": str(self.task.config), "period": period,
                    "network": name, "target": target, "budget_seconds": None, "seed": None,
                    "rmse": scores["rmse"], "mae": scores["mae"],
                    "spectrum_db": scores["spectrum_distance"],
                    "fine_power_ratio": _fine_power_ratio(found, target),
                    "p99_ratio": scores.get("p99_ratio"), "correlation": scores["pearson"],
                    **costs, **facts,
                }  # fmt: skip

    def _flops(self, network: Network) -> int:
        """Count the operations of a prediction of one sample: products and convolutions."""
        # Not without gradients: the counter does not know the convolutions of then on a CPU.
        sample = self.task.data.dataset("train")[0].to(self.task.device)
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            network.eval()(sample)
        return int(counter.get_total_flops())

    @torch.no_grad()
    def _seconds_per_sample(self, network: Network) -> float:
        batch = next(iter(self.task.data.val_dataloader())).to(self.task.device)
        calls = {"": lambda: network.eval()(batch)}
        return measure.medians(calls, self.session.repeats, self.task.device)[""] / len(batch)


def _fine_power_ratio(found: Evaluation, target: str) -> float | None:
    ours, truth = (found.results[target].spectra[system] for system in (OURS, TRUTH))
    return fine_power_ratio(ours, truth, found.grid)


def best_rate(
    tries: Sequence[Optimisation], score: Callable[[Optimisation], float]
) -> Optimisation:
    """Return what gives the least score.

    Raises
    ------
    InputError
        If none gives a finite one.
    """
    best, chosen = min(((score(one), one) for one in tries), key=lambda pair: pair[0])
    if best == math.inf:
        raise InputError("no learning rate gave a finite score")
    return chosen


def leave_out(name: str, why: str) -> None:
    """Say that a network or a method is not among the rows, and why."""
    warn(logger, f"{name} is left out: {why}.")
