"""The regression of a region: solved by blocks of the period, kept in bundles."""

import lightning
import numpy as np
import pytest
import torch

from orbitlite.batch import Batch
from orbitlite.data.datamodule import PairDataModule
from orbitlite.data.source import harmonise
from orbitlite.data.world import generate
from orbitlite.errors import InputError
from orbitlite.model.bundle import load_bundle, save_bundle
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.ridge import Ridge
from orbitlite.training import regression
from orbitlite.training.module import DownscalingModule
from orbitlite.training.objective import Objective
from orbitlite.training.regression import PENALTIES, held_out, solve
from orbitlite.training.variations import Variations

RAIN = "total_precipitation_24hr"


def samples(times=40, noise=1.0, drift=False):
    generator = torch.Generator().manual_seed(10 if drift else 3)
    x = torch.randn(times, 7, generator=generator, dtype=torch.double)
    true = torch.randn(7, 3, generator=generator, dtype=torch.double)
    error = torch.randn(times, 3, generator=generator, dtype=torch.double)
    if drift:  # days are like those beside them: what is between known ones is easily told
        x, error = x.cumsum(0), error.cumsum(0)
    y = x @ true + noise * error
    x[3, 2], y[5:8, 1] = torch.nan, torch.nan
    x[:, 4] = 2.0  # says nothing
    return x, y, torch.arange(times)


def by_normal_equations(x, y, penalty):
    """Return the prediction of a regression, written out."""
    mean, std = np.nanmean(x, 0), np.nanstd(x, 0)
    std[std == 0] = 1
    a = np.nan_to_num((x - mean) / std)
    centre = np.nanmean(y, 0)
    weight = np.linalg.solve(a.T @ a + penalty * np.eye(7), a.T @ np.nan_to_num(y - centre))
    return lambda new: np.nan_to_num((new - mean) / std) @ weight + centre


@pytest.mark.parametrize(
    ("noise", "drift", "expected"),
    [(0.01, False, 30), (3.0, False, 30), (100.0, False, 100_000), (100.0, True, 300)],
)
def test_penalty_and_weights_against_normal_equations(noise, drift, expected):
    x, y, time = samples(noise=noise, drift=drift)
    found = Ridge(7, 3).double()
    shuffled = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    parts = [tuple(column[rows] for column in (x, y, time)) for rows in shuffled.split(9)]
    penalty = solve(found, parts, 40)
    a, b = x.numpy(), y.numpy()
    errors = []
    for one in PENALTIES:
        held_out = []
        for block in np.split(np.arange(40), 5):
            rest = np.setdiff1d(np.arange(40), block)
            made = by_normal_equations(a[rest], b[rest], one)(a[block])
            held_out.append(np.nansum((made - b[block]) ** 2))
        errors.append(sum(held_out))
    assert penalty == PENALTIES[int(np.argmin(errors))] == expected
    expected = by_normal_equations(a, b, penalty)(a)
    np.testing.assert_allclose(found(x).numpy(), expected, rtol=1e-9, atol=1e-9)
    change = np.nanmax(np.abs(b - np.nanmean(b, 0)), 0)
    np.testing.assert_allclose(found.most - found.centre, 2 * change)
    np.testing.assert_allclose(found.high.numpy()[:4], np.nanmax(a, 0)[:4])


def test_too_few_and_too_many(monkeypatch):
    with pytest.raises(InputError, match="needs 10 samples to learn from, found 9"):
        solve(Ridge(7, 3), [samples(9)], 9)
    monkeypatch.setattr(regression, "_MOST", 200)
    with pytest.raises(InputError, match="would hold 280 values of 40 samples"):
        solve(Ridge(7, 3), [samples(40)], 40)


def pairs(**options):
    world = harmonise(generate(days=24, height=16, width=32))
    found = PairDataModule(
        fine=world, inputs=[RAIN, "2m_temperature"], targets=[RAIN], static_names=["orography"],
        factor=4, train=("2000-01-01", "2000-01-16"), validate=("2000-01-17", "2000-01-20"),
        batch_size=4, **options,
    )  # fmt: skip
    found.setup("fit")
    return found


def module(**settings):
    config = DownscalerConfig(
        inputs=[RAIN, "2m_temperature"], statics=["orography"], factor=4, embed_dim=16,
        num_heads=2, depth=0, patch_size=1, **({"ridge": [4, 8]} | settings),
    )  # fmt: skip
    return DownscalingModule(config, loss="crps" if config.noise else "mse")


