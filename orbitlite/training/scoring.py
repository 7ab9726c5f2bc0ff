"""Scoring: the scores of a period by source, each of the task that the source is for."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from orbitlite.batch import Batch
from orbitlite.data.datamodule import PairDataModule
from orbitlite.data.pair_source import Split
from orbitlite.errors import SharedError
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.tasks import Tasks, networks_of
from orbitlite.parallel.mesh import Ranks
from orbitlite.training.periods import PeriodScores, SourceScores


class Scoring:
    """The scores of one pass over a period.

    Scores of several sources are joined by share (`PairDataModule.scored`). `val_rmse` and
    `val_crps`, which choose the best checkpoint, are of errors over the scale of the targets of
    each source's own task: tasks count alike, whatever their units.

    Parameters
    ----------
    network : Downscaler or Tasks
    data : PairDataModule, optional
        None: batches of one source without a name.
    split : str
    """

    def __init__(
        self, network: Downscaler | Tasks, data: PairDataModule | None, split: Split = "validate"
    ) -> None:
        shares = {"": 1.0} if data is None else data.scored(split)
        self._names = [""] if data is None else list(data.parts)
        self._tasks: Mapping[str, str] = {"": ""} if data is None else data.assignment.tasks
        networks = networks_of(network)
        targets = {name: networks[self._tasks[name]].config.targets for name in shares}
        self._sums = SourceScores(shares, targets, network.stochastic)
        self._scored = list(shares)

    def of(self, batch: Batch) -> PeriodScores:
        """Return the sums that a batch adds to."""
        return self._sums.of(self._names[batch.source or 0])

    def compute(
        self, network: Downscaler | Tasks, ranks: Ranks, device: torch.device
    ) -> dict[str, float]:
        """Return the scores by name; see `SourceScores.compute`."""
        scales = {task: one.target_scale.cpu() for task, one in networks_of(network).items()}
        return self._sums.compute(
            ranks, device, {name: scales[self._tasks[name]] for name in self._scored}
        )

    def check(self, found: Mapping[str, float], step: int) -> None:
        """End a fit whose checkpoints cannot be told apart.

        Raises
        ------
        SharedError
            If the score by which the best one is chosen is not finite.
        """
        if math.isfinite(found["val_rmse"]):
            return
        if names := self._sums.unscored:
            raise SharedError(
                f"the validation period has no valid truth of {', '.join(names)} (where the inputs "
                "say something): no checkpoint is known to be the best. State another "
                "data.validate, or other targets"
            )
        raise SharedError(
            f"the network's predictions for the validation period are not finite at step {step}; "
            "lower model.optimisation.lr"
        )

    def calibrate(self, network: Downscaler | Tasks) -> None:
        """Calibrate the noise of each task by the spread that its sources have been scored with."""
        for task, one in networks_of(network).items():
            own = [name for name in self._scored if self._tasks[name] == task]
            if own:
                found = self._sums.means(own)
                one.calibrate([found[f"val_spread_skill/{name}"] for name in one.config.targets])
