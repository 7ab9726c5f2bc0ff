"""Ranges: of what kind and size the settings of a network may be."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any

from orbitlite.errors import InputError

_MANY = 10_000
_LONGEST = 200
"""Channels, and letters of a name."""

WHOLE: Mapping[str, tuple[int, int]] = {
    "factor": (1, 1024),
    "patch_size": (1, 1024),
    "embed_dim": (1, 2**20),
    "num_heads": (1, 2**20),
    "depth": (0, 10_000),
    "max_leaf": (1, 2**20),
    "decoder_features": (1, 2**16),
    "decoder_blocks": (0, 10_000),
    "noise": (0, 1024),
}
"""Least and most of the settings that are whole numbers; the most is far beyond any network."""


def whole(name: str, value: Any) -> int:
    """Return a setting that is a whole number.

    Raises
    ------
    InputError
        If it is none, or not in its range.
    """
    least, most = WHOLE[name]
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InputError(f"{name}: expected a whole number, found {shortened(value)}")
    number = int(value)
    if number < least:
        raise InputError(f"{name}: expected {least} or more, found {shortened(number)}")
    if number > most:
        raise InputError(f"{name}: expected {most} or less, found {shortened(number)}")
    return number


def pair(name: str, value: Any) -> tuple[int, int]:
    """Return a setting that is two whole numbers from one.

    Raises
    ------
    InputError
        If it is something else.
    """
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InputError(f"{name}: expected two whole numbers, found {shortened(value)}")
    found = list(value)
    sizes = [int(one) for one in found if isinstance(one, Integral) and not isinstance(one, bool)]
    if len(found) != 2 or len(sizes) != 2 or not 1 <= min(sizes) <= max(sizes) <= _MANY:
        raise InputError(
            f"{name}: expected two whole numbers from 1 to {_MANY}, found {shortened(found)}"
        )
    return sizes[0], sizes[1]


def number(name: str, value: Any) -> float:
    """Return a setting that is a finite number.

    Raises
    ------
    InputError
        If it is none.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not _finite(value):
        raise InputError(f"{name}: expected a number, found {shortened(value)}")
    return value if isinstance(value, int) else float(value)


def names(key: str, value: Any) -> tuple[str, ...]:
    """Return a setting that is a list of channel names, each once.

    Raises
    ------
    InputError
        If it is none.
    """
    if isinstance(value, str):
        raise InputError(
            f"{key}: expected a list of channel names, found the text {shortened(value)}"
        )
    if not isinstance(value, Iterable) or isinstance(value, (Mapping, bytes)):
        raise InputError(f"{key}: expected a list of channel names, found {shortened(value)}")
    found = tuple(value)
    if len(found) > _MANY:
        raise InputError(f"{key}: expected at most {_MANY} channel names, found {len(found)}")
    for name in found:
        if not isinstance(name, str) or not 0 < len(name) <= _LONGEST or not name.isprintable():
            raise InputError(f"{key}: {shortened(name)} is no name of a channel")
    if len(set(found)) < len(found):
        repeated = sorted(name for name, count in Counter(found).items() if count > 1)
        raise InputError(f"{key}: each name may stand once; repeated: {', '.join(repeated)}")
    return found


def choice(name: str, value: Any, known: tuple[str, ...]) -> None:
    """Refuse a setting that is none of the words known.

    Raises
    ------
    InputError
        If it is another.
    """
    if value not in known:
        listed = f"{', '.join(known[:-1])} or {known[-1]}"
        raise InputError(f"{name}: expected {listed}, found {shortened(value)}")


def word(name: str, value: Any) -> None:
    """Refuse a setting that is no name of a part.

    Raises
    ------
    InputError
        If it is none.
    """
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST or not value.isprintable():
        raise InputError(f"{name}: expected a name, found {shortened(value)}")


def options(name: str, value: Any) -> dict[str, Any] | None:
    """Return plain values by name; None if there are none.

    Raises
    ------
    InputError
        If they are others.
    """
    if value is None or value == {}:
        return None
    try:
        found = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(map(str.isidentifier, found)):
        raise InputError(f"{name}: expected plain values by name, found {shortened(value)}")
    return found


def shortened(value: Any) -> str:
    """Return what a value looks like, of a long one the beginning."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deep; too many digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:80]}..."


def _finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond any float
        return False
