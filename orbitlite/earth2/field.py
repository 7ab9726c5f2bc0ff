"""Field: a channel of a model and its variable of Earth2Studio."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orbitlite.data.conversion import period_hours
from orbitlite.earth2.lexicon import name_of, names_of, term_of
from orbitlite.errors import InputError
from orbitlite.variables import Variable, family, lookup, units


@dataclass(frozen=True)
class Field:
    """A channel and its variable.

    Attributes
    ----------
    channel : str
        Of the model.
    variable : str
        Of Earth2Studio.
    units : str
        Of the variable.
    hours : float or None
        Period of amounts, None of rates and all else.
    scale, offset : float
        Channel = scale * variable + offset.
    """

    channel: str
    variable: str
    units: str
    hours: float | None = None
    scale: float = 1.0
    offset: float = 0.0

    @property
    def attrs(self) -> dict[str, str | float]:
        """Attributes by which the values are read as what they are."""
        period = {} if self.hours is None else {"accumulation_hours": self.hours}
        return {"units": self.units, **period}

    def given(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring predicted values to the unit of the variable.

        Examples
        --------
        >>> rain = Field("total_precipitation_24hr", "tp24", "m", 24, scale=1000.0)
        >>> rain.given(np.float32([25.0])).tolist() == [np.float32(0.025)]
        True
        """
        if (self.scale, self.offset) == (1.0, 0.0):
            return values  # what needs no arithmetic stays what it is, to the bit
        return ((values.astype(np.float64) - self.offset) / self.scale).astype(np.float32)


def read_as(
    channel: str, names: Mapping[str, str], stated: Mapping[str, str], period: str | None
) -> Field:
    """Find the variable that an input is read from.

    Parameters
    ----------
    channel : str
        Canonical.
    names : mapping
        Variables by channel, in place of those of the lexicon.
    stated : mapping
        Units by variable, in place of those of the lexicon.
    period : str, optional
        Accumulation period of amounts whose name does not say it.

    Raises
    ------
    InputError
        If there is no variable, or its unit, its period or what it is cannot be told.
    """
    variable = names.get(channel) or name_of(channel)
    if variable is None:
        raise _nameless("input", channel)
    return _field(channel, variable, stated, period)


def given_as(channel: str, names: Mapping[str, str], stated: Mapping[str, str]) -> Field:
    """Find the variable that a target is given as: by the lexicon, where that has a name for it.

    Parameters
    ----------
    channel, names, stated
        As in `read_as`.

    Raises
    ------
    InputError
        As `read_as`.
    """
    variable = name_of(channel) or names.get(channel)
    if variable is None:
        raise _nameless("target", channel)
    hours = lookup(channel).hours
    return _field(channel, variable, stated, None if hours is None else f"{hours}h")


def _field(channel: str, variable: str, stated: Mapping[str, str], period: str | None) -> Field:
    term, row = term_of(variable), lookup(channel)
    if term is not None and family(term.channel) != family(channel):
        raise InputError(
            f"names: {variable!r} is {term.channel} in Earth2Studio's lexicon, not {channel}"
        )
    text = stated.get(variable) or (term.units if term else None)
    if text is None:
        raise InputError(
            f"names: {variable!r} ({channel}) is not in Earth2Studio's lexicon, so its unit is not "
            f"known: state it, such as units={{{variable!r}: {row.units!r}}}"
        )
    change = _conversion(variable, text, row)
    if row.hours is None or change.rate:
        return Field(channel, variable, text, None, change.scale, change.offset)
    hours = term.hours if term else None
    if hours is None and period is None:
        raise InputError(
            f"{variable!r} ({channel}) holds amounts, and its name does not say over which time "
            "they accumulated: state it, for instance with accumulation_period='1h'"
        )
    length = float(hours) if hours is not None else period_hours(str(period))
    return Field(channel, variable, text, length, change.scale, change.offset)


def _conversion(variable: str, text: str, row: Variable) -> units.Conversion:
    gravity = row.name in ("geopotential", "orography")
    try:
        return units.conversion(
            text, row.units, hours=row.hours, water=row.water, gravity=gravity
        )  # fmt: skip
    except units.UnitError as error:
        raise InputError(
            f"units: {variable!r} ({row.name}) in {text!r}: expected what converts to {row.units} "
            f"({error})"
        ) from error


def _nameless(kind: str, channel: str) -> InputError:
    others = [name for name in names_of(channel) if name != name_of(channel)]
    hint = f"; of other periods, or of none, it has {', '.join(others)}" if others else ""
    return InputError(
        f"Earth2Studio's lexicon has no name for the {kind} {channel}{hint}. State the variable, "
        f"such as names={{{channel!r}: {(others or ['my_variable'])[0]!r}}}"
    )
