"""Screening: what cannot be a value of its quantity is missing or refused, and is told."""

from __future__ import annotations

import logging
import threading
import uuid
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from orbitlite.data.blocks import Positions
from orbitlite.errors import InputError
from orbitlite.notice import at_end, notice, warn

logger = logging.getLogger(__name__)

Floats = NDArray[np.floating[Any]]

# What stands for "missing" in the files of the world, besides anything as large as a thousand
# million: rows of nines, the ends of the integer types.
_MISSING = (
    99, 99.9, 99.99, 999, 999.9, 999.99, 9999, 9999.9, 99999, 99999.9, 999999, 8888, 88888,
    127, 128, 255, 32766, 32767, 32768, 65535,
)  # fmt: skip
_HUGE = 1e9


def looks_missing(values: Floats) -> NDArray[np.bool_]:
    """Tell which values are used to stand for missing ones: -9999, 1e20, infinity and the like."""
    size = np.abs(values.astype(np.float64))
    known = np.isclose(size[..., None], np.array(_MISSING), rtol=1e-6, atol=0.0).any(axis=-1)
    found: NDArray[np.bool_] = known | (size >= _HUGE)
    return found


class Tally:
    """Counts what was found in one array and says it: at the first block, the rest at the end.

    Parameters
    ----------
    name : str
        What the array is called in messages.
    axes : mapping
        Labels along its dims, in order; None for a dim without.
    """

    def __init__(self, name: str, axes: Mapping[Hashable, pd.Index | None]) -> None:
        self.name = name
        self._mark = uuid.uuid4().hex
        self._axes = dict(axes)
        # By block, since blocks may be read more than once.
        self._counts: dict[str, dict[Hashable, int]] = {}
        self._told: dict[str, int] = {}
        self._odd: set[float] = set()
        self._lock = threading.Lock()
        at_end(self._sum_up)

    def __reduce__(self) -> tuple[Any, ...]:
        return _revived, (self._mark, self.name, self._axes)

    def tell(
        self, kind: str, what: str, mask: NDArray[np.bool_], positions: Positions
    ) -> NDArray[np.bool_]:
        """Say that values were found, once for each kind; return `mask`.

        Parameters
        ----------
        kind : str
            Short: `taken as missing`.
        what : str
            The end of the sentence.
        mask : ndarray of bool
            Which values of a block.
        positions : sequence
            Of the block.
        """
        count = int(mask.sum())
        if not count:
            return mask
        with self._lock:
            first = kind not in self._counts
            self._counts.setdefault(kind, {})[_span(positions)] = count
            if first:
                self._told[kind] = count
        if first:
            where = self.place(mask, positions)
            warn(
                logger,
                f"{self.name}: {count:,} of {mask.size:,} values {what}; the first is at {where}.",
            )
        return mask

    def kinds_of_odd(self, values: set[float]) -> int:
        """Note odd values; return how many different ones there were so far."""
        with self._lock:
            self._odd |= values
            return len(self._odd)

    def place(self, mask: NDArray[np.bool_], positions: Positions) -> str:
        """Say where the first value of a block that `mask` marks lies."""
        index = iter(np.unravel_index(int(mask.argmax()), mask.shape))
        words = []
        for (dim, labels), position in zip(self._axes.items(), positions, strict=True):
            number = position if np.ndim(position) == 0 else position[next(index)]
            words.append(f"{dim} {_label(labels, int(number))}")
        return ", ".join(words) or "its only place"

    def _sum_up(self) -> None:
        for kind, blocks in self._counts.items():
            count = sum(blocks.values())
            if count > self._told[kind]:
                notice(logger, f"{self.name}: {count:,} values in all were {kind}.")


# Those that came from another process: once in this one, however many tasks bring them.
_REVIVED: OrderedDict[str, Tally] = OrderedDict()
_MOST_REVIVED = 256


def _revived(mark: str, name: str, axes: Mapping[Hashable, pd.Index | None]) -> Tally:
    tally = _REVIVED.pop(mark, None) or Tally(name, axes)
    _REVIVED[mark] = tally
    if len(_REVIVED) > _MOST_REVIVED:
        _REVIVED.popitem(last=False)
    return tally


def _span(positions: Positions) -> Hashable:
    return tuple(p if np.ndim(p) == 0 else (int(p[0]), int(p[-1])) for p in positions)


