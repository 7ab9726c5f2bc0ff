"""Reading the shards of a checkpoint folder without running what a stranger wrote into it.

torch unpickles `.metadata` with everything that a pickle may do; here only the classes that torch
itself writes are built.
"""

from __future__ import annotations

import io
import math
import pickle
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import torch
from torch.distributed.checkpoint import filesystem, metadata
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata

from orbitlite.errors import InputError
from orbitlite.parallel.checksums import is_sound

SHARDS = ".metadata"
"""Torch's name of the file that tells which tensor lies where."""

_RECORDS = (
    metadata.ChunkStorageMetadata,
    metadata.Metadata,
    metadata.MetadataIndex,
    metadata.StorageMeta,
    metadata.TensorProperties,
    metadata.TensorStorageMetadata,
    filesystem._StorageInfo,
)
_PLAIN: dict[tuple[str, str], Any] = {
    **{(kind.__module__, kind.__qualname__): kind for kind in _RECORDS},
    (metadata.__name__, "_MEM_FORMAT_ENCODING"): metadata._MEM_FORMAT_ENCODING,
    ("torch", "Size"): torch.Size,
    ("torch.serialization", "_get_layout"): torch.serialization._get_layout,
    ("collections", "OrderedDict"): OrderedDict,
    # The folder's path at the time of saving; what it is on this system does not matter.
    **{
        (module, name): PurePosixPath
        for module in ("pathlib", "pathlib._local")
        for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
    },
}


class _Refused(Exception):
    """A pickle asks for what is not plain."""


class _PlainUnpickler(pickle._Unpickler):
    """Builds the records of `.metadata` and nothing else.

    Python's own unpickler, of which a step can be changed: the one in C sets attributes of
    classes and functions too.
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        """Return a class or a function that is allowed."""
        if module == "torch" and isinstance(found := getattr(torch, name, None), torch.dtype):
            return found
        if (module, name) not in _PLAIN:
            raise _Refused(f"{module}.{name}")
        return _PLAIN[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """Refuse what is stored elsewhere."""
        raise _Refused(f"a persistent id {pid!r}")

    def load_build(self) -> None:
        """Fill a record; its class itself stays as it is."""
        if type(self.stack[-2]) not in _RECORDS:  # type: ignore[attr-defined]
            raise _Refused(f"a change of {self.stack[-2]!r}")  # type: ignore[attr-defined]
        super().load_build()  # type: ignore[misc]

    dispatch[pickle.BUILD[0]] = load_build


class ShardReader(filesystem.FileSystemReader):
    """Torch's reader of a folder's shards, with a `.metadata` of plain records.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    metadata : Metadata
        Holds tensors only.

    Raises
    ------
    InputError
        If `.metadata` is absent or damaged, or holds anything else.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.metadata = _read(path)

    def verify(self, rank: int = 0, count: int = 1, names: Collection[str] | None = None) -> None:
        """Compare shards with the checksums (CRC-32) of the archives that they are kept in.

        For folders that have no others, and where not all of a file is read.

        Parameters
        ----------
        rank, count : int
            Of the processes that share the comparison.
        names : collection of str, optional
            Tensors whose shards are compared. None: all.

        Raises
        ------
        InputError
            If one is damaged.
        """
        parts = sorted(
            {
                (place.relative_path, place.offset, place.length)
                for index, place in self.metadata.storage_data.items()
                if names is None or index.fqn in names
            }
        )
        for name, offset, length in parts[rank::count]:
            try:
                with (Path(self.path) / name).open("rb") as file:
                    file.seek(offset)
                    sound = is_sound(io.BytesIO(file.read(length)))
            except OSError as error:
                raise InputError(f"cannot read {self.path}: {error.strerror or error}") from error
            if not sound:
                raise InputError(f"the checkpoint {self.path} is damaged: {name} is another")

    def read_metadata(self, *_: Any, **__: Any) -> Metadata:
        """Return what was read and checked."""
        return self.metadata


def _read(folder: Path) -> Metadata:
    try:
        with (folder / SHARDS).open("rb") as file:
            found = _PlainUnpickler(file).load()
        problem = next(_problems(found, folder), None)
    except _Refused as refused:
        raise InputError(
            f"{folder} is refused: its {SHARDS} asks for {refused}, which no checkpoint of a fit "
            "needs and which could run a program; do not use a folder of unknown origin"
        ) from None
    except OSError as error:
        raise InputError(f"cannot read {folder / SHARDS}: {error.strerror or error}") from error
    except Exception as error:
        raise InputError(f"the checkpoint {folder} is damaged: {SHARDS} cannot be read") from error
    if problem is not None:
        raise InputError(f"{folder} is no checkpoint of a fit: its {SHARDS} has {problem}")
    if found.storage_meta is None:
        found.storage_meta = metadata.StorageMeta()
    checked: Metadata = found
    return checked


def _problems(found: Any, folder: Path) -> Iterator[str]:
    """Tell what is not as a fit writes it: other things than tensors, other files than shards."""
    if type(found) is not Metadata:
        yield f"a {type(found).__name__} in place of a table of tensors"
        return
    entries: dict[Any, Any] = found.state_dict_metadata
    wanted = 0
    for name, entry in entries.items():
        plain = (
            type(entry) is TensorStorageMetadata
            and type(entry.size) is torch.Size
            and type(entry.properties.dtype) is torch.dtype
        )
        if not (isinstance(name, str) and plain):
            yield f"{name!r}, which is no tensor"
        if min(entry.size, default=0) < 0:
            yield f"{name!r} of the shape {tuple(entry.size)}"
        wanted += math.prod(entry.size) * entry.properties.dtype.itemsize
    files = set()
    for place in found.storage_data.values():
        file = place.relative_path
        if not isinstance(file, str) or Path(file).name != file:
            yield f"a file outside of the folder, {file!r}"
        if getattr(place, "transform_descriptors", None):
            yield f"a file {file!r} that is to be transformed"
        files.add(folder / file)
    # before room is made for what the table promises
    if wanted > (there := sum(file.stat().st_size for file in files if file.is_file())):
        yield f"{wanted:,} bytes of tensors, and its files have {there:,}"
