"""Checkpoints by name: one content, in a file of one process or in a folder of many.

Optimiser states are kept by the names of the weights, so that they fit any layout.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from torch import Tensor
from torch.optim import Optimizer

from orbitlite.errors import InputError
from orbitlite.files import replacing
from orbitlite.notice import warn
from orbitlite.parallel.folder import (
    is_whole,
    read_part,
    read_rest,
    read_whole,
    shapes,
)
from orbitlite.training.seal import seal, verify_seal

logger = logging.getLogger(__name__)

_BY_NAME = ("state_dict", "current")
_OPTIMISER = "optimizer_states"


def named_state(optimizer: Optimizer, names: Mapping[Any, str]) -> dict[str, Any]:
    """Return an optimiser's state by the names of the weights, and its options by kind.

    Parameters
    ----------
    optimizer : Optimizer
        Its groups have a `kind` each.
    names : mapping of Parameter to str
    """
    options = {
        group["kind"]: {key: value for key, value in group.items() if key != "params"}
        for group in optimizer.param_groups
    }
    state = {names[parameter]: dict(values) for parameter, values in optimizer.state.items()}
    return {"state": state, "options": options}


def numbered_state(kinds: list[str], names: list[list[str]], saved: Any) -> dict[str, Any]:
    """Return what `Optimizer.load_state_dict` takes; the reverse of `named_state`.

    Parameters
    ----------
    kinds : list of str
        Of each group of the optimiser.
    names : list of list of str
        Of the weights of each group.
    saved : dict
        Of `named_state`.
    """
    options, state = saved["options"], {}
    groups, number = [], 0
    for kind, members in zip(kinds, names, strict=True):
        places = list(range(number, number + len(members)))
        number += len(members)
        known = kind if kind in options else next(iter(options), kind)  # others learn now
        groups.append(options[known] | {"kind": kind, "params": places})
        found = zip(places, members, strict=True)
        state.update({p: saved["state"][name] for p, name in found if name in saved["state"]})
    return {"state": state, "param_groups": groups}


def split(checkpoint: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Part a checkpoint into its large tensors, by flat names, and the rest."""
    rest = {key: value for key, value in checkpoint.items() if key not in (*_BY_NAME, _OPTIMISER)}
    tensors = {
        f"{part}/{name}": tensor
        for part in _BY_NAME
        for name, tensor in checkpoint.get(part, {}).items()
    }
    if states := checkpoint.get(_OPTIMISER):
        rest["optimizer_options"] = states[0]["options"]
        for name, values in states[0]["state"].items():
            tensors |= {f"optimizer/{name}/{key}": value for key, value in values.items()}
    return tensors, rest


def join(tensors: dict[str, Tensor], rest: dict[str, Any]) -> dict[str, Any]:
    """Put a checkpoint together again; the reverse of `split`."""
    checkpoint = {key: value for key, value in rest.items() if key != "optimizer_options"}
    state: dict[str, dict[str, Tensor]] = {}
    for flat, tensor in tensors.items():
        part, _, name = flat.partition("/")
        if part == "optimizer":
            name, _, key = name.rpartition("/")
            state.setdefault(name, {})[key] = tensor
        else:
            checkpoint.setdefault(part, {})[name] = tensor
    if "optimizer_options" in rest:
        checkpoint[_OPTIMISER] = [{"state": state, "options": rest["optimizer_options"]}]
    return checkpoint


