"""Start processes of this machine that work together, or work with those started outside."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import start_processes

from orbitlite.errors import InputError

_COUNTS = (
    "WORLD_SIZE", "RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_NTASKS", "SLURM_PROCID",
    "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NTASKS_PER_NODE", "SLURM_NNODES", "MASTER_PORT",
)  # fmt: skip


def check_environment() -> None:
    """Refuse variables of launchers that hold no number where one is read from them.

    Raises
    ------
    InputError
        The message names the variable.
    """
    for name in _COUNTS:
        if not (text := os.environ.get(name, "0")).isdecimal():
            raise InputError(
                f"the environment's {name} is {text!r}: expected a number, as torchrun and srun "
                "set it; unset it"
            )


def by_torchrun() -> bool:
    """Tell whether torchrun has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def by_srun() -> bool:
    """Tell whether srun has started this process.

    Variables of SLURM are there in an allocation and in a batch script too, of a process that is
    alone; waiting for others would have no end. Only srun numbers a step.
    """
    own = ("SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
    interactive = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    if interactive or not all(os.environ.get(name) for name in own):
        return False
    step = os.environ.get("SLURM_STEP_ID") or os.environ.get("SLURM_STEPID")
    return os.environ["SLURM_NTASKS"] == "1" or bool(step and os.environ.get("SLURM_NODEID"))


def process_rank() -> int:
    """Return this process's rank as what has started it states it; 0 for one that is alone."""
    if by_torchrun():
        return int(os.environ.get("RANK", 0))
    if by_srun():
        return int(os.environ["SLURM_PROCID"])
    # Processes that the trainer has started for itself.
    return int(os.environ.get("LOCAL_RANK", 0)) if "NODE_RANK" in os.environ else 0


def launched() -> int:
    """Return among how many processes a launcher (torchrun, srun) started this one; 1: alone."""
    for name in ("WORLD_SIZE", "SLURM_NTASKS"):
        if os.environ.get(name, "1") != "1" and "MASTER_ADDR" in os.environ:
            return int(os.environ[name])
    return 1


def launched_rank() -> int:
    """Return the rank of this process among those of a launcher; 0: alone, or the first."""
    return int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0) * (launched() > 1)


def rejoin(backend: str, timeout: timedelta | None) -> None:
    """Join the others when torchrun has started them all again; else do nothing.

    With a fixed port, torchrun's store still has the addresses of the attempt before: this one
    keeps apart from it.

    Parameters
    ----------
    backend : str
    timeout : timedelta, optional
    """
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    if attempt == "0" or dist.is_initialized():
        return
    store, rank, size = next(dist.rendezvous("env://"))  # type: ignore[attr-defined]
    apart = dist.PrefixStore(f"attempt{attempt}", store)  # type: ignore[attr-defined]
    dist.init_process_group(backend, store=apart, rank=rank, world_size=size, timeout=timeout)


def run_among(function: Callable[..., Any], device: str, *arguments: Any) -> list[Any]:
    """Run a function on this process and on all that a launcher started with it.

    Parameters
    ----------
    function : callable
        Called as `function(rank, size, *arguments)`.
    device : str
        `cpu` or `cuda`.
    *arguments

    Returns
    -------
    list
        What each rank returned.
    """
    size = launched()
    rank = launched_rank()
    local = int(os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or 0)
    if not dist.is_initialized():
        _begin(device, local, rank=rank, world_size=size, init_method="env://")
    found: list[Any] = [None] * size
    dist.all_gather_object(found, function(rank, size, *arguments))
    return found


def run_ranks(
    size: int, function: Callable[..., Any], *arguments: Any, device: str = "cpu"
) -> list[Any]:
    """Run a function on every rank of a new process group.

    Parameters
    ----------
    size : int
        Number of processes.
    function : callable
        Called as `function(rank, size, *arguments)` with one thread; it must pickle.
    *arguments
        Must pickle.
    device : str
        `cpu` (gloo) or `cuda` (NCCL, a GPU each).

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
        given = (size, function, arguments, folder, device)
        # A server that has imported torch forks them in no time.
        known = multiprocessing.get_all_start_methods()
        method = "forkserver" if "forkserver" in known else "spawn"
        start_processes(_work, given, nprocs=size, start_method=method)  # type: ignore[no-untyped-call]
        # They were written by our own processes.
        return [torch.load(Path(folder, f"{r}.pt"), weights_only=False) for r in range(size)]


def _work(
    rank: int,
    size: int,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    folder: str,
    device: str,
) -> None:
    store = dist.FileStore(f"{folder}/store", size)  # type: ignore[attr-defined]
    _begin(device, rank, store=store, rank=rank, world_size=size)
    torch.save(function(rank, size, *arguments), Path(folder, f"{rank}.pt"))
    dist.destroy_process_group()
    # A thread of the group may still let go of a tensor; while the interpreter is torn down that
    # aborts the process. There is nothing left to tear down.
    os._exit(0)


def _begin(device: str, local: int, **place: Any) -> None:
    """Join the other processes, with one thread or one GPU."""
    torch.set_num_threads(1)
    if device == "cuda":
        torch.cuda.set_device(local)
    backend = "nccl" if device == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=timedelta(minutes=2), **place)
