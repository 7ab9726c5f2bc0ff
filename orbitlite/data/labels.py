"""Labels: which window of time each value belongs to."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

import numpy as np
import xarray as xr

from orbitlite.data.bounds import INTERVAL, UNEVEN
from orbitlite.data.calendar import Seconds
from orbitlite.data.conversion import period_hours
from orbitlite.errors import InputError
from orbitlite.notice import notice, warn
from orbitlite.variables import lookup

logger = logging.getLogger(__name__)

# Share of a step that rounded stamps, such as 23:59:59 for 24:00, may lie off.
_TOLERANCE = 0.02


@dataclass(frozen=True)
class TimeWindow:
    """Windows of `length` seconds, of which one begins `start` seconds after 1970-01-01 00:00."""

    text: str
    length: int
    start: int

    @classmethod
    def read(cls, text: str) -> TimeWindow:
        """Read a length and, where windows begin at another hour, an offset from midnight.

        Raises
        ------
        InputError
            If either is no length of time, or the offset not below the length.

        Examples
        --------
        >>> TimeWindow.read("24h+9h").start, TimeWindow.read("24h-15h").start
        (32400, -54000)
        """
        found = re.fullmatch(r"\s*([^+-]+?)\s*(?:([+-])\s*([^+-]+?)\s*)?", str(text))
        length, sign, offset = found.groups() if found else ("", None, None)
        try:
            seconds = round(3600 * period_hours(length))
            start = 0 if offset is None else round(3600 * period_hours(offset))
        except InputError as error:
            raise InputError(
                "resample should be a length of time such as '24h', or one with the hour (UTC) "
                f"at which it begins such as '24h+9h', not {text!r}."
            ) from error
        if not start < seconds:
            raise InputError(
                f"resample is {text!r}: a window should last a second at least, and begin less "
                "than its own length from midnight."
            )
        return cls(str(text), seconds, -start if sign == "-" else start)

    def beginning(self, seconds: Seconds) -> Seconds:
        """Return the beginning of the window that holds each time."""
        return (seconds - self.start) // self.length * self.length + self.start


def width_of(field: xr.DataArray) -> int | None:
    """Return over how many seconds a value extends, as the source states it."""
    bounds, hours = field.attrs.get(INTERVAL), field.attrs.get("source_hours")
    if bounds == UNEVEN:
        raise InputError(
            f"The time bounds of {field.name} lie otherwise at some times than at others: values "
            "cannot be brought to windows (resample). Give steps of one length, each with its "
            "bounds."
        )
    if bounds is None:
        return None if hours is None else round(3600 * hours)
    width = int(bounds[1] - bounds[0])
    if hours is not None and round(3600 * hours) != width:
        raise InputError(
            f"{field.name} holds amounts over {hours:g} h, and its time bounds are "
            f"{width / 3600:g} h apart. Is accumulation_period right?"
        )
    return width


def labels_of(field: xr.DataArray, times: Seconds, step: int, window: TimeWindow) -> Seconds:
    """Name the window of every value by its beginning."""
    amount = lookup(str(field.name)).hours is not None
    width = width_of(field)
    if amount and width not in (None, step, window.length):
        assert width is not None
        raise InputError(
            f"{field.name} holds amounts over {width / 3600:g} h at steps of {step / 3600:g} h: "
            f"neither these nor windows of {window.length / 3600:g} h (resample). Is "
            "accumulation_period right?"
        )
    if INTERVAL not in field.attrs and step == window.length:
        if window.start and amount:
            notice(
                logger,
                f"{field.name} has no time bounds: a value is taken as that of the window "
                f"({window.text}) that belongs to the day of its time.",
            )
        return times // step * step + window.start
    begin, end = (times + part for part in _interval(field, times, step, window, amount))
    if width == window.length > step:  # over the time before each stamp: the step that ends there
        if not (np.abs(_phase(end - window.start, window.length)) <= _TOLERANCE * step).any():
            raise InputError(_crossing(field, begin[0], end[0], window))
        begin = end - step
    slack = round(_TOLERANCE * step)
    across = window.beginning(begin + slack) < window.beginning(end - slack)
    if across.any() and (amount or step == window.length):
        remark = _crossing(field, begin[across][0], end[across][0], window)
        if amount:
            raise InputError(remark)
        warn(logger, remark)
    return window.beginning(begin + (end - begin) // 2)


def _interval(
    field: xr.DataArray, times: Seconds, step: int, window: TimeWindow, amount: bool
) -> tuple[int, int]:
    """Return where the time of a value begins and ends, in seconds from its stamp."""
    if INTERVAL in field.attrs:
        begin, end = field.attrs[INTERVAL]
        return int(begin), int(end)
    if not amount:
        return 0, 0
    middle = np.abs(_phase(times - step // 2, step)) <= _TOLERANCE * step
    if middle.all() and window.start % step == 0 and width_of(field) in (None, step):
        return -(step // 2), step - step // 2
    notice(logger, f"{field.name} has no time bounds: its amounts are taken to end at their times.")
    return -(width_of(field) or step), 0


def _phase(seconds: Seconds, length: int) -> Seconds:
    """Return how far times lie from the nearest multiple of a length."""
    return (seconds + length // 2) % length - length // 2


def _crossing(field: xr.DataArray, begin: int, end: int, window: TimeWindow) -> str:
    first, last, start = (
        f"{seconds // 3600 % 24:02d}:{seconds // 60 % 60:02d}"
        for seconds in (int(begin), int(end), window.start)
    )
    hours = int(begin) % window.length / 3600
    return (
        f"{field.name} extends from {first} to {last}, across the beginning of windows at {start} "
        f"({window.text}); windows that begin with it are {window.length / 3600:g}h+{hours:g}h "
        "(resample)."
    )
