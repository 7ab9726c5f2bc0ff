"""Machine: which settings of a fit hold only where it ran, and what is done without them."""

from __future__ import annotations

import logging
import os
from typing import Any

import torch
from lightning.pytorch.accelerators import AcceleratorRegistry

from orbitlite.notice import warn
from orbitlite.parallel.launch import launched
from orbitlite.training.arguments import device_count
from orbitlite.training.stated import Stated

logger = logging.getLogger(__name__)

_NONE = (None, "auto", 1)
_AXES = ("data", "tensor", "sequence", "shard")
_OF_MANY = ("MASTER_ADDR", "NODE_RANK", "SLURM_NTASKS")
"""What the environment of one node among several has."""


def fitted(settings: dict[str, Any], stated: Stated, command: str) -> dict[str, Any]:
    """Return the settings of a checkpoint without those that this machine does not have.

    Kinds and numbers of devices, and how they share the work, are left out and named where they are
    not available here; the trainer's choice takes their place.

    Parameters
    ----------
    settings : dict
        Of `settings_of`.
    stated : Stated
        What wins over them.
    command : {"fit", "validate", "test", "predict"}
    """
    trainer, parallel = dict(settings.get("trainer", {})), dict(settings.get("parallel", {}))
    if command == "predict":  # it runs in one process, whatever the fit ran in
        trainer |= {"devices": 1, "num_nodes": 1}
        parallel = {key: value for key, value in parallel.items() if key not in _AXES}
    left_out = {f"trainer.{name}": trainer.pop(name) for name in _absent(trainer, stated)}
    if not _fits(trainer, parallel, stated):
        axes = {name: parallel.pop(name) for name in _AXES if name in parallel}
        left_out |= {f"parallel.{name}": value for name, value in axes.items() if value != 1}
    told = ", ".join(f"{n} {value}" for n, value in left_out.items() if value not in _NONE)
    if told:
        warn(
            logger,
            f"Left out of the checkpoint's settings, which do not suit the devices here: {told}. "
            "State others beside --ckpt_path to choose; a step takes data.batch_size samples of "
            "each process that reads.",
        )
    return settings | {"trainer": trainer, "parallel": parallel}


def _absent(trainer: dict[str, Any], stated: Stated) -> list[str]:
    """Return the settings of a fit's devices that cannot be had here, without those stated."""
    found = []
    kind = str(stated.value("trainer.accelerator", trainer.get("accelerator")) or "auto")
    other = kind != (trainer.get("accelerator") or "auto")
    if "trainer.accelerator" not in stated and not _is_here(kind):
        kind, other = "auto", True
        found.append("accelerator")
    if other or not _has(kind, trainer.get("devices")):
        found.append("devices")
    used = _used(trainer, stated) | {"accelerator": kind}
    nodes = _number(used["num_nodes"])
    if launched() > 1 and device_count(used) * nodes != launched():
        found += ["devices", "num_nodes"]
    elif nodes > 1 and not any(name in os.environ for name in _OF_MANY):
        found.append("num_nodes")
    absent = dict.fromkeys(found)
    return [name for name in absent if name in trainer and f"trainer.{name}" not in stated]


def _used(trainer: dict[str, Any], stated: Stated) -> dict[str, Any]:
    names = ("devices", "num_nodes", "accelerator")
    return {name: stated.value(f"trainer.{name}", trainer.get(name)) for name in names}


def _number(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 1


def _is_here(kind: str) -> bool:
    if kind in ("auto", "cpu"):
        return True
    if kind == "gpu":
        return torch.cuda.is_available() or torch.backends.mps.is_available()
    known = AcceleratorRegistry.available_accelerators()
    return kind in known and bool(AcceleratorRegistry[kind]["accelerator"].is_available())


def _has(kind: str, devices: Any) -> bool:
    """Tell whether there are so many devices of a kind."""
    if devices in (None, "auto", -1, "-1"):
        return devices in (None, "auto") or torch.cuda.is_available()
    if kind in ("cuda", "gpu") or (kind == "auto" and torch.cuda.is_available()):
        names = devices.split(",") if isinstance(devices, str) and "," in devices else devices
        if isinstance(names, list):
            return all(str(n).strip().isdigit() and int(n) < torch.cuda.device_count()
                       for n in names if str(n).strip())  # fmt: skip
        return str(devices).isdigit() and 0 < int(devices) <= torch.cuda.device_count()
    return str(devices).isdigit() and int(devices) > 0


def _fits(trainer: dict[str, Any], parallel: dict[str, Any], stated: Stated) -> bool:
    """Tell whether the axes multiply to the number of processes."""
    if any(f"parallel.{name}" in stated for name in _AXES):
        return True  # the user sees to it
    used = _used(trainer, stated)
    world = device_count(used) * _number(used["num_nodes"])
    inner = _number(parallel.get("tensor")) * _number(parallel.get("sequence"))
    data = _number(parallel.get("data") or world // inner)
    return data * inner == world and data % _number(parallel.get("shard") or data) == 0
