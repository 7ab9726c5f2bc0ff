"""Largest amount and longest wet and dry runs of a year, cell by cell."""

from __future__ import annotations

import torch
from torch import Tensor

from orbitlite.verification.timeline import Timeline


class AnnualMaxima:
    """Mean over the calendar years of three maxima of each cell.

    The largest amount of a day (Rx1day), the longest run of dry days (CDD) and of wet days (CWD),
    of ETCCDI (Zhang et al. 2011, doi:10.1002/wcc.147), in the form of CORDEX ML-Bench
    (WCRP-CORDEX/ml-benchmark, `evaluation/indices.py`): of every year that the series has days of,
    then the mean over the years. A run ends with the year, and where a day is missing from the
    series or the cell. A year without any value of a cell does not count there.

    Parameters
    ----------
    wet : float
        A day is wet from this amount on, else dry.
    shape : tuple of int
        (S, M, H, W): series, members of each, rows and columns.
    """

    def __init__(self, wet: float, shape: tuple[int, ...]) -> None:
        self._wet, self._year = wet, -1
        series, _, *cells = shape
        self._runs = torch.zeros(2, *shape)
        self._maxima = torch.zeros(3, *shape)
        self._sums = torch.zeros(3, *shape)
        self._seen = torch.zeros(series, 1, *cells, dtype=torch.bool)
        self._years = torch.zeros(series, 1, *cells)

    def update(self, amounts: Tensor, valid: Tensor, days: Timeline) -> None:
        """Add the next days.

        Parameters
        ----------
        amounts : Tensor of shape (T, S, M, H, W)
        valid : Tensor of bool, shape (T, S, 1, H, W)
        days : Timeline
            Of these T days.
        """
        for day, amount in enumerate(amounts):
            there, joined, year = valid[day], float(days.joined[day]), int(days.years[day])
            if year != self._year:
                self._sums, self._years = self._closed()
                self._year, self._seen = year, torch.zeros_like(self._seen)
                self._maxima[0], self._maxima[1:] = -torch.inf, 0.0
                self._runs.zero_()
            wet = amount >= self._wet
            self._runs = (self._runs * joined + 1) * (torch.stack([~wet, wet]) & there)
            today = torch.where(there, amount, -torch.inf).to(self._maxima.dtype)
            torch.maximum(self._maxima, torch.cat([today[None], self._runs]), out=self._maxima)
            self._seen |= there

    def _closed(self) -> tuple[Tensor, Tensor]:
        """Return sums and number of the years with the current one."""
        return self._sums + self._maxima.where(self._seen, 0.0), self._years + self._seen

    def means(self) -> Tensor:
        """Return Rx1day, CDD and CWD, shape (3, S, M, H, W); NaN where there is no value.

        In the unit of the amounts and in days.
        """
        sums, years = self._closed()
        return (sums / years).double()
