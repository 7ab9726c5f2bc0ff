"""The embedded default data: a synthetic ERA5-style world on the sphere, made in seconds.

No measurement is in it. Random spherical harmonics give the terrain and a flow that lives a few
days; from these follow, by textbook relations, pressure, temperature, humidity, and precipitation
as condensation in ascending moist air. Ascent over the terrain uses the terrain of the fine grid,
so that most of what a coarse grid cannot show follows from coarse weather and fine terrain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orbitlite.data.harmonics import EARTH_RADIUS, Evolution, Synthesis, power_law
from orbitlite.errors import InputError

GRAVITY = 9.80665
GAS_CONSTANT = 287.05
LAPSE = 6.5e-3
LEVELS = (500, 850)
_CELLS = 2**18  # per batch; batches are whole whatever `days` is, so the first days keep their bits

Array = NDArray[np.float32]

_ATTRIBUTES = {
    "2m_temperature": ("2 metre temperature", "K", "t2m", None),
    "10m_u_component_of_wind": ("10 metre U wind component", "m s**-1", "u10", None),
    "10m_v_component_of_wind": ("10 metre V wind component", "m s**-1", "v10", None),
    "mean_sea_level_pressure": (
        "Mean sea level pressure", "Pa", "msl", "air_pressure_at_mean_sea_level",
    ),
    "total_precipitation_24hr": ("Total precipitation", "m", "tp", None),
    "temperature": ("Temperature", "K", "t", "air_temperature"),
    "specific_humidity": ("Specific humidity", "kg kg**-1", "q", "specific_humidity"),
    "u_component_of_wind": ("U component of wind", "m s**-1", "u", "eastward_wind"),
    "v_component_of_wind": ("V component of wind", "m s**-1", "v", "northward_wind"),
    "geopotential": ("Geopotential", "m**2 s**-2", "z", "geopotential"),
    "geopotential_at_surface": (
        "Geopotential at surface", "m**2 s**-2", "z", "surface_geopotential",
    ),
    "land_sea_mask": ("Land-sea mask", "(0 - 1)", "lsm", "land_binary_mask"),
}  # fmt: skip


def generate(
    days: int = 400, height: int = 64, width: int = 128, seed: int = 0, start: str = "2000-01-01"
) -> xr.Dataset:
    """Make a synthetic world, laid out and named like an ERA5 store.

    Parameters
    ----------
    days : int
        Number of daily fields.
    height, width : int
        Size of the global, cell-centred grid.
    seed : int
        Same seed, same bits; the first days do not depend on `days`.
    start : str
        First day, as `YYYY-MM-DD`.

    Returns
    -------
    xr.Dataset
        float32 variables with ERA5's long names on `(time, latitude, longitude)`, those on 500 and
        850 hPa on `(time, level, latitude, longitude)`, and the static `geopotential_at_surface`
        and `land_sea_mask`. Latitude descends. `orbitlite.data.source.harmonise` reads it.

    Raises
    ------
    InputError
        If there is no day, the grid is smaller than 16 x 32, or `start` is no date.
    """
    if days < 1 or height < 16 or width < 32:
        raise InputError(
            "A synthetic world needs at least 1 day and a grid of at least 16 x 32 cells; "
            f"found {days} days and {height} x {width}."
        )
    try:
        times = np.datetime64(start, "D") + np.arange(days)
    except ValueError:
        raise InputError(f"The start should be a date such as 2000-01-01, not {start!r}.") from None
    world = _World(height, width, seed)
    size = min(32, max(1, _CELLS // (height * width)))
    batches = [
        world.weather(times[0] + np.arange(first, first + size)) for first in range(0, days, size)
    ]
    fields = {
        name: np.concatenate([batch[name] for batch in batches])[:days] for name in batches[0]
    }
    return _dataset(fields, world, times)


@dataclass(frozen=True)
class _Terrain:
    """Height in m, land fraction, slopes eastward and northward; all `(height, width)`."""

    elevation: Array
    land: Array
    slope_east: Array
    slope_north: Array


def _terrain(
    height: int, width: int, latitude: NDArray[np.float64], rng: np.random.Generator
) -> _Terrain:
    full = Synthesis(height, width, min(height, width // 2))
    continents = full.field(Evolution(power_law(full.truncation, 3, 2.5), rng).advance(1))[0]
    rough = full.field(Evolution(power_law(full.truncation, 8, 1.5), rng).advance(1))[0]
    shore = continents + 0.1 * rough
    order = np.argsort(shore, axis=None)
    area = np.broadcast_to(np.cos(latitude)[:, None], shore.shape).ravel()[order]
    # two thirds of the area is sea
    level = shore.ravel()[order][np.searchsorted(np.cumsum(area), 0.67 * area.sum())]
    land = 1 / (1 + np.exp(-(shore - level) / 0.05))
    inland = np.clip(shore - level, 0, 1)
    elevation = land * (150 + 1200 * np.sqrt(inland) * np.exp(0.8 * rough))
    elevation = np.where(land > 0.05, elevation, 0).clip(0, 6000)
    step = 2 * EARTH_RADIUS * 2 * np.pi / width * np.cos(latitude).clip(0.2)[:, None]
    east = (np.roll(elevation, -1, 1) - np.roll(elevation, 1, 1)) / step
    north = -np.gradient(elevation, EARTH_RADIUS * np.pi / height, axis=0)
    return _Terrain(*(array.astype(np.float32) for array in (elevation, land, east, north)))


class _World:
    """Terrain and the state of the evolving flow."""

    def __init__(self, height: int, width: int, seed: int) -> None:
        self.seed = seed
        centres = np.pi / 2 - (np.arange(height) + 0.5) * np.pi / height
        self.latitude = np.degrees(centres)
        self.longitude = np.arange(width) * 360 / width
        self._phi = centres[:, None].astype(np.float32)
        terrain, *streams = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(6))
        self.terrain = _terrain(height, width, centres, terrain)
        large = min(3 * height // 8, width // 2, 32)
        self._flow = Synthesis(height, width, large)
        self._fine = Synthesis(height, width, min(height, width // 2))
        # stream function and velocity potential: their winds are l^2 flatter
        self._stream = Evolution(power_law(large, 6, 5), streams[0], 3.5, 9)
        self._potential = Evolution(power_law(large, 5, 5), streams[1], 2.5, 9)
        self._heat = Evolution(power_law(large, 5, 3.5), streams[2], 4, 7)
        self._moisture = Evolution(power_law(large, 5, 3), streams[3], 3, 7)
        small = power_law(self._fine.truncation, self._fine.truncation / 2, 2, 4)
        self._noise = Evolution(small, streams[4], 4, 7)

    def weather(self, times: NDArray[np.datetime64]) -> dict[str, Array]:
        """Give the fields of the next days, `(time, [level,] height, width)`."""
        phi, land = self._phi, self.terrain.land
        stream, potential = (e.advance(len(times)) for e in (self._stream, self._potential))
        turning, rising = 8.0e6 * stream, 3.0e6 * potential
        east, north = self._flow.gradient(turning)
        apart_east, apart_north = self._flow.gradient(rising)
        lift = -self._flow.laplacian(rising)  # convergence of the low-level wind in 1/s
        jet = np.sin(2 * phi) ** 2
        u850 = apart_east - north + 9 * jet - 6 * np.cos(phi) ** 8
        v850 = east + apart_north
        u500, v500 = 25 * jet - 1.6 * north - 0.5 * apart_east, 1.6 * east - 0.5 * apart_north
        drag = 0.75 - 0.25 * land

        pressure = 101325 - 700 * np.cos(6 * phi)
        pressure = pressure + 1.2 * 1.458e-4 * np.sin(phi) * self._flow.field(turning)
        summer = self._season(times)
        heat = self._flow.field(self._heat.advance(len(times)))
        anomaly = (1 + 2 * np.sin(phi) ** 2) * heat + 0.3 * np.sin(phi) * v850
        base = 301 - 36 * np.sin(phi) ** 2 + anomaly
        t850, t500 = base + 8 * summer - LAPSE * 1460, base + 6 * summer - LAPSE * 5570
        wet = self._flow.field(self._moisture.advance(len(times)))
        rain_belts = 0.9 * np.exp(-((phi / 0.2 - summer) ** 2)) + 0.5 * np.sin(phi) ** 2
        logit = 0.1 + rain_belts + 1.1 * wet + 4e4 * lift
        humid850 = 0.05 + 0.95 / (1 + np.exp(-logit))
        humid500 = 0.05 + 0.95 / (1 + np.exp(0.8 - 0.8 * logit))
        q850, q500 = _humidity(t850, 850, humid850), _humidity(t500, 500, humid500)
        u10, v10 = drag * u850, drag * v850
        rain = self._precipitation(q850, humid850, lift, u10, v10, summer)
        fields = {
            "2m_temperature": base
            + summer * (6 + 12 * land)
            - LAPSE * self.terrain.elevation
            + 1.0 * land * heat,
            "10m_u_component_of_wind": u10,
            "10m_v_component_of_wind": v10,
            "mean_sea_level_pressure": pressure,
            "total_precipitation_24hr": rain,
            "temperature": np.stack([t500, t850], 1),
            "specific_humidity": np.stack([q500, q850], 1),
            "u_component_of_wind": np.stack([u500, u850], 1),
            "v_component_of_wind": np.stack([v500, v850], 1),
            "geopotential": np.stack(
                [
                    # hypsometric equation with the mean temperature of the layer
                    GAS_CONSTANT * (t + LAPSE * depth / 2) * np.log(pressure / (100 * level))
                    for level, t, depth in ((500, t500, 5570), (850, t850, 1460))
                ],
                1,
            ),
        }
        return {name: field.astype(np.float32) for name, field in fields.items()}

    def _season(self, times: NDArray[np.datetime64]) -> Array:
        """Give +1 at the height of summer at the pole, -1 in winter: `(time, height, 1)`."""
        day = (times - times.astype("datetime64[Y]")).astype(int)
        wave = np.cos(2 * np.pi * (day - 200) / 365.25)[:, None, None]
        return np.asarray(wave * np.sin(self._phi), dtype=np.float32)

    def _precipitation(
        self, humidity: Array, relative: Array, lift: Array, u: Array, v: Array, summer: Array
    ) -> Array:
        """Give metres of water per day that condense in air rising by convergence and slopes.

        Rate = density x specific humidity x vertical speed, as in the upslope model of Smith
        (1979, Advances in Geophysics 21), where the speed exceeds what dry air needs.
        """
        terrain = self.terrain
        upslope = u * terrain.slope_east + v * terrain.slope_north
        # air flows around steep slopes: the speed levels off
        speed = 1500 * lift + 0.03 * np.tanh(upslope / 0.05) - 0.015 * (0.42 - relative)
        soft = 0.003
        ascent = soft * np.logaddexp(0, speed / soft)
        storms = 1 + 0.5 * terrain.land * (summer - 0.2) + 0.15 * terrain.elevation / 1000
        noise = self._fine.field(self._noise.advance(len(humidity)))
        sigma = 0.25
        scatter = np.exp(sigma * noise - sigma**2 / 2)
        return np.asarray(86.4 * humidity * relative * ascent * storms * scatter)


def _humidity(temperature: Array, level: int, relative: Array) -> Array:
    """Give the specific humidity in kg/kg; saturation after Bolton (1980)."""
    celsius = temperature - 273.15
    saturation = 6.112 * np.exp(17.67 * celsius / (celsius + 243.5))
    humidity = relative * 0.622 * saturation / (level - 0.378 * saturation)
    return np.asarray(humidity, dtype=np.float32)


def _dataset(fields: dict[str, Array], world: _World, times: NDArray[np.datetime64]) -> xr.Dataset:
    surface = ("latitude", "longitude")
    fields = {
        **fields,
        "geopotential_at_surface": (GRAVITY * world.terrain.elevation).astype(np.float32),
        "land_sea_mask": world.terrain.land,
    }
    dims = {2: surface, 3: ("time", *surface), 4: ("time", "level", *surface)}
    variables = {}
    for name, field in fields.items():
        long_name, units, short, standard = _ATTRIBUTES[name]
        attrs = {"long_name": long_name, "units": units, "short_name": short}
        if standard:
            attrs["standard_name"] = standard
        variables[name] = xr.Variable(dims[field.ndim], field, attrs)
    axis = {"long_name": "latitude", "standard_name": "latitude", "units": "degrees_north"}
    circle = {"long_name": "longitude", "standard_name": "longitude", "units": "degrees_east"}
    height = {"long_name": "pressure level", "standard_name": "air_pressure", "units": "hPa"}
    return xr.Dataset(
        variables,
        {
            "time": ("time", times.astype("datetime64[ns]"), {"standard_name": "time"}),
            "level": ("level", np.asarray(LEVELS, np.int32), {**height, "positive": "down"}),
            "latitude": ("latitude", world.latitude, axis),
            "longitude": ("longitude", world.longitude, circle),
        },
        {
            "Conventions": "CF-1.8",
            "title": "Synthetic ERA5-style weather",
            "source": "synthetic: random spherical harmonics, no observation and no reanalysis",
            "history": f"made by orbitlite.data.world.generate with seed {world.seed}",
        },
    )
