"""Interpolation against SciPy, with wrap and with missing cells."""

import numpy as np
import pytest
import torch
from scipy.interpolate import RegularGridInterpolator

from orbitlite.model import interpolation
from orbitlite.model.interpolation import pad, spans_globe, upsample


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("wraps", [False, True])
def test_bilinear_equals_scipy(factor, wraps):
    values = np.random.default_rng(0).normal(size=(5, 8))
    extended = np.concatenate([values[:, -1:], values, values[:, :1]], axis=1)
    if not wraps:
        extended[:, 0], extended[:, -1] = values[:, 0], values[:, -1]
    extended = np.concatenate([extended[:1], extended, extended[-1:]])
    oracle = RegularGridInterpolator((np.arange(-1, 6), np.arange(-1, 9)), extended)
    y, x = ((np.arange(n * factor) + 0.5) / factor - 0.5 for n in (5, 8))
    expected = oracle(np.stack(np.meshgrid(y, x, indexing="ij"), -1))
    found = upsample(torch.from_numpy(values)[None, None], factor, torch.tensor([wraps]))
    np.testing.assert_allclose(found[0, 0], expected, atol=1e-12)


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_missing_cells_leave_a_constant_alone(mode):
    x = torch.full((1, 1, 5, 6), 3.0)
    x[0, 0, 2, 2:4] = torch.nan
    found = upsample(x, 4, torch.tensor([True]), mode)
    known = torch.isfinite(found)
    torch.testing.assert_close(found[known], torch.full_like(found[known], 3.0))
    assert known.float().mean() > 0.8


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("factor", [1, 2, 3, 5, 7, 16])
def test_whole_fields_are_the_same_to_the_bit_where_nobody_asks(monkeypatch, mode, factor):
    x, wraps = torch.rand(2, 3, 5, 6) * 100, torch.tensor([True, False])
    plain = upsample(x, factor, wraps, mode)
    monkeypatch.setattr(interpolation, "_readable", lambda x: False)
    assert torch.equal(upsample(x, factor, wraps, mode), plain)
    gap = x.clone()
    gap[0, :, 2, 2:4] = torch.nan
    found = upsample(gap, factor, wraps, mode)
    assert torch.equal(found[1], plain[1])  # whole, beside one with a gap
    assert not torch.equal(found[0], plain[0])


def test_pad_treats_each_sample_by_its_own_grid():
    x = torch.arange(12.0).view(1, 1, 3, 4).expand(2, -1, -1, -1)
    found = pad(x, 1, torch.tensor([True, False]))
    assert found[0, 0, 1].tolist() == [3, 0, 1, 2, 3, 0]
    assert found[1, 0, 1].tolist() == [0, 0, 1, 2, 3, 3]


def test_spans_globe():
    edges = torch.tensor([[-180.0, 0.0, 180.0], [0.0, 100.0, 200.0]])
    assert spans_globe(edges).tolist() == [True, False]
