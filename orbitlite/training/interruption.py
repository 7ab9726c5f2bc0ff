"""Being told to stop: a fit saves where it stands, at the end of a step, and says so."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from orbitlite.batch import Batch
from orbitlite.parallel.flag import SharedFlag
from orbitlite.training.keepers import LastCheckpoint
from orbitlite.training.lightning_compat import stepped, validation_follows

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):
    """A fit was told to stop, and all its processes have.

    Attributes
    ----------
    status : int
        Exit status: 130 for Ctrl-C, 143 for SIGTERM.
    """

    def __init__(self, signum: int, text: str) -> None:
        super().__init__(text)
        self.status = 128 + signum


class Interruption(Checkpoint):
    """Save `last.ckpt` and stop when SIGTERM or SIGINT (Ctrl-C) has come.

    All processes of the run stop at the same step, whichever of them was told. Where a validation
    follows the step, or is under way, it is finished before: a checkpoint within it would not know
    its scores. The second signal of a kind ends the process at once.

    Lightning's own handler of SIGTERM, which saves nothing, is replaced while steps are taken; that
    of SIGUSR1, with which SLURM has a run queue itself again, stays.

    Parameters
    ----------
    last : LastCheckpoint
        Saves; it comes before this among the callbacks.
    """

    def __init__(self, last: LastCheckpoint) -> None:
        self._last = last
        self._flag = SharedFlag()
        self._before: dict[signal.Signals, Any] = {}
        self._process = os.getpid()
        self._told = self._agreed = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals."""
        self._process = os.getpid()
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            if (known := signal.getsignal(number)) is not signal.SIG_IGN:
                self._before[number] = known
                signal.signal(number, self._note)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Stop after a step of the optimiser, unless a validation follows it."""
        self._agree()
        if stepped(trainer) and not trainer.is_last_batch and not validation_follows(trainer):
            self._stop_if_told(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop after a validation within an epoch."""
        if not trainer.sanity_checking:
            self._agree()
            if not trainer.is_last_batch:
                self._stop_if_told(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop after an epoch."""
        self._agree()
        self._stop_if_told(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the signals alone."""
        self._flag.finish()
        self._give_back()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leave the signals alone."""
        self._give_back()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a worker, which has its handlers from this process
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self._told = max(self._told, number)
        once = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, once)

    def _agree(self) -> None:
        self._agreed = max(self._agreed, self._flag.tell(self._told))

    def _stop_if_told(self, trainer: Trainer) -> None:
        if not self._agreed:
            return
        self._flag.finish()
        name = signal.Signals(self._agreed).name
        kept = ""
        if not getattr(trainer, "fast_dev_run", False):
            self._last.save(trainer)
            kept = (
                f"; the state is in {self._last.path}, and the same command with --ckpt_path last "
                "goes on from there"
            )
        raise Stopped(self._agreed, f"stopped by {name} at step {trainer.global_step}{kept}")

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