def _label(labels: pd.Index | None, number: int) -> str:
    if labels is None:
        return f"number {number}"
    label = labels[number]
    if hasattr(label, "strftime"):
        return str(label.strftime("%Y-%m-%d %H:%M"))
    return f"{label:.7g}" if isinstance(label, (float, np.floating)) else str(label)


@dataclass(frozen=True, eq=False)
class Screen:
    """What values a quantity can have, in the unit of the file.

    Attributes
    ----------
    tally : Tally
    unit : str
    low, high : float
        Values beyond are none.
    noise : float
        Values from `low` to below this are amounts below zero: they become zero. Equal to `low`
        for what may be negative.
    zero : float
        Zero of the quantity.
    share : bool
        A share of one: 100 is a percentage, and no fill value.
    lenient : bool
        Only what looks like a fill value is taken out; other values beyond the limits are told
        and left, amounts below zero left: for predictions, which are to be scored as they are.
    """

    tally: Tally
    unit: str
    low: float
    high: float
    noise: float
    zero: float = 0.0
    share: bool = False
    lenient: bool = False

    def apply(self, values: Floats, positions: Positions) -> Floats:
        """Return the values with what is none as NaN: the same array if nothing was found.

        Raises
        ------
        InputError
            If several different values lie beyond the limits that do not look like fill values.
        """
        if not values.size:
            return values
        # The two extremes first: a pass each, without a copy.
        least, most = (part.reduce(values, axis=None) for part in (np.fmin, np.fmax))
        if not (least < self.noise or most > self.high):
            return values
        beyond = (values < self.low) | (values > self.high)
        below = np.zeros_like(beyond) if self.lenient else (values < self.noise) & ~beyond
        if below.any():
            fill = below & looks_missing(np.where(below, values, self.zero))
            beyond, below = beyond | fill, below & ~fill
        if beyond.any():
            beyond = self._judge(values, beyond, positions)
        if below.any():
            worst = float(values[below].min())
            what = f"are below zero, down to {worst:.7g} {self.unit}, and become zero"
            self.tally.tell("below zero and became zero", what, below, positions)
        if not (beyond.any() or below.any()):
            return values
        kept = np.where(below, values.dtype.type(self.zero), values)
        return np.where(beyond, values.dtype.type(np.nan), kept)

    def _judge(
        self, values: Floats, beyond: NDArray[np.bool_], positions: Positions
    ) -> NDArray[np.bool_]:
        """Return which values beyond the limits are fill values; raise if others are."""
        found = np.unique(values[beyond])
        odd = found[~looks_missing(found)]
        percent = self.share and bool((odd == 100).any())
        # One value that is repeated stands for something; many are a wrong unit, or damage.
        several = self.tally.kinds_of_odd({float(value) for value in odd[:2]}) > 1
        if self.lenient and odd.size:
            wild = beyond & ~looks_missing(values)
            what = (
                f"are beyond {self._limits}, from {odd[0]:.7g} to {odd[-1]:.7g}: left as they are"
            )
            beyond = beyond & ~self.tally.tell("left beyond the limits", what, wild, positions)
            found = found[looks_missing(found)]
        elif percent or (several and odd.size):
            raise InputError(self._refusal(values, beyond, positions))
        if beyond.any():
            named = " and ".join(f"{value:.7g}" for value in found[:3])
            what = (
                f"are {named} {self.unit}, beyond {self._limits}, and are taken as missing "
                "(declare what stands for missing as _FillValue, or mask it with .where)"
            )
            self.tally.tell("taken as missing", what, beyond, positions)
        return beyond

    @property
    def _limits(self) -> str:
        return f"the limits {self.low:.4g} to {self.high:.4g}"

    def _refusal(self, values: Floats, beyond: NDArray[np.bool_], positions: Positions) -> str:
        chosen = values[beyond]
        first = values.reshape(-1)[int(beyond.argmax())]
        return (
            f"{self.tally.name}: {beyond.sum():,} of {beyond.size:,} values are beyond "
            f"{self._limits} {self.unit} of the quantity, from {chosen.min():.7g} to "
            f"{chosen.max():.7g}; the first, {first:.7g}, is at "
            f"{self.tally.place(beyond, positions)}. Correct the units attribute if {self.unit!r} "
            "is not theirs; mask values that are none with .where, or declare them as _FillValue."
        )
