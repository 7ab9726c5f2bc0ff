"""A run of a benchmark: where it computes, how often, what it shows meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import TypeVar

from orbitlite.benchmark import measure
from orbitlite.errors import InputError
from orbitlite.progress import bar

Setup = TypeVar("Setup")


class Session:
    """Measures variants side by side, with a progress bar on standard error.

    Parameters
    ----------
    device : str
        `cpu` or `cuda`.
    threads : int
        Threads of torch on the CPU.
    repeats : int
        Timed rounds; in each, every variant runs once.
    progress : bool
        Show a bar if standard error is a terminal.

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

    def label(self, text: str, total: int | None = None) -> None:
        """Say what is measured now, and how much there is in all if that is known."""
        self._advance(0, total=total, text=text)

    def advance(self, count: float) -> None:
        """Say how much more is done."""
        self._advance(count)

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
        peaks = {name: measure.peak_memory(build, self.device) for name, build in builds.items()}
        calls = {name: build() for name, build in builds.items()}
        seconds = measure.medians(calls, self.repeats, self.device)
        found = {name: {"seconds": seconds[name], "peak_mib": peaks[name]} for name in builds}
        if reference in found:
            for name, row in found.items():
                row["time_ratio"] = seconds[reference] / seconds[name]
                row["memory_ratio"] = peaks[reference] / peaks[name]
        return found

    def __enter__(self) -> Session:
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
