"""Where the inputs say something of a target."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orbitlite.batch import Batch
from orbitlite.model.downscaler import Downscaler, DownscalerConfig
from orbitlite.model.ensemble import Ensemble
from orbitlite.model.presence import Presence

RAIN, HEAT, HILLS = "total_precipitation_24hr", "2m_temperature", "orography"
INPUTS = [HEAT, RAIN, HILLS]


def by_hand(coarse, targets, p):
    """Return the known cells, cell by cell."""
    b, _, height, width = coarse.shape
    known = torch.zeros(b, len(targets), height, width, dtype=torch.bool)
    for n in range(b):
        for k, target in enumerate(targets):
            for i in range(height):
                for j in range(width):
                    if target in INPUTS:
                        known[n, k, i, j] = torch.isfinite(coarse[n, INPUTS.index(target), i, j])
                    else:
                        rows = slice(i // p * p, i // p * p + p)
                        columns = slice(j // p * p, j // p * p + p)
                        known[n, k, i, j] = torch.isfinite(coarse[n, :2, rows, columns]).any()
    return known


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 3), st.integers(1, 7), st.integers(1, 7),
    st.lists(st.sampled_from([RAIN, HEAT, "snow_depth"]), min_size=1, unique=True),
    st.integers(0, 2**20), st.sampled_from([0.1, 0.5, 0.95]),
)  # fmt: skip
def test_presence_cell_by_cell(p, height, width, targets, seed, share):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(2, 3, height, width, generator=generator)
    gaps = torch.rand(coarse.shape, generator=generator) < share
    gaps[:, 2] = False  # statics are always there
    coarse[gaps] = torch.tensor([torch.nan, torch.inf])[seed % 2]
    found = Presence(INPUTS, targets, p)(coarse)
    assert torch.equal(found, by_hand(coarse, targets, p))


def network(**options):
    torch.manual_seed(0)
    config = DownscalerConfig(
        inputs=INPUTS,
        statics=[],
        factor=2,
        patch_size=2,
        embed_dim=8,
        num_heads=2,
        depth=1,
        **options,
    )
    model = Downscaler(config)
    torch.nn.init.normal_(model.decoder.out.weight, std=0.5)
    return model.eval()


def batch():
    generator = torch.Generator().manual_seed(1)
    return Batch(
        coarse=torch.rand(2, 3, 6, 8, generator=generator),
        lat_edges=torch.linspace(50, 44, 7).expand(2, -1),
        lon_edges=torch.linspace(3, 11, 9).expand(2, -1),
    )


def with_gaps():
    whole = batch()
    coarse = whole.coarse.clone()
    coarse[0, 1, 2, 3] = torch.nan  # rain alone
    coarse[1, :2, 2:4, 4:6] = torch.nan  # all that changes with time, over one patch
    coarse[1, :1, :2, :2] = torch.nan  # temperature alone
    return dataclasses.replace(whole, coarse=coarse)


@pytest.mark.parametrize("constraint", ["none", "nonnegative", "conserve"])
def test_what_is_not_known_comes_out_missing(constraint):
    model = network(constraint=constraint)
    out = model(with_gaps())
    expected = torch.zeros(2, 1, 1, 12, 16, dtype=torch.bool)
    expected[0, ..., 4:6, 6:8] = True
    expected[1, ..., 4:8, 8:12] = True
    assert torch.equal(out.isnan(), expected)
    filled = model(with_gaps(), fill=True)
    assert filled.isfinite().all()
    assert torch.equal(filled[~expected], out[~expected])


def test_a_target_that_is_no_input_needs_any_input_of_the_patch():
    out = network(targets=["2m_dewpoint_temperature"])(with_gaps())
    expected = torch.zeros(2, 1, 1, 12, 16, dtype=torch.bool)
    expected[1, ..., 4:8, 8:12] = True
    assert torch.equal(out.isnan(), expected)


def test_a_day_without_any_input_is_missing():
    empty = batch()
    empty.coarse[0, :2] = torch.nan
    for targets in ([RAIN], ["2m_dewpoint_temperature"]):
        out = network(targets=targets)(empty)
        assert out[0].isnan().all()
        assert out[1].isfinite().all()


def test_the_mean_of_networks_misses_the_same():
    one, data = network(), with_gaps()
    mean = Ensemble([one, one])
    assert torch.equal(mean(data).isnan(), one(data).isnan())
    assert mean(data, fill=True).isfinite().all()
