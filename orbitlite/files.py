"""Files that are whole under their name, and on the disk itself, so that they outlast a power cut.

What is being written stands beside its place under a hidden name, `.name.partial...`; what makes
way for it is called `.name.old` for a moment.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil


def beside(path: Path, what: str) -> Path:
    """Return the hidden name `.name.what` beside a path."""
    return path.with_name(f".{path.name}.{what}")


def holder(path: str | Path, sources: Iterable[str | Path]) -> str | Path | None:
    """Return the source that a path is, or lies in; None: it does not touch any.

    Examples
    --------
    >>> holder("world.zarr/scores.json", ["coarse.nc", "world.zarr"])
    'world.zarr'
    >>> holder("scores.json", ["coarse.nc", "world.zarr"]) is None
    True
    """
    place = Path(path).resolve()
    around = {place, *place.parents}
    return next((source for source in sources if Path(source).resolve() in around), None)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a place for a new file or folder, which gets the name of `path` at the end.

    If anything is raised, it is removed, and what stood under the name stays.

    Parameters
    ----------
    path : Path
        Its folder exists.

    Raises
    ------
    OSError
        If the file system refuses.
    """
    partial = beside(path, f"partial{os.getpid()}")
    _clear(path)
    remove(partial)
    try:
        yield partial
        put(partial, path)
    finally:
        with contextlib.suppress(OSError):
            remove(partial)


def _clear(path: Path) -> None:
    """Remove what processes that were killed have left of a path."""
    begin = beside(path, "partial")
    for stray in path.parent.glob(f"{glob.escape(begin.name)}*"):
        number = stray.name.removeprefix(begin.name)
        # The hidden folder of an output that is being made has no number.
        if number.isdigit() and not psutil.pid_exists(int(number)):
            remove(stray)


def put(whole: Path, path: Path) -> None:
    """Flush a finished file or folder and give it its name; until then the old one keeps it."""
    old = beside(path, "old")
    flush_tree(whole)
    if path.is_dir() or (whole.is_dir() and path.exists()):
        remove(old)
        path.rename(old)
    rename(whole, path)
    remove(old)


def rename(new: Path, path: Path) -> None:
    """Give a flushed file or folder its name, for good."""
    os.replace(new, path)
    flush(path.parent)


def remove(path: Path) -> None:
    """Delete a file or a folder if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Write what the system still holds of a file, or of the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        if not path.is_dir():  # some file systems do this for files alone
            raise
    finally:
        os.close(handle)


def flush_files(files: Iterable[Path], top: Path) -> None:
    """Flush files, and the folders that name them up to `top`; files that are absent are passed."""
    folders = set()
    for file in files:
        if file.exists():
            flush(file)
            folders |= {folder for folder in file.parents if folder.is_relative_to(top)}
    for folder in folders:
        flush(folder)


def flush_tree(path: Path) -> None:
    """Flush a file, or a folder with all that is in it."""
    if path.is_dir():
        flush_files((file for file in path.rglob("*") if file.is_file()), path)
    else:
        flush(path)
