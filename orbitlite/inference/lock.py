"""Lock: a file that one process holds at a time, until it lets go or ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from time import monotonic, sleep

_POLL = 0.02  # seconds


class Lock:
    """A file that a process can hold. The system lets go of it when the process ends, however.

    Parameters
    ----------
    path : Path
        Created if it is not there; its folder is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None

    @property
    def held(self) -> bool:
        """True if this object holds it."""
        return self._handle is not None

    def take(self, patience: float | None = None) -> bool:
        """Take it; return whether it was to be had.

        Parameters
        ----------
        patience : float, optional
            Seconds to wait for another process. None: as long as it takes.

        Raises
        ------
        OSError
            If the folder is not there, or its file system has no locks.
        """
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            taken = _taken(handle, patience)
        except BaseException:
            os.close(handle)
            raise
        if taken:
            self._handle = handle
        else:
            os.close(handle)
        return taken

    @property
    def in_place(self) -> bool:
        """False if the file that is held has been removed from its folder since."""
        if self._handle is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._handle), os.stat(self.path))
        except FileNotFoundError:
            return False

    def note(self, text: str) -> None:
        """Write into the file of a lock that is held what it is held for."""
        assert self._handle is not None
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, text.encode(), 0)

    def release(self) -> None:
        """Let go."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)


def _taken(handle: int, patience: float | None) -> bool:
    if patience is None:
        fcntl.flock(handle, fcntl.LOCK_EX)
        return True
    end = monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if monotonic() >= end:
                return False
            sleep(_POLL)
        else:
            return True
