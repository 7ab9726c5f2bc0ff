"""Checkpoint files that tell whether they are as they were written.

A checkpoint is a zip archive; its comment, which no reader of checkpoints looks at, holds the
SHA-256 of all that stands before it.
"""

from __future__ import annotations

import io
from pathlib import Path

from orbitlite.errors import InputError
from orbitlite.parallel.checksums import digest, is_sound

_MARK = b"orbitlite sha256 "
_LENGTH = len(_MARK) + 64
_END = b"PK\x05\x06"
"""What the last record of a zip archive begins with; without a comment it has 22 bytes."""


def seal(path: Path) -> None:
    """Add its checksum to a checkpoint file.

    Parameters
    ----------
    path : Path
        As `torch.save` leaves it: a zip archive without a comment.
    """
    with path.open("r+b") as file:
        file.seek(-22, io.SEEK_END)
        assert file.read(4) == _END
        file.seek(-2, io.SEEK_END)
        file.write(_LENGTH.to_bytes(2, "little"))
        file.flush()
        file.write(_MARK + digest(path).encode())


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
        with path.open("rb") as file:  # a comment is a checksum that was cut or changed
            sound = is_sound(file)
    if not sound:
        raise InputError(f"the checkpoint {path} is damaged: it is not what was written")
