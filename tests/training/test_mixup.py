"""Weighted means of samples: of which, by how much, and what is left alone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orbitlite.batch import Batch
from orbitlite.errors import InputError
from orbitlite.model.config import DownscalerConfig
from orbitlite.training.mixup import mixup
from orbitlite.training.module import DownscalingModule
from orbitlite.training.scoring import Scoring


def batch(count=4):
    generator = torch.Generator().manual_seed(3)
    fine = torch.rand(count, 1, 4, 6, generator=generator)
    coarse = torch.rand(count, 2, 2, 3, generator=generator)
    return Batch(
        coarse=coarse, fine=fine, statics=torch.rand(count, 1, 4, 6, generator=generator),
        lat_edges=torch.linspace(50, 48, 3).repeat(count, 1),
        lon_edges=torch.linspace(5, 8, 4).repeat(count, 1),
        time=torch.arange(count).double(),
    )  # fmt: skip


@pytest.fixture
def drawn(monkeypatch):
    """Shares of the own sample and partners, in place of random ones."""
    shares, partners = torch.tensor([0.75, 0.5, 0.25, 0.9]), torch.tensor([2, 0, 3, 3])
    monkeypatch.setattr(torch.distributions.Beta, "sample", lambda self, shape: shares)
    monkeypatch.setattr(torch, "randperm", lambda count: partners)
    return shares, partners


def test_known_answer(drawn):
    data = batch()
    found = mixup(data, 1.0)
    for name in ("coarse", "fine"):
        own, mixed = getattr(data, name), getattr(found, name)
        torch.testing.assert_close(mixed[0], 0.75 * own[0] + 0.25 * own[2])
        torch.testing.assert_close(mixed[1], 0.5 * own[1] + 0.5 * own[0])
        torch.testing.assert_close(mixed[2], 0.25 * own[2] + 0.75 * own[3])
        torch.testing.assert_close(mixed[3], own[3])
    for name in ("statics", "lat_edges", "lon_edges", "time"):
        assert getattr(found, name) is getattr(data, name)


def test_missing_in_either_is_missing(drawn):
    data = batch()
    data.coarse[0, 1, 0, 0] = torch.nan
    data.coarse[2, 0, 1, 2] = torch.nan
    data.fine[2, 0, 3, 5] = torch.nan
    found = mixup(data, 1.0)
    expected = torch.zeros(4, 2, 2, 3, dtype=torch.bool)
    for place in ((0, 1, 0, 0), (0, 0, 1, 2), (1, 1, 0, 0), (2, 0, 1, 2)):
        expected[place] = True
    assert torch.equal(found.coarse.isnan(), expected)
    assert found.fine.isnan().sum() == 2


def test_a_blank_sample_takes_nothing_away(drawn):
    data = batch()
    data.fine[0] = torch.nan
    data.coarse[0] = torch.nan
    found = mixup(data, 1.0)
    assert torch.equal(found.fine[1], data.fine[1])  # whose partner is the blank one
    assert torch.equal(found.coarse[1], data.coarse[1])
    assert bool(found.fine[0].isnan().all())
    assert not torch.equal(found.fine[2], data.fine[2])


@pytest.mark.parametrize("edges", ["lat_edges", "lon_edges"])
def test_places_are_not_mixed(drawn, edges):
    data = batch()
    getattr(data, edges)[2] += 10
    found = mixup(data, 1.0)
    for row, alike in ((0, True), (1, False), (2, True)):  # 0 with 2, 1 with 0, 2 with 3
        assert torch.equal(found.fine[row], data.fine[row]) == alike


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.sampled_from([0.1, 1.0, 4.0]), st.integers(0, 99))
def test_stays_between_the_samples(count, concentration, seed):
    torch.manual_seed(seed)
    data = batch(count)
    found = mixup(data, concentration)
    for name in ("coarse", "fine"):
        own, mixed = getattr(data, name), getattr(found, name)
        assert bool((mixed <= own.amax(dim=0) + 1e-6).all())
        assert bool((mixed >= own.amin(dim=0) - 1e-6).all())


def test_shares_follow_the_law():
    """Two samples of 0 and 1 show the shares: of Beta(a, a) the variance is 1 / (8 a + 4)."""
    torch.manual_seed(0)
    data = batch(2)
    data.coarse = torch.arange(2.0)[:, None, None, None].expand(2, 2, 2, 3)
    for concentration in (0.2, 1.0, 4.0):
        shares = []
        for _ in range(400):
            first, second = mixup(data, concentration).coarse[:, 0, 0, 0].tolist()
            if first or second != 1:  # else each is its own partner
                shares += [1 - first, second]
        shares = torch.tensor(shares)
        assert 250 < len(shares) < 550
        assert float(shares.mean()) == pytest.approx(0.5, abs=0.06)
        assert float(shares.var()) == pytest.approx(1 / (8 * concentration + 4), rel=0.2)


def module(**options):
    config = DownscalerConfig(
        inputs=["total_precipitation_24hr", "2m_temperature"], statics=["orography"],
        factor=2, embed_dim=8, depth=1, num_heads=2,
    )  # fmt: skip
    torch.manual_seed(1)
    return DownscalingModule(config, **options)


def test_training_alone_is_on_mixed_samples(monkeypatch):
    seen = []
    monkeypatch.setattr(DownscalingModule, "log", lambda *_, **__: None)
    for options in ({"mixup": 1.0}, {}):
        net = module(**options)
        monkeypatch.setattr(net.network, "forward", lambda b, f=net.network.forward, **o: (
            seen.append(b.coarse), f(b, **o))[1])  # fmt: skip
        data = batch()
        before = torch.get_rng_state()
        net.training_step(data, 0)
        assert torch.equal(seen[-1], data.coarse) == (not options)
        assert torch.equal(torch.get_rng_state(), before) == (not options)
        net._scores = Scoring(net.network, None)
        net.validation_step(data, 0)
        assert torch.equal(seen[-1], data.coarse)
    assert net.hparams["mixup"] == 0.0


@pytest.mark.parametrize("value", [-0.1, float("inf"), float("nan")])
def test_what_is_no_concentration(value):
    with pytest.raises(InputError, match="mixup: expected a number of 0 or more, found"):
        module(mixup=value)
