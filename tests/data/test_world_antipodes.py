"""The synthetic world whose rain depends, in each place, on the air at the opposite end."""

import numpy as np
import pytest
import xarray as xr

from orbitlite.data.antipodes import Antipodes
from orbitlite.data.world import generate
from orbitlite.errors import InputError

LEVELS = [300, 500, 850]
RAIN, HUMIDITY = "total_precipitation_24hr", "specific_humidity"
OPTIONS = {"days": 20, "height": 32, "width": 64, "levels": LEVELS}


@pytest.fixture(scope="module")
def plain() -> xr.Dataset:
    return generate(**OPTIONS)


@pytest.fixture(scope="module")
def far() -> xr.Dataset:
    return generate(**OPTIONS, teleconnection=0.6, centres="everywhere")


def connection(seed=0):
    return Antipodes(32, 64, 0.6, np.random.default_rng(seed))


def test_rain_and_moisture_aloft_are_all_that_changes(plain, far):
    changed = {name for name in plain if not np.array_equal(plain[name], far[name])}
    assert changed == {RAIN, HUMIDITY}
    low = (world[HUMIDITY].sel(level=850).values for world in (plain, far))
    np.testing.assert_array_equal(*low)


def test_little_rain_falls_where_the_opposite_air_is_moist(plain, far):
    share = (far[RAIN] / plain[RAIN]).values
    moister = (far - plain)[HUMIDITY].sel(level=500)
    for latitude, longitude in ((2.8125, 0.0), (47.8125, 112.5), (-30.9375, 275.625)):
        here = share[:, *places(far, latitude, longitude)]
        there = moister.values[:, *places(far, -latitude, (longitude + 180) % 360)]
        np.testing.assert_array_equal(np.sign(1 - here), np.sign(there))
        own = moister.values[:, *places(far, latitude, longitude)]
        assert np.mean(np.sign(1 - here) == np.sign(own)) < 1


def places(world, latitude, longitude):
    """Row and column of a cell by its centre."""
    named = {"latitude": latitude, "longitude": longitude}
    return tuple(abs(world[name].values - value).argmin() for name, value in named.items())


def test_share_of_a_known_field():
    moist = np.zeros((1, 32, 64), np.float32)
    moist[0, 3, 5] = 2  # the opposite cell is 31 - 3, 5 + 32
    expected = np.ones((1, 32, 64))
    expected[0, 28, 37] = 1 - 0.6 * np.tanh(1.5 * 2)
    np.testing.assert_allclose(connection().share(moist), expected, rtol=1e-6)
    np.testing.assert_allclose(connection().moistening(moist), 2 * moist)


def test_neither_the_globe_nor_the_place_itself_tells():
    moist = connection().advance(1500).astype(float)
    weight = np.cos(np.radians(90 - (np.arange(32) + 0.5) * 180 / 32))[:, None]
    weight = np.broadcast_to(weight / weight.sum() / 64, moist.shape[1:])
    np.testing.assert_allclose((moist * weight).sum((1, 2)), 0, atol=0.01)
    assert ((moist**2) * weight).sum((1, 2)).mean() == pytest.approx(1, abs=0.05)
    there = np.roll(moist[:, ::-1], 32, axis=2)
    assert ((moist * there) * weight).sum((1, 2)).mean() == pytest.approx(0, abs=0.05)
    later = (moist[4:] * moist[:-4] * weight).sum((1, 2)).mean()
    assert later == pytest.approx(np.exp(-1), abs=0.1)


def test_same_seed_gives_the_same_bits_and_days_do_not_matter(far):
    fewer = generate(**{**OPTIONS, "days": 3}, teleconnection=0.6, centres="everywhere")
    xr.testing.assert_identical(fewer, far.isel(time=slice(0, 3)))
    assert not np.allclose(connection(0).advance(1), connection(1).advance(1))


def test_centres_are_pools_if_nothing_is_stated():
    stated = generate(2, 16, 32, teleconnection=0.8, centres="pools")
    xr.testing.assert_identical(stated, generate(2, 16, 32, teleconnection=0.8))
    # before there were others
    assert float(stated[RAIN].astype(float).mean()) == pytest.approx(0.0010117306, rel=1e-5)


@pytest.mark.parametrize("centres", ["nowhere", None, ["pools"]])
def test_other_centres_are_refused(centres):
    with pytest.raises(InputError, match="should be pools or everywhere, not"):
        generate(1, 16, 32, centres=centres)


def test_each_cell_needs_an_opposite_one():
    with pytest.raises(InputError, match=r"an even width.*found 33"):
        generate(1, 16, 33, teleconnection=0.8, centres="everywhere")
