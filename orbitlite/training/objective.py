"""Objective: what a fit minimises, and which members it needs for that."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

from torch import Tensor

import orbitlite.training.ensemble_losses  # noqa: F401  (it registers losses)
from orbitlite.errors import InputError
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.noise import Draw
from orbitlite.model.tasks import Tasks
from orbitlite.notice import warn
from orbitlite.training.losses import LOSSES, LossFields

logger = logging.getLogger(__name__)

VALIDATION_MEMBERS = 8
"""Members that validation and test draw of a stochastic network, those of seed 0."""


class Objective:
    """A loss, other losses beside it with weights, and the members that they are of.

    Parameters
    ----------
    network : Downscaler or Tasks
    loss : str
    structure : mapping of str to float, optional
        Losses that are added, times their weights.
    members : int
        That a stochastic network draws of each sample.

    Raises
    ------
    InputError
        If a name is unknown, a weight is no positive number, or loss and network do not fit: one
        of members needs two of them, and one of a point asks all members for the same field.
    """

    def __init__(
        self,
        network: Downscaler | Tasks,
        loss: str,
        structure: Mapping[str, float] | None,
        members: int,
    ) -> None:
        self.loss, self.structure = loss, dict(structure or {})
        self.stochastic, self.members = network.stochastic, members
        for name, weight in self.structure.items():
            _ = LOSSES[name]
            if not (math.isfinite(weight) and weight > 0):
                raise InputError(f"structure: expected a weight above 0 of {name}, found {weight}")
        if members < 1:
            raise InputError(f"members: expected 1 or more, found {members}")
        _check(network, [loss, *self.structure], members)
        _check_skewed(network.config, loss)

    def __call__(self, fields: LossFields) -> Tensor:
        """Return the loss of what is compared."""
        total = LOSSES[self.loss](fields)
        for name, weight in self.structure.items():
            total = total + weight * LOSSES[name](fields)
        return total

    def draw(self, step: int | None) -> Draw | None:
        """Return the members of a training step, or those of validation; None if none are drawn.

        Those of a step are others than those of the step before, and the same on all processes.
        """
        if not self.stochastic:
            return None
        if step is None:
            return Draw.of(0, range(VALIDATION_MEMBERS))
        return Draw.of(step, range(self.members))


def _check(network: Downscaler | Tasks, losses: list[str], members: int) -> None:
    """Refuse losses that do not fit the members."""
    own = members if network.stochastic else network.members
    spreading = [name for name in losses if getattr(LOSSES[name], "of_members", False)]
    for name in spreading:
        if own < 2:
            wanted = (
                "state model.members 2 or more"
                if network.stochastic
                else "give the network noise (model.network.noise: 4), which draws members"
            )
            raise InputError(f"the loss {name} compares members, and there is one: {wanted}")
    if network.stochastic and not spreading:
        raise InputError(
            f"the loss {losses[0]} asks every member for the same field, so that noise would learn "
            "to do nothing: choose crps, or leave model.network.noise out"
        )


def _check_skewed(config: DownscalerConfig, loss: str) -> None:
    targets = {name for own in config.of_tasks.values() for name in own.targets}
    if loss == "intensity_weighted" and not targets & set(config.log1p or ()):
        warn(
            logger,
            "intensity_weighted weighs targets in network.log1p, and there is none: it is mse.",
        )
