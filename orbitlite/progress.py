"""A progress bar on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Advance(Protocol):
    """Moves a bar."""

    def __call__(self, count: float, /, total: int | None = None, text: str | None = None) -> None:
        """Say how many more are done; how many there are, and what is done now, if that changes."""


@contextmanager
def bar(
    text: str, total: int | None, show: bool = True, done: int = 0, keep: bool = True
) -> Iterator[Advance]:
    """Show a bar if standard error is a terminal; yield what is told how many more are done.

    Parameters
    ----------
    text : str
    total : int or None
        None: not known yet.
    show : bool
    done : int
        How many are done from the start.
    keep : bool
        Leave the bar on the terminal at the end.
    """
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from orbitlite.tables import marked

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    show = show and sys.stderr.isatty()
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not show, transient=not keep) as shown:
        task = shown.add_task(marked(text), total=total, completed=done)

        def advance(count: float, /, total: int | None = None, text: str | None = None) -> None:
            named = None if text is None else marked(text)
            shown.update(task, advance=count, total=total, description=named)

        yield advance
