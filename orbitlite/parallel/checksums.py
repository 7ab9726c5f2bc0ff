"""Checksums: what was written is what is read."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zipfile
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from orbitlite.errors import InputError
from orbitlite.notice import notice

logger = logging.getLogger(__name__)

CHECKSUMS = "checksums.json"


def measure(folder: Path, names: Iterable[str]) -> dict[str, Any]:
    """Return the size in bytes and the SHA-256 of files of a folder, by name."""
    return {
        name: {"bytes": (folder / name).stat().st_size, "sha256": digest(folder / name)}
        for name in names
    }


def verify(
    folder: Path, names: Iterable[str] | None = None, part: tuple[int, int] = (0, 1)
) -> None:
    """Compare files of a checkpoint folder with what they were when it was written.

    That all files are there, and of the right size, is looked at in any case. A folder that an
    earlier version wrote has no checksums: of its files `names` those that zip keeps are compared.

    Parameters
    ----------
    folder : Path
    names : iterable of str, optional
        Files whose content is compared. None: all.
    part : tuple of int
        Rank and number of processes that share the comparison.

    Raises
    ------
    InputError
        If one is absent or another.
    """
    if not (folder / CHECKSUMS).is_file():
        notice(
            logger,
            f"The checkpoint {folder} has no checksums; it is compared with those of the archives "
            "in it, which do not cover all.",
        )
        for name in names or ():
            if name.endswith(".pt") and not _is_sound_file(folder / name):
                raise InputError(f"the checkpoint {folder} is damaged: {name} is another")
        return
    try:
        listed = json.loads((folder / CHECKSUMS).read_text())
        sizes = {name: int(entry["bytes"]) for name, entry in listed.items()}
        sums = {name: str(entry["sha256"]) for name, entry in listed.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"the checkpoint {folder} is damaged: {CHECKSUMS} is no list") from error
    if outside := next((name for name in sums if Path(name).name != name), None):
        raise InputError(
            f"{folder} is no checkpoint of a fit: its {CHECKSUMS} has a file outside of the "
            f"folder, {outside!r}"
        )
    rank, count = part
    chosen = sorted(sums if names is None else names)[rank::count]
    for name, size in sizes.items():
        if not (folder / name).is_file():
            raise InputError(f"the checkpoint {folder} is damaged: its file {name} is gone")
        if (found := (folder / name).stat().st_size) != size:
            raise InputError(
                f"the checkpoint {folder} is damaged: its file {name} has {found} bytes, {size} "
                "were written"
            )
    for name in chosen:
        try:
            same = name in sums and digest(folder / name) == sums[name]
        except OSError as error:
            raise InputError(f"cannot read {folder / name}: {error.strerror or error}") from error
        if not same:
            raise InputError(
                f"the checkpoint {folder} is damaged: its file {name} is not what was written"
            )


def _is_sound_file(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return is_sound(file)
    except OSError:
        return False


def is_sound(file: IO[bytes]) -> bool:
    """Tell whether what zip keeps checksums of in an archive is as it was written."""
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None and not archive.comment
    except Exception:  # whatever a damaged archive leads to
        return False


def digest(path: Path, end: int = 0) -> str:
    """Return the SHA-256 of a file, without so many bytes at its end.

    A file that has not changed since is not read again.
    """
    status = os.stat(path)
    return _digest(path, end, status.st_size, status.st_mtime_ns, status.st_ino)


@lru_cache
def _digest(path: Path, end: int, size: int, *_: int) -> str:
    found, rest = hashlib.sha256(), size - end
    with path.open("rb") as file:
        while rest > 0 and (block := file.read(min(rest, 1 << 22))):
            found.update(block)
            rest -= len(block)
    return found.hexdigest()
