"""Checkpoint folders: tensors in shards (torch's distributed checkpoint), the rest in one file.

Folders and files are written under a hidden name and renamed when they are whole. All files of a
folder are compared with their checksums before they are used.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from orbitlite.errors import InputError
from orbitlite.files import flush, remove
from orbitlite.parallel.agreement import together
from orbitlite.parallel.checksums import CHECKSUMS, verify
from orbitlite.parallel.reader import SHARDS, ShardReader

REST = "rest.pt"


def is_whole(folder: Path) -> bool:
    """Tell whether a folder holds all of a checkpoint; torch writes its list of shards last."""
    return (folder / REST).is_file() and (folder / SHARDS).is_file()


def named(path: Path) -> Path:
    """Return a checkpoint's own name for a hidden one."""
    if not path.name.startswith("."):
        return path
    return path.with_name(path.name[1:].rpartition(".")[0])


def tidy(folder: Path) -> None:
    """Clear away what saves that were cut short have left in a folder of checkpoints.

    What is whole under a hidden name gets its own, if that is free; the newer one first.
    """
    for what in ("partial*", "old"):
        for path in folder.glob(f".*.ckpt.{what}"):
            if is_whole(path) and not named(path).exists():
                path.replace(named(path))
            else:
                remove(path)


def store(content: Mapping[str, Any], path: Path) -> None:
    """Write plain values and small tensors to a file of a folder."""
    data = io.BytesIO()  # torch's own writing to a path hides why a disk refuses
    torch.save(dict(content), data)
    path.write_bytes(data.getbuffer())
    flush(path)


def read_rest(path: Path) -> dict[str, Any]:
    """Return the plain part of a checkpoint folder."""
    return _plain(path, REST)


def read_own(path: Path, rank: int) -> dict[str, Any]:
    """Return what the process of a rank kept for itself; empty if there was none."""
    return _plain(path, own_name(rank)) if (path / own_name(rank)).is_file() else {}


def _plain(path: Path, name: str) -> dict[str, Any]:
    verify(path, [name])
    try:
        found: dict[str, Any] = torch.load(path / name, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"the checkpoint {path} is damaged: {name} cannot be read") from error
    return found


def shapes(path: Path) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Return the shape and the type of each tensor of a checkpoint folder.

    Raises
    ------
    InputError
        If the list of its tensors is damaged, or holds what no fit writes.
    """
    verify(path, [SHARDS])
    entries: dict[str, Any] = ShardReader(path).metadata.state_dict_metadata
    return {name: (entry.size, entry.properties.dtype) for name, entry in entries.items()}


def load_folder(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Fill tensors, whole ones or shards of any layout, from a checkpoint folder.

    Each process compares a share of the files with their checksums.

    Parameters
    ----------
    path : Path
    tensors : mapping of str to Tensor
        Without a process group, whole ones.

    Raises
    ------
    InputError
        On all processes, if any file is damaged or cannot be read.
    """
    among = dist.is_initialized()
    with together():
        reader = _verified(path, *((dist.get_rank(), dist.get_world_size()) if among else (0, 1)))
    with together():
        _fill(path, tensors, reader, alone=not among)


def read_whole(path: Path) -> dict[str, Tensor]:
    """Return all tensors of a checkpoint folder, put together on the CPU.

    Raises
    ------
    InputError
        If any file is damaged or cannot be read.
    """
    reader = _verified(path)
    tensors = {name: torch.empty(size, dtype=kind) for name, (size, kind) in shapes(path).items()}
    _fill(path, tensors, reader, alone=True)
    return tensors


def read_part(path: Path, prefix: str) -> dict[str, Tensor]:
    """Return some tensors of a checkpoint folder, put together on the CPU; no others are read.

    Files are compared with their sizes, and what is read of them with the checksums of torch's
    archives: those of whole files would have all read.

    Parameters
    ----------
    path : Path
    prefix : str
        What the names of the tensors begin with.

    Raises
    ------
    InputError
        If a file is absent or of another size, or what is read is damaged.
    """
    known = shapes(path)
    tensors = {
        name: torch.empty(size, dtype=kind)
        for name, (size, kind) in known.items() if name.startswith(prefix)
    }  # fmt: skip
    reader = ShardReader(path)
    reader.verify(names=tensors)
    _fill(path, tensors, reader, alone=True)
    return tensors


def _verified(path: Path, rank: int = 0, count: int = 1) -> ShardReader:
    verify(path, part=(rank, count))
    reader = ShardReader(path)
    if not (path / CHECKSUMS).is_file():
        reader.verify(rank, count)
    return reader


def _fill(path: Path, tensors: Mapping[str, Tensor], reader: ShardReader, alone: bool) -> None:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*torch.distributed is disabled.*")
            load(dict(tensors), storage_reader=reader, no_dist=alone)
    except (CheckpointException, OSError) as error:
        raise InputError(f"cannot read the checkpoint {path}: {cause(error)}") from error


def cause(error: BaseException) -> str:
    """Return what went wrong on the first process on which anything did."""
    failures = getattr(error, "failures", {}).values()
    first = next((wrapped[0] for wrapped in failures), error)
    return str(first) or type(first).__name__


def part_of(whole: Tensor, like: Tensor) -> Tensor:
    """Cut from a whole tensor what `like`, a shard, holds of it."""
    if not isinstance(like, DTensor):
        return whole.to(like.device)
    mesh, placements = like.device_mesh, like.placements
    shape, offset = compute_local_shape_and_global_offset(like.shape, mesh, placements)
    cut = tuple(slice(start, start + size) for start, size in zip(offset, shape, strict=True))
    mine = whole[cut].to(like.device).contiguous()
    return DTensor.from_local(
        mine, mesh, placements, run_check=False, shape=like.shape, stride=like.stride()
    )


def own_name(rank: int) -> str:
    """Return the name of the file that a process keeps for itself."""
    return f"rank{rank}.pt"
