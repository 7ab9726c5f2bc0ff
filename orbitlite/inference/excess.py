"""Excess: input values beyond those of training, counted to be told once."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from orbitlite.data.tiles import Tile
from orbitlite.notice import warn
from orbitlite.variables import in_units

logger = logging.getLogger(__name__)

FAR = 0.1
"""Part of a channel's range in training: a single value that is further beyond it is told."""
MANY = 1e-3
"""Part of a channel's values: where more are beyond its range at all, they are told."""
_ROUNDING = 1e-5  # of the larger end, which the conversion of units and packing may take
_NAMED = 8  # channels; of more the names alone


class Excess:
    """Counts the values of each input beyond the range of training, where a network only guesses.

    Parameters
    ----------
    inputs : sequence of str
        The C channels of the fields.
    ranges : mapping
        Smallest and largest value of channels in training, physical units. A channel that is
        lacking, or whose smallest is above its largest, had none: all its values are beyond. Empty:
        not known, and nothing is counted.
    """

    def __init__(self, inputs: Sequence[str], ranges: Mapping[str, Sequence[float]]) -> None:
        self._inputs, self._ranges = inputs, ranges
        ends = np.array([ranges.get(name, (np.inf, -np.inf)) for name in inputs], np.float64)
        slack = _ROUNDING * np.abs(ends).max(axis=1)
        slack[~np.isfinite(slack)] = 0.0
        self._low, self._high = ends[:, 0] - slack, ends[:, 1] + slack
        self._total, self._beyond = (np.zeros(len(inputs), np.int64) for _ in range(2))
        self._least, self._most = np.full(len(inputs), np.inf), np.full(len(inputs), -np.inf)

    def update(self, windows: NDArray[np.float32], tile: Tile) -> None:
        """Add what a tile alone has of its windows (..., C, h, w); missing values do not count."""
        if not self._ranges:
            return
        fields = windows.reshape(-1, *windows.shape[-3:])[..., *tile.own]
        known, axes = np.isfinite(fields), (0, -2, -1)
        fields = np.where(known, fields, np.nan)
        self._total += known.sum(axes)
        self._least = np.fmin(self._least, least := np.fmin.reduce(fields, axes))
        self._most = np.fmax(self._most, most := np.fmax.reduce(fields, axes))
        for channel in np.flatnonzero((least < self._low) | (most > self._high)):
            low, high = self._low[channel], self._high[channel]
            values = fields[:, channel]
            self._beyond[channel] += np.count_nonzero((values < low) | (values > high))

    @property
    def found(self) -> list[int]:
        """Channels to tell of: with a value that is far beyond, or with many that are beyond."""
        with np.errstate(over="ignore"):
            far = np.maximum(FAR * (self._high - self._low), 0.0)
        outside = (self._least < self._low - far) | (self._most > self._high + far)
        told = (self._beyond > 0) & (outside | (self._beyond > MANY * self._total))
        return [int(channel) for channel in np.flatnonzero(told)]

    def tell(self, where: str = "The input") -> None:
        """Say how many values of which channels are beyond the training, if it is to be told."""
        found = self.found
        if not found:
            return
        parts = [self._described(channel) for channel in found[:_NAMED]]
        if rest := [self._inputs[channel] for channel in found[_NAMED:]]:
            parts.append(f"and as well {', '.join(rest)}")
        warn(
            logger,
            f"{where} goes beyond the training, where the network can only guess: "
            f"{'; '.join(parts)}.",
        )

    def _described(self, channel: int) -> str:
        name = self._inputs[channel]
        count = f"{name}: {self._beyond[channel]:,} of {self._total[channel]:,} values"
        low, high = self._ranges.get(name, (np.inf, -np.inf))
        if low > high:
            return f"{count}, of which training had none"
        trained = in_units(name, f"{low:.6g} to {high:.6g}")
        extremes = in_units(name, " and ".join(self._extremes(channel)))
        return f"{count} beyond the {trained} of training ({extremes})"

    def _extremes(self, channel: int) -> Iterator[str]:
        if self._least[channel] < self._low[channel]:
            yield f"down to {self._least[channel]:.6g}"
        if self._most[channel] > self._high[channel]:
            yield f"up to {self._most[channel]:.6g}"
