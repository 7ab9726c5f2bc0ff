"""Callbacks: one line per N steps, the bundle."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import (
    EarlyStopping,
    ModelCheckpoint,
    Timer,
)

from orbitlite.batch import Batch
from orbitlite.errors import InputError, SharedError
from orbitlite.notice import warn
from orbitlite.parallel.mesh import Ranks
from orbitlite.suggest import did_you_mean
from orbitlite.training.keepers import LastCheckpoint, RecentCheckpoints
from orbitlite.training.lightning_compat import time_limit
from orbitlite.training.periods import score_names
from orbitlite.training.provenance import export
from orbitlite.training.reconstruction_scores import reconstruction_names

logger = logging.getLogger(__name__)


class StepLine(Callback):
    """Log one line per N steps: loss, learning rate, samples per second, data wait share.

    Parameters
    ----------
    every : int
        Steps between lines.
    """

    def __init__(self, every: int = 50) -> None:
        if every < 1:
            raise InputError(f"step_line.every: expected 1 or more, found {every}")
        self.every = every
        self._begin = self._ready = time.perf_counter()
        self._wait, self._samples, self._loss = 0.0, 0, 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Do not count validation as waiting."""
        self._ready = time.perf_counter()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Count the time since the last step as waiting for data."""
        self._wait += time.perf_counter() - self._ready

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Log a line when it is due."""
        self._ready = time.perf_counter()
        self._samples += len(batch)
        if trainer.global_step == 0 or trainer.global_step % self.every:
            return
        elapsed = max(self._ready - self._begin, 1e-9)
        ranks = getattr(pl_module, "ranks", None)
        sharing = ranks.sizes.data if isinstance(ranks, Ranks) else 1
        values = {
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "samples_per_second": self._samples * sharing / elapsed,
            "data_wait_share": min(1.0, self._wait / elapsed),
        }
        pl_module.log_dict(values)
        if trainer.is_global_zero:
            logger.info(
                "step %d: loss %.4g, lr %.3g, %.1f samples/s, %.0f %% waiting for data",
                trainer.global_step, float(outputs["loss"]), values["lr"],
                values["samples_per_second"], 100 * values["data_wait_share"],
            )  # fmt: skip
        self._begin, self._wait, self._samples = time.perf_counter(), 0.0, 0


def check_callbacks(
    trainer: Trainer,
    targets: Sequence[str],
    stochastic: bool = False,
    sources: Sequence[str] = ("",),
    untruthful: Sequence[str] = (),
) -> None:
    """Refuse callbacks of a fit that look for what is never logged, or leave no time.

    Parameters
    ----------
    trainer : Trainer
    targets : sequence of str
    stochastic : bool
        Whether members are scored.
    sources : sequence of str
        Names of the data's sources with truth.
    untruthful : sequence of str
        Names of those without.

    Raises
    ------
    SharedError
        The message names what is logged.
    """
    scores = score_names(list(dict.fromkeys(targets)), stochastic) if sources else []
    several = [f"{name}/{score}" for name in sources if name for score in scores]
    known = [*scores, *several, *(["train_loss"] if sources else [])]
    known += [*reconstruction_names(untruthful), *(["train_reconstruction"] if untruthful else [])]
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    for callback in callbacks:
        limit = time_limit(callback) if isinstance(callback, Timer) else None
        if limit is not None and limit <= 0:
            raise SharedError("trainer.max_time: expected a time of more than 0 s")
        watching = isinstance(callback, (ModelCheckpoint, EarlyStopping))
        monitor = getattr(callback, "monitor", None) if watching else None
        if monitor is None or monitor in known or isinstance(callback, RecentCheckpoints):
            continue
        hint = did_you_mean(monitor, known, f"; known are {', '.join(known)}")
        where = "checkpoint" if isinstance(callback, ModelCheckpoint) else "EarlyStopping"
        raise SharedError(f"{where}.monitor: nothing is logged as {monitor!r}{hint}")


def unvalidated(trainer: Trainer) -> str | None:
    """Say why a fit ends before its first validation; None if it does not.

    Parameters
    ----------
    trainer : Trainer
        About to take its first step.
    """
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    if not trainer.enable_validation or not len(data.val_dataloader()):
        return "no validation is stated (data.validate, trainer.limit_val_batches)"
    batches, interval = trainer.num_training_batches, trainer.val_check_batch
    if interval is None:  # by the clock
        return None
    epochs = trainer.check_val_every_n_epoch
    first = interval if epochs is None else (epochs - 1) * batches + min(interval, batches)
    ends = {
        "max_epochs": (trainer.max_epochs or -1) * batches,
        "max_steps": trainer.max_steps * trainer.accumulate_grad_batches,
    }
    for name, last in ends.items():
        if 0 <= last < first:
            return (
                f"the fit ends after {last:.0f} batches (trainer.{name}), and the first validation "
                f"is after {first:.0f}"
            )
    return None


class BundleWriter(Callback):
    """Export the best checkpoint as `bundle` in the run's folder when the fit ends.

    Where no validation has told which it is, that is the last one.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say before the first step what the bundle will hold, if that is not the best.

        Raises
        ------
        SharedError
            If early stopping waits for a score that never comes.
        """
        if getattr(trainer, "fast_dev_run", False) or not (why := unvalidated(trainer)):
            return
        for stop in trainer.early_stopping_callbacks:
            if str(stop.monitor).startswith("val_"):
                raise SharedError(f"EarlyStopping waits for a validation, but {why}")
        if trainer.is_global_zero:
            warn(
                logger,
                f"No checkpoint will be the best, because {why}: the bundle will be the last.",
            )

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Export."""
        if not trainer.is_global_zero or getattr(trainer, "fast_dev_run", False):
            return
        kept = [c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint)]
        last = next((c.path for c in kept if isinstance(c, LastCheckpoint)), None)
        own = [c for c in kept if not isinstance(c, (LastCheckpoint, RecentCheckpoints))]
        chosen = next((c.best_model_path or c.last_model_path for c in own), "")
        target = Path(trainer.default_root_dir) / "bundle"
        if not chosen and last is not None and last.exists():
            warn(
                logger,
                f"No validation says which checkpoint is the best: the bundle {target} holds "
                f"the weights of the last step, {trainer.global_step}.",
            )
            chosen = str(last)
        if not chosen:
            warn(logger, "No bundle is written, because no checkpoint was saved.")
            return
        export(chosen, target)
        logger.info("The model of %s is in the bundle %s", chosen, target)
