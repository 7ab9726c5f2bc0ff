"""Sampling: the order of samples in an epoch, and which process takes which."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import ceil
from typing import Any

import torch
from torch.utils.data import Sampler

from orbitlite.errors import SharedError

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
        return -(-self.count // self.step)

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
        return min(stop * self.step, self.count) - first * self.step

    @property
    def step(self) -> int:
        """Samples of a global batch."""
        return self.batch_size * self.size

    def set_epoch(self, epoch: int) -> None:
        """State which epoch the next pass is."""
        self.epoch = epoch

    def place(self, epoch: int, batches: int) -> dict[str, int]:
        """Describe the place in an epoch after so many batches, in samples."""
        return {"epoch": epoch, "samples": batches * self.step, "global_batch": self.step}

    def go_on(self, place: dict[str, int]) -> None:
        """Begin the next pass at a place: leave out what was seen before.

        Raises
        ------
        SharedError
            If it lies within an epoch and the global batch was another.
        """
        if place.get("batches"):
            raise SharedError(
                "the checkpoint lies within an epoch of several sources, now there is one: state "
                "the same data.sources, or start from a checkpoint of an epoch's end"
            )
        if place.get("samples") and place["global_batch"] != self.step:
            raise SharedError(
                f"the checkpoint lies within an epoch of {place['global_batch']} samples per step "
                f"(batch_size x data ranks), now there are {self.step}: state data.batch_size "
                f"{max(1, place['global_batch'] // self.size)}, or start from a checkpoint of an "
                "epoch's end"
            )
        self.set_epoch(place["epoch"])
        self._start = place.get("samples", 0)

    def __iter__(self) -> Iterator[list[int]]:
        order, start = self.order(self.epoch), self._start
        self.epoch, self._start = self.epoch + 1, 0
        for first in range(start, self.count, self.step):
            yield self.own(order[first : first + self.step])

    def own(self, whole: list[int]) -> list[int]:
        """Return what this process takes of a global batch."""
        least, more = divmod(len(whole), self.size)
        begin = self.rank * least + min(self.rank, more)
        return whole[begin : begin + least + (self.rank < more)] or [PADDING]

    def order(self, epoch: int) -> list[int]:
        """Return the samples of a pass in its order."""
        if self.seed is None:
            return list(range(self.count))
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * epoch)
        order: list[int] = torch.randperm(self.count, generator=generator).tolist()
        return order


class MixedBatches(Sampler[list[int]]):
    """Batches of several sources in turn, each of one source, in proportion to their weights.

    An epoch has about as many samples as all sources together. Each source goes through its own
    passes, in which each of its samples stands once, from epoch to epoch; a source of little weight
    needs several epochs for one. The turns are spread evenly over the epoch. All follows from seed
    and epoch alone.

    Parameters
    ----------
    parts : sequence of EpochBatches
        Of each source; all of one process.
    weights : sequence of float
        Shares of the samples, in any unit.

    Examples
    --------
    >>> mixed = MixedBatches([EpochBatches(4, 2), EpochBatches(2, 1)], [2.0, 1.0])
    >>> list(mixed)
    [[0, 1], [4], [2, 3], [5]]
    """

    def __init__(self, parts: Sequence[EpochBatches], weights: Sequence[float]) -> None:
        self.parts = list(parts)
        samples, total = sum(part.count for part in parts), sum(weights)
        self.counts = [
            max(1, ceil(samples * weight / total / part.step - 1e-9))
            for part, weight in zip(parts, weights, strict=True)
        ]
        turns = [
            ((number + 0.5) / count, source)
            for source, count in enumerate(self.counts)
            for number in range(count)
        ]
        self.turns = [source for _, source in sorted(turns)]
        self.offsets = list(accumulate((part.count for part in parts), initial=0))[:-1]
        self.epoch = 0
        self._start, self._current = 0, 0

    def __len__(self) -> int:
        return len(self.turns)

    @property
    def seed(self) -> int | None:
        """That of the sources."""
        return self.parts[0].seed

    @property
    def sampler(self) -> MixedBatches:
        """Itself: where Lightning looks for what takes the epoch."""
        return self

    def samples(self, first: int, stop: int) -> int:
        """Return how many samples all processes take in some batches of this epoch."""
        batches = list(self._numbers(self._current))[first:stop]
        return sum(len(self._span(source, number)) for source, number in batches)

    def set_epoch(self, epoch: int) -> None:
        """State which epoch the next pass is."""
        self.epoch = self._current = epoch

    def place(self, epoch: int, batches: int) -> dict[str, Any]:
        """Describe the place in an epoch after so many batches."""
        return {
            "epoch": epoch, "batches": batches, "global_batches": self._steps,
            "turns": self.counts, "samples_of": [part.count for part in self.parts],
        }  # fmt: skip

    def go_on(self, place: dict[str, Any]) -> None:
        """Begin the next pass at a place: leave out what was seen before.

        Raises
        ------
        SharedError
            If it lies within an epoch and the sources or their global batches were others.
        """
        if place.get("samples"):
            raise SharedError(
                "the checkpoint lies within an epoch of one source, now there are several: state "
                "the same data, or start from a checkpoint of an epoch's end"
            )
        if place.get("batches"):
            ours = self.place(0, 0)
            for key, what in (
                ("global_batches", "samples per step (batch_size x data ranks)"),
                ("turns", "batches per epoch (weights)"), ("samples_of", "samples"),
            ):  # fmt: skip
                if place[key] != ours[key]:
                    raise SharedError(
                        f"the checkpoint lies within an epoch of sources of {place[key]} {what}, "
                        f"now there are {ours[key]}: state the same data.sources, or start from a "
                        "checkpoint of an epoch's end"
                    )
        self.set_epoch(place["epoch"])
        self._start = place.get("batches", 0)

    @property
    def _steps(self) -> list[int]:
        return [part.step for part in self.parts]

    def __iter__(self) -> Iterator[list[int]]:
        self._current, start = self.epoch, self._start
        self.epoch, self._start = self.epoch + 1, 0
        orders: dict[int, tuple[int, list[int]]] = {}
        for source, number in list(self._numbers(self._current))[start:]:
            part, turn = self.parts[source], number // len(self.parts[source])
            if orders.get(source, (None,))[0] != turn:
                orders[source] = turn, part.order(turn)
            span = self._span(source, number)
            taken = part.own(orders[source][1][span.start : span.stop])
            if taken == [PADDING]:
                yield [PADDING - source]
            else:
                yield [self.offsets[source] + sample for sample in taken]

    def _numbers(self, epoch: int) -> Iterator[tuple[int, int]]:
        """Yield the source of each batch, and the number of the batch among all of the source."""
        done = [epoch * count for count in self.counts]
        for source in self.turns:
            yield source, done[source]
            done[source] += 1

    def _span(self, source: int, number: int) -> range:
        """Return the places of a batch in the pass that it belongs to."""
        part = self.parts[source]
        first = number % len(part) * part.step
        return range(first, min(first + part.step, part.count))
