"""The quantity that is scored."""

from __future__ import annotations

from dataclasses import dataclass

from orbitlite.variables import cf_attributes, lookup

_DAY = 24


@dataclass(frozen=True)
class Quantity:
    """What is scored: how it is called and measured, and which scores make sense.

    Attributes
    ----------
    name : str
        Channel.
    long_name, unit, cmap : str
        For titles, axes and maps. Precipitation of any accumulation period is in mm/day.
    scale : float
        From the unit of the dataset to `unit`.
    precipitation, nonnegative : bool
    log1p : bool
        The table has it taken as log(1 + x): its errors are scored so as well.
    """

    name: str
    long_name: str
    unit: str
    cmap: str
    scale: float
    precipitation: bool
    nonnegative: bool
    log1p: bool

    @classmethod
    def of(cls, channel: str) -> Quantity:
        """Look a channel up in the table of variables.

        Examples
        --------
        >>> Quantity.of("total_precipitation_6hr").scale
        4.0
        """
        row = lookup(channel)
        rain = "precipitation" in row.name and row.units == "mm" and row.hours is not None
        scale = _DAY / row.hours if rain and row.hours else 1.0
        unit = "mm/day" if rain else row.units
        name = cf_attributes(channel)["long_name"]
        log = row.transform == "log1p"
        return cls(channel, name, unit, row.cmap, scale, rain, row.nonnegative, log)
