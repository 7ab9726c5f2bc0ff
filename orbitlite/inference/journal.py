"""Journal: which pieces of an output are written, so that an interrupted job can go on.

Beside `fine.zarr` stands, while it is being made, the folder `.fine.zarr.partial` with the store,
a lock, and the journal: a header that says what the job is, then one line per finished piece,
entered after its data are on the disk. Every line ends with a check sum. A process that is killed
leaves all of it as it is; the lock goes with the process.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from orbitlite.errors import InputError
from orbitlite.files import flush, rename

_FORMAT = 2


@dataclass(frozen=True)
class Entry:
    """A finished piece.

    Attributes
    ----------
    piece : int
        Its number.
    input : str
        Digest of the fields that it was made of.
    values : str
        Digest of the values that were written.
    """

    piece: int
    input: str
    values: str


class Journal:
    """The working folder of one output.

    Attributes
    ----------
    output : Path
    folder : Path
    store : Path
        The Zarr store that is being filled.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.folder = output.with_name(f".{output.name}.partial")
        self.store = self.folder / "store.zarr"
        self._file = self.folder / "journal"
        self._removed = False

    @classmethod
    @contextmanager
    def held(cls, output: Path) -> Iterator[Journal]:
        """Hold the folder of an output, for this process alone.

        A folder in which no piece is finished goes at the end.

        Raises
        ------
        InputError
            If another process holds it.
        """
        journal = cls(output)
        lock = journal._lock()
        try:
            yield journal
        finally:
            if not journal._removed and not journal.done:
                journal.remove()
            os.close(lock)

    def _lock(self) -> int:
        """Take the lock of the folder; return its handle."""
        while True:
            self.folder.mkdir(exist_ok=True)
            try:
                lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
            except FileNotFoundError:  # another process is removing its folder
                continue
            except OSError as error:
                raise InputError(
                    f"the working folder {self.folder} cannot be used ({error.strerror}); remove "
                    "it or choose another name"
                ) from error
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
                raise InputError(
                    f"another process is writing {self.output}; wait for it or choose another name"
                ) from None
            if self._is_lock(lock):
                return lock
            os.close(lock)  # that of a folder which its process has removed

    def _is_lock(self, lock: int) -> bool:
        try:
            return os.path.samestat(os.fstat(lock), os.stat(self.folder / "lock"))
        except FileNotFoundError:
            return False

    @property
    def header(self) -> dict[str, Any]:
        """What the job is; empty if none has begun, or the header is damaged."""
        return self._content[0]

    @property
    def done(self) -> dict[int, Entry]:
        """The finished pieces, by number; damaged lines are left out."""
        return self._content[1]

    @property
    def damaged(self) -> bool:
        """True if there is a journal whose header cannot be read."""
        return self._file.exists() and not self.header

    @cached_property
    def _content(self) -> tuple[dict[str, Any], dict[int, Entry]]:
        try:
            lines = [_read_line(line) for line in self._file.read_bytes().split(b"\n")]
        except FileNotFoundError:
            return {}, {}
        header = lines[0] or {}
        if header.get("format") != _FORMAT:
            return {}, {}
        entries = filter(None, map(_entry, lines[1:]))
        return header, {entry.piece: entry for entry in entries}

    def begin(self, job: Mapping[str, Any]) -> None:
        """Write the header; the store is there already."""
        self._write({"format": _FORMAT, **job}, ())

    def keep(self, entries: Iterable[Entry]) -> None:
        """Forget all finished pieces but these."""
        self._write(self.header, entries)

    def _write(self, header: dict[str, Any], entries: Iterable[Entry]) -> None:
        new = self._file.with_suffix(".new")
        new.write_bytes(b"".join(map(_line, [header, *map(asdict, entries)])))
        flush(new)
        rename(new, self._file)
        self.__dict__.pop("_content", None)

    def enter(self, entry: Entry) -> None:
        """Note that a piece is written, on the disk."""
        with self._file.open("ab") as file:
            file.write(_line(asdict(entry)))
            file.flush()
            os.fsync(file.fileno())
        self.done[entry.piece] = entry

    def clear(self) -> None:
        """Forget an earlier job."""
        self._file.unlink(missing_ok=True)
        self.__dict__.pop("_content", None)

    def remove(self) -> None:
        """Remove the folder."""
        self._removed = True
        self.clear()  # first, so that what is left of a folder is never taken for a job
        shutil.rmtree(self.folder, ignore_errors=True)


def _line(content: Mapping[str, Any]) -> bytes:
    text = json.dumps(content).encode()
    return text + b" %08x\n" % zlib.crc32(text)


def _read_line(line: bytes) -> dict[str, Any] | None:
    """Read a line; None if it is damaged or was not written whole."""
    text, _, check = line.rpartition(b" ")
    if check != b"%08x" % zlib.crc32(text):
        return None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _entry(line: dict[str, Any] | None) -> Entry | None:
    """Return what a line says of a piece; None if it is none of this format."""
    kinds = {"piece": int, "input": str, "values": str}
    if line is None or {key: type(value) for key, value in line.items()} != kinds:
        return None
    return Entry(**line)
