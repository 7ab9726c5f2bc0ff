"""Bytes of the tensors that are alive on this process, as the allocator counts them.

Unlike the resident set they are exact, and of this process alone: no libraries, no memory that is
free but not given back. The profiler tells them, with what happens inside of operators.
"""

from __future__ import annotations

import gc
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile


def live_peak(build: Callable[[], Callable[[], None]]) -> int:
    """Measure the peak of live tensors on the CPU over a call, with what lasts between calls.

    Parameters
    ----------
    build : callable
        Builds what lasts, such as a network and its optimiser, and returns the call. It is made
        twice; the second counts, which leaves as much as it found.

    Returns
    -------
    int
        Bytes beyond those that were alive before.

    Examples
    --------
    >>> def build():
    ...     lasting = torch.ones(1000)
    ...     return lambda: lasting + lasting
    >>> live_peak(build)
    8000
    """
    before = _lasting()
    call = build()
    call()
    return _lasting() - before + _growth(_changes(call))


def _lasting() -> int:
    """Return the bytes of all storages that Python knows of."""
    gc.collect()
    tensors = (found for found in gc.get_objects() if issubclass(type(found), torch.Tensor))
    storages = (
        found.untyped_storage() for found in tensors
        if found.device.type == "cpu" and type(found) in (torch.Tensor, torch.nn.Parameter)
    )  # fmt: skip
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def _changes(call: Callable[[], Any]) -> list[tuple[int, int]]:
    """Return address and bytes of what a call allocates and, below zero, frees, in order."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        call()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "trace.json")
        seen.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    found = [event for event in events if event["name"] == "[memory]"]
    found.sort(key=lambda event: event["ts"])
    return [(event["args"]["Addr"], event["args"]["Bytes"]) for event in found]


def _growth(changes: list[tuple[int, int]]) -> int:
    """Return the peak of a call that frees all that it allocates.

    What another thread frees, such as one of gloo that sent it, the profiler does not tell: it
    counts when it is allocated, and no longer.
    """
    freed, following = set(), dict[int, int]()
    for place, (address, size) in reversed([*enumerate(changes)]):
        if size > 0 and following.get(address, 1) < 0:
            freed.add(place)
        following[address] = size
    alive = peak = 0
    known = set()
    for place, (address, size) in enumerate(changes):
        if size > 0:
            peak = max(peak, alive + size)
            if place in freed:
                known.add(address)
                alive += size
        elif address in known:
            known.remove(address)
            alive += size
    return peak
