"""Optimisation: AdamW, which weights it decays, and its schedule per step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch.nn import Parameter
from torch.optim.lr_scheduler import LambdaLR

from orbitlite.errors import InputError
from orbitlite.parallel.mesh import kind_of

ScheduleName = Literal["cosine", "constant"]
Rate: TypeAlias = Callable[[str], float]

_RANGES = {
    "lr": "a rate of more than 0",
    "weight_decay": "0 or more",
    "warmup": "a share of the steps, from 0 to 1",
    "betas": "two rates in [0, 1)",
}


def warmup_cosine(step: int, warmup: int, total: int, floor: float = 0.01) -> float:
    """Return the share of the peak learning rate at a step.

    Linear from 1 / warmup to 1, then floor + (1 - floor) (1 + cos(pi t)) / 2 with t from 0 to 1
    (Loshchilov and Hutter 2017, equation 5, one cycle).

    Parameters
    ----------
    step : int
        Optimiser steps taken so far.
    warmup : int
        Steps of the linear part.
    total : int
        Steps of the whole run.
    floor : float
        Share that is left at the end.

    Examples
    --------
    >>> [round(warmup_cosine(s, 2, 10), 3) for s in (0, 1, 2, 6, 10)]
    [0.5, 1.0, 1.0, 0.505, 0.01]
    """
    if step < warmup:
        return (step + 1) / warmup
    t = min(1.0, (step - warmup) / max(1, total - warmup))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * t))


def warmup_constant(step: int, warmup: int, total: int) -> float:
    """Return the share of the peak learning rate at a step: linear from 1 / warmup to 1, then 1.

    A long average of the weights (`ema.decay`) then does what a falling rate does.

    Parameters
    ----------
    step, warmup, total : int
        As for `warmup_cosine`.

    Examples
    --------
    >>> [warmup_constant(s, 2, 10) for s in (0, 1, 2, 10)]
    [0.5, 1.0, 1.0, 1.0]
    """
    return min(1.0, (step + 1) / warmup)


SCHEDULES: dict[ScheduleName, Callable[[int, int, int], float]] = {
    "cosine": warmup_cosine,
    "constant": warmup_constant,
}


@dataclass
class Optimisation:
    """Optimiser and schedule: AdamW, linear warm-up, then a cosine or a constant rate, per step.

    Attributes
    ----------
    lr : float
        Peak learning rate.
    weight_decay : float
        Decay of matrices; none of biases, norms and embeddings.
    betas : tuple of float
        Decay rates of AdamW's moments.
    warmup : float
        Share of the steps with rising learning rate.
    schedule : {"cosine", "constant"}
        What follows. `constant` goes with a long average of the weights (`ema.decay`).
    """

    lr: float = 5e-4
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    warmup: float = 0.05
    schedule: ScheduleName = "cosine"

    def __post_init__(self) -> None:
        """Refuse values that no optimiser can take, and a schedule that does not exist."""
        rates = self.betas if isinstance(self.betas, (list, tuple)) else ()
        for name, good in (
            ("lr", _within(self.lr, 0, math.inf) and self.lr > 0),
            ("weight_decay", _within(self.weight_decay, 0, math.inf)),
            ("warmup", _within(self.warmup, 0, 1) or self.warmup == 1),
            ("betas", len(rates) == 2 and all(_within(rate, 0, 1) for rate in rates)),
        ):
            if not good:
                raise InputError(
                    f"optimisation.{name}: expected {_RANGES[name]}, found {getattr(self, name)}"
                )
        if self.schedule not in SCHEDULES:
            raise InputError(
                f"optimisation.schedule: expected one of {', '.join(SCHEDULES)}, found "
                f"{self.schedule!r}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as YAML-ready values."""
        return asdict(self) | {"betas": list(self.betas)}

    def optimizer(
        self, named_parameters: Iterable[tuple[str, Parameter]], rate: Rate | None = None
    ) -> torch.optim.AdamW:
        """Return AdamW over the weights that learn, with one group for each of `by_kind`."""
        kinds = by_kind(named_parameters, rate)
        groups = [
            {
                "params": list(members.values()),
                "kind": kind,
                "rate": own,
                "peak": self.lr,
                "lr": self.lr * own,
                "weight_decay": self.weight_decay if kind == "decayed" else 0.0,
            }
            for (kind, _, own), members in kinds.items()
        ]
        # The fused kernel needs no temporaries of the size of the weights.
        fused = all(p.is_cuda for members in kinds.values() for p in members.values()) or None
        betas = (self.betas[0], self.betas[1])
        return torch.optim.AdamW(groups, lr=self.lr, betas=betas, fused=fused)

    def scheduler(self, optimizer: torch.optim.Optimizer, total: int) -> LambdaLR:
        """Return the schedule of a fit of `total` steps."""
        warmup, share = max(1, int(self.warmup * total)), SCHEDULES[self.schedule]
        return LambdaLR(optimizer, lambda step: share(step, warmup, total))

    def others(self, options: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
        """Return what an optimiser had and what is stated here, where the two differ.

        Parameters
        ----------
        options : mapping
            Of a group `decayed`.
        """
        had = {
            "lr": options.get("peak", options.get("initial_lr", options["lr"])),
            "weight_decay": options["weight_decay"],
            "betas": tuple(options["betas"]),
        }
        stated = {"lr": self.lr, "weight_decay": self.weight_decay, "betas": tuple(self.betas)}
        return {name: (had[name], own) for name, own in stated.items() if had[name] != own}

    def prevail(self, optimizer: torch.optim.Optimizer, schedule: LambdaLR) -> None:
        """Put these options in place of those that came with a checkpoint."""
        for group, share in zip(optimizer.param_groups, schedule.lr_lambdas, strict=True):
            group["betas"] = (self.betas[0], self.betas[1])
            group["weight_decay"] = self.weight_decay if group["kind"] == "decayed" else 0.0
            peak = self.lr * group["rate"]
            group["peak"] = self.lr
            group["initial_lr"], group["lr"] = peak, peak * share(schedule.last_epoch)
        schedule.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        schedule._last_lr = [group["lr"] for group in optimizer.param_groups]


def _within(value: Any, least: float, below: float) -> bool:
    return isinstance(value, (int, float)) and least <= value < below


def by_kind(
    named_parameters: Iterable[tuple[str, Parameter]], rate: Rate | None = None
) -> dict[tuple[str, str, float], dict[str, Parameter]]:
    """Return the weights of each group of the optimiser: decayed or not, on which axes, how fast.

    Those that do not learn are in none.

    Parameters
    ----------
    named_parameters : iterable of tuple
    rate : callable, optional
        Tells the learning rate of a weight by its name, over that of the fit. None: one.

    Examples
    --------
    >>> found = by_kind(torch.nn.Linear(3, 2).named_parameters())
    >>> {kind: list(members) for kind, members in found.items()}
    {('decayed', '', 1.0): ['weight'], ('no_decay', '', 1.0): ['bias']}
    """
    found: dict[tuple[str, str, float], dict[str, Parameter]] = {}
    for name, parameter in named_parameters:
        if not parameter.requires_grad:
            continue
        matrix = parameter.ndim > 1 and not name.endswith("embed_bias")
        own = 1.0 if rate is None else rate(name)
        kind = "decayed" if matrix else "no_decay", kind_of(parameter), own
        found.setdefault(kind, {})[name] = parameter
    # the fastest first: its rate is the one that is logged
    return dict(sorted(found.items(), key=lambda item: (*item[0][:2], -item[0][2])))
