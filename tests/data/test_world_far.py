"""The synthetic world with more levels, and with rain that depends on what is far away."""

import numpy as np
import pytest
import xarray as xr

from orbitlite.data.teleconnection import Teleconnection
from orbitlite.data.world import generate
from orbitlite.errors import InputError

DAYS, STRENGTH = 40, 0.6
LEVELS = [300, 500, 700, 850]
RAIN = "total_precipitation_24hr"
KNOWN = {  # standard deviations before there were options
    "total_precipitation_24hr": 0.00209776177,
    "temperature": 18.6653214,
    "specific_humidity": 0.00300843614,
    "u_component_of_wind": 10.0681926,
    "v_component_of_wind": 5.0688492,
    "geopotential": 19995.1174,
}


@pytest.fixture(scope="module")
def plain() -> xr.Dataset:
    return generate(DAYS, 32, 64, levels=LEVELS)


@pytest.fixture(scope="module")
def far() -> xr.Dataset:
    return generate(DAYS, 32, 64, levels=LEVELS, teleconnection=STRENGTH)


@pytest.fixture(scope="module")
def connection(plain) -> Teleconnection:
    return Teleconnection(
        plain["latitude"].values, plain["longitude"].values, STRENGTH, np.random.default_rng(0)
    )


def test_without_options_the_world_is_what_it_was():
    usual = generate(3, 16, 32)
    xr.testing.assert_identical(usual, generate(3, 16, 32, levels=(500, 850), teleconnection=0))
    found = {name: float(usual[name].astype(float).std()) for name in KNOWN}
    assert found == pytest.approx(KNOWN, rel=1e-5)


def test_levels_of_the_usual_world_are_parts_of_it():
    usual, other = generate(2, 16, 32), generate(2, 16, 32, levels=[850, 500])
    xr.testing.assert_identical(usual.sel(level=[850, 500]), other)


def test_rain_and_moisture_aloft_are_all_that_changes(plain, far):
    changed = {name for name in plain if not np.array_equal(plain[name], far[name])}
    assert changed == {RAIN, "specific_humidity"}
    humidity = "specific_humidity"
    low = (world[humidity].sel(level=850).values for world in (plain, far))
    np.testing.assert_array_equal(*low)


def test_rain_changes_as_stated(plain, far):
    share = (far[RAIN] / plain[RAIN]).values.astype(float)
    # what rain does opposite to the pools at 120 and 300 degrees east gives the two indices
    phi = np.radians(plain["latitude"].values)[:, None]
    lam = np.radians(plain["longitude"].values)[None, :]
    towards = {300: np.cos(phi) * np.cos(lam - np.radians(300))}
    towards[120] = -towards[300]
    place = {
        east: np.unravel_index(cosine.argmax(), cosine.shape) for east, cosine in towards.items()
    }
    sinking = np.zeros(share.shape)
    for east, cosine in towards.items():
        index = np.arctanh((1 - share[:, *place[east]]) / STRENGTH) / 1.5 / cosine[place[east]]
        assert 0.5 < index.std() < 1.5
        sinking += index[:, None, None] * cosine.clip(0)
    np.testing.assert_allclose(share, 1 - STRENGTH * np.tanh(1.5 * sinking), atol=1e-4)


def test_moist_air_over_a_pool_takes_rain_away_opposite(connection):
    share = connection.share(np.array([[2, 0], [0, -1]], np.float32))
    latitude, longitude = 15, 53  # 2.8 degrees north, 298.1 degrees east
    cosine = np.cos(np.radians(2.8125)) * np.cos(np.radians(1.875))
    expected = 1 - STRENGTH * np.tanh(1.5 * 2 * cosine), 1
    np.testing.assert_allclose(share[:, latitude, longitude], expected, rtol=1e-5)
    # 180 degrees on
    expected = 1, 1 + STRENGTH * np.tanh(1.5 * cosine)
    np.testing.assert_allclose(share[:, latitude, longitude - 32], expected, rtol=1e-5)


def test_air_over_a_pool_is_moist_where_little_rain_falls_opposite(plain, far):
    share = (far[RAIN] / plain[RAIN]).sel(latitude=0, method="nearest")
    moister = (far - plain)["specific_humidity"].sel(level=500).sel(latitude=0, method="nearest")
    for here, opposite in ((120, 300), (300, 120)):
        dry = 1 - share.sel(longitude=opposite, method="nearest")
        wet = moister.sel(longitude=here, method="nearest")
        np.testing.assert_array_equal(np.sign(dry), np.sign(wet))


def test_a_pool_does_not_reach_where_its_air_sinks(connection):
    for pool, opposite in zip(connection.pools, connection.opposite, strict=True):
        assert pool[opposite > 0].max() < 1e-4
        assert 0.98 < pool.max() <= 1
        assert 0.99 < opposite.max() <= 1


def test_an_index_has_unit_variance_and_remembers_four_days(connection):
    found = connection.advance(20000)
    np.testing.assert_allclose(found.mean(0), 0, atol=0.06)
    np.testing.assert_allclose(found.std(0), 1, atol=0.05)
    first, second = found.T
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.06
    assert np.corrcoef(first[4:], first[:-4])[0, 1] == pytest.approx(np.exp(-1), abs=0.05)


def test_same_seed_gives_the_same_bits_and_days_do_not_matter(plain, far):
    again = generate(35, 32, 64, levels=LEVELS, teleconnection=STRENGTH)
    xr.testing.assert_identical(again, far.isel(time=slice(0, 35)))

    def share(seed):
        options = {"days": 1, "height": 32, "width": 64, "seed": seed, "levels": LEVELS}
        return generate(**options, teleconnection=STRENGTH)[RAIN] / generate(**options)[RAIN]

    assert float(abs(share(1) - share(0)).max()) > 0.1


def test_what_a_level_holds_does_not_depend_on_the_others(plain):
    fewer = generate(2, 32, 64, levels=[850, 300])
    xr.testing.assert_identical(fewer, plain.isel(time=slice(0, 2)).sel(level=[850, 300]))


def test_levels_are_in_order_and_differ_in_moisture(plain):
    assert plain["level"].values.tolist() == LEVELS
    column = plain.mean(("time", "latitude", "longitude"))
    assert np.all(np.diff(column["temperature"]) > 5)
    assert np.all(np.diff(column["specific_humidity"]) > 0)
    assert np.all(np.diff(column["geopotential"]) < 0)
    assert np.all(np.diff(column["u_component_of_wind"]) < 0)

    def alike(world, first, second):
        moisture = world["specific_humidity"] / world["specific_humidity"].mean("time")
        return float(xr.corr(moisture.sel(level=first), moisture.sel(level=second)))

    assert alike(generate(DAYS, 32, 64), 500, 850) > 0.8
    assert 0.2 < alike(plain, 500, 850) < 0.7
    assert 0.2 < alike(plain, 300, 700) < 0.7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"levels": []}, "different whole numbers of hPa from 200 to 1000, not \\[\\]"),
        ({"levels": [500, 500]}, "different whole numbers"),
        ({"levels": [100]}, "from 200 to 1000"),
        ({"levels": [500.5]}, "whole numbers"),
        ({"levels": 500}, "not 500"),
        ({"levels": "500"}, "not '500'"),
        ({"teleconnection": -0.1}, "share from 0 to 1, not -0.1"),
        ({"teleconnection": 1.5}, "not 1.5"),
        ({"teleconnection": float("nan")}, "not nan"),
        ({"teleconnection": "strong"}, "not 'strong'"),
        ({"teleconnection": True}, "not True"),
    ],
)
def test_options_out_of_range_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        generate(1, 16, 32, **arguments)
