"""The device: which one, and what memory it has."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

from orbitlite.errors import InputError

_CGROUP = Path("/sys/fs/cgroup")


def choose_device(name: str | None) -> str:
    """Return a device's name; None: a GPU if there is one.

    Raises
    ------
    InputError
        If there is no such device.
    """
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"The device {name!r} is not to be had here ({reason}).") from error
    return name


def available(device: str) -> int:
    """Return the bytes that a device can still give: on a CPU within the limits of a container."""
    if torch.device(device).type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = int(psutil.virtual_memory().available)
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
    except (OSError, ValueError):
        return free
    return min(free, max(0, int(limit) - used)) if limit.isdigit() else free
