"""Training end to end on tiny data: it learns, resumes, averages, exports."""

from dataclasses import replace
from types import SimpleNamespace

import lightning
import numpy as np
import pytest
import torch
import xarray as xr

from orbitlite.data.datamodule import PairDataModule
from orbitlite.errors import InputError, SharedError
from orbitlite.model.bundle import load_bundle
from orbitlite.model.config import DownscalerConfig
from orbitlite.notice import OrbitliteWarning
from orbitlite.parallel.mesh import ParallelConfig
from orbitlite.planning.estimate import memory_warning
from orbitlite.training import cli as commands
from orbitlite.training.averaging import WeightEMA
from orbitlite.training.callbacks import BundleWriter
from orbitlite.training.module import DownscalingModule
from orbitlite.training.optimisation import Optimisation
from orbitlite.training.provenance import export
from orbitlite.verification.scores import Errors

PRECIPITATION = "total_precipitation_24hr"


def fine_world(days=40, missing=True):
    random = np.random.default_rng(5)
    lat, lon = np.linspace(49.75, 45.25, 10), np.linspace(5.25, 10.75, 12)
    height = random.gamma(2.0, 300.0, (10, 12))
    coarse = random.gamma(0.5, 6.0, (days, 5, 6)).repeat(2, 1).repeat(2, 2)
    rain = coarse * (0.4 + height / height.mean())
    if missing:
        rain[:, 3, 4] = np.nan
    dims = ("time", "lat", "lon")
    return xr.Dataset(
        {
            PRECIPITATION: (dims, rain.astype("f4"), {"units": "mm"}),
            "orography": (dims[1:], height.astype("f4"), {"units": "m"}),
        },
        coords={
            "time": np.datetime64("2001-01-01") + np.arange(days),
            "lat": ("lat", lat, {"units": "degrees_north"}),
            "lon": ("lon", lon, {"units": "degrees_east"}),
        },
    )


def data(**options):
    return PairDataModule(
        fine_world(), inputs=[PRECIPITATION], targets=[PRECIPITATION],
        static_names=["orography"], factor=2, train=["2001-01-01", "2001-01-25"],
        validate=["2001-01-26", "2001-02-01"], test=["2001-02-02", "2001-02-09"],
        batch_size=5, **options,
    )  # fmt: skip


def module(**options):
    lightning.seed_everything(1, verbose=False)
    config = DownscalerConfig(
        inputs=[PRECIPITATION], statics=["orography"], factor=2, patch_size=2,
        embed_dim=16, depth=1, num_heads=2,
    )  # fmt: skip
    return DownscalingModule(config, Optimisation(lr=3e-3), **options)


def trainer(folder, **options):
    settings = {
        "default_root_dir": folder, "logger": False, "enable_progress_bar": False,
        "enable_model_summary": False, "accelerator": "cpu", "enable_checkpointing": False,
    }  # fmt: skip
    return lightning.Trainer(**{**settings, **options})


def test_it_learns_and_validates_in_mm(tmp_path):
    net, pairs = module(), data()
    fit = trainer(tmp_path, max_epochs=15)
    fit.fit(net, pairs)
    found = float(fit.callback_metrics[f"val_rmse/{PRECIPITATION}"])
    errors, base = Errors(), Errors()
    for batch in pairs.val_dataloader():
        rows = np.cos(np.deg2rad(np.linspace(49.75, 45.25, 10)))
        weights = torch.isfinite(batch.fine[:, 0]) * torch.from_numpy(rows)[:, None]
        truth = batch.fine[:, 0].nan_to_num().double()
        with torch.inference_mode():
            ours = net.network.eval()(batch)[:, 0, 0].double()
        errors.update(ours, truth, weights)
        near = batch.coarse[:, 0].repeat_interleave(2, 1).repeat_interleave(2, 2).double()
        base.update(near, truth, weights)
    assert found == pytest.approx(errors.compute()["rmse"], rel=1e-4)
    assert found < 0.9 * base.compute()["rmse"]


def test_training_on_one_tile_is_training_on_the_whole(tmp_path):
    found = []
    for tile in (None, 6):
        net = module()
        trainer(tmp_path, max_epochs=2).fit(net, data(tile=tile, halo=2))
        found.append(net.state_dict())
    for name, tensor in found[0].items():
        torch.testing.assert_close(found[1][name], tensor, rtol=1e-6, atol=1e-7)


