"""Retry: reads of remote stores and files, once more where a connection failed."""

from __future__ import annotations

import asyncio
import io
from time import monotonic
from typing import Any

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore, WrapperStore

from orbitlite import remote


class PatientStore(WrapperStore[FsspecStore]):  # type: ignore[misc]
    """A remote Zarr store whose reads are tried again."""

    @classmethod
    def of(cls, url: str) -> PatientStore:
        """Open the store of a URL for reading."""
        options = remote.web_options(url)
        return cls(FsspecStore.from_url(url, storage_options=options, read_only=True))

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read a value of the store."""
        began = monotonic()
        for tried in range(1, remote.TRIES):
            try:
                return await super().get(key, prototype, byte_range)
            except remote.PASSING as error:
                await asyncio.sleep(remote.delay(error, tried, began))
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

        found = remote.with_retries(again)
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
