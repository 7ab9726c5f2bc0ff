"""The days that are shown: which, and their fields."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from orbitlite.verification.chunk import Chunk
from orbitlite.verification.results import OURS, Day
from orbitlite.verification.series import Series

_SHOWN = 4


def chosen(daily: NDArray[np.float64]) -> dict[str, int]:
    """Pick the day with the highest mean and the day in the middle of the ranking.

    Parameters
    ----------
    daily : ndarray of shape (T,)
        Area mean of each day, NaN where all is missing.
    """
    order = np.argsort(daily)[: int(np.isfinite(daily).sum())]
    if not len(order):
        return {}
    wettest, median = int(order[-1]), int(order[(len(order) - 1) // 2])
    return {"wettest": wettest} | ({} if median == wettest else {"median": median})


def days(series: Series, chunk: Chunk, wanted: Mapping[str, int]) -> list[Day]:
    """Keep the chosen days of a chunk, of the first sample of each, and members of the wettest.

    Parameters
    ----------
    series : Series
    chunk : Chunk
    wanted : mapping
        From kind to the place of the day in the series.
    """
    window, found = chunk.window, []
    for kind, index in wanted.items():
        if not window.start <= index < window.stop:
            continue
        at = index - window.start
        time = series.prediction.indexes["time"][index]
        label = time.strftime("%Y-%m-%d" if series.step == "day" else "%Y-%m-%d %H:%M")
        wet = series.quantity.precipitation or kind == "median"
        coarse = None if chunk.coarse is None else chunk.coarse[at].float().numpy()
        ours = chunk.systems[OURS][at]
        few = ours[:_SHOWN].float().numpy() if len(ours) > 1 and kind == "wettest" else None
        mean, truth = (values.float().numpy() for values in (ours.mean(0), chunk.truth[at]))
        kind = kind if wet else "highest mean"
        names = () if few is None else series.member_names(_SHOWN)
        found.append(Day(str(label), kind, coarse, mean, truth, few, names))
    return found
