"""Sampling: the order of samples in an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sized

import torch
from torch.utils.data import RandomSampler


class EpochSampler(RandomSampler):
    """Every sample once per epoch, in an order that follows from seed and epoch alone.

    So training that is resumed goes on in the order that it would have had. Lightning states the
    epoch; otherwise each pass counts as the next one.

    Parameters
    ----------
    data : sized
    seed : int

    Examples
    --------
    >>> sampler = EpochSampler(range(5), seed=1)
    >>> first = list(sampler)
    >>> sampler.set_epoch(0)
    >>> sorted(first), list(sampler) == first, list(sampler) == first
    ([0, 1, 2, 3, 4], True, False)
    """

    def __init__(self, data: Sized, seed: int) -> None:
        super().__init__(data)
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """State which epoch the next pass is."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * self.epoch)
        self.epoch += 1
        yield from torch.randperm(self.num_samples, generator=generator).tolist()
