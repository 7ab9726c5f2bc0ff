"""Air on a pressure level: temperature, moisture, wind and geopotential."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GAS_CONSTANT = 287.05
LAPSE = 6.5e-3

Array = NDArray[np.float32]
Wind = tuple[Array, Array]


@dataclass(frozen=True)
class Air:
    """The air of a level.

    Attributes
    ----------
    level : int
        Pressure in hPa.
    temperature : ndarray
        In K.
    relative, specific : ndarray
        Humidity, as a share of saturation and in kg/kg.
    wind : pair of ndarray
        Eastward and northward, in m/s.
    """

    level: int
    temperature: Array
    relative: Array
    specific: Array
    wind: Wind

    @classmethod
    def at(
        cls, level: int, base: Array, summer: Array, moisture: Array, low: Wind, high: Wind
    ) -> Air:
        """Give the air of a level by what is known of 850 and 500 hPa.

        Parameters
        ----------
        level : int
        base, summer : ndarray
            Temperature at sea level in K, and the season from -1 to 1.
        moisture : ndarray
            Logit of the relative humidity at 850 hPa.
        low, high : pair of ndarray
            Winds at 850 and 500 hPa; between and beyond, they are linear in the log of pressure.
        """
        up = math.log(level / 850) / math.log(500 / 850)
        warmth = base + (8 - 2 * up) * summer - LAPSE * _height(level)
        temperature = np.asarray(warmth, dtype=np.float32)
        logit = (1 - 0.2 * up) * moisture - 0.8 * up
        relative = np.asarray(0.05 + 0.95 / (1 + np.exp(-logit)), dtype=np.float32)
        east, north = ((1 - up) * a + up * b for a, b in zip(low, high, strict=True))
        specific = _specific(temperature, level, relative)
        return cls(level, temperature, relative, specific, (east, north))

    def geopotential(self, surface: Array) -> Array:
        """Give it in m2/s2 for a pressure in Pa at sea level."""
        # hypsometric equation with the mean temperature of the layer
        mean = self.temperature + LAPSE * _height(self.level) / 2
        return np.asarray(GAS_CONSTANT * mean * np.log(surface / (100 * self.level)))


def _height(level: int) -> float:
    """Give the height of a level in the troposphere of the standard atmosphere, to 10 m."""
    return round(44331 * (1 - math.pow(level / 1013.25, 0.190263)), -1)


def _specific(temperature: Array, level: int, relative: Array) -> Array:
    """Give the specific humidity in kg/kg; saturation after Bolton (1980)."""
    celsius = temperature - 273.15
    saturation = 6.112 * np.exp(17.67 * celsius / (celsius + 243.5))
    humidity = relative * 0.622 * saturation / (level - 0.378 * saturation)
    return np.asarray(humidity, dtype=np.float32)
