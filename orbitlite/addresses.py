"""Addresses of data, as a record may keep them and as they may be published."""

from __future__ import annotations

import re

_PUBLIC = ("http", "https", "ftp", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "hf")
"""Schemes of addresses that are the same from every machine."""
_WEB = ("http", "https")
_CONTAINERS = ("az", "abfs", "abfss")  # name a container in the place of a user
_LINK = "::"  # of fsspec, between an address and what it is read through
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(.*)", re.DOTALL)
_FOLDER = re.compile(r"[\\/]")


def without_secrets(address: str) -> str:
    """Leave out of a URL what may grant access: user and password, query and fragment.

    Parameters
    ----------
    address : str
        A path, a URL, or several of fsspec joined by `::`.

    Returns
    -------
    str

    Examples
    --------
    >>> without_secrets("https://me:word@example.org/rain.nc?sig=a1b2")
    'https://example.org/rain.nc'
    """
    return _LINK.join(map(_bare, address.split(_LINK)))


def published(address: str) -> str:
    """Return what others may know of an address: of a path of this machine its last name alone.

    Parameters
    ----------
    address : str
        As of `without_secrets`.

    Returns
    -------
    str

    Examples
    --------
    >>> published("/home/me/secret/rain_*.nc"), published("gs://bucket/era5.zarr")
    ('rain_*.nc', 'gs://bucket/era5.zarr')
    """
    return _LINK.join(map(_known, address.split(_LINK)))


def _bare(address: str) -> str:
    found = _URL.fullmatch(address)
    if not found:
        return address
    scheme, host, rest = found[1].lower(), found[2], found[3]
    user, _, server = host.rpartition("@")
    if scheme not in _CONTAINERS or ":" in user:
        host = server
    path, _, query = rest.partition("?")
    if scheme in _WEB:
        rest = path.partition("#")[0]
    elif "=" in query:  # else a sign of a pattern
        rest = path
    return f"{found[1]}://{host}{rest}"


def _known(address: str) -> str:
    found = _URL.fullmatch(address)
    if found and found[1].lower() in _PUBLIC:
        return _bare(address)
    return _FOLDER.split(_bare(address).rstrip("\\/"))[-1]
