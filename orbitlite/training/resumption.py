"""Resumption: the optimiser's state of a checkpoint, for the weights of this process."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from torch.nn import Parameter

from orbitlite.notice import notice
from orbitlite.training.checkpoints import numbered_state
from orbitlite.training.optimisation import Optimisation, Rate, by_kind

logger = logging.getLogger(__name__)


def number_states(
    checkpoint: dict[str, Any], named: Iterable[tuple[str, Parameter]], rate: Rate | None = None
) -> None:
    """Turn the optimiser's states by name into those of the weights of this process.

    Parameters
    ----------
    checkpoint : dict
        Is changed.
    named : iterable of tuple
        Names and weights.
    rate : callable, optional
        As for `by_kind`.
    """
    groups = by_kind(named, rate)
    kinds, names = [kind for kind, *_ in groups], [list(members) for members in groups.values()]
    states = [numbered_state(kinds, names, state) for state in checkpoint["optimizer_states"]]
    for state in states:
        for group, (*_, own) in zip(state["param_groups"], groups, strict=True):
            group["rate"] = own
    checkpoint["optimizer_states"] = states
    for schedule in checkpoint.get("lr_schedulers", []):
        for key in ("base_lrs", "_last_lr", "lr_lambdas"):
            schedule[key] = schedule[key][:1] * len(kinds)


def tell_options(optimisation: Optimisation, options: dict[str, Any]) -> None:
    """Say where the optimiser's options are no longer those of the checkpoint."""
    for name, (had, own) in optimisation.others(options["decayed"]).items():
        notice(
            logger,
            f"model.optimisation.{name} is {own} from here on; the checkpoint was made with {had}.",
        )
