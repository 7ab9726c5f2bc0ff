"""Checkpoint folders: tensors in shards (torch's distributed checkpoint), the rest in one file.

Folders and files are written under a hidden name and renamed when they are whole.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

REST = "rest.pt"
_SHARDS = ".metadata"  # torch's name; it is written when all shards are


def is_whole(folder: Path) -> bool:
    """Tell whether a folder holds all of a checkpoint."""
    return (folder / REST).is_file() and (folder / _SHARDS).is_file()


def beside(path: Path, what: str) -> Path:
    """Return the hidden name under which a checkpoint is written, or an old one is kept."""
    return path.with_name(f".{path.name}.{what}")


def put_in_place(whole: Path, path: Path) -> None:
    """Rename a finished file or folder to its name; until then the old one keeps it."""
    old = beside(path, "old")
    if path.is_dir() or (whole.is_dir() and path.exists()):
        remove(old)
        path.rename(old)
    whole.replace(path)
    remove(old)


def read_rest(path: Path) -> dict[str, Any]:
    """Return the plain part of a checkpoint folder."""
    found: dict[str, Any] = torch.load(path / REST, map_location="cpu", weights_only=True)
    return found


def read_own(path: Path, rank: int) -> dict[str, Any]:
    """Return what the process of a rank kept for itself; empty if there was none."""
    if not (path / own_name(rank)).is_file():
        return {}
    found: dict[str, Any] = torch.load(path / own_name(rank), map_location="cpu", weights_only=True)
    return found


def shapes(path: Path) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Return the shape and the type of each tensor of a checkpoint folder."""
    entries = FileSystemReader(path).read_metadata().state_dict_metadata
    return {
        name: (entry.size, entry.properties.dtype)
        for name, entry in entries.items()
        if isinstance(entry, TensorStorageMetadata)
    }


def load_folder(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Fill tensors, whole ones or shards of any layout, from a checkpoint folder.

    Parameters
    ----------
    path : Path
    tensors : mapping of str to Tensor
        Without a process group, whole ones.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*torch.distributed is disabled.*")
        load(dict(tensors), checkpoint_id=path, no_dist=not dist.is_initialized())


def read_whole(path: Path) -> dict[str, Tensor]:
    """Return all tensors of a checkpoint folder, put together on the CPU."""
    tensors = {name: torch.empty(size, dtype=kind) for name, (size, kind) in shapes(path).items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*torch.distributed is disabled.*")
        load(tensors, checkpoint_id=path, no_dist=True)
    return tensors


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


def remove(path: Path) -> None:
    """Delete a file or a folder if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()
