"""NetCDF: open files of the classic and of the HDF5 kind, local or by byte ranges."""

from __future__ import annotations

import io
import logging
import warnings
from functools import partial
from typing import Any

import xarray as xr

from orbitlite.data.hdf5 import unread
from orbitlite.data.headers import Header
from orbitlite.data.reader import READERS, Place
from orbitlite.data.retry import PatientFile
from orbitlite.errors import InputError
from orbitlite.notice import notice
from orbitlite.remote import store_of, with_retries

logger = logging.getLogger(__name__)

_CLASSIC, _HDF5 = b"CDF", b"\x89HDF\r\n\x1a\n"


@READERS.register("netcdf")
class NetCDF:
    """Files that begin as NetCDF does."""

    def matches(self, place: Place) -> bool:
        """Tell it from the first bytes."""
        return place.head.startswith(_CLASSIC) or place.head == _HDF5

    def open(self, place: Place) -> list[xr.Dataset]:
        """Open a file.

        Raises
        ------
        InputError
            If it is truncated.
        """
        if place.head.startswith(_CLASSIC):
            path = place.local()
            _check_length(path)
            return [xr.open_dataset(path, engine="netcdf4", decode_timedelta=True)]
        return [open_hdf5(place, "netcdf4")]

    def header(self, place: Place) -> Header | None:
        """Read the header of a local file; None if the file is to be opened alone.

        Raises
        ------
        InputError
            If `open` would refuse it.
        """
        if place.head.startswith(_CLASSIC):
            _check_length(place.url)
        elif unread(place.url, place.url):
            return None
        return Header.read(place.url)


def open_hdf5(place: Place, engine: str) -> xr.Dataset:
    """Open a file of the HDF5 kind, without what cannot be read of it."""
    source: Any = place.url
    if place.remote:
        source, engine = with_retries(partial(_seekable, place.url)), "h5netcdf"
    left_out = unread(source, place.url)
    return xr.open_dataset(
        source, engine=engine, decode_timedelta=True, drop_variables=left_out or None
    )


def _seekable(url: str) -> Any:
    """Open a remote file for random access; fetch it whole if its server gives no ranges."""
    filesystem, path = store_of(url)
    file = filesystem.open(path, "rb")
    if file.seekable() and _gives_ranges(file):
        return PatientFile(file)
    file.close()
    notice(logger, f"The server of {url} gives no byte ranges: the file was fetched whole.")
    return io.BytesIO(filesystem.cat_file(path))


def _gives_ranges(file: Any) -> bool:
    if not file.size:
        return False
    try:
        file.seek(file.size - 1)
        last = file.read(1)
        file.seek(0)
    except ValueError:  # what fsspec raises where a server ignores the range
        return False
    return len(last) == 1


def _check_length(path: str) -> None:
    """Raise InputError if a classic NetCDF file ends before its data do.

    The NetCDF library reads zeros past the end of such a file; scipy's reader maps every
    variable and so fails.
    """
    from scipy.io import netcdf_file

    with open(path, "rb") as file:
        if file.read(4)[3:] not in (b"\x01", b"\x02"):
            return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            netcdf_file(path, mmap=True).close()
    except (ValueError, IndexError, TypeError) as error:
        raise InputError(
            f"{path} is truncated: the file ends before the data that its header lists."
        ) from error
