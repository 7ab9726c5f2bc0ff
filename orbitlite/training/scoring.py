"""Scoring: the scores of a period by source, each of the task that the source is for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from orbitlite.batch import Batch
from orbitlite.data.datamodule import PairDataModule
from orbitlite.data.pair_source import Split
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.tasks import Tasks, networks_of
from orbitlite.parallel.mesh import Ranks
from orbitlite.training.endings import stop_without_score
from orbitlite.training.periods import PeriodScores, SourceScores
from orbitlite.training.reconstruction import Compared
from orbitlite.training.reconstruction_scores import SCORE, ReconstructionScores


class Scoring:
    """The scores of one pass over a period.

    Scores of several sources are joined by share (`PairDataModule.scored`). `val_rmse` and
    `val_crps`, which choose the best checkpoint, are of errors over the scale of the targets of
    each source's own task: tasks count alike, whatever their units. Sources without truth are
    scored by the reconstruction of hidden inputs.

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
        known = shares if data is None else data.truthful
        own = {name: share for name, share in shares.items() if name in known}
        self._reconstructed = ReconstructionScores(
            {name: share for name, share in shares.items() if name not in known}
        )
        self._names = [""] if data is None else list(data.parts)
        self._tasks: Mapping[str, str] = {"": ""} if data is None else data.assignment.tasks
        networks = networks_of(network)
        targets = {name: networks[self._tasks[name]].config.targets for name in own}
        self._sums = SourceScores(own, targets, network.stochastic)
        self._scored = list(own)

    def reconstructed(self, batch: Batch, found: Compared) -> None:
        """Add a batch of a source without truth."""
        self._reconstructed.update(self._names[batch.source or 0], found)

    def of(self, batch: Batch) -> PeriodScores:
        """Return the sums that a batch adds to."""
        return self._sums.of(self._names[batch.source or 0])

    def compute(
        self, network: Downscaler | Tasks, ranks: Ranks, device: torch.device
    ) -> dict[str, float]:
        """Return the scores by name; see `SourceScores.compute`, `ReconstructionScores.compute`."""
        scales = {task: one.target_scale.cpu() for task, one in networks_of(network).items()}
        found = self._sums.compute(
            ranks, device, {name: scales[self._tasks[name]] for name in self._scored}
        )
        return found | self._reconstructed.compute(ranks, device)

    def check(self, found: Mapping[str, float], step: int) -> None:
        """End a fit whose checkpoints cannot be told apart.

        Raises
        ------
        SharedError
            If the score by which the best one is chosen is not finite.
        """
        if not np.isfinite(found["val_rmse" if self._scored else SCORE]):
            stop_without_score(self._sums.unscored, step)

    def calibrate(self, network: Downscaler | Tasks) -> None:
        """Calibrate the noise of each task by the spread that its sources have been scored with."""
        for task, one in networks_of(network).items():
            own = [name for name in self._scored if self._tasks[name] == task]
            if own and one.stochastic:
                found = self._sums.means(own)
                one.calibrate([found[f"val_spread_skill/{name}"] for name in one.config.targets])
