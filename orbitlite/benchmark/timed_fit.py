"""A fit of so many seconds, of any network."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from orbitlite.batch import Batch
from orbitlite.benchmark import measure
from orbitlite.benchmark.peers.peer import Peer
from orbitlite.benchmark.task import Task
from orbitlite.model.downscaler import Downscaler
from orbitlite.notice import warn
from orbitlite.parallel.clipping import clip_gradients
from orbitlite.parallel.mesh import Ranks
from orbitlite.training.optimisation import SCHEDULES, Optimisation
from orbitlite.training.tuning import Tuning

logger = logging.getLogger(__name__)

_STEPS = 10_000
"""Steps that a schedule is told of, whatever the number of true ones: it follows the time."""


@dataclass(frozen=True)
class Fitted:
    """What a fit has come to.

    Attributes
    ----------
    score : float
        Of the best validation; infinite if there was none that is finite.
    seconds : float
        Spent on training.
    samples : int
        Seen, each as often as it was.
    """

    score: float
    seconds: float
    samples: int


class Averages:
    """Moving averages of the weights, as `orbitlite.training.averaging.WeightEMA` makes them.

    Parameters
    ----------
    network : Module
    decay : float
        0: none.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.weights: list[Tensor] = list(network.parameters())
        self.decay, self.updates = decay, 0
        self.values = [weight.detach().clone() for weight in self.weights] if decay else []

    @torch.no_grad()
    def update(self) -> None:
        """Move them after a step."""
        if self.decay:
            kept = min(self.decay, (1 + self.updates) / (10 + self.updates))
            self.updates += 1
            torch._foreach_lerp_(self.values, self.weights, 1 - kept)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Put them in the place of the weights within."""
        self._swap()
        yield
        self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for value, weight in zip(self.values, self.weights, strict=False):
            held = weight.detach().clone()
            weight.copy_(value)
            value.copy_(held)


def fit(
    network: Downscaler | Peer,
    task: Task,
    optimisation: Optimisation,
    seconds: float,
    checks: int,
    advance: Callable[[float], None],
    tuning: Tuning | None = None,
) -> Fitted:
    """Train for so many seconds; leave the weights of the best validation in the network.

    Counted are the seconds of the processor (of all its threads; on a GPU those of the clock) from
    the reading of a batch to the averaging of the weights. A first pass, in which libraries set
    themselves up, and validations are not counted. The schedule of the optimiser follows the share
    of the time that is used. Weights are averaged and gradients are clipped as the config says.

    Parameters
    ----------
    network : Downscaler or Peer
    task : Task
    optimisation : Optimisation
    seconds : float
    checks : int
        Validations, after equal shares of the time.
    advance : callable
        Told the seconds that are used.
    tuning : Tuning, optional
        Of a network that begins with a bundle: what learns, and how fast.
    """
    rate = None if tuning is None else tuning.rate
    optimizer = optimisation.optimizer(network.named_parameters(), rate)
    if tuning is not None:
        tuning.slow_rows(optimizer, network.named_parameters())
    averages = Averages(network, task.decay)
    clock = clock_of(task.device)
    share = SCHEDULES[optimisation.schedule]
    best, kept, used, samples, checked = math.inf, dict[str, Tensor](), 0.0, 0, 0
    step = 0
    batches = _endless(task)
    torch.autograd.backward(task.loss(network.train(), next(batches)))
    optimizer.zero_grad()
    while checked < checks:
        start = clock()
        warm = max(1, int(optimisation.warmup * _STEPS))
        now = share(int(used / seconds * _STEPS), warm, _STEPS)
        for group in optimizer.param_groups:
            group["lr"] = optimisation.lr * group["rate"] * now
        batch = next(batches)
        step += 1  # zero was that of the first pass
        loss = task.loss(network, batch, step)
        torch.autograd.backward(loss)
        if task.clip is not None:
            clip_gradients(network.named_parameters(), task.clip, Ranks())
        optimizer.step()
        optimizer.zero_grad()
        averages.update()
        finite = bool(torch.isfinite(loss))
        spent = clock() - start
        used, samples = used + spent, samples + len(batch)
        advance(min(spent, max(0.0, seconds - used + spent)))
        if not finite:
            warn(
                logger, f"A loss is not finite at the rate {optimisation.lr:g}: the fit ends there."
            )
            break
        if used >= seconds * (checked + 1) / checks:
            checked = max(checked + 1, int(used / seconds * checks))
            with averages.shown():
                if (score := task.validate(network)) < best:
                    best = score
                    kept = {n: value.clone() for n, value in network.state_dict().items()}
            network.train()
    if kept:
        network.load_state_dict(kept)
    return Fitted(best, used, samples)


def _endless(task: Task) -> Iterator[Batch]:
    """Yield training batches, epoch after epoch, in the order of a fit."""
    loader = task.data.train_dataloader()
    while True:
        for batch in loader:
            yield batch.to(task.device)


def clock_of(device: torch.device) -> Callable[[], float]:
    """Return the clock of a device: seconds of the processor, of a GPU those that pass."""

    def on_gpu() -> float:
        measure.wait(device)
        return time.perf_counter()

    return on_gpu if device.type == "cuda" else time.process_time
