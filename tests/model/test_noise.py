"""Noise: normal, independent, and a function of seed, member, time, place and channel alone."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from orbitlite.batch import Batch
from orbitlite.model.geometry import LatLon
from orbitlite.model.noise import Draw, Noise, mixed

LAT = torch.linspace(90, -90, 33, dtype=torch.float64)
LON = torch.linspace(0, 360, 65, dtype=torch.float64)


def noise(draw=None, time=(0.0,), lat=LAT, lon=LON):
    count = len(time)
    batch = Batch(torch.zeros(count, 1, 1, 1), time=torch.tensor(time, dtype=torch.float64))
    return Noise.of(draw or Draw.of(), batch, LatLon(lat.expand(count, -1), lon.expand(count, -1)))


def splitmix(seed, count):
    """Return numbers of the reference generator, in Python's integers."""
    found, whole = [], 2**64
    for step in range(1, count + 1):
        z = (seed + step * 0x9E3779B97F4A7C15) % whole
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % whole
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % whole
        found.append(z ^ (z >> 31))
    return found


@given(st.integers(-(2**63), 2**63 - 1))
def test_the_hash_is_the_first_number_of_splitmix(seed):
    assert int(mixed(torch.tensor(seed))) % 2**64 == splitmix(seed, 1)[0]


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_normal(seed, scale):
    values = noise(Draw.of(seed, range(4)), (0.0, 86400.0)).maps(6, scale).double().flatten()
    assert stats.kstest(values.numpy(), "norm").pvalue > 1e-3
    count = len(values)
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        error = 4 * (variance / count) ** 0.5
        assert abs(float((values**power).mean()) - moment) < error


def correlation(one, other):
    return float(np.corrcoef(one.flatten(), other.flatten())[0, 1]) * one.numel() ** 0.5


def test_uncorrelated_in_space_time_member_channel_and_scale():
    """Correlations, over their standard error, of every pair that could be alike."""
    whole = noise(Draw.of(0, range(3)), (0.0, 1.0, 86400.0))
    fine = whole.maps(4, 2).view(3, 3, 4, 64, 128)  # times, members, channels
    pairs = [
        (fine[..., 1:, :], fine[..., :-1, :]),
        (fine[..., 1:], fine[..., :-1]),
        (fine[..., 1:, 1:], fine[..., :-1, :-1]),
        (fine[..., 2:, :], fine[..., :-2, :]),
        (fine[..., ::2], fine[..., 1::2]),
        (fine[0], fine[1]), (fine[0], fine[2]), (fine[1], fine[2]),
        (fine[:, 0], fine[:, 1]), (fine[:, 1], fine[:, 2]),
        (fine[:, :, 0], fine[:, :, 1]), (fine[:, :, 1], fine[:, :, 2]),
        (fine[:, :, 0].square(), fine[:, :, 1].square()),  # of one hash
        (fine[..., ::2, ::2], whole.maps(4, 1).view(3, 3, 4, 32, 64)),
        (fine, noise(Draw.of(1, range(3)), (0.0, 1.0, 86400.0)).maps(4, 2).view_as(fine)),
    ]  # fmt: skip
    for one, other in pairs:
        assert abs(correlation(one, other)) < 4.5


def test_a_member_does_not_depend_on_the_others():
    whole = noise(Draw.of(3, range(50))).maps(3, 2)
    few = noise(Draw.of(3, range(10))).maps(3, 2)
    assert torch.equal(whole[7], few[7])
    assert torch.equal(noise(Draw.of(3, [7])).maps(3, 2)[0], few[7])
    assert torch.equal(noise(Draw.of(3, range(10))[5:8]).maps(3, 2), few[5:8])


def test_a_channel_does_not_depend_on_their_number():
    assert torch.equal(noise().maps(7, 2)[:, :3], noise().maps(3, 2))


@given(st.integers(0, 31), st.integers(1, 32), st.integers(0, 63), st.integers(1, 64))
def test_a_window_has_the_numbers_of_the_whole(row, height, column, width):
    """Windows go on across the first meridian, as tiles do."""
    lat = LAT[row : row + height + 1]
    around = torch.cat([LON, LON[1:] + 360])
    lon = around[column : column + width + 1]
    whole = noise().maps(2, 3)
    found = noise(lat=lat, lon=lon).maps(2, 3)
    wanted = torch.cat([whole, whole], dim=-1)
    rows, columns = slice(3 * row, 3 * (row + len(lat) - 1)), slice(3 * column, None)
    assert torch.equal(found, wanted[..., rows, columns][..., : 3 * width])


@pytest.mark.parametrize("spacing", [0.25, 0.1, 0.05, 1 / 120, 2.5, 1.40625])
def test_rounding_of_coordinates_does_not_change_numbers(spacing):
    """Coordinates that differ in their last digits, around the first meridian and elsewhere."""
    for west in (-10 * spacing, -10.5 * spacing, 5.0, 355.0):  # the second: a centre at zero
        lon = west + spacing * torch.arange(41, dtype=torch.float64)
        lat = 40 - spacing * torch.arange(9, dtype=torch.float64)
        for scale in (1, 4):
            expected = noise(lat=lat, lon=lon).maps(1, scale)
            for turn, error in itertools.product((-360.0, 0.0, 360.0), (-1e-13, 1e-13)):
                other = (lon + turn) * (1 + 2e-16) + error
                assert torch.equal(noise(lat=lat + error, lon=other).maps(1, scale), expected)


def test_times_and_samples():
    both = noise(time=(5.0, 9.0)).maps(2, 2)
    assert torch.equal(noise(time=(9.0, 5.0)).maps(2, 2), both.flip(0))
    none = Noise.of(Draw.of(), Batch(torch.zeros(1, 1, 1, 1)), LatLon(LAT[None], LON[None]))
    assert torch.equal(none.maps(2, 2), noise(time=(0.0,)).maps(2, 2))
