"""Writing checkpoint folders while training goes on."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.staging import BlockingAsyncStager
from torch.distributed.checkpoint.state_dict_saver import AsyncSaveResponse, async_save, save

from orbitlite.errors import InputError
from orbitlite.files import beside, flush, put, remove
from orbitlite.parallel.agreement import together
from orbitlite.parallel.checksums import CHECKSUMS, measure
from orbitlite.parallel.folder import (
    REST,
    cause,
    own_name,
    store,
)
from orbitlite.parallel.reader import SHARDS


@contextlib.contextmanager
def _plainly(path: Path) -> Iterator[None]:
    """Turn what a disk refuses into a plain error."""
    try:
        yield
    except (OSError, CheckpointException) as error:
        raise InputError(
            f"cannot write the checkpoint {path}: {cause(error)}; the one before it is untouched"
        ) from error


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Let what a disk refuses end all processes with one plain error, and give the room back."""
    try:
        with together(), _plainly(path):
            yield
    except InputError:
        if dist.get_rank() == 0:
            with contextlib.suppress(OSError):
                remove(beside(path, "partial"))
        raise


class _Copies(BlockingAsyncStager):
    """Copies each tensor; torch's own copying fails on shards that were made from a local part."""

    def stage(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        return {name: value.detach().to("cpu", copy=True) for name, value in state_dict.items()}


class FolderWriter:
    """Writes checkpoint folders; every process of the run has one and calls it alike.

    A folder is written under a hidden name and renamed when it is whole, so that a save that is cut
    short leaves what was there before.

    Parameters
    ----------
    background : bool
        Copy the tensors and write them while training goes on, one checkpoint at a time.
    """

    def __init__(self, background: bool = True) -> None:
        self._background = background
        self._group: dist.ProcessGroup | None = None
        self._running: Future[None] | None = None
        self._path = Path()
        self._doomed: list[Path] = []

    def save(
        self,
        path: Path,
        tensors: Mapping[str, Tensor],
        rest: Mapping[str, Any],
        own: Mapping[str, Any],
    ) -> None:
        """Write a checkpoint.

        Parameters
        ----------
        path : Path
            The same on all processes.
        tensors : mapping of str to Tensor
            What this process holds: shards (`DTensor`) or whole tensors.
        rest : mapping
            Plain values and small tensors; those of the first process are kept.
        own : mapping
            Plain values and small tensors of this process.
        """
        self.finish()
        partial, rank = beside(path, "partial"), dist.get_rank()
        with _told(path):
            if rank == 0:
                remove(partial)
                partial.mkdir(parents=True)
                store(rest, partial / f"{REST}.new")
        with _told(path):
            store(own, partial / own_name(rank))
        if not self._background:
            with _told(path):
                save(dict(tensors), checkpoint_id=partial)
                self._complete(partial, path, None)
            return
        if self._group is None:  # the training's own exchanges go on meanwhile
            group: Any = dist.new_group(backend="gloo")
            self._group = group
        started = async_save(
            dict(tensors), checkpoint_id=partial, process_group=self._group,
            async_stager=_Copies(),
        )  # fmt: skip
        if isinstance(started, AsyncSaveResponse):
            started = started.upload_completion
        whole: Future[None] = Future()
        self._running, self._path = whole, path
        started.add_done_callback(lambda done: self._written(done, partial, path, whole))

    def remove(self, path: Path) -> None:
        """Delete a checkpoint once what is being written is whole."""
        self._doomed.append(path)
        if self._running is None or self._running.done():
            self._delete()

    def finish(self) -> None:
        """Wait until what is being written is whole, on all processes."""
        if self._running is None:
            return
        running, self._running = self._running, None
        with _told(self._path):
            running.result()
            self._delete()

    def _written(self, done: Future[Any], partial: Path, path: Path, whole: Future[None]) -> None:
        try:
            with together(self._group), _plainly(path):
                done.result()
            self._complete(partial, path, self._group)
            whole.set_result(None)
        except BaseException as error:
            whole.set_exception(error)

    def _complete(self, partial: Path, path: Path, group: dist.ProcessGroup | None) -> None:
        """Add the checksums of what each process wrote, and give the folder its name."""
        rank = dist.get_rank()
        with together(group), _plainly(path):
            names = [own_name(rank), *(file.name for file in partial.glob(f"__{rank}_*"))]
            if rank == 0:
                names += [SHARDS, f"{REST}.new"]
            own = measure(partial, names)
        parts: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(parts, own, group=group)
        if rank:
            return
        sums = {name.removesuffix(".new"): entry for part in parts for name, entry in part.items()}
        (partial / CHECKSUMS).write_text(json.dumps(sums, indent=1, sort_keys=True))
        flush(partial / CHECKSUMS)
        (partial / f"{REST}.new").replace(partial / REST)
        put(partial, path)

    def _delete(self) -> None:
        doomed, self._doomed = self._doomed, []
        for path in doomed if dist.get_rank() == 0 else ():
            remove(path)
