"""Archive: the training period in memory, from which methods without a network draw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from orbitlite.batch import Batch
from orbitlite.benchmark.task import Task
from orbitlite.errors import InputError
from orbitlite.model.geometry import Geometry
from orbitlite.model.noise import Draw, Noise

_MOST = 2 * 10**8
"""Values of all inputs and targets at all times."""


@dataclass(frozen=True)
class Archive:
    """Samples of the training period, in the order of their times.

    Attributes
    ----------
    coarse : Tensor of shape (T, C, H, W)
    fine : Tensor of shape (T, K, fH, fW)
        NaN where there is no truth, or the inputs say nothing of it.
    times : Tensor of shape (T,)
        Seconds since 1970-01-01.
    """

    coarse: Tensor
    fine: Tensor
    times: Tensor

    @classmethod
    def of(cls, task: Task) -> Archive:
        """Read the training period.

        Raises
        ------
        InputError
            If it takes too much memory.
        """
        dataset = task.data.dataset("train")
        first, count = dataset[0], len(dataset)
        assert first.fine is not None
        if (values := count * (first.coarse.numel() + first.fine.numel())) > _MOST:
            raise InputError(
                f"the training period has {values:,} values, {_MOST:,} at most are held in memory"
            )
        batches = [dataset[number] for number in range(count)]
        frame, device = task.frame, task.device
        parts = [
            (batch.coarse, task.truth(frame, batch.to(device)).cpu(), _times(batch))
            for batch in batches
        ]
        coarse, fine, times = (torch.cat(column) for column in zip(*parts, strict=True))
        order = times.argsort(stable=True)
        return cls(coarse[order], fine[order], times[order])

    def __len__(self) -> int:
        return len(self.times)


def hashes(batch: Batch, draw: Draw) -> Tensor:
    """Return a number for each sample and member, (B, M), int64: what is drawn follows from it."""
    return Noise.of(draw, batch, Geometry.of(batch)).keys.cpu()


def day_of_year(times: Tensor) -> Tensor:
    """Return days since the first of January, of seconds since 1970-01-01.

    Examples
    --------
    >>> day_of_year(torch.tensor([0.0, 86400.0 * 364.5, 86400.0 * 366]))
    tensor([  0.0000, 364.5000,   1.0000], dtype=torch.float64)
    """
    stamps = times.double().numpy().astype("int64").astype("datetime64[s]")
    since = stamps - stamps.astype("datetime64[Y]").astype("datetime64[s]")
    return torch.from_numpy(since / np.timedelta64(1, "D"))


def _times(batch: Batch) -> Tensor:
    assert batch.time is not None
    return batch.time
