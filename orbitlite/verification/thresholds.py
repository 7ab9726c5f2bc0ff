"""Thresholds: from which amounts precipitation is an event, by the period it fell in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Thresholds:
    """Amounts in mm over one period.

    Attributes
    ----------
    wet : float
        From here on it is wet.
    events : tuple of float
        For yes-no scores.
    fractions : float
        For the fractions skill score.
    """

    wet: float
    events: tuple[float, ...]
    fractions: float


THRESHOLDS: Mapping[int, Thresholds] = MappingProxyType(
    {
        1: Thresholds(0.1, (1.0, 2.5, 10.0), 2.5),
        3: Thresholds(0.2, (1.0, 5.0, 10.0), 5.0),
        6: Thresholds(0.5, (1.0, 5.0, 15.0), 5.0),
        12: Thresholds(0.5, (1.0, 10.0, 20.0), 10.0),
        24: Thresholds(1.0, (1.0, 10.0, 20.0), 10.0),
    }
)
"""By hours.

A day: the wet days, heavy and very heavy precipitation days of ETCCDI (1, 10 and 20 mm; Zhang et
al. 2011, doi:10.1002/wcc.147). An hour: what gauges resolve (0.1 mm), and where moderate and heavy
rain begin in the Guide to Instruments and Methods of Observation (WMO-No. 8, Volume I): 2.5 and 10
mm/h. Between them, round numbers that grow with the period.
"""


def thresholds(hours: int) -> Thresholds:
    """Return the thresholds of amounts over some hours: those of the longest period not above it.

    Examples
    --------
    >>> thresholds(1).wet, thresholds(4).wet, thresholds(24).events
    (0.1, 0.2, (1.0, 10.0, 20.0))
    """
    return THRESHOLDS[max(period for period in THRESHOLDS if period <= max(hours, 1))]
