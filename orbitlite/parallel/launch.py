"""Start processes of this machine that speak to each other through gloo."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn


def run_ranks(size: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Run a function on every rank of a new process group.

    Parameters
    ----------
    size : int
        Number of processes.
    function : callable
        Called as `function(rank, size, *arguments)` with one thread; it must pickle.
    *arguments
        Must pickle.

    Returns
    -------
    list
        What each rank returned.

    Raises
    ------
    torch.multiprocessing.ProcessRaisedException
        If one of them failed, with its traceback.
    """
    with tempfile.TemporaryDirectory() as folder:
        spawn(_work, (size, function, arguments, folder), nprocs=size)  # type: ignore[no-untyped-call]
        # They were written by our own processes.
        return [torch.load(Path(folder, f"{r}.pt"), weights_only=False) for r in range(size)]


def _work(
    rank: int, size: int, function: Callable[..., Any], arguments: tuple[Any, ...], folder: str
) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", size)  # type: ignore[attr-defined]
    dist.init_process_group(
        "gloo", store=store, rank=rank, world_size=size, timeout=timedelta(minutes=2)
    )
    torch.save(function(rank, size, *arguments), Path(folder, f"{rank}.pt"))
    dist.destroy_process_group()
    # A thread of the group may still let go of a tensor; while the interpreter is torn down that
    # aborts the process. There is nothing left to tear down.
    os._exit(0)
