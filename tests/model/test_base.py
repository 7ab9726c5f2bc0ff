"""Corrections of amounts: in parts of what falls around, bounded, whatever the unit of rain."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orbitlite.batch import Batch
from orbitlite.model.base import Base, TargetNorm
from orbitlite.model.downscaler import Downscaler, DownscalerConfig

RAIN, WARM = "total_precipitation_24hr", "2m_temperature"
WRAPS = torch.tensor([False])


def norm():
    flags = torch.tensor([True, False])
    return TargetNorm(torch.tensor([0.5, 280.0]), torch.tensor([1.0, 12.0]), flags, flags)


def fields(height=5, width=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rain = 30 * torch.rand(1, 1, height, width, generator=generator) ** 4
    return torch.cat([rain, 270 + 20 * torch.rand(1, 1, height, width, generator=generator)], dim=1)


def base(coarse, factor=3):
    return Base.of(coarse, factor, WRAPS, norm(), torch.tensor([0.5, 0.5]))


def test_unit_is_the_largest_amount_around():
    coarse = torch.zeros(1, 2, 9, 9)
    coarse[0, 0, 4, 4] = 7.0
    unit = base(coarse).unit
    centres = unit[0, 0, 1::3, 1::3]
    # by loops over the neighbours of each cell
    for row in range(9):
        for column in range(9):
            near = max(abs(row - 4), abs(column - 4)) <= 1
            assert float(centres[row, column]) == pytest.approx(7.0 if near else 0, abs=1e-4)
    assert (unit[0, 1] == 12.0).all()  # of temperature: its standard deviation


def test_unit_where_the_target_is_missing_is_the_typical_change():
    coarse = torch.full((1, 2, 4, 4), torch.nan)
    found = base(coarse)
    torch.testing.assert_close(found.unit[0, 0], torch.full((12, 12), 1.5).exp().sub(1))
    assert not found.relative.any()
    assert torch.isfinite(found.maps).all()


@given(st.floats(1e-3, 1e3))
def test_relative_maps_do_not_know_the_unit_of_rain(factor):
    coarse = fields()
    scaled = coarse.clone()
    scaled[:, 0] *= factor
    one, other = base(coarse), base(scaled)
    torch.testing.assert_close(other.values[:, 0], factor * one.values[:, 0], rtol=1e-4, atol=1e-6)
    for column in (2, 4):  # in units, and the bend in units
        torch.testing.assert_close(other.maps[:, column], one.maps[:, column], rtol=1e-2, atol=2e-3)


@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_corrections_are_bounded(gain, offset):
    coarse, factor = fields(), 3
    found = base(coarse, factor)
    shape = (1, 1, 2, 15, 21)
    out = found.corrected(torch.full(shape, gain), torch.full(shape, offset), norm(), factor)
    size = torch.maximum(found.values, found.unit)[:, None, 0]
    assert (out[:, :, 0] <= (2 * 9 + 1) * size + 1e-3).all()
    warm = found.values[:, None, 1]
    expected = warm + gain * (warm - 280) + offset * 12
    torch.testing.assert_close(out[:, :, 1], expected, rtol=1e-4, atol=0.1)


def test_a_small_correction_is_taken_as_it_is():
    found, shape = base(fields()), (1, 1, 2, 15, 21)
    out = found.corrected(torch.full(shape, 1e-3), torch.full(shape, -2e-3), norm(), 3)
    expected = found.values[:, 0] * 1.001 - 2e-3 * found.unit[:, 0]
    torch.testing.assert_close(out[:, 0, 0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("constraint", ["nonnegative", "conserve"])
def test_no_rain_falls_where_none_is_in_reach(constraint):
    torch.manual_seed(0)
    config = DownscalerConfig(
        inputs=[RAIN, WARM], statics=(), factor=3, embed_dim=16, num_heads=2, depth=1,
        patch_size=1, constraint=constraint,
    )  # fmt: skip
    model = Downscaler(config).eval()
    torch.nn.init.normal_(model.decoder.out.weight, std=1.0)
    coarse = fields(12, 12)
    coarse[:, 0] = 0
    coarse[:, 0, 2, 2] = 40.0
    edges = torch.linspace(50, 38, 13)[None], torch.linspace(0, 12, 13)[None]
    fine = model(Batch(coarse=coarse, lat_edges=edges[0], lon_edges=edges[1]))[0, 0, 0]
    assert fine[:12, :12].max() > 1
    far = fine.clone()
    far[:15, :15] = 0
    assert far.max() < 1e-3
    assert fine.max() <= (2 * 9 + 1) * 40.0 * 1.1
