"""Renamed settings: those of version 0.1 work through version 0.2, with one warning each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from orbitlite.errors import InputError
from orbitlite.notice import warn

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

_UNTIL = "the old name works through version 0.2"

_OF_DATA = {
    "accumulate": "resample",
    "period": "accumulation_period",
    "interpolate": "regrid",
    "static": "statics",
    "fine_statics": "static_names",
}
KEYS: dict[str, dict[str, str]] = {
    "": {"accumulate": "resample", "period": "accumulation_period", "interpolate": "regrid"},
    "data": _OF_DATA,
    "model.network": {"fine_statics": "statics"},
    "parallel": {"recompute": "activation_checkpointing"},
}
"""By section of a config ("": keywords of `predict`, `downscale` and `evaluate`): old and new."""

VALUES = {"model.loss": {"heavy_rain": "intensity_weighted"}}
"""By key: old and new values."""


FLAGS = {
    "--accumulate": "--resample",
    "--period": "--accumulation-period",
    "--interpolate": "--regrid",
    "--batch": "--batch-size",
    "--recompute": "--activation-checkpointing",
}
"""Of the commands that are none of the trainer's and no benchmark: old and new."""


def current(content: Mapping[str, Any], section: str = "", tell: bool = True) -> dict[str, Any]:
    """Return settings under the names that they have now.

    Parameters
    ----------
    content : mapping
        Settings of a section and, within it, of its parts; a whole config in section "config".
    section : str
        A key of `KEYS`, or `config`.
    tell : bool
        Warn of old names; not those of a file that was written by an earlier version.

    Returns
    -------
    dict

    Raises
    ------
    InputError
        If a setting is there under both names.

    Examples
    --------
    >>> current({"data": {"period": "1h"}, "model": {"loss": "mse"}}, "config", tell=False)
    {'data': {'accumulation_period': '1h'}, 'model': {'loss': 'mse'}}
    """
    found: dict[str, Any] = {}
    prefix = "" if section in ("", "config") else f"{section}."
    names = KEYS.get(section, {})
    for key, value in content.items():
        name = names.get(key, key)
        if name != key and name in content:
            raise InputError(f"{prefix}{key} is the old name of {prefix}{name}: state one of them")
        if name != key and tell:
            warn(logger, f"{prefix}{key} is now {prefix}{name}; {_UNTIL}")
        if isinstance(value, Mapping) and section:
            value = current(value, f"{prefix}{name}", tell)
        values = VALUES.get(f"{prefix}{name}", {})
        if isinstance(value, str) and value in values:
            if tell:
                warn(logger, f"{prefix}{name}: {value} is now {values[value]}; {_UNTIL}")
            value = values[value]
        found[name] = value
    return found


def current_words(words: list[str]) -> list[str]:
    """Return the words of a command line with the flags that there are now.

    Examples
    --------
    >>> current_words(["downscale", "in.nc", "out.nc", "--tile", "8"])
    ['downscale', 'in.nc', 'out.nc', '--tile', '8']
    """
    if words[:1] == ["benchmark"]:
        return words
    found = []
    for word in words:
        flag, equal, value = word.partition("=")
        if flag in FLAGS:
            warn(logger, f"{flag} is now {FLAGS[flag]}; {_UNTIL}")
        found.append(FLAGS.get(flag, flag) + equal + value)
    return found


def with_old_names(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function take keywords under their old names too."""

    @wraps(function)
    def call(*arguments: P.args, **keywords: P.kwargs) -> R:
        now: Any = current(keywords)
        return function(*arguments, **now)

    return call
