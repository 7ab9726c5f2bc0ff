"""Journal: which pieces of an output are written, so that an interrupted job can go on.

Beside `fine.zarr` stands, while it is being made, the folder `.fine.zarr.partial` with the store,
locks, and the journal: a header that says what the job is, then one line per finished piece,
entered after its data are on the disk. Every line ends with a check sum. A process that is killed
leaves all of it as it is; its locks go with it.

Where several processes write an output, each has a journal of its own pieces and a lock. What
concerns all of them, laying out the store, joining in and finishing, is done by one at a time, the
one that has the `turn`. A part that has written its pieces says so in its journal while it has the
turn, and takes that back when it is gone on with: so the last one alone finds all to be finished.

A run that overwrites, of parts that each are told so, goes on with no job of an earlier run. A job
is that of the same run where another process is at work on it, or where it was begun by a part that
overwrites and this part has not been in it yet. Any other is an earlier one (`earlier`), and the
process that finds it keeps the turn until it has begun a new one, which the others then find.
"""

from __future__ import annotations

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
from orbitlite.inference.lock import Lock
from orbitlite.inference.parts import WHOLE, Part

_FORMAT = 3
_FINISHED = {"finished": True}
_JOINED = "joined"
"""Stands in the lock of a process that is at work on the job of the header."""
_PATIENCE = 0.5
"""Seconds in which another process may look whether a lock is held."""


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
    """The working folder of one output, as one of its parts sees it.

    Parameters
    ----------
    output : Path
    part : Part
        What this process writes of it.

    Attributes
    ----------
    output : Path
    part : Part
    folder : Path
    store : Path
        The Zarr store that is being filled.
    """

    def __init__(self, output: Path, part: Part = WHOLE) -> None:
        self.output, self.part = output, part
        self.folder = output.with_name(f".{output.name}.partial")
        self.store = self.folder / "store.zarr"
        self._file = self.folder / "journal"
        self._own = self._of(part)
        self._lock = Lock(self.folder / f"lock{_suffix(part)}")
        self._turn = Lock(self.folder / "turn")
        self._removed = False
        self._earlier = False

    @classmethod
    @contextmanager
    def held(cls, output: Path, part: Part = WHOLE, overwrite: bool = False) -> Iterator[Journal]:
        """Hold the folder of an output, or a part of it, for this process alone.

        Where no job has begun, or an earlier one is to be overwritten, this process has the turn
        until it has begun one. A folder in which no piece is finished goes at the end.

        Parameters
        ----------
        output : Path
        part : Part
        overwrite : bool
            Begin afresh: a job of an earlier run is not gone on with.

        Raises
        ------
        InputError
            If another process holds it.
        """
        journal = cls(output, part)
        try:
            journal._enter_folder()
            journal._earlier = overwrite and journal._is_earlier()
            if journal.header and not journal.earlier:
                journal._turn.release()
            yield journal
        finally:
            journal._leave_folder()

    def _enter_folder(self) -> None:
        """Take the lock of the part and the turn; the part is not finished from then on."""
        try:
            while not self._take_locks():
                self._release()  # those of a folder which its process has removed
        except OSError as error:
            raise InputError(
                f"the working folder {self.folder} cannot be used ({error.strerror}); remove it or "
                "choose another name"
            ) from error
        self._forget()
        if self.finished(self.part):
            self.keep(self.done.values())

    def _take_locks(self) -> bool:
        """Return False if the folder was removed meanwhile."""
        self.folder.mkdir(exist_ok=True)
        try:
            if not self._lock.held:
                if not self._lock.take(_PATIENCE):
                    raise InputError(
                        f"another process is writing {self.named}; wait for it or choose another "
                        "name"
                    )
                self._lock.note("")
            self._turn.take()
        except FileNotFoundError:
            return False
        return self._lock.in_place and self._turn.in_place

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Do alone what concerns the other parts too: they wait, and the header is read anew."""
        if not self._turn.held:
            self._enter_folder()
        try:
            yield
        finally:
            self._turn.release()

    def _leave_folder(self) -> None:
        """Let go; remove what nobody has done anything in."""
        try:
            if not self._removed and self._lock.in_place and not self._begun(self._own):
                if not self._turn.held:
                    self._turn.take()
                if self._turn.in_place:
                    self._clean()
        finally:
            self._release()

    def _clean(self) -> None:
        if not self.part.alone:
            self._own.unlink(missing_ok=True)
        others = [file for file in self.folder.glob("journal.*of*") if file != self._own]
        if not others and not self._begun(self._file) and not self.shared:
            self.remove()

    def _release(self) -> None:
        self._turn.release()
        self._lock.release()

    @property
    def named(self) -> str:
        """The output, or the part of it, in words."""
        return f"{self.output}" if self.part.alone else f"part {self.part} of {self.output}"

    @property
    def header(self) -> dict[str, Any]:
        """What the job is; empty if none has begun, or the header is damaged."""
        return self._content[0]

    @property
    def done(self) -> dict[int, Entry]:
        """The finished pieces of this part, by number; damaged lines are left out."""
        return self._content[1]

    @property
    def damaged(self) -> bool:
        """True if there is a journal whose header cannot be read."""
        return self._file.exists() and not self.header

    @property
    def begun(self) -> bool:
        """True if a piece is finished, of this part or another."""
        return any(map(self._begun, (self._file, *self.folder.glob("journal.*of*"))))

    @property
    def earlier(self) -> bool:
        """True if the job of the header is of an earlier run, and this one overwrites."""
        return self._earlier

    @property
    def overwriting(self) -> bool:
        """True if the job of the header was begun by a run that overwrites."""
        return self.header.get("overwrite") is True

    def _is_earlier(self) -> bool:
        if self.part.alone or not self.header or self.shared:
            return False
        joins = self.header.get("parts") == self.part.count and not self._own.exists()
        return not (self.overwriting and joins)

    def finished(self, part: Part) -> bool:
        """Tell whether a part says that all its pieces are written."""
        return _FINISHED in _read(self._of(part))

    def entries(self, part: Part) -> dict[int, Entry]:
        """Return the finished pieces of a part, by number."""
        return self.done if part == self.part else _entries(_read(self._of(part)))

    @cached_property
    def _content(self) -> tuple[dict[str, Any], dict[int, Entry]]:
        lines = _read(self._file)
        header = lines[0] if lines else None
        if not header or header.get("format") != _FORMAT:
            return {}, {}
        return header, _entries(lines if self.part.alone else _read(self._own))

    def begin(self, job: Mapping[str, Any]) -> None:
        """Write the header; the store is there already."""
        _write(self._file, [{"format": _FORMAT, **job}])
        self._forget()
        self.join(())

    def join(self, entries: Iterable[Entry]) -> None:
        """Take part in the job of the header, with some of the pieces that are finished."""
        self.keep(entries)
        self._earlier = False
        if self._lock.held:
            self._lock.note(_JOINED)

    def keep(self, entries: Iterable[Entry]) -> None:
        """Forget all finished pieces of the part but these."""
        header = [self.header] if self.part.alone else []
        _write(self._own, [*header, *map(asdict, entries)])
        self._forget()

    def enter(self, entry: Entry) -> None:
        """Note that a piece is written, on the disk."""
        self._append(asdict(entry))
        self.done[entry.piece] = entry

    def finish(self) -> None:
        """Note that all pieces of the part are written. This process has the turn."""
        self._append(_FINISHED)

    def _append(self, content: Mapping[str, Any]) -> None:
        with self._own.open("ab") as file:
            file.write(_line(content))
            file.flush()
            os.fsync(file.fileno())

    @property
    def shared(self) -> bool:
        """True if another process has joined in the job of the header. This one has the turn."""
        for file in self.folder.glob("lock*"):
            lock = Lock(file)
            if file == self._lock.path or lock.take(0):
                lock.release()
            elif file.read_text() == _JOINED:
                return True
        return False

    def clear(self) -> None:
        """Forget an earlier job. This process has the turn.

        Raises
        ------
        InputError
            If another process is at work on it.
        """
        if self.shared:
            raise InputError(
                f"other processes are writing parts of {self.output}; wait for them, end them, or "
                "choose another name"
            )
        self._unlink()

    def remove(self) -> None:
        """Remove the folder. This process has the turn."""
        self._removed = True
        self._unlink()  # first, so that what is left of a folder is never taken for a job
        shutil.rmtree(self.folder, ignore_errors=True)

    def _unlink(self) -> None:
        for file in (self._file, *self.folder.glob("journal.*of*")):
            file.unlink(missing_ok=True)
        self._forget()

    def _forget(self) -> None:
        self.__dict__.pop("_content", None)

    def _of(self, part: Part) -> Path:
        return self.folder / f"journal{_suffix(part)}"

    def _begun(self, file: Path) -> bool:
        lines = _read(file)
        return bool(_entries(lines)) or _FINISHED in lines


def _suffix(part: Part) -> str:
    return "" if part.alone else f".{part.number}of{part.count}"


def _write(file: Path, contents: Iterable[Mapping[str, Any]]) -> None:
    new = file.with_name(f"new.{file.name}")
    new.write_bytes(b"".join(map(_line, contents)))
    flush(new)
    rename(new, file)


def _read(file: Path) -> list[dict[str, Any] | None]:
    """Read the lines of a file; None in place of those that are damaged."""
    try:
        return [_read_line(line) for line in file.read_bytes().split(b"\n")]
    except FileNotFoundError:
        return []


def _entries(lines: Iterable[dict[str, Any] | None]) -> dict[int, Entry]:
    return {entry.piece: entry for entry in filter(None, map(_entry, lines))}


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
