"""Journal: which pieces of an output are written, so that an interrupted job can go on.

Beside `fine.zarr` stands, while it is being made, the folder `.fine.zarr.partial` with the store,
a lock, and the journal: a header that says what the job is, then one line per finished piece,
entered after its data are written. A process that is killed leaves all of it as it is; the lock
goes with the process.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from orbitlite.errors import InputError

_FORMAT = 1


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

    @classmethod
    @contextmanager
    def held(cls, output: Path) -> Iterator[Journal]:
        """Hold the folder of an output, for this process alone.

        Raises
        ------
        InputError
            If another process holds it.
        """
        journal = cls(output)
        journal.folder.mkdir(exist_ok=True)
        lock = FileLock(journal.folder / "lock")
        try:
            with lock.acquire(timeout=0):
                try:
                    yield journal
                finally:
                    if not journal.done:
                        journal.remove()
        except Timeout:
            raise InputError(
                f"another process is writing {output}; wait for it or choose another name"
            ) from None

    @property
    def header(self) -> dict[str, Any]:
        """What the job is; empty if none has begun."""
        lines = self._lines()
        return dict(json.loads(lines[0])) if lines else {}

    @property
    def done(self) -> set[int]:
        """Numbers of the finished pieces."""
        return {int(line) for line in self._lines()[1:]}

    def begin(self, job: Mapping[str, Any]) -> None:
        """Write the header; the store is there already."""
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps({"format": _FORMAT, **job}) + "\n")
        os.replace(new, self._file)

    def mend(self) -> None:
        """Cut off a line that was not written whole, so that the next begins anew."""
        whole = sum(len(line) + 1 for line in self._lines())
        os.truncate(self._file, whole)

    def enter(self, number: int) -> None:
        """Note that a piece is written."""
        with self._file.open("a") as file:
            file.write(f"{number}\n")

    def clear(self) -> None:
        """Forget an earlier job."""
        self._file.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _lines(self) -> list[str]:
        """Return the lines that are whole."""
        try:
            text = self._file.read_text()
        except FileNotFoundError:
            return []
        return text.split("\n")[:-1]