def test_a_fit_solves_it_and_a_bundle_keeps_it(tmp_path):
    data, model = pairs(), module()
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, data)
    net = model.network
    assert net.ridge.weight.abs().max() > 0
    save_bundle(tmp_path / "bundle", net, metadata={})
    batch = next(iter(data.val_dataloader()))
    with torch.no_grad():
        both = net.eval()(batch)[:, 0]
        alone = net.train()(batch)[:, 0]
        solved = net.ridge(batch.coarse).view_as(both).clamp_min(0)
    torch.testing.assert_close(both, (alone + solved) / 2)
    with torch.no_grad():
        assert torch.equal(load_bundle(tmp_path / "bundle").model(batch)[:, 0], both)


def test_another_grid_and_tiles_are_refused():
    module().check_grid(pairs())
    with pytest.raises(InputError, match=r"shape of the coarse grid, \[4, 8\], found \[4, 9\]"):
        module(ridge=[4, 9]).check_grid(pairs())
    with pytest.raises(InputError, match=r"needs whole grids .* leave out data.tile"):
        module().check_grid(pairs(tile=2, halo=0))


def test_what_is_held_out_was_not_seen():
    x, y, time = samples(noise=3.0)
    shuffled = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    shaped = y.view(40, 1, 1, 3)
    parts = [(x[rows], shaped[rows], time[rows]) for rows in shuffled.split(9)]
    found = held_out(parts, 300.0)
    assert torch.equal(found.times, time)
    a, b = x.numpy(), y.numpy()
    for block in np.split(np.arange(40), 5):
        rest = np.setdiff1d(np.arange(40), block)
        expected = by_normal_equations(a[rest], b[rest], 300.0)(a[block])
        np.testing.assert_allclose(found.fields[block, 0, 0], expected, rtol=1e-4, atol=1e-4)
    batch = Batch(coarse=torch.zeros(3, 1, 1, 1), time=torch.tensor([7.0, 39.0, 0.0]))
    assert torch.equal(found.of(batch).regression, found.fields[[7, 39, 0]])
    with pytest.raises(InputError, match="one sample for each time, found several"):
        held_out([(x, shaped, time // 2)], 300.0)


def test_a_stochastic_network_corrects_the_regression():
    """Untrained it is the regression; in training one that has not seen the samples."""
    data, model = pairs(), module(noise=2, constraint="none")
    model.take_statistics(data)
    net = model.network
    batch = next(iter(data.val_dataloader()))
    with torch.no_grad():
        found = net.eval()(batch, fill=True)[:, 0]
        expected = net.ridge(batch.coarse).view_as(found).clamp_min(0)
    torch.testing.assert_close(found, expected)

    seen = []

    def watched(batch, fill, draw):
        seen.append(batch.regression)
        return net(batch, fill=fill, draw=draw)

    watched.known = net.known
    batch = next(iter(data.train_dataloader()))
    model.train().loss_of(watched, batch, torch.detach)
    places = [model._held_out.times.tolist().index(time) for time in batch.time.tolist()]
    assert torch.equal(seen[0], model._held_out.fields[places])
    solved = net.ridge(batch.coarse).view_as(seen[0])
    errors = [(field - batch.fine).square().nanmean() for field in (seen[0], solved)]
    assert errors[0] > 1.5 * errors[1]  # what was seen is told too well


def test_variations_turn_and_mix_the_regression_alike():
    fields = torch.rand(4, 1, 4, 6)
    batch = Batch(
        coarse=torch.rand(4, 2, 2, 3), fine=fields, regression=fields.clone(),
        lat_edges=torch.tensor([[2.0, 1, 0]]).repeat(4, 1),
        lon_edges=torch.tensor([[0.0, 1, 2, 3]]).repeat(4, 1),
    )  # fmt: skip
    names = [RAIN, "2m_temperature"]
    for seed in range(4):
        torch.manual_seed(seed)
        shown, _ = Variations(names, {"": [RAIN]}, 1.0, True, None).draw(batch, names)
        assert not torch.equal(shown.fine, fields)
        assert torch.equal(shown.regression, shown.fine)
        shown, sizes = Variations(names, {"": [RAIN]}, 0.0, False, 8.0).draw(batch, names)
        torch.testing.assert_close(shown.regression, fields * sizes[:, 0])


def test_each_step_of_a_fit_draws_members_of_its_own(monkeypatch):
    data, model = pairs(), module(ridge=None, noise=2)
    seen, whole = [], Objective.draw

    def watched(self, step):
        seen.append(step)
        return whole(self, step)

    monkeypatch.setattr(Objective, "draw", watched)
    trainer = lightning.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, data)
    steps = [step for step in seen if step is not None]
    assert steps == list(range(8))
    assert None in seen
