"""Worker: the process that computes blocks of a lazy prediction, and its share of the machine.

Blocks of one process go through the network one after the other, so that it may use all cores.
Several processes of one machine would each do so: they share the cores, and the GPUs.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import psutil
import torch
from dask.system import CPU_COUNT

# Processes beside the workers that multiprocessing starts for itself.
_HELPERS = ("resource_tracker", "forkserver")


@dataclass(frozen=True)
class Worker:
    """A process that dask computes in.

    Attributes
    ----------
    number : int
        Tells it from others of its machine.
    threads : int or None
        Its share of the cores; None: it has them all.
    """

    number: int = 0
    threads: int | None = None

    @classmethod
    def here(cls) -> Worker:
        """Return the worker that this is called in.

        A worker of dask.distributed in a process of its own has as many threads as it was given
        (torch would take one there, as its nanny sets OMP_NUM_THREADS). Processes of dask's
        multiprocessing scheduler have even shares of the cores, unless OMP_NUM_THREADS is set.
        """
        found = _of_cluster()
        if found is not None:
            number = _last_number(found.name)
            return cls(number, found.state.nthreads if found.nanny else None)
        if multiprocessing.parent_process() is None:
            return cls()
        number = _last_number(multiprocessing.current_process().name)
        stated = "OMP_NUM_THREADS" in os.environ
        return cls(number, None if stated else max(1, CPU_COUNT // _processes()))

    def device(self, name: str, count: int) -> str:
        """Return the device of this worker for one that a prediction is placed on.

        Parameters
        ----------
        name : str
            `cuda`: a GPU of its own, by its number. Others stay.
        count : int
            GPUs that this process sees.
        """
        return f"cuda:{self.number % count}" if name == "cuda" and count > 1 else name

    @contextmanager
    def sharing(self) -> Iterator[None]:
        """Let torch use this worker's threads alone."""
        before = torch.get_num_threads()
        if self.threads not in (None, before):
            torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            if torch.get_num_threads() != before:
                torch.set_num_threads(before)


def _of_cluster() -> Any | None:
    """Return the worker of dask.distributed that runs this task; None if none does."""
    if "distributed" not in sys.modules:
        return None
    from distributed import get_worker

    try:
        return get_worker()
    except ValueError:
        return None


@cache
def _processes() -> int:
    """Count the processes that the parent of this one has started to compute."""
    parent = psutil.Process(os.getppid())
    started = 0
    for child in parent.children():
        try:
            started += not any(word in " ".join(child.cmdline()) for word in _HELPERS)
        except psutil.Error:  # it has ended
            continue
    return max(1, started)


def _last_number(name: object) -> int:
    numbers = re.findall(r"\d+", str(name))
    return int(numbers[-1]) if numbers else 0
