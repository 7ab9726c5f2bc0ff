"""Remote: stores behind URLs, with patience for connections that fail."""

from __future__ import annotations

import atexit
import logging
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar

import fsspec
from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientPayloadError,
    ClientResponseError,
    ClientTimeout,
    InvalidURL,
    ServerDisconnectedError,
    TooManyRedirects,
)

logger = logging.getLogger(__name__)

TRIES = 6
FIRST_DELAY = 0.25
"""Seconds before the second try; doubled for each one after."""
STALL = 10.0
"""Seconds in which a server has to send something."""
PATIENCE = 15.0
"""Seconds after which a read that failed is not begun again."""
# What may pass: a connection that breaks, a server that is busy. A file that is not there will
# not come.
PASSING = (OSError, ClientError)
_LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, InvalidURL)
_BUSY = (408, 425, 429, 500, 502, 503, 504)
_ABSENT = (404, 410)

Result = TypeVar("Result")


def store_of(url: str) -> tuple[Any, str]:
    """Return the file system of a URL or a path, and the path in it.

    A server that sends nothing for `STALL` seconds is given up, unless fsspec's configuration
    states a timeout of its own.

    Parameters
    ----------
    url : str

    Returns
    -------
    filesystem : fsspec.AbstractFileSystem
    path : str
    """
    store, path = fsspec.core.url_to_fs(url, **web_options(url))
    return store, str(path)


def web_options(url: str) -> dict[str, Any]:
    """Return the options of fsspec for a URL: the timeouts of those of the web, else nothing."""
    protocol = url.partition("://")[0]
    if protocol not in ("http", "https"):
        return {}
    stated = fsspec.config.conf.get(protocol, {}).get("client_kwargs", {})
    timeout = ClientTimeout(total=None, sock_connect=STALL, sock_read=STALL)
    return {"client_kwargs": {"timeout": timeout, **stated}}


def with_retries(action: Callable[[], Result]) -> Result:
    """Do something that may fail because of a connection, and do it again if so.

    Parameters
    ----------
    action : callable

    Returns
    -------
    object
        What `action` returns.

    Raises
    ------
    Exception
        What `action` raised at last.
    """
    began = monotonic()
    for tried in range(1, TRIES):
        try:
            return action()
        except PASSING as error:
            sleep(delay(error, tried, began))
    return action()


def delay(error: Exception, tried: int, began: float) -> float:
    """Return the seconds to wait before the next try; raise what will not pass.

    Parameters
    ----------
    error : Exception
        What the last try raised.
    tried : int
        How many there have been.
    began : float
        When the first one began, on the monotonic clock.
    """
    wait = FIRST_DELAY * 2.0 ** (tried - 1)
    if is_lasting(error) or monotonic() + wait - began > PATIENCE:
        raise error
    logger.warning("Reading failed (%s); trying again in %.2g s.", reason(error), wait)
    return wait


def is_lasting(error: BaseException) -> bool:
    """Tell whether a read would fail again: what is asked for is not there, or is refused."""
    cause = _cause(error)
    if isinstance(cause, ClientResponseError):
        return cause.status not in _BUSY
    return isinstance(cause, _LASTING)


def is_absent(error: BaseException) -> bool:
    """Tell whether an error says that a file is not there, and not that its server failed."""
    cause = _cause(error)
    status = cause.status if isinstance(cause, ClientResponseError) else 0
    return isinstance(cause, (FileNotFoundError, NotADirectoryError)) or status in _ABSENT


def reason(error: BaseException) -> str:
    """Say why a read failed: in words where it was a connection, else as the error says it."""
    cause = _cause(error)
    if isinstance(cause, TooManyRedirects):
        return "the server redirects without end"
    if isinstance(cause, ClientResponseError):
        known = cause.status in HTTPStatus.__members__.values()
        phrase = f" ({HTTPStatus(cause.status).phrase})" if known else ""
        return f"the server answers {cause.status}{phrase}"
    if isinstance(cause, TimeoutError):
        return f"the server did not answer within {STALL:g} s"
    if isinstance(cause, (ClientPayloadError, ServerDisconnectedError)):
        return "the connection ended before all had come"
    if isinstance(cause, ClientConnectorError):
        return f"no connection: {cause.os_error.strerror or cause.os_error}"
    return ": ".join([type(cause).__name__, *str(cause).strip().splitlines()[:1]])


def _cause(error: BaseException) -> BaseException:
    """Return what is behind a FileNotFoundError: fsspec raises one for any failure of a server."""
    behind = error.__cause__
    if isinstance(error, FileNotFoundError) and isinstance(behind, (ClientError, TimeoutError)):
        return behind
    return error


def fetched(url: str) -> str:
    """Copy a remote file to this machine, where it stays as long as this process.

    The copy has its name only when it is whole.

    Parameters
    ----------
    url : str

    Returns
    -------
    str
        The path of the copy.
    """
    copies = _copies()
    if url not in copies:
        store, path = store_of(url)
        folder = Path(tempfile.mkdtemp(dir=_folder()))
        part, whole = folder / "part", folder / (path.rstrip("/").rpartition("/")[2][-100:] or "x")
        try:
            store.get_file(path, str(part))
            part.rename(whole)
        finally:
            part.unlink(missing_ok=True)
        copies[url] = str(whole)
    return copies[url]


@cache
def _copies() -> dict[str, str]:
    return {}


@cache
def _folder() -> str:
    folder = tempfile.mkdtemp(prefix="orbitlite-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
