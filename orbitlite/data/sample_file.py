"""Sample file: decoded samples that the processes of a node share, in a file without a name."""

from __future__ import annotations

import math
import mmap
import os
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from orbitlite.errors import InputError

Shapes = Sequence[tuple[int, ...]]


class SampleFile:
    """Arrays of float32 in a file of memory or of a disk, which other processes can open.

    It has no name in any folder, so that nothing is left of it when the last process that has it
    open ends, however that ends. Others of the same user and node open it by `address`, for which
    Linux is needed; pickled, it is that address.

    Parameters
    ----------
    file : FileIO
    shapes : sequence of tuple of int
        Of the arrays, which follow each other.
    """

    def __init__(self, file: FileIO, shapes: Shapes) -> None:
        self._file, self.shapes = file, [*shapes]
        weakref.finalize(self, file.close)

    @classmethod
    def new(cls, shapes: Shapes, folder: str | None = None) -> SampleFile:
        """Make a file that takes arrays.

        Parameters
        ----------
        shapes : sequence of tuple of int
        folder : str, optional
            Where the disk is. None: memory.

        Raises
        ------
        OSError
            If there is no room, or the system has no such files.
        """
        if not hasattr(os, "memfd_create"):
            raise OSError("files without a name that others can open need Linux")
        size = _bytes(shapes)
        if folder is None:
            made = open(os.memfd_create("samples"), "r+b", buffering=0)  # noqa: SIM115
            own = cls(made, shapes)
            os.truncate(made.fileno(), size)
            return own
        if (free := shutil.disk_usage(folder).free) < size:
            raise OSError(
                f"{folder} has {free / 2**30:.1f} GiB free, the samples take {size / 2**30:.1f}"
            )
        # without a name from the start where the file system can do so, else nearly so
        made = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        own = cls(made, shapes)
        os.posix_fallocate(made.fileno(), 0, size)  # what is written later finds its room
        return own

    @classmethod
    def opened(cls, address: str, shapes: Shapes, mode: str = "rb") -> SampleFile:
        """Open the file of another process of this node, which holds it open.

        Raises
        ------
        OSError
            If that may not be, or it is another file.
        """
        own = cls(cast("FileIO", open(address, mode, buffering=0)), shapes)  # noqa: SIM115
        if os.fstat(own._file.fileno()).st_size != _bytes(shapes):
            raise OSError(f"{address} is not the file of the samples")
        return own

    @property
    def address(self) -> str:
        """Where others open it while this process does not close it."""
        return f"/proc/{os.getpid()}/fd/{self._file.fileno()}"

    def arrays(self, writable: bool = False) -> list[NDArray[np.float32]]:
        """Return the arrays; their pages are those of all processes."""
        access = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        pages = mmap.mmap(self._file.fileno(), _bytes(self.shapes), mmap.MAP_SHARED, access)
        found, first = [], 0
        for shape in self.shapes:
            found.append(np.ndarray(shape, np.float32, pages, first))
            first += _bytes([shape])
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return SampleFile.opened, (self.address, self.shapes)


def _bytes(shapes: Shapes) -> int:
    return sum(4 * math.prod(shape) for shape in shapes)


def scratch_folder(text: str) -> str:
    """Return the folder that `data.scratch` states, with its variables replaced.

    Raises
    ------
    InputError
        If there is no such folder, or nothing can be written there.
    """
    folder = os.path.expanduser(os.path.expandvars(text))
    if not Path(folder).is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        named = text if folder == text else f"{text} ({folder})"
        raise InputError(
            f"data.scratch: expected a folder on a disk of this node that can be written to, found "
            f"{named}; make it, state another, or leave scratch out."
        )
    return folder


def node() -> tuple[str, ...]:
    """Return what processes have in common that can open each other's files."""
    try:
        started = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return started, os.readlink("/proc/self/ns/pid"), str(os.getuid())
    except OSError:
        return ("alone", str(os.getpid()), os.urandom(8).hex())
