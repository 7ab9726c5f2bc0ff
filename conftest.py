"""Which tests come first, and how long each may take."""

from __future__ import annotations

import os
import resource
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

TIERS = {None: 3.0, "slow": 30.0, "dist": 60.0, "very_slow": 90.0}
"""Seconds of a test of each marker on a quiet machine of two cores; of several, the most counts."""

CHECKED = bool(os.environ.get("ORBITLITE_TEST_TIERS"))
BUSY = os.getloadavg()[0] > (os.cpu_count() or 1)
"""Others are at work: nothing is said of how long a test takes."""


def tier_of(markers: set[str]) -> float:
    """Return how long a test with some markers may take, in seconds."""
    return max((TIERS[name] for name in markers & TIERS.keys()), default=TIERS[None])


def spent(before: Spent, now: Spent) -> float:
    """Return the seconds that a test has taken, without those in which it waited for a core.

    That is what it and its processes have computed, and the time in which a core was free, in
    which it waited for something else; not more than has passed.
    """
    return min(now[0] - before[0], now[1] - before[1] + now[2] - before[2])


Spent = tuple[float, float, float]
"""Seconds by the clock, of computing by this process and ended children, and of idle cores."""


def clock() -> Spent:
    """Return what has been spent so far."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    with open("/proc/stat") as file:
        idle = int(file.readline().split()[4]) / os.sysconf("SC_CLK_TCK")
    return time.monotonic(), sum(own.ru_utime + own.ru_stime for own in used), idle


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[Any]:
    """Fail a test that takes twice as long as its tier allows."""
    before = clock()
    result = yield
    allowed = tier_of({mark.name for mark in item.iter_markers()})
    if CHECKED and not BUSY and (took := spent(before, clock())) > 2 * allowed:
        pytest.fail(
            f"took {took:.1f} s, and a test with its markers has {allowed:g} s: make it smaller, "
            "or give it the marker of a slower tier",
            pytrace=False,
        )
    return result


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files with the longest tests first, so that no worker waits for another at the end.

    Each file stays whole and in its order: its fixtures are made once.
    """
    weights = Counter[str]()
    for item in items:
        weights[str(item.path)] += tier_of({mark.name for mark in item.iter_markers()})
    items.sort(key=lambda item: -weights[str(item.path)])


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say if tiers were to be checked, and could not be."""
    if CHECKED and BUSY:
        terminalreporter.write_line("The machine is busy: the time of tests was not checked.")
