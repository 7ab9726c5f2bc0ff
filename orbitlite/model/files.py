"""Files of a bundle: read piece by piece, with patience, and none outside of its folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from fsspec.implementations.http import HTTPFileSystem
from fsspec.implementations.local import LocalFileSystem

from orbitlite.errors import InputError
from orbitlite.remote import is_absent, reason, store_of, with_retries

_PIECE = 2**22


class BundleFile:
    """A file of a bundle, open for reading from its start to its end.

    Where a connection fails it is opened once more and read on from where it was.

    Parameters
    ----------
    bundle : str or Path
        Local directory or fsspec URL.
    name : str

    Attributes
    ----------
    size : int or None
        Bytes of a local file.

    Raises
    ------
    InputError
        If there is no such file, it cannot be read, or it is outside of the bundle.
    """

    def __init__(self, bundle: str | Path, name: str) -> None:
        self._bundle, self._name = bundle, name
        self._file: Any = None
        self._position = 0
        self.size: int | None = None
        self._plainly(self._open)

    def __enter__(self) -> BundleFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def take(self, count: int) -> bytes:
        """Read so many bytes, or those that are left.

        Raises
        ------
        InputError
            If the file cannot be read.
        """
        found: bytes = self._plainly(partial(self._take, count))
        return found

    def _take(self, count: int) -> bytes:
        try:
            if self._file is None:
                self._open()
            found = bytearray()
            while piece := self._file.read(min(_PIECE, count - len(found))):
                found += piece
        except BaseException:
            self._close()
            raise
        self._position += len(found)
        return bytes(found)

    def _open(self) -> None:
        store, root = store_of(str(self._bundle))
        path = f"{root.rstrip('/')}/{self._name}"
        if isinstance(store, LocalFileSystem):
            self._file = open(self._inside(Path(root), Path(path)), "rb")  # noqa: SIM115
            self.size = os.fstat(self._file.fileno()).st_size
        elif isinstance(store, HTTPFileSystem):
            # Without a size of its own it would ask for it, and read the file in ranges.
            self._file = store.open(path, "rb", block_size=0, size=1)
        else:
            self._file = store.open(path, "rb")
        left = self._position
        while left and (piece := self._file.read(min(_PIECE, left))):
            left -= len(piece)

    def _inside(self, folder: Path, path: Path) -> Path:
        """Check that a local file is one, and in the bundle's folder: it may be a link.

        A bundle may consist of links into a cache. Its files are then where its config is.
        """
        real = path.resolve(strict=True)
        if not stat.S_ISREG(real.stat().st_mode):
            kind = "folder" if real.is_dir() else "device"
            raise InputError(f"{self._bundle}: {self._name} is a {kind}, expected a file")
        roots = folder.resolve(), (folder / "config.json").resolve().parent
        if not any(real.is_relative_to(root) for root in roots):
            raise InputError(
                f"{self._bundle}: {self._name} is a link to {real}, outside of the bundle; put the "
                "file itself there"
            )
        return real

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                file.close()

    def _plainly(self, action: Callable[[], Any]) -> Any:
        """Do something with the store; say plainly why it failed."""
        try:
            return with_retries(action) if "://" in str(self._bundle) else action()
        except InputError:
            raise
        except MemoryError as error:
            raise InputError(
                f"{self._bundle}: there is not enough memory for {self._name}"
            ) from error
        except Exception as error:  # libraries behind a URL raise exceptions of every kind
            if is_absent(error):
                raise InputError(
                    f"no file {self._name} in {self._bundle}; expected a bundle directory as "
                    "`orbitlite fit` and `orbitlite export` write it"
                ) from error
            raise InputError(
                f"cannot read {self._name} of {self._bundle}: {reason(error)}"
            ) from error
