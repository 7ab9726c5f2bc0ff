"""Assignment: which task of the network each source is for, and what that wants of it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from orbitlite.errors import InputError
from orbitlite.notice import notice
from orbitlite.tasks import read_tasks, task_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """What a task has of the fine grid.

    Attributes
    ----------
    targets, static_names : tuple of str
    factor : int
        Fine cells per coarse cell along one axis.
    """

    targets: tuple[str, ...]
    static_names: tuple[str, ...]
    factor: int


class Assignment:
    """The tasks that a fit has, and the sources of each.

    Parameters
    ----------
    tasks : mapping, optional
        As `model.network.tasks` states them; None: one, without a name.
    usual : Wanted
        What a task has of what it does not state.
    stated : mapping of str to object
        By source, the task that it states; None where it states none.

    Attributes
    ----------
    wanted : dict of str to Wanted
        By task.
    tasks : dict of str to str
        By source.

    Raises
    ------
    InputError
        If a source is for no task that there is, or a task has no source.
    """

    def __init__(
        self, tasks: Mapping[str, Any] | None, usual: Wanted, stated: Mapping[str, Any]
    ) -> None:
        self.wanted = {"": usual} if tasks is None else _read(tasks, usual)
        where = "model.network" if tasks is None else "model.network.tasks"
        self.tasks: dict[str, str] = {}
        for source, asked in stated.items():
            option = f"data.sources.{source}.task" if source else "data.sources.NAME.task"
            if asked is not None and not isinstance(asked, str):
                raise InputError(f"{option}: expected the name of a task, found {asked!r:.80}")
            self.tasks[source] = task_of(asked, self.wanted, where, option)
        for task in self.wanted:
            if task not in self.tasks.values():
                raise InputError(
                    f"model.network.tasks.{task} has no source to learn from: state one with task: "
                    f"{task} in data.sources, or leave the task out"
                )

    def of(self, source: str) -> Wanted:
        """Return what the task of a source wants of it."""
        return self.wanted[self.tasks[source]]

    @contextmanager
    def told(self, source: str) -> Iterator[None]:
        """Say of which source a mistake is, where there are several, and for which task."""
        try:
            yield
        except InputError as error:
            if not source:
                raise
            task = self.tasks[source]
            of = f" (task {task}, factor {self.of(source).factor})" if task else ""
            raise InputError(f"data.sources.{source}{of}: {error}") from error

    def tell_unscored(self, scored: Collection[str]) -> None:
        """Say which tasks have no source with a validation period, if others have."""
        known = {self.tasks[source] for source in scored}
        if known and (others := [task for task in self.wanted if task not in known]):
            notice(
                logger,
                f"No source of the task {', '.join(others)} has a validation period "
                "(data.sources.NAME.validate): the best checkpoint is chosen without it.",
            )

    def sources(self, task: str) -> list[str]:
        """Return the names of the sources of a task, in their order."""
        return [source for source, own in self.tasks.items() if own == task]


def channels_of(wanted: Mapping[str, Wanted]) -> Sequence[str]:
    """Return the targets and fine statics of all tasks, each once."""
    names = (n for own in wanted.values() for n in (*own.targets, *own.static_names))
    return [*dict.fromkeys(names)]


def _read(tasks: Mapping[str, Any], usual: Wanted) -> dict[str, Wanted]:
    found = {}
    for task, own in read_tasks(tasks).items():
        names: dict[str, tuple[str, ...]] = {}
        for key, other in (("targets", usual.targets), ("statics", usual.static_names)):
            value = own.get(key, other)
            if not isinstance(value, (list, tuple)) or not all(isinstance(n, str) for n in value):
                raise InputError(
                    f"model.network.tasks.{task}.{key}: expected a list of channel names, found "
                    f"{value!r:.80}"
                )
            names[key] = tuple(value)
        factor = own.get("factor", usual.factor)
        if not isinstance(factor, int) or isinstance(factor, bool) or factor < 1:
            raise InputError(
                f"model.network.tasks.{task}.factor: expected a whole number of 1 or more, found "
                f"{factor!r:.80}"
            )
        found[task] = Wanted(names["targets"], names["statics"], factor)
    return found
