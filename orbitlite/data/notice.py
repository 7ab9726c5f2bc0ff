"""Notices: what was assumed, dropped or filled, said once per process and not once per file."""

from __future__ import annotations

import logging
from functools import cache


@cache
def notice(logger: logging.Logger, message: str, level: int = logging.INFO) -> None:
    """Log `message` unless this process has already done so.

    Parameters
    ----------
    logger : logging.Logger
        Logger of the module that has something to say.
    message : str
        A full sentence.
    level : int
        Level of the record.
    """
    logger.log(level, message)
