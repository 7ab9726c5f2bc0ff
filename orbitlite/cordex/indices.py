"""Indices: what the days of each cell are like, as CORDEX ML-Bench computes it.

Sources of the definitions: WCRP-CORDEX/ml-benchmark, `evaluation/indices.py`, and ETCCDI (Zhang et
al. 2011, doi:10.1002/wcc.147). Those of precipitation, runs, persistence and high percentiles are
`orbitlite.verification`'s; here are those of temperature and of years.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orbitlite.cordex.task import WET
from orbitlite.verification.annual import AnnualMaxima
from orbitlite.verification.indices import PERCENTILES, Indices
from orbitlite.verification.persistence import Persistence
from orbitlite.verification.timeline import Timeline
from orbitlite.verification.upper_tail import UpperTail

SUMMER = 300.0
"""A day is a summer day above this, in K."""

Fields = dict[str, Tensor]


class Series(Protocol):
    """Takes the days of a variable, and gives its indices."""

    def update(self, values: Tensor, window: slice) -> None:
        """Add the next days, shape (T, M, H, W)."""

    def fields(self) -> Fields:
        """Return each index, shape (M, H, W)."""


def timeline(years: NDArray[np.int64]) -> Timeline:
    """Return days that all follow one another: the benchmark bridges the leap days that lack."""
    joined = np.ones(len(years), bool)
    joined[:1] = False
    return Timeline(joined, years)


class Years:
    """Sums over calendar years, of each cell."""

    def __init__(self) -> None:
        self._sums: dict[int, Tensor] = {}
        self._days: dict[int, int] = {}

    def update(self, values: Tensor, years: NDArray[np.int64]) -> None:
        """Add days, shape (T, M, H, W), each of its year."""
        for year in map(int, np.unique(years)):
            some = values[torch.from_numpy(years == year)]
            self._sums[year] = self._sums.get(year, 0.0) + some.double().sum(0)
            self._days[year] = self._days.get(year, 0) + len(some)

    def mean(self) -> Tensor:
        """Return the mean over all days, shape (M, H, W)."""
        return torch.stack([*self._sums.values()]).sum(0) / sum(self._days.values())

    def variability(self) -> Tensor:
        """Return the standard deviation of the annual means, in the number of years, (M, H, W)."""
        means = [total / self._days[year] for year, total in self._sums.items()]
        return torch.stack(means).std(0, correction=0)

    def count(self) -> Tensor:
        """Return the mean over the years of their sums, shape (M, H, W)."""
        return torch.stack([*self._sums.values()]).mean(0)


class RainSeries:
    """Indices of precipitation: those of `Indices`, mean and interannual variability.

    Parameters
    ----------
    days : Timeline
        Of the whole series.
    shape : tuple of int
        (M, H, W).
    """

    def __init__(self, days: Timeline, shape: tuple[int, ...]) -> None:
        self._days, self._indices, self._years = days, Indices(days, WET, (1, *shape)), Years()

    def update(self, values: Tensor, window: slice) -> None:
        """Add the next days, shape (T, M, H, W), in mm."""
        self._indices.update(values, torch.ones(len(values), *values.shape[2:]), window)
        self._years.update(values, self._days.years[window])

    def fields(self) -> Fields:
        """Return each index, shape (M, H, W)."""
        found = {name: field[0] for name, field in self._indices.fields().items()}
        return {"mean": self._years.mean(), "interannual": self._years.variability()} | found


class WarmSeries:
    """Indices of the daily maximum temperature.

    TXx and TXn, the means over the years of their highest and lowest value; SU, the mean number of
    summer days of a year; lag-1 autocorrelation, percentiles, mean and interannual variability.

    Parameters
    ----------
    days : Timeline
    shape : tuple of int
        (M, H, W).
    """

    def __init__(self, days: Timeline, shape: tuple[int, ...]) -> None:
        whole = (1, *shape)
        self._days, self._years, self._summer = days, Years(), Years()
        # Of the benchmark's three maxima of a year the first is that of any quantity.
        self._highest, self._lowest = AnnualMaxima(SUMMER, whole), AnnualMaxima(SUMMER, whole)
        self._persistence = Persistence(whole)
        self._tail = UpperTail(len(days), PERCENTILES[0] / 100, whole)

    def update(self, values: Tensor, window: slice) -> None:
        """Add the next days, shape (T, M, H, W), in K."""
        part, whole = self._days.part(window), values[:, None]
        valid = torch.ones(len(values), 1, 1, *values.shape[2:], dtype=torch.bool)
        self._years.update(values, part.years)
        self._summer.update((values > SUMMER).to(values.dtype), part.years)
        self._highest.update(whole, valid, part)
        self._lowest.update(-whole, valid, part)
        # Far from zero, squares would leave the variance few digits.
        self._persistence.update(whole - SUMMER, valid, part)
        self._tail.update(whole, valid)

    def fields(self) -> Fields:
        """Return each index, shape (M, H, W)."""
        tails = {f"cell_p{level:g}": self._tail.at(level / 100)[0] for level in PERCENTILES}
        return {
            "mean": self._years.mean(), "interannual": self._years.variability(),
            "txx": self._highest.means()[0, 0], "txn": -self._lowest.means()[0, 0],
            "su": self._summer.count(), "lag1": self._persistence.correlation()[0],
        } | tails  # fmt: skip


SERIES: Mapping[str, type[RainSeries] | type[WarmSeries]] = {"pr": RainSeries, "tasmax": WarmSeries}
"""By the names of the benchmark."""


def compared(ours: Fields, truth: Fields) -> dict[str, float]:
    """Return how indices differ from those of the truth.

    The index of a member, then the mean over the members of each cell. `<index>_bias` and
    `<index>_abs_bias`: the mean over the cells of the difference from the truth and of its absolute
    value, `<index>_ratio`: that of the ratio (`evaluation/diagnostics.py` of the benchmark). Cells
    without the index are left out.

    Parameters
    ----------
    ours, truth : dict of Tensor, shape (M, H, W) and (1, H, W)
    """
    scores = {}
    for name, field in ours.items():
        mean, wanted = field.double().mean(0), truth[name].double()[0]
        scores[f"{name}_bias"] = float((mean - wanted).nanmean())
        scores[f"{name}_abs_bias"] = float((mean - wanted).abs().nanmean())
        ratio = mean / wanted
        scores[f"{name}_ratio"] = float(ratio[ratio.isfinite()].mean())
    return scores


def signals(
    ours: Fields, ours_before: Fields, truth: Fields, truth_before: Fields
) -> dict[str, float]:
    """Return how changes of indices from one period to another differ from those of the truth.

    `<index>_signal_bias` and `<index>_signal_abs_bias`, as in `compared`.
    """
    change = {name: ours[name].mean(0, True) - ours_before[name].mean(0, True) for name in ours}
    wanted = {name: truth[name] - truth_before[name] for name in truth}
    found = {f"{name}_signal": field for name, field in change.items()}
    scores = compared(found, {f"{name}_signal": field for name, field in wanted.items()})
    return {name: value for name, value in scores.items() if not name.endswith("_ratio")}
