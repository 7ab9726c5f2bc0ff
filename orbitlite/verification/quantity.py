"""The quantity that is scored."""

from __future__ import annotations

from dataclasses import dataclass

from orbitlite.variables import cf_attributes, lookup
from orbitlite.verification.thresholds import Thresholds, thresholds

_DAY = 24


@dataclass(frozen=True)
class Quantity:
    """What is scored: how it is called and measured, and which scores make sense.

    Attributes
    ----------
    name : str
        Channel.
    long_name, unit, cmap : str
        For titles, axes and maps. Precipitation over less than a day is in mm over its own period
        (mm/h, mm/6h), over a day and more in mm/day.
    scale : float
        From the unit of the dataset to `unit`.
    nonnegative : bool
    log1p : bool
        The table has it taken as log(1 + x): its errors are scored so as well.
    thresholds : Thresholds or None
        Of precipitation, in `unit`.
    daily : bool
        Whether an amount is that of a day or more: wet ones are wet days.
    """

    name: str
    long_name: str
    unit: str
    cmap: str
    scale: float
    nonnegative: bool
    log1p: bool = False
    thresholds: Thresholds | None = None
    daily: bool = True

    @property
    def precipitation(self) -> bool:
        """Whether it has wet and dry, and events."""
        return self.thresholds is not None

    @classmethod
    def of(cls, channel: str) -> Quantity:
        """Look a channel up in the table of variables.

        Examples
        --------
        >>> Quantity.of("total_precipitation_6hr").unit
        'mm/6h'
        """
        row = lookup(channel)
        name = cf_attributes(channel)["long_name"]
        log, hours = row.transform == "log1p", row.hours
        if hours is None or row.units != "mm" or not row.precipitation:
            return cls(channel, name, row.units, row.cmap, 1.0, row.nonnegative, log)
        daily = hours >= _DAY
        unit = "mm/day" if daily else "mm/h" if hours == 1 else f"mm/{hours}h"
        scale = _DAY / hours if daily else 1.0
        limits = thresholds(_DAY if daily else hours)
        return cls(channel, name, unit, row.cmap, scale, row.nonnegative, log, limits, daily)
