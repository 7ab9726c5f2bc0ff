import numpy as np
import pytest
import torch
import xarray as xr

from orbitlite.data import world as room
from orbitlite.data.harmonics import EARTH_RADIUS, Evolution, Synthesis, power_law
from orbitlite.data.source import harmonise, open_source
from orbitlite.data.world import generate
from orbitlite.errors import InputError
from orbitlite.grids.coarsening import coarsen
from orbitlite.grids.latlon import LatLonGrid

DAYS = 32


@pytest.fixture(scope="module")
def world() -> xr.Dataset:
    return generate(DAYS)


@pytest.fixture(scope="module")
def rain(world):
    """Precipitation in mm/day."""
    return world["total_precipitation_24hr"].values.astype(float) * 1000


def correlation(a, b):
    return np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]


def single(degree, order, value=1.0, size=8):
    coefficients = np.zeros((size, size), complex)
    coefficients[degree, order] = value
    return coefficients


def test_synthesis_matches_closed_forms_at_cell_centres():
    height, width = 16, 32
    synthesis = Synthesis(height, width, 8)
    phi = np.radians(90 - (np.arange(height) + 0.5) * 180 / height)[:, None]
    lam = np.radians(np.arange(width) * 360 / width)[None, :]
    zonal = np.sqrt(3 / (4 * np.pi)) * np.sin(phi) + 0 * lam
    np.testing.assert_allclose(synthesis.field(single(1, 0)), zonal, atol=1e-6)
    # Y_11 = -sqrt(3 / 8 pi) cos(phi) exp(i lam), and a real field holds it twice
    sector = -2 * np.sqrt(3 / (8 * np.pi)) * np.cos(phi)
    np.testing.assert_allclose(synthesis.field(single(1, 1)), sector * np.cos(lam), atol=1e-6)
    east, _ = synthesis.gradient(single(1, 1))
    expected = -sector * np.sin(lam) / (EARTH_RADIUS * np.cos(phi))
    np.testing.assert_allclose(east * 1e6, expected * 1e6, atol=1e-6)
    _, north = synthesis.gradient(single(1, 0))
    slope = np.sqrt(3 / (4 * np.pi)) * np.cos(phi) / EARTH_RADIUS
    np.testing.assert_allclose(north, slope + 0 * lam, rtol=3e-3)
    np.testing.assert_allclose(
        synthesis.laplacian(single(3, 2)),
        synthesis.field(single(3, 2)) * -12 / EARTH_RADIUS**2,
        atol=1e-18,
    )


def test_the_wind_of_a_stream_function_has_no_divergence_but_its_vorticity():
    synthesis = Synthesis(64, 128, 24)
    stream = Evolution(power_law(24, 6, 5), np.random.default_rng(1)).advance(1)[0]
    east, north = synthesis.gradient(stream)
    u, v = -north, east
    phi = np.radians(90 - (np.arange(64) + 0.5) * 180 / 64)[:, None]
    step, cosine = np.pi / 64 * EARTH_RADIUS, np.cos(phi)

    def across(field):
        return (np.roll(field, -1, 1) - np.roll(field, 1, 1)) / (2 * step * cosine)

    inner = slice(8, -8)
    divergence = (across(u) - np.gradient(v * cosine, step, axis=0) / cosine)[inner]
    vorticity = (across(v) + np.gradient(u * cosine, step, axis=0) / cosine)[inner]
    # what is left is the error of second-order differences
    assert np.std(divergence) < 0.03 * np.std(vorticity)
    assert correlation(vorticity, synthesis.laplacian(stream)[inner]) > 0.99


def test_evolution_has_unit_variance_and_the_stated_memory():
    memory = 2.5
    variance = np.zeros(9)
    variance[8] = 1
    process = Evolution(variance, np.random.default_rng(3), memory)
    field = Synthesis(16, 32, 9).field(process.advance(600))
    area = np.cos(np.radians(90 - (np.arange(16) + 0.5) * 11.25))[:, None] / 32
    assert np.mean((field**2 * area).sum((1, 2)) / area.sum() / 32) == pytest.approx(1, abs=0.1)
    # lag 2 days of e^(-2 / memory)
    assert correlation(field[2:], field[:-2]) == pytest.approx(np.exp(-2 / memory), abs=0.05)


def test_evolution_drifts_east():
    variance = power_law(8, 4, 3)
    process = Evolution(variance, np.random.default_rng(0), memory=1e6, drift=360 / 32)
    field = Synthesis(16, 32, 8).field(process.advance(2))
    np.testing.assert_allclose(field[1], np.roll(field[0], 1, axis=1), atol=0.02)