def test_scores_on_tiles_are_those_of_the_whole(tmp_path):
    """Without attention, and with the halo that the decoder sees, tiles change nothing."""
    config = DownscalerConfig(
        inputs=[PRECIPITATION], statics=["orography"], factor=2, patch_size=1, embed_dim=16,
        depth=0, num_heads=2,
    )  # fmt: skip
    net = DownscalingModule(config)
    torch.nn.init.normal_(net.network.decoder.out.weight, std=0.3)
    runner = trainer(tmp_path)
    whole, tiled = (
        runner.validate(net, data(tile=tile, halo=4), verbose=False)[0] for tile in (None, 2)
    )
    assert tiled == pytest.approx(whole, rel=1e-5)


def uneven(batch_size):
    """Twelve tiles from the pole to 30 degrees north; 2 % of the northern ones have truth."""
    fine = fine_world(days=4, missing=False)
    edges = np.linspace(90, 30, 11)
    fine = fine.assign_coords(lat=("lat", (edges[1:] + edges[:-1]) / 2, fine.lat.attrs))
    known = np.random.default_rng(1).random((4, 6, 12)) < 0.02
    fine[PRECIPITATION][:, :6] = fine[PRECIPITATION][:, :6].where(known)
    return PairDataModule(
        fine, inputs=[PRECIPITATION], targets=[PRECIPITATION], static_names=["orography"],
        factor=2, tile=3, halo=0, train=["2001-01-01", "2001-01-03"],
        validate=["2001-01-04", "2001-01-04"], batch_size=batch_size,
    )  # fmt: skip


def test_gradients_do_not_depend_on_how_a_step_is_divided(tmp_path):
    """Steps of eight and four samples, of which a batch may have next to no truth."""

    class Gradients(lightning.Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            parts = [p.grad.flatten() for p in pl_module.parameters() if p.grad is not None]
            found.append(torch.cat(parts))

    steps, pairs = [], uneven(8)
    for size, together in ((8, 1), (4, 2), (3, 3)):
        pairs.first.batch_size = size
        found = []
        net, runner = module(loss="bayesian_tv"), trainer(
            tmp_path, max_epochs=1, accumulate_grad_batches=together, callbacks=[Gradients()]
        )  # fmt: skip
        runner.fit(net, pairs)
        steps.append(found)
    whole, divided, other = steps
    assert [len(found) for found in steps] == [2] * 3
    for expected, gradient in zip(whole, divided, strict=True):
        assert (gradient - expected).norm() < 1e-5 * expected.norm()
    assert (other[0] - whole[0]).norm() > 1e-2 * whole[0].norm()  # nine samples are another step


@pytest.mark.parametrize("pairs", [uneven(1), data()])
def test_the_expected_weight_is_the_mean_over_the_training_period(tmp_path, pairs):
    net = module(target_weights=[3.0])
    trainer(tmp_path, max_epochs=1, limit_train_batches=1).fit(net, pairs)
    samples = pairs.dataset("train")
    totals = []
    for number in range(len(samples)):
        one = samples[number]
        totals.append(float(net._loss(one.fine[:, None].nan_to_num(), one)[1]))
    assert net.expectation.weights == [pytest.approx(np.mean(totals), rel=1e-5)]


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_rates_of_a_fit(tmp_path, schedule):
    class Rates(lightning.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            found.append(trainer.optimizers[0].param_groups[0]["lr"] / 3e-3)

    found = []
    net = module()
    net.optimisation = Optimisation(lr=3e-3, warmup=0.2, schedule=schedule)
    trainer(tmp_path, max_epochs=2, callbacks=[Rates()]).fit(net, data())
    assert found[:3] == pytest.approx([0.5, 1, 1])
    last = 0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * 7 / 8)) if schedule == "cosine" else 1
    assert found[9] == pytest.approx(last)
    assert len(found) == 10


def test_an_unknown_schedule():
    config = DownscalerConfig(inputs=[PRECIPITATION])
    with pytest.raises(InputError, match=r"schedule: expected one of cosine, constant, found 'st"):
        DownscalingModule(config, Optimisation(schedule="step"))


def test_scores_do_not_depend_on_the_batches(tmp_path):
    net, runner = module(loss="bayesian_tv"), trainer(tmp_path)
    pairs = data()
    first = runner.validate(net, pairs, verbose=False)[0]
    assert "val_loss" in first
    for size in (1, 3, 7):
        pairs.first.batch_size = size
        assert runner.validate(net, pairs, verbose=False)[0] == pytest.approx(first, rel=1e-5)