def read_checkpoint(path: str | Path, weights: bool | Literal["averages"] = True) -> dict[str, Any]:
    """Read a checkpoint without unpickling anything but plain values and tensors.

    Parameters
    ----------
    path : str or Path
        File or folder of `orbitlite fit`.
    weights : bool or "averages"
        Read the weights as well; a file's are mapped otherwise, and a folder's left out.
        `averages`: those that predict alone, without what training needs beside them.

    Raises
    ------
    InputError
        If it does not exist, is damaged or is not of this package.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"no checkpoint {path}; expected a .ckpt of a fit")
    if path.is_dir():
        if not is_whole(path):
            raise InputError(f"{path} is no checkpoint, or one that is not whole")
        if weights == "averages":
            tensors = read_part(path, "state_dict/")
        else:
            tensors = read_whole(path) if weights else {}
        state = join(tensors, read_rest(path))
        state.setdefault("state_dict", {})
    else:
        state = _read_file(path, mapped=weights is not True)
    absent = {"state_dict", "hyper_parameters", "provenance"} - set(state)
    known = state.get("hyper_parameters")
    if absent or not isinstance(known, dict) or "network" not in known:
        raise InputError(f"{path} is not a checkpoint of orbitlite fit")
    return state


def _read_file(path: Path, mapped: bool) -> dict[str, Any]:
    try:
        verify_seal(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read the checkpoint {path}: {error.strerror or error}") from error
    except Exception as error:
        raise InputError(f"{path} is no checkpoint or a damaged one; expected a fit's") from error
    if not isinstance(state, dict):
        raise InputError(f"{path} is not a checkpoint of orbitlite fit")
    return state


def last_checkpoint(folder: Path, run: str = "") -> Path | None:
    """Return the sound checkpoint of a run's folder that is furthest on; None if there is none.

    A save that was cut short between its renames is found under its hidden name. Damaged ones are
    passed over and named, and so are those of another run that used the folder before.

    Parameters
    ----------
    folder : Path
    run : str
        Name of the run. Empty: any.

    Raises
    ------
    InputError
        If all are damaged.
    """
    steps: dict[Path, int] = {}
    damaged: dict[Path, InputError] = {}
    others: list[str] = []
    for path in sorted(folder.glob("*.ckpt*")) if folder.is_dir() else ():
        hidden = path.name.startswith(".")
        if path.is_dir() if hidden else path.suffix == ".ckpt":
            if hidden and not is_whole(path):
                continue  # a save that was cut short
            try:
                step, found = _glance(path)
            except InputError as error:
                damaged[path] = error
                continue
            if run and found and found != run:
                others.append(path.name)
            else:
                steps[path] = step
    if others:
        warn(logger, f"Skipped in {folder}: {', '.join(others)}, of another fit before this.")
    last = max(steps, key=lambda path: (steps[path], path.stat().st_mtime), default=None)
    told = "; ".join(str(error) for error in damaged.values())
    if last is None and damaged:
        raise InputError(
            f"no checkpoint in {folder} can be used: {told}. Move them away to start a new fit"
        )
    if damaged:
        warn(logger, f"Skipped: {told}. The last undamaged checkpoint is {last}.")
    return last


def step_of(path: Path) -> int:
    """Return the step of a checkpoint; of a folder the shards are left for those who load it.

    Raises
    ------
    InputError
        If it is damaged, or none of a fit.
    """
    return _glance(path)[0]


def _glance(path: Path) -> tuple[int, str]:
    """Return the step of a checkpoint, and the name of its run, empty without one."""
    if path.is_dir():
        if not is_whole(path):
            raise InputError(f"the checkpoint {path} is damaged: it is not whole")
        shapes(path)
        state = read_rest(path)
    else:
        state = _read_file(path, mapped=True)
    if not isinstance(state.get("global_step"), int):
        raise InputError(f"{path} is not a checkpoint of orbitlite fit")
    return int(state["global_step"]), str(state.get("run") or "")


def keep(checkpoint: Path, path: Path) -> None:
    """Copy a checkpoint to a place, unless one that is as far on is there and sound."""
    try:
        if path.exists() and step_of(path) >= step_of(checkpoint):
            return
    except InputError:  # what is there is damaged
        pass
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            if checkpoint.is_dir():
                shutil.copytree(checkpoint, partial)
            else:
                shutil.copyfile(checkpoint, partial)
    except OSError as error:
        raise InputError(f"cannot write the checkpoint {path}: {error.strerror or error}") from (
            error
        )


class CheckpointFiles(TorchCheckpointIO):
    """Files that are whole or absent; folders of sharded runs are read too."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write a file."""
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        target = Path(path)
        try:
            with replacing(target) as partial:
                super().save_checkpoint(checkpoint, partial)
                seal(partial)
        except OSError as error:
            raise InputError(
                f"cannot write the checkpoint {target}: {error.strerror or error}; the one before "
                "it is untouched"
            ) from error

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: Any = None) -> Any:
        """Read a file or a folder."""
        return read_checkpoint(path)
