"""Tables for a terminal whose cells are text and nothing else."""

from __future__ import annotations

from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from orbitlite.terminal import visible


class PlainTable(Table):
    """A table that shows texts as they are: no marks of rich, nothing that a terminal obeys.

    Cells, headings, title and caption that are `str` are taken so; other renderables pass, such as
    a `Text` made with `shown`.

    Parameters
    ----------
    title, caption : str, optional
    **options : object
        Those of `rich.table.Table`.
    """

    def __init__(
        self, *, title: str | None = None, caption: str | None = None, **options: Any
    ) -> None:
        super().__init__(
            title=None if title is None else shown(title, "table.title"),
            caption=None if caption is None else shown(caption, "table.caption"),
            **options,
        )

    def add_column(self, header: Any = "", *args: Any, **options: Any) -> None:
        """Add a column; see `rich.table.Table`."""
        super().add_column(_plain(header), *args, **options)

    def add_row(self, *cells: Any, **options: Any) -> None:
        """Add a row; see `rich.table.Table`."""
        super().add_row(*map(_plain, cells), **options)


def shown(text: str, style: str = "") -> Text:
    """Return a text for rich that is shown as it is.

    Parameters
    ----------
    text : str
    style : str
        Of rich, such as `bold`.

    Returns
    -------
    rich.text.Text
    """
    return Text(visible(text), style)


def marked(text: str) -> str:
    r"""Return a text as it must stand among marks of rich for it to be shown as it is.

    Examples
    --------
    >>> marked("[red]x")
    '\\[red]x'
    """
    return escape(visible(text))


def _plain(cell: Any) -> Any:
    return shown(cell) if isinstance(cell, str) else cell
