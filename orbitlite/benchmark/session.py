"""A run of a benchmark: where it computes, how often, what it shows meanwhile."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from time import perf_counter
from types import TracebackType
from typing import Any, TypeVar

from orbitlite.benchmark import measure
from orbitlite.errors import InputError
from orbitlite.progress import bar

logger = logging.getLogger(__name__)

Setup = TypeVar("Setup")
_EVERY = 10.0  # seconds between two lines of a log


class Session:
    """Measures variants side by side, and shows how far it is and how long it may still take.

    On a terminal that is a bar on standard error, else a line of the log now and then.

    Parameters
    ----------
    device : str
        `cpu` or `cuda`.
    threads : int
        Threads of torch on the CPU.
    repeats : int
        Timed rounds; in each, every variant runs once.
    progress : bool
        Show it.

    Raises
    ------
    InputError
        If the device is not there, or a count is below one.
    """

    def __init__(self, device: str, threads: int, repeats: int, progress: bool = True) -> None:
        for name, value in (("threads", threads), ("repeats", repeats)):
            if value < 1:
                raise InputError(f"{name}: expected 1 or more, found {value}")
        self.device = measure.as_device(device)
        self.threads, self.repeats = threads, repeats
        self._progress, self._shown = progress, ExitStack()
        self._total = self._done = 0.0
        self._said = float("-inf")

    def label(self, text: str, total: float | None = None) -> None:
        """Say what is measured now, and how much there is in all if that is known."""
        self._total = self._total if total is None else total
        self._advance(0, total=None if total is None else round(total), text=text)
        self._log(text)

    def advance(self, count: float = 1) -> None:
        """Say how much more is done."""
        self._done += count
        self._advance(count)

    def _log(self, text: str) -> None:
        """Let a log show that something is done, where there is no terminal for a bar."""
        now = perf_counter()
        if not self._progress or sys.stderr.isatty() or now - self._said < _EVERY:
            return
        self._said, spent = now, now - self._start
        share = self._done / self._total if self._total else 0.0
        left = f", about {spent / share - spent:.0f} s left" if share else ""
        logger.info("%s (%.0f %% in %.0f s%s)", text, 100 * share, spent, left)

    def over(
        self,
        cases: Iterable[Setup],
        text: Callable[[Setup], str],
        steps: Callable[[Setup], int],
        rows: Callable[[Setup], Iterable[dict[str, Any]]],
    ) -> Iterator[dict[str, Any]]:
        """Measure cases one after the other; give their rows.

        All their steps count as left from the time of this call: what several parts measure is
        known before the first of them begins.

        Parameters
        ----------
        cases : iterable
        text : callable
            Says what a case is.
        steps : callable
            How often a case calls `advance`, at most.
        rows : callable
            Measures a case.
        """
        listed = list(cases)
        self._total += sum(map(steps, listed))
        return self._over(listed, text, steps, rows)

    def _over(
        self,
        cases: Sequence[Setup],
        text: Callable[[Setup], str],
        steps: Callable[[Setup], int],
        rows: Callable[[Setup], Iterable[dict[str, Any]]],
    ) -> Iterator[dict[str, Any]]:
        for case in cases:
            self.label(text(case), self._total)
            end = self._done + steps(case)
            yield from rows(case)
            self.advance(end - self._done)  # for calls that are slow and made less often

    @property
    def calls(self) -> int:
        """Steps of a variant in `compare`: for its memory, and those of `medians`."""
        return 1 + self.timed

    @property
    def timed(self) -> int:
        """Steps of a call in `medians`."""
        return measure.WARM_UPS + self.repeats

    def medians(self, calls: Mapping[str, measure.Call]) -> dict[str, float]:
        """Time calls in turn; see `measure.medians`."""
        return measure.medians(calls, self.repeats, self.device, self.advance)

    def compare(
        self,
        cases: Mapping[str, Setup],
        prepare: Callable[[Setup, str, int], measure.Call],
        reference: str,
    ) -> dict[str, dict[str, float]]:
        """Measure time and memory of cases, and their ratios to the reference.

        Parameters
        ----------
        cases : mapping of str to object
        prepare : callable
            Makes a case's call, on a device by name, with so many threads. Both must pickle, for
            fresh processes.
        reference : str
            The variant that the others are compared to; without it there are no ratios.

        Returns
        -------
        dict of str to dict
            `seconds`, `peak_mib`, `time_ratio` and `memory_ratio` of each.
        """
        builds = {
            name: partial(prepare, case, str(self.device), self.threads)
            for name, case in cases.items()
        }
        peaks = {}
        for name, build in builds.items():
            peaks[name] = measure.peak_memory(build, self.device)
            self.advance()
        seconds = self.medians({name: build() for name, build in builds.items()})
        found = {name: {"seconds": seconds[name], "peak_mib": peaks[name]} for name in builds}
        if reference in found:
            for name, row in found.items():
                row["time_ratio"] = seconds[reference] / seconds[name]
                row["memory_ratio"] = peaks[reference] / peaks[name]
        return found

    def __enter__(self) -> Session:
        self._start = perf_counter()
        self._shown.enter_context(measure.threads(self.threads))
        self._advance = self._shown.enter_context(bar("", None, self._progress, keep=False))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._shown.close()
