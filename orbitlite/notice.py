"""Notices: what was assumed, dropped, filled or ignored, said once per call."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from orbitlite.terminal import one_line

# Files that a warning is not about: those of the package, and what wraps its functions.
_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_OURS = (_PACKAGE, contextlib.__file__)

# What has been said in the call at hand; None outside of any.
_said: ContextVar[set[str] | None] = ContextVar("said", default=None)
_last_words: ContextVar[list[Callable[[], None]] | None] = ContextVar("last words", default=None)
_muted: ContextVar[bool] = ContextVar("muted", default=False)


class OrbitliteWarning(UserWarning):
    """Something of the user's was dropped, filled, ignored or guessed."""


# Once per call is counted here; Python's own count is once per process. Behind all other filters,
# so that those of the user come first.
warnings.filterwarnings("always", category=OrbitliteWarning, append=True)


@contextlib.contextmanager
def one_call() -> Iterator[None]:
    """Take what happens within as one call of the user: each notice is given once in it.

    A call within a call belongs to the outer one.
    """
    if _said.get() is not None:
        yield
        return
    token, words = _said.set(set()), list[Callable[[], None]]()
    last = _last_words.set(words)
    try:
        yield
        for word in words:
            word()
    finally:
        _said.reset(token)
        _last_words.reset(last)


def at_end(action: Callable[[], None]) -> None:
    """Do something when the call at hand has ended well: to say what was counted in it."""
    words = _last_words.get()
    if words is not None:
        words.append(action)


@contextlib.contextmanager
def muted() -> Iterator[None]:
    """Say nothing within: for what a worker does again that its parent has done."""
    token = _muted.set(True)
    try:
        yield
    finally:
        _muted.reset(token)


def notice(logger: logging.Logger, message: str) -> None:
    """Log what was done as asked, unless this call of the user has already done so.

    Parameters
    ----------
    logger : logging.Logger
        Logger of the module that has something to say.
    message : str
        A full sentence.
    """
    _say(logger, message, logging.INFO)


def warn(logger: logging.Logger, message: str) -> None:
    """Say what was dropped, filled, ignored or guessed, once per call of the user.

    A Python warning as well as a line of the log, so that it is seen where no log is.

    Parameters
    ----------
    logger : logging.Logger
    message : str
        A full sentence.
    """
    _say(logger, message, logging.WARNING)


def _say(logger: logging.Logger, message: str, level: int) -> None:
    if _muted.get():
        return
    message = one_line(message)
    said = _said.get()
    if said is not None:
        if message in said:
            return
        said.add(message)
    if level >= logging.WARNING:
        if not _told_to_client(message):
            warnings.warn(message, OrbitliteWarning, stacklevel=_depth())
        if not logger.hasHandlers():
            return  # Python would print it a second time
    logger.log(level, message)


def _told_to_client(message: str) -> bool:
    """Say a warning where a dask cluster's client is as well, if this is a worker of one."""
    worker: Any = sys.modules.get("distributed.worker")
    try:
        if worker is None or worker.get_worker() is None:
            return False
    except ValueError:  # no task runs here
        return False
    worker.warn(message, OrbitliteWarning)
    return True


def _depth() -> int:
    """Return the `stacklevel`, counted in `_say`, of the caller's line outside the package."""
    frame, depth = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        frame, depth = frame.f_back, depth + 1
    return depth
