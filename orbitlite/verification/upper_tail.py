"""UpperTail: the largest values of each cell, from which high quantiles are read."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class UpperTail:
    """Exact high quantiles of each cell over a series whose length is known beforehand.

    Only the values that a quantile of the lowest level or above may need are kept, of T values
    T - floor((T - 1) level): 2 % and one of each cell for the level 0.98.

    Parameters
    ----------
    times : int
        T, the most values that a cell may get.
    lowest : float
        Lowest level.
    shape : tuple of int
        (S, M, H, W): series, members of each, rows and columns.
    """

    def __init__(self, times: int, lowest: float, shape: tuple[int, ...]) -> None:
        series, _, *cells = shape
        self._size = times - math.floor((times - 1) * lowest)
        self._held: list[Tensor] = []
        self._count = torch.zeros(series, 1, *cells, dtype=torch.float64)

    def update(self, values: Tensor, valid: Tensor) -> None:
        """Add values.

        Parameters
        ----------
        values : Tensor of shape (T, S, M, H, W)
        valid : Tensor of bool, shape (T, S, 1, H, W)
        """
        self._held.append(values.where(valid, -torch.inf).float())
        self._count += valid.sum(0)
        # To wait for as many again as are kept costs one partition for each of them.
        if sum(map(len, self._held)) >= 2 * self._size:
            self._held = [self._largest(sort=False)]

    def _largest(self, sort: bool) -> Tensor:
        held = torch.cat(self._held)
        return held.topk(min(self._size, len(held)), dim=0, sorted=sort).values

    def at(self, level: float) -> Tensor:
        """Return a quantile of each cell, shape (S, M, H, W); NaN where there is no value.

        Linear between the two values next to (n - 1) level of n sorted ones, as `numpy.quantile`
        has it (Hyndman and Fan 1996, doi:10.2307/2684934, definition 7).

        Parameters
        ----------
        level : float
            Not below the lowest.
        """
        largest = self._largest(sort=True)
        place = (self._count - 1) * level
        below = place.floor()
        # Ranks from the largest value down.
        rank = (self._count - 1 - below).long().expand(largest.shape[1:])[None]
        low, high = (largest.gather(0, r)[0].double() for r in (rank, (rank - 1).clamp_min(0)))
        step = torch.where(place > below, high - low, 0.0)
        return (low + step * (place - below)).where(self._count > 0, torch.nan)
