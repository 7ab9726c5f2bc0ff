"""Retry: once more where a connection failed."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Callable
from time import sleep
from typing import Any, TypeVar

from aiohttp import ClientError, ClientResponseError
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore, WrapperStore

logger = logging.getLogger(__name__)

TRIES = 6
FIRST_DELAY = 0.25
"""Seconds before the second try; doubled for each one after."""
# What may pass: a connection that breaks, a server that is busy. A file that is not there will
# not come.
_PASSING = (OSError, ClientError)
_LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
_BUSY = (408, 429, 500, 502, 503, 504)

Result = TypeVar("Result")


def patiently(action: Callable[[], Result]) -> Result:
    """Do something that may fail because of a connection, and do it again if so.

    Parameters
    ----------
    action : callable

    Returns
    -------
    object
        What `action` returns.

    Raises
    ------
    Exception
        What `action` raised at last.
    """
    for tried in range(1, TRIES):
        try:
            return action()
        except _PASSING as error:
            sleep(_delay(error, tried))
    return action()


class PatientStore(WrapperStore[FsspecStore]):  # type: ignore[misc]
    """A remote Zarr store whose reads are tried again."""

    @classmethod
    def of(cls, url: str) -> PatientStore:
        """Open the store of a URL for reading."""
        return cls(FsspecStore.from_url(url, read_only=True))

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read a value of the store."""
        for tried in range(1, TRIES):
            try:
                return await super().get(key, prototype, byte_range)
            except _PASSING as error:
                await asyncio.sleep(_delay(error, tried))
        return await super().get(key, prototype, byte_range)


class PatientFile(io.RawIOBase):
    """A remote file whose reads are tried again.

    Parameters
    ----------
    file : file
        Seekable, open for reading.
    """

    def __init__(self, file: Any) -> None:
        super().__init__()
        self._file = file

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer; return how many bytes."""
        position = self._file.tell()

        def again() -> bytes:
            self._file.seek(position)
            return bytes(self._file.read(len(buffer)))

        found = patiently(again)
        memoryview(buffer).cast("B")[: len(found)] = found
        return len(found)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        """Return the place."""
        return int(self._file.tell())

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it has places to go to."""
        return True

    def close(self) -> None:
        """Close the file behind."""
        self._file.close()
        super().close()


def reason(error: BaseException) -> str:
    """Return the kind of an error and the first line of what it says."""
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])


def _delay(error: Exception, tried: int) -> float:
    """Return the seconds to wait before the next try; raise what will not pass."""
    busy = not isinstance(error, ClientResponseError) or error.status in _BUSY
    if isinstance(error, _LASTING) or not busy:
        raise error
    delay = FIRST_DELAY * 2.0 ** (tried - 1)
    logger.warning("Reading failed (%s); trying again in %.2g s.", reason(error), delay)
    return delay
