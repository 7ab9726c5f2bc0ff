"""Splits: periods for training, validation and test, stated by their first and last time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from orbitlite.errors import InputError

Period = tuple[pd.Timestamp, pd.Timestamp]


def read_period(name: str, text: Sequence[object]) -> Period:
    """Read `[start, end]`; both ends are included, as far as they are stated.

    Raises
    ------
    InputError
        If there are not two dates in order.

    Examples
    --------
    >>> str(read_period("train", ["1982-12", "1992-03"])[1])[:19]
    '1992-03-31 23:59:59'
    """
    if isinstance(text, str) or len(text) != 2:
        raise InputError(f"{name} should be two dates, [start, end], not {text!r}.")
    try:
        start, end = (pd.Period(_four_digits(str(date))) for date in text)
    except ValueError as error:
        raise InputError(
            f"{name} should be two dates such as ['1982-12', '1992-03-31'], not {text!r}."
        ) from error
    period = (start.start_time, end.end_time)
    if period[0] > period[1]:
        raise InputError(f"{name} begins at {text[0]}, after its end {text[1]}.")
    return period


def _four_digits(date: str) -> str:
    """Write the year 850, which YAML reads as a number, as a date has it."""
    return re.sub(r"^(\d{1,3})(?=-|$)", lambda year: year[1].zfill(4), date)


def read_periods(texts: Mapping[str, Sequence[object] | None]) -> dict[str, Period]:
    """Read the stated periods and check that none shares a time with another.

    Raises
    ------
    InputError
        If two overlap; the message names both.
    """
    stated = {name: text for name, text in texts.items() if text is not None}
    periods = {name: read_period(name, text) for name, text in stated.items()}
    for one, other in combinations(periods, 2):
        if periods[one][0] <= periods[other][1] and periods[other][0] <= periods[one][1]:
            raise InputError(
                f"The periods {one} {[*map(str, stated[one])]} and {other} "
                f"{[*map(str, stated[other])]} overlap: no time may be in both."
            )
    return periods


def positions(name: str, period: Period, times: pd.DatetimeIndex) -> NDArray[np.intp]:
    """Return which of `times` lie in the period.

    Raises
    ------
    InputError
        If none does; the message says what there is.
    """
    found = np.flatnonzero((times >= period[0]) & (times <= period[1]))
    if not found.size:
        raise InputError(
            f"{name} ({period[0]:%Y-%m-%d %H:%M} to {period[1]:%Y-%m-%d %H:%M}) holds no time: the "
            f"data cover {times[0]:%Y-%m-%d %H:%M} to {times[-1]:%Y-%m-%d %H:%M} ({len(times)} "
            "times)."
        )
    return found


def shares(times: pd.DatetimeIndex) -> dict[str, Period]:
    """Divide the times in order: 70 % train, 15 % validate, 15 % test.

    Raises
    ------
    InputError
        If there are fewer than seven times.
    """
    if len(times) < 7:
        raise InputError(f"{len(times)} times are too few to divide: state train, validate, test.")
    first, second = int(0.7 * len(times)), int(0.85 * len(times))
    bounds = {"train": (0, first), "validate": (first, second), "test": (second, len(times))}
    return {name: (times[start], times[stop - 1]) for name, (start, stop) in bounds.items()}
