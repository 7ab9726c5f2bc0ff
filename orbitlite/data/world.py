"""The embedded default data: a synthetic ERA5-style world on the sphere, made in seconds.

No measurement is in it. Random spherical harmonics give the terrain and a flow that lives a few
days; from these follow, by textbook relations, pressure, temperature, humidity, and precipitation
as condensation in ascending moist air. Ascent over the terrain uses the terrain of the fine grid,
so that most of what a coarse grid cannot show follows from coarse weather and fine terrain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orbitlite.data.air import LAPSE, Air
from orbitlite.data.antipodes import Antipodes
from orbitlite.data.harmonics import EARTH_RADIUS, Evolution, Synthesis, power_law
from orbitlite.data.teleconnection import Teleconnection
from orbitlite.errors import InputError

GRAVITY = 9.80665
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
    days: int = 400,
    height: int = 64,
    width: int = 128,
    seed: int = 0,
    start: str = "2000-01-01",
    levels: Sequence[int] = LEVELS,
    teleconnection: float = 0.0,
    centres: str = "pools",
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
    levels : sequence of int
        Pressure levels in hPa, from 200 to 1000. 500 and 850 have their moisture in common; where
        there are others, each has moist and dry layers of its own besides.
    teleconnection : float
        Share of the rain, from 0 to 1, that hangs on how moist the air above 850 hPa is on the
        other side of the globe. Rain and that moisture are all that it changes.
    centres : {"pools", "everywhere"}
        Where that moisture counts: in two pools of the tropics (see `Teleconnection`), or for each
        place in the one opposite to it (see `Antipodes`).

    Returns
    -------
    xr.Dataset
        float32 variables with ERA5's long names on `(time, latitude, longitude)`, those on levels
        on `(time, level, latitude, longitude)`, and the static `geopotential_at_surface` and
        `land_sea_mask`. Latitude descends. `orbitlite.data.source.harmonise` reads it.

    Raises
    ------
    InputError
        If there is no day, the grid is smaller than 16 x 32, `start` is no date, a level or the
        teleconnection is out of range, or the centres are not known or do not fit the grid.
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
    _check_options(levels, teleconnection)
    _check_centres(centres, width)
    world = _World(height, width, seed, tuple(levels), teleconnection, centres)
    size = min(32, max(1, _CELLS // (height * width)))
    batches = [
        world.weather(times[0] + np.arange(first, first + size)) for first in range(0, days, size)
    ]
    fields = {
        name: np.concatenate([batch[name] for batch in batches])[:days] for name in batches[0]
    }
    return _dataset(fields, world, times)


def _check_options(levels: Any, teleconnection: Any) -> None:
    whole = isinstance(levels, Sequence) and all(isinstance(level, int) for level in levels)
    within = whole and all(200 <= level <= 1000 for level in levels)
    if not within or not levels or len({*levels}) < len(levels):
        raise InputError(
            "The levels of a synthetic world should be different whole numbers of hPa from 200 to "
            f"1000, not {levels!r}."
        )
    known = isinstance(teleconnection, Real) and not isinstance(teleconnection, bool)
    if not (known and 0 <= teleconnection <= 1):
        raise InputError(
            "The teleconnection of a synthetic world should be a share from 0 to 1, not "
            f"{teleconnection!r}."
        )


def _check_centres(centres: Any, width: int) -> None:
    if centres not in ("pools", "everywhere"):
        raise InputError(
            f"The centres of a synthetic world should be pools or everywhere, not {centres!r}."
        )
    if centres == "everywhere" and width % 2:
        raise InputError(
            "With centres everywhere a synthetic world needs an even width, so that each cell has "
            f"one opposite to it; found {width}."
        )


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

    def __init__(
        self,
        height: int,
        width: int,
        seed: int,
        levels: tuple[int, ...],
        teleconnection: float,
        centres: str,
    ) -> None:
        self.seed, self.levels = seed, levels
        phi = np.pi / 2 - (np.arange(height) + 0.5) * np.pi / height
        self.latitude = np.degrees(phi)
        self.longitude = np.arange(width) * 360 / width
        self._phi = phi[:, None].astype(np.float32)
        terrain, *streams = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(6))
        self.terrain = _terrain(height, width, phi, terrain)
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
        self._layers = {
            level: Evolution(power_law(large, 5, 3), self._draws(level), 3, 7)
            for level in (() if {*levels} <= {*LEVELS} else levels)
        }
        self._far: Teleconnection | Antipodes | None = None
        if teleconnection:
            draws = self._draws(len(streams) + 1)
            self._far = (
                Teleconnection(self.latitude, self.longitude, teleconnection, draws)
                if centres == "pools"
                else Antipodes(height, width, teleconnection, draws)
            )

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
        moist = None if self._far is None else self._far.advance(len(times))
        wet = self._wet(len(times), moist)
        rain_belts = 0.9 * np.exp(-((phi / 0.2 - summer) ** 2)) + 0.5 * np.sin(phi) ** 2

        def air(level: int) -> Air:
            moisture = 0.1 + rain_belts + wet[level] + 4e4 * lift
            return Air.at(level, base, summer, moisture, (u850, v850), (u500, v500))

        u10, v10 = drag * u850, drag * v850
        low, aloft = air(850), [air(level) for level in self.levels]
        rain = self._precipitation(low.specific, low.relative, lift, u10, v10, summer)
        if self._far is not None and moist is not None:
            rain = rain * self._far.share(moist)
        fields = {
            "2m_temperature": base
            + summer * (6 + 12 * land)
            - LAPSE * self.terrain.elevation
            + 1.0 * land * heat,
            "10m_u_component_of_wind": u10,
            "10m_v_component_of_wind": v10,
            "mean_sea_level_pressure": pressure,
            "total_precipitation_24hr": rain,
            "temperature": np.stack([one.temperature for one in aloft], 1),
            "specific_humidity": np.stack([one.specific for one in aloft], 1),
            "u_component_of_wind": np.stack([one.wind[0] for one in aloft], 1),
            "v_component_of_wind": np.stack([one.wind[1] for one in aloft], 1),
            "geopotential": np.stack([one.geopotential(pressure) for one in aloft], 1),
        }
        return {name: field.astype(np.float32) for name, field in fields.items()}

    def _wet(self, days: int, moist: Array | None) -> dict[int, Array]:
        """Give the anomaly of moisture on each level, as a logit `(time, height, width)`."""
        shared = 1.1 * self._flow.field(self._moisture.advance(days))
        found = dict.fromkeys((850, *self.levels), shared)
        for level, layer in self._layers.items():
            found[level] = shared + 1.5 * self._flow.field(layer.advance(days))
        if self._far is not None and moist is not None:
            moister = self._far.moistening(moist)
            found |= {level: wet + moister for level, wet in found.items() if level < 850}
        return found

    def _draws(self, key: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(key,)))

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
            "level": ("level", np.asarray(world.levels, np.int32), {**height, "positive": "down"}),
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
