"""Declared variables: rows that a user adds to the table, for one process and what it makes.

A network holds the declarations of its own channels, and so do its bundle and the samples that go
to other processes: whoever reads them knows the variables.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from orbitlite.variables.declaration import (
    FIELDS,
    Declaration,
    fields_of,
    read_declaration,
    row_of,
    wrong,
)
from orbitlite.variables.names import renew, resolve, split_level
from orbitlite.variables.table import VARIABLES, Variable, extend


def declare_variables(variables: Declaration | str | os.PathLike[str]) -> None:
    """Add variables of your own to the table: what they are called, measured in and treated like.

    They are known to this process from then on, wherever a row of the table is. A network with
    such channels takes the declaration along in its bundle.

    Parameters
    ----------
    variables : mapping, str or Path
        By name (lower-case letters, digits and underscores), or a YAML file that holds such a
        mapping, or the config of a fit that does in `model.network.variables`. Each is a mapping:

        units : str
            The unit that the channel has in networks and predictions. Files in any unit that
            converts to it are understood.
        long_name : str, optional
            A name for people.
        standard_name : str, optional
            Of the CF conventions.
        aliases : list of str, optional
            What files call it, besides the name itself.
        transform : {"identity", "log1p"}, optional
            Applied before normalisation; log1p is for skewed amounts of zero or more.
        limits : pair of float, optional
            Smallest and largest value that there can be, in `units`; null for none.
        nonnegative : bool, optional
            There are no negative values. By default as the limits say.
        hours : int, optional
            It is an amount that accumulates over so many hours. Lengths are then depths of water.
        static, on_levels, classes : bool, optional
            It has no time; a pressure in hPa makes it a channel (`name_850`); it holds codes.

    Raises
    ------
    InputError
        If a field is unknown or wrong, or a name stands for something else already.

    Examples
    --------
    >>> runoff = {"units": "mm", "hours": 24, "transform": "log1p", "limits": [0, 5000]}
    >>> declare_variables({"glacier_runoff": runoff})  # doctest: +SKIP
    """
    content = variables if isinstance(variables, Mapping) else read_declaration(variables)
    rows: dict[str, Variable] = {}
    for name, fields in content.items():
        row = row_of(name, fields)
        if VARIABLES.get(row.name) != row:
            _check_free(row, rows)
            rows[row.name] = row
    if rows:
        extend(rows.values())
        renew()


def declared(channels: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the declaration of those of the channels that a user declared, JSON-ready."""
    names = dict.fromkeys(split_level(channel)[0] for channel in channels)
    rows = (VARIABLES[name] for name in names if name in VARIABLES)
    return {row.name: fields_of(row) for row in rows if row.group == "declared"}


def _check_free(row: Variable, others: Mapping[str, Variable]) -> None:
    """Check that the names of a row stand for nothing else, in the table or beside it."""
    known = VARIABLES.get(row.name)
    if known is not None and known.group == "declared":
        ours, theirs = (fields_of(one) for one in (row, known))
        keys = [key for key in FIELDS if ours.get(key) != theirs.get(key)]
        changed = "; ".join(f"{key} {theirs.get(key)} then, {ours.get(key)} now" for key in keys)
        raise wrong(
            row.name,
            f"it was declared otherwise in this process: {changed}. One process knows one of a "
            "name: choose another, or begin a new process",
        )
    if known is not None:
        raise wrong(row.name, f"the table has it already, in {known.units}; choose another name")
    taken = {word: other.name for other in others.values() for word in (*other.aliases, other.name)}
    for word in (row.name, *row.aliases):
        meant = taken.get(word) or resolve(word)
        if meant is not None:
            raise wrong(row.name, f"{word!r} stands for {meant} already; choose another name")
    for name in (*VARIABLES, *others):
        of_ours = row.on_levels and re.fullmatch(rf"{row.name}_\d+", name)
        of_other = name in others and others[name].on_levels
        if of_ours or (of_other and re.fullmatch(rf"{name}_\d+", row.name)):
            raise wrong(row.name, f"with a level it could be taken for {name}, or that for it")