def test_layout_is_that_of_an_era5_store(world):
    assert world.sizes == {"time": DAYS, "level": 2, "latitude": 64, "longitude": 128}
    assert world["temperature"].dims == ("time", "level", "latitude", "longitude")
    assert world["level"].values.tolist() == [500, 850]
    assert world["level"].attrs["units"] == "hPa"
    assert world["latitude"].values[[0, -1]].tolist() == [90 - 180 / 128, -90 + 180 / 128]
    assert world["longitude"].values[[0, 1, -1]].tolist() == [0, 2.8125, 360 - 2.8125]
    assert world["total_precipitation_24hr"].attrs["units"] == "m"
    assert world.attrs["Conventions"].startswith("CF-")
    assert "synthetic" in world.attrs["source"]
    assert "seed 0" in world.attrs["history"]
    for field in world.data_vars.values():
        assert field.dtype == np.float32
        assert np.isfinite(field.values).all()
        assert field.attrs["long_name"]


def test_harmonise_reads_it_from_memory_and_from_netcdf(world, tmp_path):
    path = tmp_path / "world.nc"
    world.isel(time=slice(0, 3)).to_netcdf(path)
    fields = {
        "2m_temperature", "10m_u_component_of_wind", "10m_v_component_of_wind",
        "mean_sea_level_pressure", "total_precipitation_24hr", "orography",
        "land_sea_mask",
    }  # fmt: skip
    for base in ("temperature", "specific_humidity", "geopotential"):
        fields |= {f"{base}_500", f"{base}_850"}
    for wind in ("u_component_of_wind", "v_component_of_wind"):
        fields |= {f"{wind}_500", f"{wind}_850"}
    for canonical in (harmonise(world.isel(time=slice(0, 3))), open_source(path)):
        assert set(canonical.data_vars) == fields
        amount = canonical["total_precipitation_24hr"]
        assert amount.attrs["units"].startswith("mm")
        expected = world["total_precipitation_24hr"].values[:3] * 1000
        np.testing.assert_allclose(amount.values, expected, rtol=1e-5)
        np.testing.assert_array_equal(
            canonical["temperature_850"].values, world["temperature"].sel(level=850).values[:3]
        )


def test_fields_lie_in_the_range_of_the_earths(world):
    ranges = {
        "2m_temperature": (180, 325),
        "mean_sea_level_pressure": (92000, 109000),
        "specific_humidity": (0, 0.03),
        "u_component_of_wind": (-100, 120),
        "geopotential": (5000, 62000),
        "geopotential_at_surface": (0, 6001 * 9.81),
        "land_sea_mask": (0, 1),
    }
    for name, (low, high) in ranges.items():
        assert low <= world[name].min() <= world[name].max() <= high, name
    height = world["geopotential"].mean(("time", "longitude")) / 9.80665
    assert 5000 < height.sel(level=500).mean() < 5900
    assert 1100 < height.sel(level=850).mean() < 1700


def test_rain_is_mostly_absent_and_heavy_tailed(rain):
    assert rain.min() >= 0
    assert 0.55 <= np.mean(rain < 1) <= 0.70
    assert np.quantile(rain, 0.999) > 10 * rain.mean()
    assert 1 < rain.mean() < 4


def test_weather_decorrelates_within_days(world, rain):
    pressure = world["mean_sea_level_pressure"].values.astype(float)
    pressure = pressure - pressure.mean(axis=(0, 2))[:, None]
    assert correlation(pressure[1:], pressure[:-1]) > 0.4
    assert abs(correlation(pressure[12:], pressure[:-12])) < 0.25
    assert correlation(rain[1:], rain[:-1]) > 0.3


def test_moisture_follows_height_latitude_and_season(world):
    wet = world["specific_humidity"].mean(("time", "longitude"))
    low, high = wet.sel(level=850).values, wet.sel(level=500).values
    assert np.all(low > high)
    # January: the dry pole is in the dark
    assert low[28:36].mean() > 5 * low[-8:].mean() > 5 * low[:8].mean()
    warm = world["temperature"].mean(("time", "longitude"))
    assert np.all(warm.sel(level=850) - warm.sel(level=500) > 15)


