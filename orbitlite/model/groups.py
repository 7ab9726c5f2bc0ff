"""Channel groups: which channels are aggregated together at the first level."""

from __future__ import annotations

import re
from collections.abc import Sequence
from heapq import heapreplace
from numbers import Integral
from typing import Any

from orbitlite.errors import InputError
from orbitlite.model.ranges import shortened
from orbitlite.suggest import did_you_mean

_LEVEL = re.compile(r"_\d+$")


def channel_groups(
    inputs: Sequence[str], groups: int | Sequence[Sequence[str]]
) -> tuple[tuple[int, ...], ...]:
    """Assign every channel to a group.

    Parameters
    ----------
    inputs : sequence of str
        Channel names in the model's order.
    groups : int or sequence of sequence of str
        Number of groups, balanced in size; the levels of a variable stay together unless there are
        more of them than a balanced group holds. Or the groups themselves, by name.

    Returns
    -------
    tuple of tuple of int
        Positions in `inputs` of each group's channels, ascending.

    Raises
    ------
    InputError
        If the number is not between one and the number of channels; a named channel is unknown or
        in two groups; a channel is in none; a group is empty.

    Examples
    --------
    >>> names = ["temperature_850", "2m_temperature", "temperature_500", "orography"]
    >>> channel_groups(names, 2)
    ((0, 2), (1, 3))
    >>> channel_groups(names, [["orography"], names[:3]])
    ((3,), (0, 1, 2))
    """
    if isinstance(groups, int):
        return _balanced(inputs, groups)
    return _named(inputs, groups)


def plain_groups(groups: Any) -> int | tuple[tuple[str, ...] | str, ...]:
    """Return channel groups as a number, or as tuples of names.

    Raises
    ------
    InputError
        If they are neither.
    """
    if isinstance(groups, Integral) and not isinstance(groups, bool):
        return int(groups)
    listed = isinstance(groups, Sequence) and not isinstance(groups, (str, bytes))
    if listed and all(isinstance(group, Sequence) for group in groups):
        return tuple(group if isinstance(group, str) else tuple(group) for group in groups)
    raise InputError(
        f"channel_groups: expected a number or lists of channel names, found {shortened(groups)}"
    )


def _balanced(inputs: Sequence[str], count: int) -> tuple[tuple[int, ...], ...]:
    if not 1 <= count <= len(inputs):
        raise InputError(
            f"channel_groups: expected 1 to {len(inputs)} groups for {len(inputs)} channels, found "
            f"{count}"
        )
    share = -(-len(inputs) // count)
    families: dict[str, list[int]] = {}
    for position, name in enumerate(inputs):
        families.setdefault(_LEVEL.sub("", name), []).append(position)
    parts = [
        members[start : start + share]
        for members in families.values()
        for start in range(0, len(members), share)
    ]
    while len(parts) < count:
        largest = max(parts, key=len)
        half = len(largest) // 2
        parts.append(largest[half:])
        del largest[half:]
    # Largest first into the emptiest group: within a third of the best balance (Graham 1969).
    found: list[list[int]] = [[] for _ in range(count)]
    sizes = [(0, number) for number in range(count)]  # a heap
    for part in sorted(parts, key=lambda part: (-len(part), part[0])):
        size, number = sizes[0]
        found[number].extend(part)
        heapreplace(sizes, (size + len(part), number))
    return tuple(sorted((tuple(sorted(group)) for group in found), key=lambda group: group[0]))


def _named(inputs: Sequence[str], groups: Sequence[Sequence[str]]) -> tuple[tuple[int, ...], ...]:
    place = {name: position for position, name in enumerate(inputs)}
    seen: dict[str, int] = {}
    for number, group in enumerate(groups):
        if isinstance(group, str) or not len(group):
            raise InputError(
                f"channel_groups: group {number} should be a list of channel names, found {group!r}"
            )
        for name in group:
            if not isinstance(name, str) or name not in place:
                raise InputError(
                    f"channel_groups: {shortened(name)} in group {number} is not among the "
                    f"inputs{did_you_mean(name, place)}"
                )
            if name in seen:
                raise InputError(
                    f"channel_groups: {name!r} is in group {seen[name]} and in group {number}; "
                    "each channel belongs to one"
                )
            seen[name] = number
    if missing := [name for name in inputs if name not in seen]:
        raise InputError(
            f"channel_groups: {', '.join(missing)} belong to no group; put each input in one"
        )
    return tuple(tuple(sorted(place[name] for name in group)) for group in groups)


def of_one_group(name: str) -> bool:
    """Tell by its name whether a weight of a `Downscaler` belongs to one channel group."""
    return name.startswith("channels.groups.")
