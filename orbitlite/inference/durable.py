"""Durable files: on the disk itself, so that they outlast a power cut."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def flush(path: Path) -> None:
    """Write what the system still holds of a file, or of the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
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


def rename(new: Path, path: Path) -> None:
    """Give a flushed file or folder its name, for good."""
    os.replace(new, path)
    flush(path.parent)
