"""Sampling: the order of samples in an epoch, and which process takes which."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

PADDING = -1
"""A sample without truth: what a process works on that is left without one."""


class EpochBatches(Sampler[list[int]]):
    """Batches of every sample once per epoch, in an order that follows from seed and epoch alone.

    The samples of a global batch are those that one process with `size` times the batch size would
    take; each process takes a run of them. The last ones are shared evenly, and a process that is
    left without any takes `PADDING`, so that all take as many steps. Training that is resumed goes
    on in the order that it would have had. Lightning states the epoch; otherwise each pass counts
    as the next one.

    Parameters
    ----------
    count : int
        Number of samples.
    batch_size : int
        Samples per batch and process.
    seed : int, optional
        None: in their own order.
    rank, size : int
        This process, and how many share the samples.

    Examples
    --------
    >>> [list(EpochBatches(5, 2, rank=rank, size=2)) for rank in range(2)]
    [[[0, 1], [4]], [[2, 3], [-1]]]
    """

    def __init__(
        self, count: int, batch_size: int, seed: int | None = None, rank: int = 0, size: int = 1
    ) -> None:
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.rank, self.size = rank, size
        self.epoch = 0
        self._start = 0

    def __len__(self) -> int:
        return -(-self.count // (self.batch_size * self.size))

    @property
    def sampler(self) -> EpochBatches:
        """Itself: where Lightning looks for what takes the epoch."""
        return self

    def samples(self, first: int, stop: int) -> int:
        """Return how many samples all processes take in the batches from `first` to before `stop`.

        Examples
        --------
        >>> EpochBatches(5, 2).samples(1, 3), EpochBatches(5, 2, rank=1, size=2).samples(1, 2)
        (3, 1)
        """
        step = self.batch_size * self.size
        return min(stop * step, self.count) - first * step

    def set_epoch(self, epoch: int) -> None:
        """State which epoch the next pass is."""
        self.epoch = epoch

    def skip(self, samples: int) -> None:
        """Leave out the first samples of the next pass: those that were seen before."""
        self._start = samples

    def __iter__(self) -> Iterator[list[int]]:
        order, start = self._order(), self._start
        self.epoch, self._start = self.epoch + 1, 0
        step = self.batch_size * self.size
        for first in range(start, self.count, step):
            whole = order[first : first + step]
            least, more = divmod(len(whole), self.size)
            begin = self.rank * least + min(self.rank, more)
            yield whole[begin : begin + least + (self.rank < more)] or [PADDING]

    def _order(self) -> list[int]:
        if self.seed is None:
            return list(range(self.count))
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * self.epoch)
        order: list[int] = torch.randperm(self.count, generator=generator).tolist()
        return order
