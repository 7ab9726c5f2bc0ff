"""Attributes: what CF conventions want to be said of a channel."""

from __future__ import annotations

from orbitlite.variables.names import lookup, split_level


def cf_attributes(channel: str) -> dict[str, str]:
    """Return the CF attributes of a channel: units, standard_name, long_name, cell_methods.

    Examples
    --------
    >>> cf_attributes("temperature_850")["long_name"]
    'Temperature at 850 hPa'
    """
    variable = lookup(channel)
    _, level = split_level(channel)
    attributes = {"units": variable.units}
    if variable.standard_name:
        attributes["standard_name"] = variable.standard_name
    attributes["long_name"] = variable.long_name + (f" at {level} hPa" if level else "")
    if variable.hours is not None:
        plural = "" if variable.hours == 1 else "s"
        attributes["cell_methods"] = f"time: sum (comment: over {variable.hours} hour{plural})"
    for suffix, word in (("_max", "maximum"), ("_min", "minimum")):
        if variable.name.endswith(suffix):
            attributes["cell_methods"] = f"time: {word}"
    return attributes


def in_units(channel: str, text: str) -> str:
    """Return a text of values with the unit of their channel behind it, where that has one.

    Examples
    --------
    >>> in_units("2m_temperature", "214 to 318"), in_units("land_sea_mask", "0 to 1")
    ('214 to 318 K', '0 to 1')
    """
    units = lookup(channel).units
    return text if units == "1" else f"{text} {units}"