@pytest.mark.parametrize("keeper", [True, False])
def test_a_loss_that_is_not_finite_ends_the_fit(tmp_path, keeper):
    """The message names the samples; the checkpoint is of before the step and goes on."""
    seen = []

    class Spoil(lightning.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            self.before = {n: w.detach().clone() for n, w in pl_module.named_parameters()}
            seen.append([str(np.datetime64(int(time), "s")) for time in batch.time])
            if trainer.global_step == 3:
                batch.fine[0, 0, 0, 0] = 1e30

    folder = tmp_path / ("own" if keeper else "checkpoints")
    keep = [lightning.pytorch.callbacks.ModelCheckpoint(folder)] if keeper else []
    spoil = Spoil()
    fit = trainer(
        tmp_path, max_epochs=2, enable_checkpointing=keeper, callbacks=[*keep, spoil, WeightEMA()]
    )
    with pytest.raises(InputError, match="not finite at step 3;") as caught:
        fit.fit(module(), data())
    assert all(time in str(caught.value) for time in seen[3])
    assert not any(time in str(caught.value) for times in seen[:3] for time in times)
    path = folder / "before_nan.ckpt"
    assert str(path) in str(caught.value)
    state = torch.load(path, weights_only=True)
    assert state["global_step"] == 3
    assert all(torch.equal(state["current"][n], w) for n, w in spoil.before.items())
    net, again = module(), trainer(tmp_path, max_epochs=2, callbacks=[WeightEMA()])
    again.fit(net, data(), ckpt_path=path)
    assert again.global_step == 10
    assert all(torch.isfinite(weight).all() for weight in net.parameters())


def test_a_validation_period_without_truth_ends_the_fit(tmp_path):
    """At the first validation, not in the sanity check, whose batches may be dry ones."""
    pairs = data()
    step = DownscalingModule.validation_step

    class Spoiled(DownscalingModule):
        def validation_step(self, batch, batch_idx):
            step(self, replace(batch, fine=torch.full_like(batch.fine, torch.nan)), batch_idx)

    net = module()
    net.__class__ = Spoiled
    runner = trainer(tmp_path, max_epochs=2, num_sanity_val_steps=1)
    with pytest.raises(SharedError, match=r"validation period has no valid truth of total_prec"):
        runner.fit(net, pairs)
    assert runner.global_step == 5
    assert np.isnan(trainer(tmp_path).validate(net, pairs, verbose=False)[0]["val_rmse"])


def test_weights_that_the_last_step_breaks_end_the_fit(tmp_path):
    class Break(lightning.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            with torch.no_grad():
                next(pl_module.parameters()).view(-1)[0] = torch.inf

    runner = trainer(tmp_path, max_epochs=1, callbacks=[Break()])
    with pytest.raises(SharedError, match="weights are not finite after step 5"):
        runner.fit(module(), data())


def test_no_bundle_without_a_validation(tmp_path):
    keep = lightning.pytorch.callbacks.ModelCheckpoint(tmp_path / "c", monitor="val_rmse")
    runner = trainer(
        tmp_path, max_epochs=1, limit_val_batches=0, enable_checkpointing=True,
        callbacks=[keep, BundleWriter()],
    )  # fmt: skip
    with pytest.warns(OrbitliteWarning, match="No bundle is written"):
        runner.fit(module(), data())
    assert not (tmp_path / "bundle").exists()


def test_a_trial_run_leaves_no_checkpoint(tmp_path):
    class Spoil(lightning.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            batch.fine[0, 0, 0, 0] = 1e30

    with pytest.raises(InputError, match="not finite at step 0;"):
        trainer(tmp_path, fast_dev_run=True, callbacks=[Spoil()]).fit(module(), data())
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize(("decay", "share"), [(0.0, 0.0), (0.9, 0.0), (0.9, 1.0)])
def test_resume_continues_bit_for_bit(tmp_path, decay, share):
    def run(folder, epochs, ckpt=None):
        net = module(mixup=share)
        keep = lightning.pytorch.callbacks.ModelCheckpoint(folder, save_last=True)
        fit = trainer(
            folder, max_epochs=epochs, enable_checkpointing=True,
            callbacks=[keep, WeightEMA(decay)],
        )  # fmt: skip
        fit.fit(net, data(), ckpt_path=ckpt)
        return net

    class StopAtTwo(lightning.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            if trainer.current_epoch == 1:
                trainer.should_stop = True

    whole = run(tmp_path / "whole", 4)
    net = module(mixup=share)
    keep = lightning.pytorch.callbacks.ModelCheckpoint(tmp_path / "half", save_last=True)
    half = trainer(
        tmp_path, max_epochs=4, enable_checkpointing=True,
        callbacks=[keep, WeightEMA(decay), StopAtTwo()],
    )  # fmt: skip
    half.fit(net, data())
    resumed = run(tmp_path / "half", 4, tmp_path / "half" / "last.ckpt")
    for (name, a), b in zip(
        whole.network.state_dict().items(), resumed.network.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), name


def test_checkpoint_becomes_a_bundle(tmp_path):
    net = module()
    keep = lightning.pytorch.callbacks.ModelCheckpoint(
        tmp_path / "checkpoints", monitor="val_rmse", filename="best"
    )
    fit = trainer(
        tmp_path, max_epochs=2, enable_checkpointing=True, callbacks=[keep, BundleWriter()]
    )
    fit.fit(net, data())
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.metadata["training"]["period"][0].startswith("2001-01-01")
    assert bundle.statics.values.shape == (1, 10, 12)
    assert float(bundle.model.get_buffer("target_std")) != 1.0
    batch = next(iter(data().test_dataloader()))
    export(keep.best_model_path, tmp_path / "again")
    with torch.inference_mode():
        torch.testing.assert_close(
            load_bundle(tmp_path / "again").model(batch), bundle.model(batch), rtol=0, atol=0
        )


def test_bad_arguments():
    with pytest.raises(InputError, match="loss"):
        module(loss="msee")
    with pytest.raises(InputError, match="one per"):
        module(target_weights=[1.0, 2.0])
    with pytest.raises(InputError, match="decay"):
        WeightEMA(1.5)


def test_a_fit_is_foreseen(tmp_path, monkeypatch, caplog):
    """The memory of a fit on a GPU is predicted before it begins, and told if it is too much."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(
        "trainer: {fast_dev_run: true, accelerator: cpu, logger: false}\n"
        "model: {network: {inputs: [total_precipitation_24hr], embed_dim: 8, depth: 1, "
        "num_heads: 2}}\n"
        "data: {world: {days: 8, height: 32, width: 64}, tile: 4, halo: 2, batch_size: 3}\n"
    )
    begun = []
    check_memory = commands.OrbitCLI._check_memory
    monkeypatch.setattr(commands.OrbitCLI, "_check_memory", lambda *given: begun.append(given))
    commands.main(["fit", "-c", "config.yaml"])
    [(command, sizes)] = begun
    asked = []

    def warning(work, *more):
        asked.append((work, *more))
        return memory_warning(work, *more)

    monkeypatch.setattr(commands, "memory_warning", warning)
    check_memory(command, sizes)
    assert not asked  # there is no GPU
    monkeypatch.setattr(type(command.trainer.strategy), "root_device", torch.device("cuda"))
    for size in (2**30, 2**20):
        gpu = SimpleNamespace(total_memory=size)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device, gpu=gpu: gpu)
        check_memory(command, sizes)
    work = asked[0][0]
    assert asked == [(work, 2**30, True), (work, 2**20, True)]
    assert (work.height, work.width, work.batch, work.half) == (8, 8, 3, False)
    assert (work.layout.world_size, work.config.embed_dim) == (1, 8)
    [text] = [record.message for record in caplog.records if "predicted" in record.message]
    assert "of the device's 0.0 GiB" in text


@pytest.mark.parametrize("kind", ["selective", "full"])
def test_recomputed_blocks_train_alike_on_one_process(tmp_path, kind):
    found = []
    for recompute in ("none", kind):
        net = module()
        net.parallel = ParallelConfig(activation_checkpointing=recompute)
        trainer(tmp_path, max_epochs=2).fit(net, data())
        found.append(net.state_dict())
    assert all(torch.equal(found[1][name], value) for name, value in found[0].items())


def paired(gap):
    """Return coarse and fine fields apart; with a gap, the coarse ones miss a cell and a day."""
    fine = fine_world()
    coarse = fine[[PRECIPITATION]].coarsen(lat=2, lon=2).mean()
    coarse[PRECIPITATION].attrs["units"] = "mm"
    coarse["lat"].attrs, coarse["lon"].attrs = fine["lat"].attrs, fine["lon"].attrs
    if gap:
        coarse[PRECIPITATION][:, 4, 5] = np.nan
        coarse[PRECIPITATION][27] = np.nan  # a day of validation
    return PairDataModule(
        fine, coarse, inputs=[PRECIPITATION], targets=[PRECIPITATION],
        static_names=["orography"], factor=2, train=["2001-01-01", "2001-01-25"],
        validate=["2001-01-26", "2001-02-01"], batch_size=5,
    )  # fmt: skip


def test_truth_without_input_counts_for_nothing(tmp_path, caplog):
    net = module()
    trainer(tmp_path, max_epochs=1).fit(net, datamodule=paired(gap=True))
    # 25 days of 4 fine cells; 7 days of 4, of the missing day all but the cell that has no truth
    texts = [record.message for record in caplog.records if "inputs say nothing" in record.message]
    assert texts == [
        "143 of 833 values of the truth (17.2%) lie in cells of which the inputs say nothing (the "
        "coarse target or every input is missing); they are left out of the scores.",
        "100 of 2,975 values of the truth (3.4%) lie in cells of which the inputs say nothing (the "
        "coarse target or every input is missing); they are left out of training.",
    ]
    assert all(torch.isfinite(weight).all() for weight in net.parameters())


def test_what_truth_without_input_says_changes_no_gradient():
    batch = paired(gap=True)
    batch.setup("fit")
    (one,) = batch.dataset("train").__getitems__([0, 1, 2])
    other = replace(one, fine=one.fine.clone())
    other.fine[:, :, 8:, 10:] = 1e6
    gradients = []
    for data in (one, other):
        net = module()
        net.log = lambda *_, **__: None
        net.training_step(data, 0).backward()
        gradients.append([p.grad for p in net.parameters() if p.grad is not None])
    for a, b in zip(*gradients, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("precision", ["bf16-true", "16-true"])
def test_a_precision_that_rounds_times_is_refused(tmp_path, precision):
    with pytest.raises(InputError, match=f"{precision} would round times, .* state bf16-mixed"):
        trainer(tmp_path, max_steps=1, precision=precision).fit(module(), data())


def test_precisions_keep_times_and_coordinates_and_come_to_the_same(tmp_path):
    losses = {}
    for precision in ("32-true", "bf16-mixed", "64-true"):
        net, pairs, seen = module(), data(), []
        step = net.training_step

        def watched(batch, batch_idx, step=step, seen=seen):
            seen.append((batch, step(batch, batch_idx)))
            return seen[-1][1]

        net.training_step = watched
        trainer(tmp_path, max_steps=2, num_sanity_val_steps=0, precision=precision).fit(net, pairs)
        times = torch.cat([batch.time for batch, _ in seen]).numpy().astype("M8[s]")
        assert len(set(times) & set(pairs.times("train").to_numpy())) == 10
        edges = pairs.dataset("train")[0].lat_edges
        assert all((batch.lat_edges == edges).all() for batch, _ in seen)
        losses[precision] = [float(loss.detach()) for _, loss in seen]
    assert losses["64-true"] == pytest.approx(losses["32-true"], rel=1e-5)
    assert losses["bf16-mixed"] == pytest.approx(losses["32-true"], rel=1e-2)


def test_members_are_trained_one_by_one_and_scored_by_their_mean(tmp_path, monkeypatch):
    """Two members that miss the truth by +2 and -4: squares 4 and 16, the mean misses by -1.

    Without statistics the unit of an amount is expm1(1).
    """
    net = module()

    def members(batch, fill=True):
        truth = batch.fine.nan_to_num(1.0)[:, None]
        return torch.cat([truth + 2, truth - 4], dim=1)

    monkeypatch.setattr(net.network, "forward", members)
    found = trainer(tmp_path).validate(net, data(), verbose=False)[0]
    assert found["val_loss"] == pytest.approx((4 + 16) / 2 / (np.e - 1) ** 2, rel=1e-5)
    assert found[f"val_rmse/{PRECIPITATION}"] == pytest.approx(1, rel=1e-5)
    assert found[f"val_bias/{PRECIPITATION}"] == pytest.approx(-1, rel=1e-5)