def test_rain_below_the_coarse_grid_follows_from_the_weather_and_the_terrain(world, rain):
    """A fifth of it is chance, so that much a perfect network cannot know."""

    class Certain(room._World):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            variance = np.zeros(self._fine.truncation)
            self._noise = Evolution(variance, np.random.default_rng(0))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "_World", Certain)
        certain = generate(DAYS)["total_precipitation_24hr"].values.astype(float) * 1000
    edges = np.linspace(90, -90, 65), np.linspace(-1.40625, 358.59375, 129)
    grid = LatLonGrid.from_edges(*edges)
    fine = xr.DataArray(rain, dims=("time", "lat", "lon"))
    means = coarsen(fine, grid, 4).values.repeat(4, 1).repeat(4, 2)
    below = ((rain - means) ** 2 * grid.weights).sum((1, 2)).mean()
    chance = ((rain - certain) ** 2 * grid.weights).sum((1, 2)).mean()
    spread = ((rain - rain.mean()) ** 2 * grid.weights).sum((1, 2)).mean()
    assert 0.10 < chance / below < 0.25
    assert below > 0.25 * spread


def test_seasons_are_opposite():
    january, july = (
        generate(3, 32, 64, start=f"2001-{month}-15")["2m_temperature"]
        .mean(("time", "longitude"))
        .values
        for month in ("01", "07")
    )
    assert np.all((july - january)[3:10] > 3)
    assert np.all((january - july)[-10:-3] > 3)


def test_same_seed_gives_the_same_bits_and_days_do_not_matter():
    first, again = generate(5, 32, 64, seed=7), generate(5, 32, 64, seed=7)
    xr.testing.assert_identical(first, again)
    longer = generate(40, 32, 64, seed=7)
    xr.testing.assert_identical(first, longer.isel(time=slice(0, 5)))
    other = generate(5, 32, 64, seed=8)
    name = "total_precipitation_24hr"
    assert abs(correlation(first["land_sea_mask"], other["land_sea_mask"])) < 0.5
    assert not np.array_equal(first[name], other[name])


def test_threads_do_not_matter():
    before = torch.get_num_threads()
    worlds = []
    for count in (1, 3):
        torch.set_num_threads(count)
        worlds.append(generate(3, 32, 64))
        assert torch.get_num_threads() == count
    torch.set_num_threads(before)
    xr.testing.assert_identical(*worlds)


@pytest.mark.slow
def test_a_world_of_three_quarters_of_a_degree():
    fine = generate(3, 256, 512)
    rain = fine["total_precipitation_24hr"].values * 1000
    assert rain.shape == (3, 256, 512)
    assert 0.55 < np.mean(rain < 1) < 0.75
    assert np.quantile(rain, 0.999) > 10 * rain.mean()
    xr.testing.assert_identical(fine.isel(time=slice(0, 1)), generate(1, 256, 512))


def test_it_rains_on_the_windward_side(world, rain):
    height = world["geopotential_at_surface"].values / 9.80665
    latitude = np.radians(world["latitude"].values)[:, None]
    cell = np.radians(360 / 128) * EARTH_RADIUS
    east = (np.roll(height, -1, 1) - np.roll(height, 1, 1)) / (2 * cell * np.cos(latitude))
    north = -np.gradient(height, cell, axis=0)
    upslope = (
        world["10m_u_component_of_wind"].values * east
        + world["10m_v_component_of_wind"].values * north
    )
    steep = np.abs(upslope) > 0.005
    steep[:, np.abs(np.degrees(latitude[:, 0])) > 60] = False
    assert correlation(upslope[steep], np.log(rain[steep] + 0.1)) > 0.3
    assert rain[steep & (upslope > 0)].mean() > 2 * rain[steep & (upslope < 0)].mean()


def test_terrain_has_a_power_law_spectrum_and_land_a_third_of_the_area(world):
    middle = world["geopotential_at_surface"].values[16:48] / 9.80665
    power = (np.abs(np.fft.rfft(middle, axis=1)) ** 2).mean(0)
    wave = np.arange(4, 48)
    slope, _ = np.polyfit(np.log(wave), np.log(power[wave]), 1)
    assert -3 < slope < -1
    land = world["land_sea_mask"].weighted(np.cos(np.radians(world["latitude"]))).mean()
    assert 0.28 < land < 0.38
    assert world["geopotential_at_surface"].where(world["land_sea_mask"] < 0.05, 0).max() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"days": 0}, "at least 1 day"),
        ({"height": 8}, "16 x 32"),
        ({"start": "tomorrow"}, "2000-01-01"),
    ],
)
def test_impossible_worlds_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        generate(**arguments)
