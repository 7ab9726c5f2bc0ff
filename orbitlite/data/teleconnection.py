"""Teleconnection: rain that depends on how moist the air is on the other side of the globe."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_CENTRES = (120.0, 300.0)
"""Longitudes on the equator: Maritime Continent and Amazon, half the globe apart."""
_SIZE = 20.0
_MEMORY = 4.0
_MOISTENING = 1.5
_STEEPNESS = 1.5

Array = NDArray[np.float32]


class Teleconnection:
    """Two moist pools of the tropics, and the sinking air that each has on the other side.

    Where the air above a pool is moist it rains much; what rises there sinks elsewhere, over the
    half of the globe that lies opposite, and little rain falls there (Bjerknes 1969, "Atmospheric
    teleconnections from the equatorial Pacific", Monthly Weather Review 97, 163-172). So the
    weather of a place goes with that of a centre of action far away (Wallace and Gutzler 1981,
    Monthly Weather Review 109, 784-812). Only the humidity over the pool tells of it.

    The state of each pool is an index of its own, of mean zero and variance one, whose memory is
    four days. The moisture above 850 hPa rises and falls with it within about 20 degrees.

    Parameters
    ----------
    latitude, longitude : ndarray (height,), (width,)
        Of the cells, in degrees.
    strength : float
        Share of the rain that a pool can take away or add, at the point opposite: 0 to 1.
    rng : numpy.random.Generator
        Drawn from in the order of days.

    Attributes
    ----------
    pools : ndarray (2, height, width)
        Where the air is moist: 1 at the centres.
    opposite : ndarray (2, height, width)
        Where the air sinks: cosine of the distance to the opposite point, zero beyond a quarter of
        the globe from it.
    """

    def __init__(
        self,
        latitude: NDArray[np.float64],
        longitude: NDArray[np.float64],
        strength: float,
        rng: np.random.Generator,
    ) -> None:
        phi = np.radians(latitude)[:, None]
        east = np.radians(longitude - np.array(_CENTRES)[:, None])[:, None, :]
        cosine = np.cos(phi) * np.cos(east)  # of the distance to the centre
        arc = np.degrees(np.arccos(cosine.clip(-1, 1)))
        self.pools = np.exp(-((arc / _SIZE) ** 2) / 2).astype(np.float32)
        self.opposite = (-cosine).clip(0).astype(np.float32)
        self._strength, self._rng = strength, rng
        self._state = rng.standard_normal(len(_CENTRES))

    def advance(self, days: int) -> Array:
        """Give the indices `(days, 2)` of the next days."""
        keep = np.exp(-1 / _MEMORY)
        indices = np.sqrt(1 - keep**2) * self._rng.standard_normal((days, len(_CENTRES)))
        for today in indices:
            today += keep * self._state
            self._state = today.copy()
        return np.asarray(indices, dtype=np.float32)

    def moistening(self, indices: Array) -> Array:
        """Give what the logit of the relative humidity rises by, `(time, height, width)`."""
        return np.asarray(_MOISTENING * np.tensordot(indices, self.pools, 1))

    def share(self, indices: Array) -> Array:
        """Give what rain is multiplied by, `(time, height, width)`."""
        sinking = np.tanh(_STEEPNESS * np.tensordot(indices, self.opposite, 1))
        return np.asarray(1 - self._strength * sinking)
