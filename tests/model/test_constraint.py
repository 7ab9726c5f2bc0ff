"""Output constraints: means kept, and nothing blown up."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orbitlite.model.constraint import block_mean, conserve, nonnegative, row_shares

EDGES = torch.linspace(60, 40, 5)[None]


def fine_field(seed=0, size=1.0):
    generator = torch.Generator().manual_seed(seed)
    return size * torch.rand(1, 1, 1, 8, 6, generator=generator) ** 3


def coarse_field(seed=1):
    generator = torch.Generator().manual_seed(seed)
    return 20 * torch.rand(1, 1, 1, 4, 3, generator=generator)


@pytest.mark.parametrize("size", [0.0, 1e-12, 1e-3, 1.0, 1e3])
@pytest.mark.parametrize("scale", [True, False])
def test_means_are_those_of_the_coarse_cells(size, scale):
    shares, coarse = row_shares(EDGES, 2), coarse_field()
    out = conserve(fine_field(size=size), coarse, shares, 2, scale)
    torch.testing.assert_close(block_mean(out, shares, 2), coarse, rtol=1e-5, atol=1e-5)
    assert not scale or (out >= 0).all()


@given(st.integers(0, 1000), st.sampled_from([1e-9, 1e-4, 1e-2, 0.3]))
def test_what_is_next_to_nothing_is_not_blown_up(seed, size):
    fine, coarse = fine_field(seed, size), coarse_field(seed + 1)
    out = conserve(fine, coarse, row_shares(EDGES, 2), 2, True)
    wanted = coarse.repeat_interleave(2, -2).repeat_interleave(2, -1)
    # an even filling up and at most ten times what was there
    assert (out <= (wanted + 10 * fine) * (1 + 2e-6)).all()


def test_a_dry_prediction_becomes_even():
    coarse = coarse_field()
    out = conserve(torch.zeros(1, 1, 1, 8, 6), coarse, row_shares(EDGES, 2), 2, True)
    torch.testing.assert_close(out, coarse.repeat_interleave(2, -2).repeat_interleave(2, -1))


def test_dry_cells_stay_dry_and_missing_ones_as_they_were():
    coarse, fine = coarse_field(), fine_field()
    coarse[..., 0, 0], coarse[..., 1, 1] = 0.0, torch.nan
    out = conserve(fine, coarse, row_shares(EDGES, 2), 2, True)
    assert out[..., :2, :2].max() == 0
    assert torch.equal(out[..., 2:4, 2:4], fine[..., 2:4, 2:4])


def test_no_negative_amounts_and_large_ones_unchanged():
    values = torch.tensor([-1e3, -1.0, 0.0, 1.0, 50.0]).view(1, 1, 1, 1, 5)
    found = nonnegative(values, torch.tensor(2.0)).flatten()
    assert (found >= 0).all()
    torch.testing.assert_close(found[3:], torch.tensor([1.0, 50.0]), rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(found[2], 0.2 * torch.tensor(2.0).log())
