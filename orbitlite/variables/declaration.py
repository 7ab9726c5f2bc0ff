"""Declarations: what a user states of a variable of their own, and the row that it makes."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

from orbitlite.configs import read_config
from orbitlite.errors import InputError
from orbitlite.suggest import did_you_mean
from orbitlite.variables.names import hours_in_name
from orbitlite.variables.table import Variable
from orbitlite.variables.units import UnitError, parse

Declaration: TypeAlias = Mapping[str, Any]

_LONGEST = 1000  # letters of a message
_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]+(_[a-z0-9]+)*")
_FLAGS = ("nonnegative", "static", "on_levels", "classes")
FIELDS = (
    "units", "long_name", "standard_name", "aliases", "transform", "limits", "hours", *_FLAGS,
)  # fmt: skip


def read_declaration(path: str | os.PathLike[str]) -> Declaration:
    """Read the declaration that a YAML file holds, or a config of a fit.

    Raises
    ------
    InputError
        If the file cannot be read or holds something else.
    """
    content: Any = read_config(path, "variables file")
    if isinstance(content, Mapping) and "model" in content:
        model = content["model"] if isinstance(content["model"], Mapping) else {}
        content = (model.get("network") or {}).get("variables") or {}
        if isinstance(content, str):
            return read_declaration(content)
    if not isinstance(content, Mapping):
        raise InputError(
            f"{os.fspath(path)}: expected variables by name, such as `my_runoff: {{units: mm}}`"
        )
    return content


def fields_of(row: Variable) -> dict[str, Any]:
    """Return what stands in the declaration of a row, JSON-ready; defaults are left out."""
    fields: dict[str, Any] = {"units": row.units, "long_name": row.long_name}
    fields |= {name: True for name in _FLAGS if getattr(row, name)}
    fields["nonnegative"] = row.nonnegative
    if row.transform != "identity":
        fields["transform"] = row.transform
    if any(map(math.isfinite, row.limits)):
        fields["limits"] = [limit if math.isfinite(limit) else None for limit in row.limits]
    for name in ("standard_name", "hours"):
        if getattr(row, name) is not None:
            fields[name] = getattr(row, name)
    return fields | ({"aliases": list(row.aliases)} if row.aliases else {})


def row_of(name: Any, fields: Any) -> Variable:
    """Make a row of what is stated of a variable.

    Raises
    ------
    InputError
        If the name, a field or their combination is wrong.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(
            f"variables: {name!r} is no name of a variable; expected lower-case letters, digits "
            "and single underscores, such as glacier_runoff"
        )
    if not isinstance(fields, Mapping):
        raise wrong(name, f"expected fields such as units, found {fields!r}")
    for key in fields:
        if key not in FIELDS:
            hint = did_you_mean(key, FIELDS, f"; known are {', '.join(FIELDS)}")
            raise wrong(name, f"unknown field {key!r}{hint}")
    given = {key: value for key, value in fields.items() if value is not None}
    flags = {flag: _flag(name, flag, given.get(flag, False)) for flag in _FLAGS}
    limits = _limits(name, given.get("limits", (None, None)))
    if "nonnegative" not in given:
        flags["nonnegative"] = limits[0] >= 0
    transform = given.get("transform", "identity")
    row = Variable(
        name,
        _aliases(name, given.get("aliases", ())),
        None if "standard_name" not in given else str(given["standard_name"]).strip(),
        _units(name, given.get("units")),
        str(given.get("long_name", name.replace("_", " ").capitalize())),
        "declared",
        transform=transform,
        hours=_hours(name, given.get("hours")),
        limits=limits,
        precipitation="precipitation" in name,
        cmap="YlGnBu" if transform == "log1p" else "viridis",
        **flags,
    )
    _check_together(row)
    return row


def wrong(name: str, text: str) -> InputError:
    """Return the error of a declaration, which may be anyone's: of long values the beginning."""
    whole = f"variables: {name}: {text}"
    return InputError(whole if len(whole) <= _LONGEST else f"{whole[:_LONGEST]}...")


def _flag(name: str, flag: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise wrong(name, f"{flag}: expected true or false, found {value!r}")
    return value


def _units(name: str, text: Any) -> str:
    if text is None:
        raise wrong(name, "units are missing; state them, such as `units: mm` (`1` for none)")
    try:
        parse(str(text))
    except UnitError as error:
        raise wrong(name, f"units: {error}") from error
    return str(text).strip()


def _aliases(name: str, value: Any) -> tuple[str, ...]:
    words = value.split() if isinstance(value, str) else value
    if not isinstance(words, (list, tuple)) or not all(isinstance(w, str) and w for w in words):
        raise wrong(name, f"aliases: expected a list of names, found {value!r}")
    return tuple(dict.fromkeys(word.strip().lower() for word in words))


def _limits(name: str, value: Any) -> tuple[float, float]:
    """Read a pair of numbers, null for no limit."""
    try:
        low, high = (math.nan if isinstance(v, bool) else v for v in value)
        limits = -math.inf if low is None else float(low), math.inf if high is None else float(high)
    except (TypeError, ValueError):
        limits = math.nan, math.nan
    if not limits[0] < limits[1]:
        raise wrong(name, f"limits: expected the smallest and the largest value, found {value!r}")
    return limits


def _hours(name: str, value: Any) -> int | None:
    stated = hours_in_name(name)
    whole = isinstance(value, (int, float)) and not isinstance(value, bool) and value == value // 1
    if value is not None and not (whole and value >= 1):
        raise wrong(name, f"hours: expected a whole number of 1 or more, found {value!r}")
    if stated is not None and value != stated:
        raise wrong(name, f"the name says {stated} hours: state `hours: {stated}`, found {value}")
    return None if value is None else int(value)


def _check_together(row: Variable) -> None:
    if row.transform not in ("identity", "log1p"):
        raise wrong(row.name, f"transform: expected identity or log1p, found {row.transform!r}")
    if row.transform == "log1p" and not row.nonnegative:
        raise wrong(
            row.name, "log1p is for amounts of zero or more: state `nonnegative: true`, or limits"
        )
    for one, other in (
        ("static", "hours"), ("static", "on_levels"), ("classes", "hours"),
        ("classes", "on_levels"),
    ):  # fmt: skip
        if getattr(row, one) and getattr(row, other):
            raise wrong(row.name, f"it cannot be {one} and have {other}; leave one out")
    if row.hours is not None and parse(row.units).dimensionality.get("[time]", 0) == -1:
        raise wrong(
            row.name, f"hours are for amounts, and {row.units} is a rate; state the unit of the "
            "amount, or leave hours out"
        )  # fmt: skip
    if row.classes and row.transform != "identity":
        raise wrong(row.name, "codes of classes have no logarithm; leave transform out")
