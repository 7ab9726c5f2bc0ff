"""RainFARM: coarse means, the slope of the spectrum, and draws that can be repeated."""

import numpy as np
import pytest
import torch

from orbitlite.batch import Batch
from orbitlite.benchmark.rainfarm import RainFARM, power_law, slopes
from orbitlite.errors import InputError
from orbitlite.model.constraint import block_mean, row_shares
from orbitlite.model.noise import Draw


def white(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def batch():
    coarse = torch.stack([torch.zeros(2, 8, 12), white(2, 8, 12).exp() * 5], dim=1)
    return Batch(
        coarse=coarse,
        lat_edges=torch.linspace(60, 44, 9).expand(2, -1),
        lon_edges=torch.linspace(0, 24, 13).expand(2, -1),
        time=torch.tensor([0.0, 86400.0], dtype=torch.float64),
    )


def test_coarse_means_are_kept(batch):
    batch.coarse[1, 1, 2, 3] = 0
    found = RainFARM([1], 4).members(batch, Draw.of(0, range(5)))
    assert found.shape == (2, 5, 1, 32, 48)
    assert (found >= 0).all()
    assert (found[1, :, 0, 8:12, 12:16] == 0).all()
    means = block_mean(found, row_shares(batch.lat_edges, 4), 4)
    torch.testing.assert_close(means, batch.coarse[:, None, 1:].expand(-1, 5, -1, -1, -1))
    assert found.std(1).mean() > 0.2 * found.mean()


def test_power_follows_the_law_and_phases_are_those_of_the_noise():
    fields = power_law(white(2, 3, 32, 48), torch.tensor([0.0, 3.0]))
    torch.testing.assert_close(fields.std((-2, -1), correction=0), torch.ones(2, 3))
    waves = torch.fft.fft2(fields.double()).abs().square()
    k = torch.hypot(torch.fft.fftfreq(32)[:, None], torch.fft.fftfreq(48)).double()
    inside = (k > 0) & (k < 0.5)
    for sample, slope in enumerate((0.0, 3.0)):
        law = k[inside] ** -slope
        ratio = waves[sample][:, inside] / law
        torch.testing.assert_close(ratio / ratio.mean(1, keepdim=True), torch.ones_like(ratio),
                                   rtol=1e-3, atol=1e-3)  # fmt: skip


def test_the_slope_of_a_field_is_found():
    for slope in (2.0, 3.0):
        fields = power_law(white(40, 1, 128, 128), torch.full((40,), slope))[:, 0, :64, :64]
        assert float(slopes(fields).mean()) == pytest.approx(slope, abs=0.25)


def test_slopes_do_not_fall_below_zero_and_know_what_is_missing():
    assert slopes(white(1, 8, 9).sign() * torch.tensor([1.0, -1.0, 1.0] * 3)).item() >= 0
    dry = torch.zeros(1, 8, 9)
    assert slopes(dry).item() == 3.0
    field = power_law(white(1, 1, 32, 32), torch.tensor([2.0]))[:, 0]
    holed = field.clone()
    holed[0, 3, 4] = torch.nan
    assert slopes(holed).item() == pytest.approx(slopes(field).item(), abs=0.5)


def test_the_fine_spectrum_goes_on_with_the_slope(batch):
    coarse = power_law(white(2, 1, 8, 12), torch.tensor([3.0, 3.0]))[:, 0].exp()
    batch.coarse[:, 1] = coarse
    found = RainFARM([1], 8).members(batch, Draw.of(0, range(20)))[:, :, 0]
    fine = slopes(found.flatten(0, 1).log().nan_to_num(neginf=-10))
    assert float(fine.mean()) == pytest.approx(float(slopes(coarse).mean()), abs=0.8)


def test_draws_are_those_of_seed_member_and_time(batch):
    farm = RainFARM([1], 2)
    found = farm.members(batch, Draw.of(0, range(4)))
    assert torch.equal(farm.members(batch, Draw.of(0, [3])), found[:, 3:])
    assert not torch.allclose(found[:, 0], found[:, 1])
    assert not torch.allclose(farm.members(batch, Draw.of(1, [0])), found[:, :1])
    assert not torch.allclose(found[0] / found[0].mean(), found[1] / found[1].mean())


def test_missing_rain_and_dry_days(batch):
    batch.coarse[0, 1] = 0
    batch.coarse[1, 1, 0, 0] = torch.nan
    found = RainFARM([None, 1], 2).members(batch, Draw.of(0, range(2)))
    assert found[:, :, 0].isnan().all()
    assert (found[0, :, 1] == 0).all()
    missing = found[1, 0, 1].isnan()
    assert missing[:2, :2].all()
    assert missing.sum() == 4


def test_it_needs_coarse_rain():
    with pytest.raises(InputError, match="no target is"):
        RainFARM([None], 2)


def test_members_do_not_need_a_time(batch):
    batch.time = None
    assert np.isfinite(RainFARM([1], 2).members(batch, Draw.of(0, [0])).numpy()).all()
