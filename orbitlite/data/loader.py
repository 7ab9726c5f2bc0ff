"""The loader of training samples: it knows where an epoch stands, and goes on from there."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import DataLoader

from orbitlite.batch import Batch
from orbitlite.data.joint import JointDataset
from orbitlite.data.pairs import PairDataset
from orbitlite.data.sampling import EpochBatches, MixedBatches


class EpochLoader(DataLoader[Batch]):
    """Batches of a data set; Lightning saves and restores its place in an epoch.

    The place comes from the trainer's progress: workers read ahead of it.

    Parameters
    ----------
    dataset : PairDataset or JointDataset
    batches : EpochBatches or MixedBatches
    progress : callable, optional
        Returns the epoch and the number of its batches that were trained on.
    num_workers : int
        Processes that read ahead.

    Attributes
    ----------
    batches : EpochBatches or MixedBatches
    """

    def __init__(
        self,
        dataset: PairDataset | JointDataset,
        batches: EpochBatches | MixedBatches,
        progress: Callable[[], tuple[int, int]] | None = None,
        num_workers: int = 0,
    ) -> None:
        # A generator of its own: to start workers draws no number that training would draw.
        own = torch.Generator().manual_seed(batches.seed or 0)
        super().__init__(
            dataset,
            batch_sampler=batches,
            collate_fn=Batch.collate,
            generator=own,
            worker_init_fn=_leave_signals,
            num_workers=num_workers,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=num_workers > 0,
            multiprocessing_context=starting_method(dataset.cached) if num_workers else None,
        )
        self.batches, self._progress = batches, progress

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch, and what of it all processes took."""
        epoch, count = self._progress() if self._progress else (0, 0)
        if count >= len(self.batches):
            epoch, count = epoch + 1, 0
        return self.batches.place(epoch, count)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a place in an epoch with the next pass.

        Raises
        ------
        SharedError
            If it lies within an epoch and the global batch was another.
        """
        self.batches.go_on(state)


def place_of(trainer: Any) -> tuple[int, int]:
    """Return a trainer's epoch (between two, the next), and how many of its batches are done."""
    loop = trainer.fit_loop
    epoch = loop.epoch_progress.current
    within = epoch.started > epoch.processed
    return epoch.processed, loop.epoch_loop.batch_progress.current.processed if within else 0


def _leave_signals(worker: int) -> None:
    """Let a worker work on when its whole run is told to stop: the run ends its workers itself."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def starting_method(cached: bool) -> str | None:
    """Choose how workers start: threads of open stores do not survive a fork, arrays do."""
    methods = multiprocessing.get_all_start_methods()
    if cached:
        return "fork" if sys.platform == "linux" else None
    return "forkserver" if "forkserver" in methods else "spawn"
