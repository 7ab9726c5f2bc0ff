"""Reader: how a place becomes a dataset, by its format."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any, Protocol

import xarray as xr

from orbitlite.notice import notice
from orbitlite.registry import Registry
from orbitlite.remote import PASSING, fetched, is_lasting, store_of

logger = logging.getLogger(__name__)

SUFFIXES = {
    "grib": (".grib", ".grib1", ".grib2", ".grb", ".grb1", ".grb2"),
    "netcdf": (".nc", ".nc4", ".cdf", ".h5"),
}
"""Ends of the names of files."""


class Place:
    """A path or a URL, and what is found out there, once.

    Parameters
    ----------
    url : str

    Attributes
    ----------
    remote : bool
        Whether it is a URL.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.remote = "://" in url or "::" in url
        self._plain = url.split("?")[0].rstrip("/").lower()

    def ends(self, *suffixes: str) -> bool:
        """Tell whether its name ends in one of several suffixes, such as `.nc`."""
        return self._plain.endswith(suffixes)

    @cached_property
    def head(self) -> bytes:
        """The first eight bytes of a file."""
        if not self.remote:
            with open(self.url, "rb") as file:
                return file.read(8)
        filesystem, path = store_of(self.url)
        data: bytes = filesystem.cat_file(path, start=0, end=8)[:8]
        return data

    def holds(self, *names: str) -> bool:
        """Tell whether one of several files is inside; raise if its server fails."""
        filesystem, path = store_of(self.url)
        return any(_is_there(filesystem, f"{path.rstrip('/')}/{name}") for name in names)

    def local(self) -> str:
        """Return the path itself, or of a copy that lasts as long as this process."""
        if not self.remote:
            return self.url
        notice(logger, f"{self.url} is copied to this machine: its format has no remote access.")
        return fetched(self.url)


def _is_there(filesystem: Any, path: str) -> bool:
    """Tell whether a file is there; raise if its server fails, which says nothing of it."""
    try:
        filesystem.cat_file(path, start=0, end=1)
    except PASSING as error:
        if is_lasting(error):
            return False
        raise
    return True


class Reader(Protocol):
    """Opens stores of one format. It is made without arguments."""

    def matches(self, place: Place) -> bool:
        """Tell whether a store is of this format; what fails here may be tried again."""

    def open(self, place: Place) -> list[xr.Dataset]:
        """Open a store as one or several datasets, lazily where it can.

        Dims, names and units are as they stand there. What fails is told as a mistake of the
        file; an `InputError` as it is.
        """


READERS = Registry[type[Reader]]("reader")
"""By the name of the format. Those of users are asked first, then `zarr`, `grib` and `netcdf`."""
