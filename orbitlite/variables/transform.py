"""Transform: which channels are taken as log(1 + x), by statistics, network, losses and scores.

And which of them a network keeps at or above zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orbitlite.errors import InputError
from orbitlite.suggest import did_you_mean
from orbitlite.variables.names import split_level
from orbitlite.variables.table import VARIABLES, Variable


def log1p_channels(channels: Iterable[str], chosen: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return those of the channels that are taken as log(1 + x), in their order.

    Parameters
    ----------
    channels : iterable of str
        Canonical channels; those that are not in the table are taken as they are.
    chosen : sequence of str, optional
        The channels that a user wants so. None: those that the table wants so.

    Raises
    ------
    InputError
        If a chosen one is not among the channels, can be negative, or holds codes of classes.

    Examples
    --------
    >>> log1p_channels(["snowfall", "temperature_850"])
    ('snowfall',)
    >>> log1p_channels(["snowfall", "specific_humidity_850"], ["specific_humidity_850"])
    ('specific_humidity_850',)
    """
    offered = dict.fromkeys(channels)
    if chosen is None:
        return tuple(name for name in offered if _wants_log1p(_row(name)))
    for name in chosen:
        _check(name, list(offered))
    return tuple(name for name in offered if name in chosen)


def nonnegative_channels(channels: Iterable[str], log1p: Sequence[str] = ()) -> tuple[str, ...]:
    """Return those of the channels that have no negative values, in their order.

    Parameters
    ----------
    channels : iterable of str
        Canonical channels.
    log1p : sequence of str
        Those that are taken as log(1 + x), which is of no negative values.

    Examples
    --------
    >>> nonnegative_channels(["snowfall", "10m_wind_speed", "2m_temperature"])
    ('snowfall', '10m_wind_speed')
    """
    rows = {name: _row(name) for name in channels}
    return tuple(
        name for name, row in rows.items() if name in log1p or (row is not None and row.nonnegative)
    )


def _row(channel: str) -> Variable | None:
    return VARIABLES.get(split_level(channel)[0])


def _wants_log1p(row: Variable | None) -> bool:
    return row is not None and row.transform == "log1p"


def _check(name: str, offered: list[str]) -> None:
    if name not in offered:
        raise InputError(
            f"log1p: {name!r} is neither an input, a target nor a static"
            f"{did_you_mean(name, offered)}"
        )
    row = _row(name)
    if row is not None and row.classes:
        raise InputError(f"log1p: {name} holds codes of classes, not amounts; take it out of log1p")
    if row is not None and not row.nonnegative and row.limits[0] < 0:
        raise InputError(
            f"log1p: {name} can be negative, and log(1 + x) is for amounts of zero or more; take "
            "it out of log1p"
        )
