"""The table of variables, for the terminal."""

from __future__ import annotations

import math

from rich.box import SIMPLE_HEAD

from orbitlite.errors import InputError
from orbitlite.suggest import nearest
from orbitlite.tables import PlainTable
from orbitlite.variables import VARIABLES, Variable


def listing(word: str = "") -> PlainTable:
    """List the variables that are known, or those that a word stands in.

    Parameters
    ----------
    word : str
        Part of a name, an alias, a standard name or a long name.

    Returns
    -------
    PlainTable

    Raises
    ------
    InputError
        If there is no such variable.
    """
    key = word.strip().lower()
    rows = [row for row in VARIABLES.values() if any(key in name for name in _names(row))]
    if not rows:
        close = nearest(key, [name for row in VARIABLES.values() for name in _names(row)])
        hint = f"; nearest: {', '.join(close)}" if close else ""
        raise InputError(f"no variable of the table has {word!r} in a name{hint}")
    table = PlainTable(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("name", no_wrap=True)
    for heading in ("unit", "kind", "transform", "limits"):
        table.add_column(heading)
    table.add_column("also called", overflow="fold")
    for number, row in enumerate(rows):
        if number and row.group != rows[number - 1].group:
            table.add_section()
        transform = "" if row.transform == "identity" else row.transform
        table.add_row(
            row.name, row.units, _kind(row), transform, _limits(row), ", ".join(row.aliases)
        )
    return table


def _names(row: Variable) -> list[str]:
    names = (row.name, *row.aliases, row.standard_name or "", row.long_name)
    return [name.lower() for name in names]


def _kind(row: Variable) -> str:
    """Say what the values are, beside their unit."""
    words = {
        "static": row.static,
        "classes": row.classes,
        "on levels": row.on_levels,
        f"sum of {row.hours} h": row.hours is not None,
        "declared": row.group == "declared",
    }
    return ", ".join(word for word, holds in words.items() if holds)


def _limits(row: Variable) -> str:
    low, high = row.limits
    low = max(low, 0.0) if row.nonnegative and math.isfinite(high) else low
    if not math.isfinite(low) and not math.isfinite(high):
        return "0 and more" if row.nonnegative else ""
    return f"{low:g} to {high:g}"
