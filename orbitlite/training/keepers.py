"""Keepers: which checkpoints of a run are kept beside the best, and when they are saved.

No checkpoint is saved between a step and the validation that follows it: a fit that goes on from
there would pass the validation over, and with it perhaps the best checkpoint.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from orbitlite.batch import Batch
from orbitlite.errors import InputError
from orbitlite.parallel.folder import named, tidy
from orbitlite.training.checkpoints import keep
from orbitlite.training.lightning_compat import Keeper, stepped, validation_follows


class LastCheckpoint(Keeper):
    """Keep `last.ckpt`, of the last validation or epoch; it is saved after all other checkpoints.

    So a fit that goes on from it has the best checkpoint that its validation made. What Lightning's
    `save_last` keeps is the last of the best.

    Parameters
    ----------
    dirpath : str
        Folder. What saves that were cut short have left in it is cleared away.
    """

    def __init__(self, dirpath: str) -> None:
        super().__init__(dirpath=dirpath, filename="last", enable_version_counter=False)

    @property
    def path(self) -> Path:
        """Where it lies."""
        return Path(str(self.dirpath), "last.ckpt")

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Clear away, now that all processes have read the checkpoint."""
        self._tidy(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Clear away, where there was no checkpoint to go on from."""
        super().on_train_start(trainer, pl_module)
        self._tidy(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save after every epoch, validated or not."""
        self.save(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep what a fit went on from, if there was no step left to take."""
        begun = trainer.ckpt_path
        if begun is None or not trainer.is_global_zero or getattr(trainer, "fast_dev_run", False):
            return
        if self.saved_step != trainer.global_step:
            keep(named(Path(begun)), self.path)

    def _tidy(self, trainer: Trainer) -> None:
        fitting = trainer.state.fn == TrainerFn.FITTING
        trial = getattr(trainer, "fast_dev_run", False)
        if fitting and not trial and trainer.is_global_zero and "://" not in str(self.dirpath):
            tidy(Path(str(self.dirpath)))


class RecentCheckpoints(Keeper):
    """Keep the last few checkpoints of a run, by steps.

    Parameters
    ----------
    every : int
        Steps between them. 0: none.
    count : int
        How many are kept.
    dirpath : str, optional
        Folder. None: `checkpoints` in the run's folder.
    """

    def __init__(self, every: int = 0, count: int = 2, dirpath: str | None = None) -> None:
        if every < 0 or count < 1:
            raise InputError(
                "recent: expected every of 0 or more and count of 1 or more, found "
                f"{every} and {count}"
            )
        super().__init__(
            dirpath=dirpath, filename="{step}", monitor="step", mode="max", save_top_k=count,
            every_n_train_steps=every, every_n_epochs=0,
        )  # fmt: skip
        self._every, self._due = every, False

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Save after a step of the optimiser that is due, or after the validation that follows."""
        due = self._every > 0 and trainer.global_step % self._every == 0
        self._due |= due and stepped(trainer)
        if not trainer.is_last_batch and not validation_follows(trainer):
            self._save_if_due(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save after a validation within an epoch."""
        if not trainer.sanity_checking and not trainer.is_last_batch:
            self._save_if_due(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save after an epoch."""
        self._save_if_due(trainer)

    def _save_if_due(self, trainer: Trainer) -> None:
        due, self._due = self._due, False
        if due:
            self.save(trainer)
