"""A progress bar on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(text: str, total: int, show: bool = True, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show a bar if standard error is a terminal; yield what is told how many more are done.

    Parameters
    ----------
    text : str
    total : int
    show : bool
    done : int
        How many are done from the start.
    """
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from orbitlite.tables import marked

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    show = show and sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), disable=not show) as shown:
        task = shown.add_task(marked(text), total=total, completed=done)
        yield lambda count: shown.advance(task, count)
