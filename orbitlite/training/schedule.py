"""Learning-rate schedules, per step: linear warm-up, then a cosine or the peak rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

ScheduleName = Literal["cosine", "constant"]


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
