"""Joint data set: the samples of several sources under one count."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from torch.utils.data import Dataset

from orbitlite.batch import Batch
from orbitlite.data.pairs import PairDataset
from orbitlite.data.sampling import PADDING


class JointDataset(Dataset[Batch]):
    """The samples of several data sets, one after the other.

    Parameters
    ----------
    parts : sequence of PairDataset
        Of each source.
    """

    def __init__(self, parts: Sequence[PairDataset]) -> None:
        self.parts = list(parts)
        self._ends = list(accumulate(map(len, self.parts)))

    def __len__(self) -> int:
        return self._ends[-1]

    @property
    def cached(self) -> bool:
        """Whether all samples are in memory."""
        return all(part.cached for part in self.parts)

    def __getitem__(self, index: int) -> Batch:
        """Return one sample as a batch of one."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[Batch]:
        """Read samples of one source: one batch in a list, for `Batch.collate`.

        `PADDING - s` stands for a sample of source s without truth.
        """
        if indices[0] < 0:
            return self.parts[PADDING - indices[0]].__getitems__([PADDING])
        source = bisect_right(self._ends, indices[0])
        first = self._ends[source] - len(self.parts[source])
        return self.parts[source].__getitems__([index - first for index in indices])
