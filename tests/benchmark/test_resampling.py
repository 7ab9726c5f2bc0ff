"""Climatology, analogs and quantile mapping: members made of the training period."""

import numpy as np
import pytest
import torch

from orbitlite.batch import Batch
from orbitlite.benchmark.analogs import Analogs
from orbitlite.benchmark.archive import Archive, day_of_year, hashes
from orbitlite.benchmark.climatology import Climatology
from orbitlite.benchmark.mapped import Mapped
from orbitlite.benchmark.task import Task
from orbitlite.errors import InputError
from orbitlite.model.noise import Draw

DAY = 86400.0


def archive_of(count, first="2001-01-01", seed=0, step=1):
    """Fine values of two targets that follow from three coarse fields, and noise."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 3, 3, 4, generator=generator)
    up = coarse.repeat_interleave(2, -2).repeat_interleave(2, -1)
    noise = torch.randn(count, 2, 6, 8, generator=generator)
    fine = 5 + torch.stack([up[:, 0] + up[:, 1], up[:, 2]], dim=1) + 0.5 * noise
    start = np.datetime64(first, "s").astype("int64")
    return Archive(coarse, fine, start + DAY * step * torch.arange(count, dtype=torch.float64))


def batch_of(archive, samples=(0, 1), later=0.0):
    where = torch.tensor(samples)
    return Batch(
        coarse=archive.coarse[where], fine=archive.fine[where],
        lat_edges=torch.linspace(46, 40, 4).expand(len(where), -1),
        lon_edges=torch.linspace(10, 14, 5).expand(len(where), -1),
        time=archive.times[where] + later,
    )  # fmt: skip


def analogs(archive, nearest=10, amounts=(False, False)):
    return Analogs(archive, torch.tensor(amounts), torch.ones(6, 1), torch.ones(2), nearest)


def test_the_archive_is_the_training_period_in_order(write_task):
    task = Task.of(write_task(), torch.device("cpu"))
    archive = Archive.of(task)
    assert len(archive) == 20
    assert archive.times.diff().eq(DAY).all()
    dataset = task.data.dataset("train")
    assert torch.equal(archive.coarse[7], dataset[7].coarse[0])
    assert torch.equal(archive.fine[7].isnan(), dataset[7].fine[0].isnan())
    assert archive.fine.isnan().any()


def test_an_archive_that_is_too_large_is_refused(write_task, monkeypatch):
    monkeypatch.setattr("orbitlite.benchmark.archive._MOST", 1000)
    with pytest.raises(InputError, match="1,000 at most"):
        Archive.of(Task.of(write_task(), torch.device("cpu")))


def test_climatology_draws_days_of_training():
    archive = archive_of(30)
    found = Climatology(archive).members(batch_of(archive), Draw.of(0, range(40)))
    assert found.shape == (2, 40, 2, 6, 8)
    same = (found[:, :, None] == archive.fine).flatten(3).all(-1)
    assert same.sum(-1).eq(1).all()
    assert len(set(same.int().argmax(-1)[0].tolist())) > 10


def test_climatology_keeps_to_the_season_of_long_periods():
    archive = archive_of(3 * 73, step=5)
    found = Climatology(archive)
    offered = found.days[found.offered(3.0)]
    apart = torch.minimum((offered - 3.0).abs(), 365.25 - (offered - 3.0).abs())
    assert apart.max() <= 45
    assert len(offered) == sum(min(abs(d - 3), 365.25 - abs(d - 3)) <= 45 for d in found.days)
    assert (offered > 300).any()
    short = Climatology(archive_of(100, step=5))
    assert len(short.offered(3.0)) == 100


def test_a_season_without_training_draws_from_all():
    parts = [archive_of(60, f"{year}-12-01") for year in (2001, 2002, 2003)]
    archive = Archive(*(torch.cat([getattr(p, n) for p in parts])
                        for n in ("coarse", "fine", "times")))  # fmt: skip
    found = Climatology(archive)
    assert found.seasons
    assert len(found.offered(200.0)) == 180
    assert len(found.offered(0.0)) == 180


def test_days_of_the_year():
    dates = ["2000-01-01", "2000-12-31T12", "1999-03-01", "1950-02-01"]
    seconds = torch.tensor(np.array(dates, "datetime64[s]").astype("int64")).double()
    assert day_of_year(seconds).tolist() == [0.0, 365.5, 59.0, 31.0]


def test_missing_values_of_a_day_are_the_mean_of_their_cell():
    archive = archive_of(30)
    archive.fine[3, 0, 1, 1] = torch.nan
    archive.fine[:, 1, 2, 2] = torch.nan
    fields = Climatology(archive).fields
    torch.testing.assert_close(fields[3, 0, 1, 1], archive.fine[:, 0, 1, 1].nanmean())
    assert (fields[:, 1, 2, 2] == 0).all()


def test_residuals_are_of_a_ridge_regression_on_the_other_blocks():
    archive = archive_of(50)
    found = analogs(archive)
    x, y = (v.flatten(1).double().numpy() for v in (archive.coarse, archive.fine))
    held = np.arange(50) // 10 == 2
    mean, std, centre = x[~held].mean(0), x[~held].std(0), y[~held].mean(0)
    a, b = (x[~held] - mean) / std, y[~held] - centre
    weight = np.linalg.solve(a.T @ a + found.penalty * np.eye(36), a.T @ b)
    expected = y[held] - ((x[held] - mean) / std @ weight + centre)
    np.testing.assert_allclose(found.residuals[held].flatten(1), expected, rtol=1e-3, atol=1e-4)


def test_the_mean_of_analogs_is_close_to_the_regression():
    archive = archive_of(200)
    found = analogs(archive, nearest=200)
    batch = batch_of(archive, (5, 90))
    members = found.members(batch, Draw.of(0, range(600)))
    ridge = found.ridge(batch.coarse).view(2, 2, 6, 8)
    noise = float(found.residuals.std())
    assert float((members.mean(1) - ridge).abs().mean()) < 0.15 * noise
    assert float(members.std(1).mean()) == pytest.approx(noise, rel=0.1)


def test_analogs_draw_residuals_of_the_nearest_days():
    archive = archive_of(60)
    archive.coarse[::2] += 10  # two kinds of days, with other residuals
    archive.fine[::2] += 20
    archive.fine[1::2] += 3 * torch.randn(30, 2, 6, 8, generator=torch.Generator().manual_seed(1))
    found = analogs(archive, nearest=20)
    members = found.members(batch_of(archive, (4, 5)), Draw.of(0, range(50)))
    left = members - found.ridge(batch_of(archive, (4, 5)).coarse).view(2, 1, 2, 6, 8)
    for sample, parity in ((0, 0), (1, 1)):
        apart = (left[sample, :, None] - found.residuals).abs().flatten(2).amax(-1)
        days = apart.argmin(-1)
        assert (apart.min(-1).values < 1e-3).all()
        assert (days % 2 == parity).all()
        assert 8 < len(days.unique()) <= 20


def test_amounts_have_no_negative_values():
    archive = archive_of(60)
    archive.fine.sub_(5)
    members = analogs(archive, amounts=(True, False)).members(batch_of(archive), Draw.of(0, [0]))
    assert (members[:, :, 0] >= 0).all()
    assert (members[:, :, 1] < 0).any()


def test_regressions_that_do_not_fit_are_refused(monkeypatch):
    with pytest.raises(InputError, match="needs 10 samples"):
        analogs(archive_of(8))
    monkeypatch.setattr("orbitlite.benchmark.analogs._MOST", 100)
    with pytest.raises(InputError, match="would have 3,456 weights"):
        analogs(archive_of(20))


def test_mapped_adds_a_residual_of_one_day_to_the_map():
    archive = archive_of(40)
    archive.fine[0, 0, 0, 0] = torch.nan
    found = Mapped(archive, [0, 2], torch.tensor([False, False]), 2, False)
    batch = batch_of(archive, (3, 4))
    members = found.members(batch, Draw.of(0, range(30)))
    mapped = archive.fine[[3, 4]] - found.residuals[[3, 4]]
    apart = ((members - mapped[:, None])[:, :, None] - found.residuals).abs().flatten(3).amax(-1)
    assert (apart.min(-1).values < 1e-4).all()
    assert len(apart.argmin(-1)[0].unique()) > 10
    assert found.residuals[0, 0, 0, 0] == 0
    # on the training period a map gives the values of the truth, in another order
    own = found._mapped(archive.coarse[:, [0, 2]])[:, 1].flatten(1).sort(0).values
    torch.testing.assert_close(own, archive.fine[:, 1].flatten(1).sort(0).values)


def test_mapped_needs_the_coarse_targets():
    with pytest.raises(InputError, match="not all of them are inputs"):
        Mapped(archive_of(40), [0, None], torch.tensor([False, False]), 2, False)


@pytest.mark.parametrize("kind", ["analog", "climatology", "mapped"])
def test_draws_are_those_of_seed_member_and_time(kind):
    archive = archive_of(60)
    system = {
        "analog": lambda: analogs(archive, 40), "climatology": lambda: Climatology(archive),
        "mapped": lambda: Mapped(archive, [0, 2], torch.tensor([False, False]), 2, False),
    }[kind]()  # fmt: skip
    batch = batch_of(archive, (3, 4))
    found = system.members(batch, Draw.of(0, range(8)))
    assert torch.equal(system.members(batch, Draw.of(0, [6, 7])), found[:, 6:])
    other = system.members(batch, Draw.of(1, range(8)))
    later = system.members(batch_of(archive, (3, 4), DAY), Draw.of(0, range(8)))
    assert not torch.equal(found, other)
    assert not torch.equal(found, later)


def test_hashes_differ_by_sample_and_member():
    archive = archive_of(20)
    found = hashes(batch_of(archive, (0, 1, 2)), Draw.of(0, range(50)))
    assert len(found.flatten().unique()) == 150
