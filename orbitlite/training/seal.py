"""Checkpoint files that tell whether they are as they were written.

A checkpoint is a zip archive; its comment, which no reader of checkpoints looks at, holds the
SHA-256 of all that stands before it.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

from orbitlite.errors import InputError
from orbitlite.parallel.checksums import digest

_MARK = b"orbitlite sha256 "
_LENGTH = len(_MARK) + 64
_END = b"PK\x05\x06"
"""What the last record of a zip archive begins with; without a comment it has 22 bytes."""


def seal(archive: io.BytesIO) -> None:
    """Add its checksum to a checkpoint in memory.

    Parameters
    ----------
    archive : BytesIO
        As `torch.save` leaves it: a zip archive without a comment.
    """
    with archive.getbuffer() as data:
        assert bytes(data[-22:-18]) == _END
        data[-2:] = _LENGTH.to_bytes(2, "little")
        found = hashlib.sha256(data).hexdigest()
    archive.seek(0, io.SEEK_END)
    archive.write(_MARK + found.encode())


def verify_seal(path: Path) -> None:
    """Compare a checkpoint file with its checksum; one of another origin with those of zip.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        If it is not what was written.
    """
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - _LENGTH))
        mark = file.read()
    if mark.startswith(_MARK):
        sound = digest(path, _LENGTH) == mark.removeprefix(_MARK).decode("ascii", "replace")
    else:
        try:
            with zipfile.ZipFile(path) as archive:
                # A comment is a checksum that was cut or changed.
                sound = archive.testzip() is None and not archive.comment
        except Exception:
            sound = False
    if not sound:
        raise InputError(f"the checkpoint {path} is damaged: it is not what was written")
