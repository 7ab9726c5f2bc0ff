"""What every benchmark needs: times, peak memory, the machine, and the JSON form of the result."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from orbitlite.errors import InputError
from orbitlite.files import replacing

MIB = 2**20
_PACKAGES = ("orbitlite", "torch", "torch-harmonics", "lightning", "numpy")

Call = Callable[[], object]
MODES = ("forward", "forward+backward")
"""Inference, and training without the optimiser."""
WARM_UPS = 2
"""Calls that are not measured, before those that are."""
_CLEAR = Path("/proc/self/clear_refs")  # of Linux: resets the peak


def medians(
    calls: Mapping[str, Call],
    repeats: int,
    device: torch.device,
    advance: Callable[[], object] = lambda: None,
) -> dict[str, float]:
    """Time calls in turn, so that a busy spell of the machine meets all of them.

    Parameters
    ----------
    calls : mapping of str to callable
        What to time. Each runs twice unmeasured first, once if it takes more than a second.
    repeats : int
        Rounds; in each, every call runs once; but once only if it takes more than ten seconds.
    device : torch.device
        Where they compute; a GPU is waited for.
    advance : callable
        Is told of each call that has been made.

    Returns
    -------
    dict of str to float
        Median seconds per call.

    Examples
    --------
    >>> sorted(medians({"a": lambda: 0, "b": lambda: 1}, 3, torch.device("cpu")))
    ['a', 'b']
    """

    def timed(call: Call) -> float:
        wait(device)
        start = perf_counter()
        call()
        wait(device)
        seconds = perf_counter() - start
        advance()
        return seconds

    first = {name: timed(call) for name, call in calls.items()}
    for name, call in calls.items():
        if first[name] < 1:
            timed(call)
    found: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(repeats):
        for name, call in calls.items():
            if number == 0 or first[name] < 10:
                found[name].append(timed(call))
    return {name: statistics.median(seconds) for name, seconds in found.items()}


def once(module: torch.nn.Module, mode: str, *inputs: Any) -> None:
    """Run a module in one of `MODES`; no gradients stay."""
    with torch.set_grad_enabled(mode != "forward"):
        out = module(*inputs)
        if mode != "forward":
            out.square().mean().backward()
    module.zero_grad(set_to_none=True)


def peak_memory(build: Callable[[], Call], device: torch.device) -> float:
    """Measure the peak memory of a call beyond what was there before it, in MiB.

    On a GPU it is that of torch's allocator. On a CPU it is the growth of the resident set of a
    fresh process: the tensors alive at the peak and what kernels allocate for themselves.

    Parameters
    ----------
    build : callable
        Makes the call, with its model and input. Must pickle, for the fresh process; a script that
        measures on a CPU needs the `if __name__ == "__main__"` guard.
    device : torch.device
        Where it computes.

    Returns
    -------
    float
    """
    if device.type == "cuda":
        call = build()
        call()
        return growth(call, device)[1]
    context = multiprocessing.get_context("spawn")
    with returned_memory(), ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(resident_growth, build).result()


def resident_growth(build: Callable[[], Call]) -> float:
    """Measure by how much a call raises the peak resident set of this process, in MiB.

    On Linux the call runs once before, so that what libraries keep from their first use does not
    count, and the peak is reset. Elsewhere the peak is that since the process began.
    """
    call = build()
    if _CLEAR.exists():
        call()
    return growth(call)[1]


def growth(call: Call, device: torch.device | None = None) -> tuple[Any, float]:
    """Return what a call returns, and by how much it raises the peak of memory, in MiB.

    On a GPU that of torch's allocator, else the resident set.
    """
    if device is not None and device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        allocated = torch.cuda.memory_allocated(device)
        return call(), (torch.cuda.max_memory_allocated(device) - allocated) / MIB
    if not _CLEAR.exists():
        before = peak_resident()
        return call(), peak_resident() - before
    _CLEAR.write_text("5")
    before = _status("VmRSS")
    return call(), _status("VmHWM") - before


@contextmanager
def returned_memory() -> Iterator[None]:
    """Let processes that start in here give freed tensors back to the system at once.

    Otherwise the heap of the C library keeps some, and the peak depends on what it has kept.
    """
    name = "MALLOC_MMAP_THRESHOLD_"
    before = os.environ.get(name)
    os.environ[name] = "65536"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch compute with `count` threads, then with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def as_device(name: str) -> torch.device:
    """Turn a name such as `cpu` or `cuda:1` into a device that is there.

    Raises
    ------
    InputError
        If it is neither a CPU nor a CUDA device, or is not there.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"device: expected cpu or cuda, found {name!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device: expected one that torch finds, {torch.cuda.device_count()} CUDA devices, "
            f"found {name!r}"
        )
    return device


def document(
    benchmark: str, command: str, device: torch.device, rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Give the JSON form of a benchmark's result, with the versions and the machine."""
    return {
        "benchmark": benchmark,
        "command": command,
        "versions": versions(),
        "hardware": hardware(device),
        "rows": [dict(row) for row in rows],
    }


def versions() -> dict[str, str]:
    """Give the versions of Python and of the packages that matter to speed, where installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def hardware(device: torch.device) -> dict[str, Any]:
    """Describe the machine: processor, its count, threads in use, and the GPU if it computes."""
    found = {
        "system": platform.platform(),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
    return found


def check_json(path: str | Path) -> Path:
    """Find out, before a long run, whether a result can be written.

    Raises
    ------
    InputError
        If the folder is missing or cannot be written.
    """
    path = Path(path)
    if path.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(f"--json: expected a file in a folder that can be written, found {path}")
    return path


def write_json(path: Path, result: Mapping[str, Any]) -> None:
    """Write a result, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(result, indent=2) + "\n")


def wait(device: torch.device) -> None:
    """Wait for what a GPU computes."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _status(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) / 1024
    raise KeyError(key)


def peak_resident() -> float:
    """Return the peak resident set since this process began, in MiB."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MIB if sys.platform == "darwin" else peak / 1024


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
