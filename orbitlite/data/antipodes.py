"""Antipodes: rain that depends on how moist the air is at the opposite end of the Earth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from orbitlite.data.harmonics import Evolution, Synthesis, power_law

_DEGREES = 7
_PEAK = 3.0
_SLOPE = 4.0
_MEMORY = 2.5  # at degree 8; four days at the degrees that matter
_MOISTENING = 2.0
_STEEPNESS = 1.5

Array = NDArray[np.float32]


class Antipodes:
    """Moist air rises, and sinks at the opposite end of the Earth; so everywhere.

    `Teleconnection` has two moist pools and two parts of the globe that know of them, so that the
    mean moisture of the globe tells nearly all. Here every place is a centre of action, and what
    happens in it concerns the place opposite to it alone (latitude with the other sign, longitude
    180 degrees on). It is the same picture, of rising and sinking air that balance far apart
    (Bjerknes 1969, "Atmospheric teleconnections from the equatorial Pacific", Monthly Weather
    Review 97, 163-172), made local on purpose: nothing that is observed says that antipodes are
    paired. Means over the globe tell nothing, nor does a kernel of rows and columns that is the
    same everywhere, as the way to the opposite place changes with latitude.

    The moisture above 850 hPa rises and falls with a random field, of mean zero and variance one,
    of spherical harmonics of degree 1 to 6 that live about four days. Even and odd degrees have the
    same variance: what is moist here is no sign of what is moist opposite.

    Parameters
    ----------
    height, width : int
        Of the grid; the width is even.
    strength : float
        Share of the rain that can be taken away or added: 0 to 1.
    rng : numpy.random.Generator
        Drawn from in the order of days.
    """

    def __init__(self, height: int, width: int, strength: float, rng: np.random.Generator) -> None:
        self._synthesis = Synthesis(height, width, _DEGREES)
        self._strength = strength
        variance = power_law(_DEGREES, _PEAK, _SLOPE)
        for first in (0, 1):
            variance[first::2] /= 2 * variance[first::2].sum()
        self._state = Evolution(variance, rng, _MEMORY)

    def advance(self, days: int) -> Array:
        """Give how moist the air is on the next days, `(days, height, width)`."""
        return self._synthesis.field(self._state.advance(days))

    def moistening(self, moist: Array) -> Array:
        """Give what the logit of the relative humidity rises by, `(time, height, width)`."""
        return np.asarray(_MOISTENING * moist, dtype=np.float32)

    def share(self, moist: Array) -> Array:
        """Give what rain is multiplied by, `(time, height, width)`."""
        sinking = np.tanh(_STEEPNESS * opposite(moist))
        return np.asarray(1 - self._strength * sinking, dtype=np.float32)


def opposite(field: NDArray[Any]) -> NDArray[Any]:
    """Give each cell of a global grid `(..., height, width)`, of even width, that opposite to it.

    Examples
    --------
    >>> opposite(np.array([[1, 2, 3, 4], [5, 6, 7, 8]]))
    array([[7, 8, 5, 6],
           [3, 4, 1, 2]])
    """
    return np.roll(field[..., ::-1, :], field.shape[-1] // 2, axis=-1)
