"""Limits: what values a quantity can have, so that a wrong unit or a fill value is found out.

They are ample: further than what has been measured on Earth (World Meteorological Organization,
World Weather and Climate Extremes Archive, https://wmo.asu.edu), and than what models make up to
1 hPa, with room for the noise of packing.
"""

from __future__ import annotations

import math

# By unit: smallest and largest value. Amounts and radiation: of one hour.
_UNITS = {
    "K": (100.0, 400.0),  # 184 to 330 K at 2 m, skin up to 353 K, 130 to 330 K aloft
    "Pa": (-1.2e5, 1.2e5),
    "%": (-5.0, 200.0),  # supersaturation over ice
    "kg kg-1": (-1e-3, 0.1),  # spectral models have slightly negative humidity
    "m s-1": (-300.0, 300.0),  # 113 m/s at the ground, 200 m/s in the polar night jet
    "1": (-0.05, 1.05),
    "kg m-2": (-1.0, 200.0),  # water vapour: 90
    "J kg-1": (-100.0, 2e4),
    "m3 m-3": (-0.05, 1.05),
    "m2 s-2": (-9500.0, 1e6),  # 1000 hPa below a cyclone; 0.01 hPa
    "m": (-500.0, 9000.0),  # the shore of the Dead Sea, Mount Everest
    "Pa s-1": (-900.0, 900.0),  # 75 m/s upward
    "s-1": (-1.0, 1.0),
    "K m2 kg-1 s-1": (-1.0, 1.0),
    "degrees_north": (-90.001, 90.001),
}
_ROWS = {
    "mean_sea_level_pressure": (8e4, 1.15e5),  # 870 and 1085 hPa; reduced from high ground
    "surface_pressure": (2e4, 1.2e5),
    "2m_vapor_pressure": (-100.0, 2e4),
    "snow_depth": (-1.0, 1e4),  # ice sheets of climate models
    "boundary_layer_height": (-100.0, 2e4),
    "lake_depth": (-1.0, 2e3),
    "standard_deviation_of_orography": (-1.0, 3e3),
    "landcover": (0.0, 254.0),
    "soil_type": (0.0, 254.0),
    "type_of_high_vegetation": (0.0, 254.0),
    "type_of_low_vegetation": (0.0, 254.0),
}
# An amount of water over h hours: 600 mm x sqrt(h), as depth and duration of the records go
# (305 mm in 42 minutes, 1825 mm in a day, 9300 mm in a month).
_RAIN = 600.0
# Sunshine with the light of clouds beside it: 1500 W m-2 for an hour.
_RADIATION = 5.4e6


def limits_of(
    name: str, units: str, *, nonnegative: bool = False, hours: int | None = None
) -> tuple[float, float]:
    """Return the smallest and the largest value that a quantity can have.

    Parameters
    ----------
    name : str
        Canonical name.
    units : str
        Unit of the limits.
    nonnegative : bool
        Amounts below zero are noise: the lower limit is a little below zero.
    hours : int, optional
        Accumulation period of an amount.

    Returns
    -------
    tuple of float
        Infinite where nothing is known of the unit.

    Examples
    --------
    >>> limits_of("skin_temperature", "K")
    (100.0, 400.0)
    """
    if name in _ROWS:
        return _ROWS[name]
    if units == "mm":
        most = _RAIN * math.sqrt(hours or 1)
        return -0.001 * most, most
    if units == "J m-2":
        most = _RADIATION * (hours or 1)
        return -0.01 * most if nonnegative else -most, most
    low, high = _UNITS.get(units, (-math.inf, math.inf))
    return max(low, -0.01 * high) if nonnegative and high < math.inf else low, high
