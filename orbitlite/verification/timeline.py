"""Timeline: which days of a series follow one another, and in which year they lie."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True)
class Timeline:
    """The days of a series in ascending order, some of which may be missing.

    Attributes
    ----------
    joined : ndarray of bool, shape (T,)
        Whether the day before is the time before: false at the first one and after a gap.
    years : ndarray of int, shape (T,)
        Calendar year of each.
    """

    joined: NDArray[np.bool_]
    years: NDArray[np.int64]

    @classmethod
    def of(cls, times: pd.Index) -> Self:
        """Look at the times of a series, of any calendar.

        Examples
        --------
        >>> days = pd.DatetimeIndex(["2001-12-31", "2002-01-01", "2002-01-03"])
        >>> Timeline.of(days).joined.tolist()
        [False, True, False]
        """
        joined = np.zeros(len(times), bool)
        joined[1:] = times[1:] - times[:-1] <= timedelta(days=1)
        return cls(joined, np.asarray(times.year, np.int64))

    def __len__(self) -> int:
        """Return T."""
        return len(self.years)

    def part(self, window: slice) -> Timeline:
        """Return some of the days; the first is joined to the one before the window, if it was."""
        return Timeline(self.joined[window], self.years[window])
