"""HDF5: what of a file is read, and that all of it lies within the file.

A file may name others as the place of its values (external storage, virtual datasets, external
links): opened, it would read what its author chose, not its user. The NetCDF library follows them,
and some types that HDF5 has and NetCDF lacks end the process.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

import h5py

from orbitlite.errors import InputError
from orbitlite.notice import warn

logger = logging.getLogger(__name__)

# What is read as a whole, coordinates and texts, may be said to be of any length in a small file.
_MOST_VALUES = 2**28
_MOST_TEXTS = 2**22
_MOST_TEXT_BYTES = 2**30
_NUMBERS = {h5py.h5t.INTEGER: (1, 2, 4, 8), h5py.h5t.FLOAT: (4, 8)}
_NAMES = {
    h5py.h5t.FLOAT: "floating numbers of an unusual size",
    h5py.h5t.INTEGER: "integers of an unusual size",
    h5py.h5t.COMPOUND: "a compound type",
    h5py.h5t.VLEN: "lists of any length",
    h5py.h5t.OPAQUE: "an opaque type",
    h5py.h5t.REFERENCE: "references",
    h5py.h5t.ARRAY: "arrays",
    h5py.h5t.BITFIELD: "a bit field",
    h5py.h5t.TIME: "HDF5 times",
}


def unread(source: Any, url: str) -> list[str]:
    """Examine a NetCDF-4 file before any of its values are read.

    Parameters
    ----------
    source : path or file
        NetCDF of any kind.
    url : str
        What it is called.

    Returns
    -------
    list of str
        Variables that are not read, with a notice: of types that NetCDF does not have, more
        than 1 GiB of text, series of more than 2**28 values.

    Raises
    ------
    InputError
        If values of the file lie in other files, or its groups are no tree.
    """
    if isinstance(source, str) and not h5py.is_hdf5(source):
        return []  # a classic file
    with h5py.File(source, "r") as file:
        _check_links(file, url)
        odd = {}
        for name, data in _datasets(file, url):
            _check_storage(name, data, url)
            if reason := _odd(data.id.get_type()) or _long(data, file.id.get_filesize()):
                odd[name] = reason
    for name, reason in odd.items():
        warn(logger, f"The variable {name!r} of {url} holds {reason} and is left out.")
    return [name for name in odd if "/" not in name]


def _check_links(file: h5py.File, url: str) -> None:
    found: list[tuple[str, Any]] = []
    file.visititems_links(lambda name, link: found.append((name, link)))
    for name, link in found:
        if isinstance(link, h5py.ExternalLink):
            raise _outside(url, name, "a link into", [link.filename])


def _datasets(file: h5py.File, url: str) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yield every dataset; refuse groups in groups that have no end."""
    groups, seen = [("", file["/"])], {_place(file["/"])}
    while groups:
        path, group = groups.pop()
        for key in group:
            item, name = group.get(key), f"{path}{key}"
            if isinstance(item, h5py.Dataset):
                yield name, item
            elif isinstance(item, h5py.Group):
                if _place(item) in seen:
                    raise InputError(
                        f"{url}: the group {name!r} stands in two places: expected a tree."
                    )
                seen.add(_place(item))
                groups.append((f"{name}/", item))


def _place(item: Any) -> int:
    return int(h5py.h5o.get_info(item.id).addr)


def _check_storage(name: str, data: h5py.Dataset, url: str) -> None:
    """Refuse values that lie in other files; parts of the same file may be put together."""
    plan = data.id.get_create_plist()
    if count := plan.get_external_count():
        files = [os.fsdecode(plan.get_external(number)[0]) for number in range(count)]
        raise _outside(url, name, "stored in", files)
    if plan.get_layout() == h5py.h5d.VIRTUAL:
        files = [os.fsdecode(plan.get_virtual_filename(n)) for n in range(plan.get_virtual_count())]
        if others := [file for file in files if file != "."]:
            raise _outside(url, name, "made of", others)


def _outside(url: str, name: str, how: str, files: list[str]) -> InputError:
    named = ", ".join(repr(file) for file in dict.fromkeys(files[:3]))
    return InputError(
        f"{url}: {name!r} is {how} another file ({named}), which is not read: expected a file "
        "that holds its own values. Copy it whole, for instance with h5repack or nccopy."
    )


def _odd(kind: Any) -> str:
    """Say what a type is that is not read; nothing if it is."""
    if kind.get_class() == h5py.h5t.ENUM:
        kind = kind.get_super()
    code = kind.get_class()
    text = code == h5py.h5t.STRING
    if text or kind.get_size() in _NUMBERS.get(code, ()):
        return ""
    return _NAMES.get(code, "a type of another kind")


def _long(data: h5py.Dataset, file_bytes: int) -> str:
    """Say that there is more in one dimension, or more text, than is read as a whole."""
    if data.ndim == 1 and data.size > _MOST_VALUES:
        return f"{data.size:,} values in one dimension"
    kind = data.id.get_type()
    texts = kind.get_class() == h5py.h5t.STRING and kind.is_variable_str()
    # Texts may all stand for the same bytes of the file; in memory all are as long as the longest.
    at_once = _MOST_TEXT_BYTES // (4 * max(1, file_bytes))
    if not texts or data.size <= at_once:
        return ""
    if data.size > _MOST_TEXTS:
        return f"{data.size:,} texts"
    row = data.size // data.shape[0]
    rows, longest = max(1, at_once // row, 16 // row), 0
    for first in range(0, data.shape[0], rows):
        longest = max(longest, *map(len, data[first : first + rows].flat))
        if 4 * longest * data.size > _MOST_TEXT_BYTES:
            return f"{data.size:,} texts of up to {longest:,} letters"
    return ""
