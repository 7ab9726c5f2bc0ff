"""Tasks: what the decoders of one trunk are called and what each states of itself."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from orbitlite.errors import InputError
from orbitlite.suggest import did_you_mean

KEYS = (
    "targets", "statics", "factor", "constraint", "nonnegative", "decoder", "decoder_features",
    "decoder_blocks", "decoder_options",
)  # fmt: skip
"""Settings of a network that a task may have of its own; the others are those of the trunk."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_MANY = 100


def read_tasks(tasks: Any) -> dict[str, dict[str, Any]]:
    """Return the settings of each task by name.

    Parameters
    ----------
    tasks : mapping
        As a config states them.

    Raises
    ------
    InputError
        If they are not so, or a name or a key cannot be.

    Examples
    --------
    >>> read_tasks({"rain": {"factor": 4}, "snow": None})
    {'rain': {'factor': 4}, 'snow': {}}
    """
    if not isinstance(tasks, Mapping) or not 0 < len(tasks) <= _MANY:
        raise InputError(
            "model.network.tasks: expected tasks by name, such as {rain: {factor: 4}}, found "
            f"{tasks!r:.80}"
        )
    found: dict[str, dict[str, Any]] = {}
    for name, own in tasks.items():
        if not (isinstance(name, str) and _NAME.fullmatch(name)):
            raise InputError(
                "model.network.tasks: expected names of letters, digits, - and _, 64 at most, "
                f"found {name!r:.80}"
            )
        if name.lower() in map(str.lower, found):  # each has files of its own
            raise InputError(f"model.network.tasks: two tasks are called {name}, in any case")
        own = {} if own is None else own
        if not isinstance(own, Mapping):
            raise InputError(
                f"model.network.tasks.{name}: expected keys and values, found {own!r:.80}"
            )
        for key in own:
            if key not in KEYS:
                hint = did_you_mean(key, KEYS, f"; it may have {', '.join(KEYS)}")
                raise InputError(f"model.network.tasks.{name} has no key {key!r:.80}{hint}")
        found[name] = dict(own)
    return found


def task_of(asked: str | None, known: Collection[str], where: str, option: str = "task") -> str:
    """Return the task that is asked for; the only one, if none is.

    Parameters
    ----------
    asked : str, optional
    known : collection of str
        Names of the tasks that there are; of a network that has none the empty name.
    where : str
        What has them, for messages.
    option : str
        What states it, for messages.

    Raises
    ------
    InputError
        If there is no such task, or several and none is stated.

    Examples
    --------
    >>> task_of(None, ["rain"], "it"), task_of("snow", ["rain", "snow"], "it")
    ('rain', 'snow')
    """
    names = [*known]
    if asked is None and len(names) == 1:
        return names[0]
    listed = ", ".join(names)
    if asked is None:
        raise InputError(f"{where} has {len(names)} tasks ({listed}): state {option}, one of them")
    if names == [""]:
        raise InputError(f"{option} {asked}: {where} has no named tasks; leave it out")
    if asked not in names:
        hint = did_you_mean(asked, names)
        raise InputError(f"{option} {asked}: {where} has no such task, it has {listed}{hint}")
    return asked
