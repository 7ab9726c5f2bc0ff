"""Fits on coarse fields alone and beside pairs: what learns, goes on, is exported and refused."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import yaml

import orbitlite
from orbitlite.cli import main
from orbitlite.errors import InputError
from orbitlite.training.checkpoints import read_checkpoint

RAIN, WARM = "total_precipitation_24hr", "2m_temperature"


def fields(days, rows, columns, seed, gap=False):
    random = np.random.default_rng(seed)
    waves = random.standard_normal((days, 1, 1)) * np.linspace(-1, 1, columns)
    warm = 280 + 5 * (waves + 0.1 * random.standard_normal((days, rows, columns)))
    rain = np.exp(0.5 * (warm - 280) / 5 + 0.1 * random.standard_normal(warm.shape))
    if gap:
        warm[:, 1:3, 1] = np.nan
    dims = ("time", "lat", "lon")
    return xr.Dataset(
        {RAIN: (dims, rain.astype("f4"), {"units": "mm"}),
         WARM: (dims, warm.astype("f4"), {"units": "K"})},
        {"time": np.datetime64("2001-01-01", "ns") + np.arange(days) * np.timedelta64(1, "D"),
         "lat": ("lat", 49.5 - np.arange(rows), {"units": "degrees_north"}),
         "lon": ("lon", 5.5 + np.arange(columns), {"units": "degrees_east"})},
    )  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretraining")
    fields(16, 5, 6, 1, gap=True).to_netcdf(folder / "coarse.nc")
    fields(16, 8, 8, 2).to_netcdf(folder / "fine.nc")
    fields(16, 8, 8, 2)[[RAIN]].to_netcdf(folder / "rain.nc")
    content = {
        "trainer": {"max_epochs": 2, "accelerator": "cpu", "num_sanity_val_steps": 0,
                    "log_every_n_steps": 1, "enable_progress_bar": False,
                    "enable_model_summary": False},
        "recent": {"every": 1, "count": 20},
        "ema": {"decay": 0.5},
        "model": {
            "optimisation": {"lr": 0.01, "weight_decay": 0.5},
            "network": {"inputs": [RAIN, WARM], "targets": [RAIN], "statics": [], "factor": 2,
                        "patch_size": 1, "embed_dim": 16, "depth": 1, "num_heads": 2,
                        "dropout": 0.1},
        },
        "data": {"batch_size": 3, "train": ["2001-01-01", "2001-01-08"],
                 "validate": ["2001-01-09", "2001-01-16"]},
    }  # fmt: skip
    (folder / "base.yaml").write_text(yaml.safe_dump(content))
    alone = {"model": {"reconstruction": {}}, "data": {"coarse": str(folder / "coarse.nc")}}
    (folder / "alone.yaml").write_text(yaml.safe_dump(alone))
    sources = {"plain": {"coarse": str(folder / "coarse.nc")},
               "pairs": {"fine": str(folder / "rain.nc")}}  # fmt: skip
    both = {"model": {"reconstruction": {"weight": 0.5}}, "data": {"sources": sources}}
    (folder / "both.yaml").write_text(yaml.safe_dump(both))
    return folder


@pytest.fixture(scope="module")
def fit(place):
    def run(config, name, *words):
        configs = [f"-c={place}/base.yaml", *([f"-c={place}/{config}.yaml"] if config else [])]
        root = f"--trainer.default_root_dir={place}/{name}"
        assert main(["fit", *configs, root, *map(str, words)]) == 0
        return place / name

    return run


@pytest.fixture(scope="module")
def alone(fit):
    return fit("alone", "alone")


@pytest.fixture(scope="module")
def both(fit):
    return fit("both", "both")


def column(run, name):
    with Path(run, "logs", "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def weights_at(run, step):
    (path,) = (p for p in Path(run, "checkpoints").glob("*step*") if f"step={step}.ckpt" in p.name)
    return read_checkpoint(path)


def test_a_fit_without_truth_learns_and_is_judged_by_the_reconstruction(alone):
    assert len(column(alone, "train_reconstruction")) == 6
    scores = column(alone, "val_reconstruction")
    assert len(scores) == 2
    assert scores[1] < scores[0]
    assert not column(alone, "train_loss")
    assert not column(alone, "val_rmse")
    best = read_checkpoint(alone / "checkpoints" / "best.ckpt")
    (kept,) = (s for k, s in best["callbacks"].items() if "'val_reconstruction'" in k)
    assert float(kept["best_model_score"]) == pytest.approx(min(scores), rel=1e-6)
    # beside it, once, what it compares with
    assert len(column(alone, "val_reconstruction_nearest")) == 1
    assert column(alone, "val_reconstruction_mean")[0] == pytest.approx(1, abs=0.7)


def test_other_masks_make_the_best_score_start_over(alone, fit, capsys):
    path = f"--ckpt_path={alone}/checkpoints/last.ckpt"
    words = ("--trainer.max_epochs", 3, "--model.reconstruction.patches", 0.3)
    fit("alone", "others", path, *words)
    said = " ".join(capsys.readouterr().err.split())
    assert "The best score starts over" in said
    assert "model.reconstruction.patches changed" in said


def test_what_has_no_part_in_it_neither_moves_nor_decays(alone):
    first, last = (weights_at(alone, step) for step in (1, 6))
    for name, value in last["current"].items():
        still = name.startswith(("network.decoder.", "network.blend"))
        assert first["current"][name].equal(value) is still, name
        assert (name in last["optimizer_states"][0]["state"]) is not still, name


def test_masks_and_losses_go_on_bit_for_bit_within_an_epoch(alone, fit, everything):
    (path,) = (p for p in Path(alone, "checkpoints").glob("*step*") if "step=2.ckpt" in p.name)
    resumed = fit("alone", "resumed", f"--ckpt_path={path}")
    assert column(resumed, "train_reconstruction") == column(alone, "train_reconstruction")[2:]
    ours, theirs = (everything(run / "checkpoints" / "last.ckpt") for run in (resumed, alone))
    assert all(ours[name].equal(value) for name, value in theirs.items())


def test_the_bundle_tells_that_its_decoder_has_learned_nothing(alone, place, capsys):
    bundle = orbitlite.load(alone / "bundle")
    assert not any(name.startswith("reconstruction") for name in bundle.model.state_dict())
    assert bundle.metadata["training"]["objective"] == "reconstruction"
    with pytest.raises(InputError, match=r"trained by reconstruction alone.*--init BUNDLE"):
        orbitlite.predict(xr.open_dataset(place / "coarse.nc"), bundle)
    with pytest.raises(InputError, match="trained by reconstruction alone"):
        orbitlite.load([alone / "bundle", alone / "bundle"])
    assert main(["info", str(alone / "bundle")]) == 0
    assert "the decoder has learned nothing" in " ".join(
        capsys.readouterr().out.replace("│", " ").split()
    )
    assert "decoder has learned nothing" in (alone / "bundle" / "README.md").read_text()


def test_a_fit_that_begins_with_it_takes_the_trunk_alone(alone, place, fit):
    words = ("--data.fine", place / "fine.nc", "--init", alone / "bundle")
    tuned = fit(None, "tuned", *words, "--init.rate", "1e-6", "--init.decay", 1)
    theirs = orbitlite.load(alone / "bundle").model.state_dict()
    state = read_checkpoint(tuned / "checkpoints" / "last.ckpt")
    ours = {n.removeprefix("network."): v for n, v in state["state_dict"].items()}
    taken = state["initialisation"]["taken"]
    assert not any(name.startswith(("decoder.", "blend")) for name in taken)
    for name in ("blocks.0.mlp.0.weight", "position.linear.weight"):
        if name in theirs:
            torch.testing.assert_close(ours[name], theirs[name], atol=1e-5, rtol=1e-4)
    assert any(name.startswith("blocks.") for name in taken)
    # normalisation: of the inputs that of the bundle, of the targets that of the pairs
    assert ours["input_mean"].equal(theirs["input_mean"])
    assert float(ours["target_mean"]) != 0.0
    metadata = orbitlite.load(tuned / "bundle").metadata
    assert "objective" not in metadata["training"]
    fine = orbitlite.predict(xr.open_dataset(place / "coarse.nc"), tuned / "bundle")
    assert np.isfinite(fine[RAIN].values).any()


def test_a_fit_without_truth_may_begin_with_a_bundle(alone, fit, capsys):
    words = ("--init", alone / "bundle", "--init.rate", "1e-6", "--init.decay", 1)
    again = fit("alone", "again", *words, "--trainer.max_epochs", 1)
    state = read_checkpoint(again / "checkpoints" / "last.ckpt")["state_dict"]
    head = sum(v.numel() for n, v in state.items() if n.startswith("network.reconstruction."))
    said = capsys.readouterr().err.replace("│", " ").splitlines()
    (row,) = [line for line in said if "of this fit" in line]
    assert row.split()[:4] == ["reconstruction", "0", f"{head:,}", "0"]
    decoding = [line.split() for line in said if line.split()[:1] == ["decoder,"]]
    assert decoding
    assert all("frozen" in line for line in decoding)
    still = ("network.decoder.", "network.blend")
    learning = sum(
        value.numel() for name, value in state.items() if name.startswith("network.")
        and not name.startswith(still) and not name.endswith(("_mean", "_std"))
    )  # fmt: skip
    assert any(f"{learning:,} weights learn" in line for line in said)
    for name, value in orbitlite.load(alone / "bundle").model.state_dict().items():
        if name.startswith("blocks."):
            torch.testing.assert_close(state[f"network.{name}"], value, atol=1e-5, rtol=1e-4)


def test_beside_pairs_each_step_is_of_one_kind(both):
    learned, rebuilt = (column(both, f"train_{name}") for name in ("loss", "reconstruction"))
    assert (len(learned), len(rebuilt)) == (6, 6)
    assert len(column(both, "val_rmse")) == len(column(both, "val_reconstruction")) == 2
    assert column(both, "plain/val_reconstruction") == column(both, "val_reconstruction")
    assert column(both, "pairs/val_rmse") == column(both, "val_rmse")
    orbitlite.load(both / "bundle")  # of pairs: it predicts
    told = orbitlite.load(both / "bundle").metadata["training"]
    assert "objective" not in told
    assert [*told["ranges"]] == [RAIN]  # of pairs
    assert told["reconstructed"] == [WARM]
    # a part that a step has no use for stands still, decay of weights included
    moved = {"network.decoder.": 0, "network.reconstruction.": 0, "network.blocks.": 0}
    before = None
    for step in range(1, 13):
        now = weights_at(both, step)["current"]
        for part in moved:
            names = [name for name in now if name.startswith(part)]
            moved[part] += before is not None and not all(now[n].equal(before[n]) for n in names)
        before = now
    assert moved["network.blocks."] == 11
    assert moved["network.decoder."] + moved["network.reconstruction."] == 11


def test_accumulated_batches_make_the_gradient_of_one(fit):
    words = ("--trainer.max_steps", 1, "--trainer.gradient_clip_val", 1e9,
             "--model.network.dropout", 0)  # fmt: skip

    def first_moments(name, *more):
        run = fit("alone", name, *words, *more)
        states = read_checkpoint(run / "checkpoints" / "last.ckpt")["optimizer_states"][0]["state"]
        return {name: state["exp_avg"] for name, state in states.items()}

    one = first_moments("whole", "--data.batch_size", 4)
    more = ("--data.batch_size", 2, "--trainer.accumulate_grad_batches", 2)
    other = first_moments("parts", *more)
    size = max(float(value.abs().max()) for value in one.values())
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-4, atol=1e-6 * size)


@pytest.mark.parametrize(
    ("config", "words", "text"),
    [
        ("alone", ["--model.reconstruction=null"],
         "data has coarse fields and no truth: state data.fine, or model.reconstruction: {}"),
        ("both", ["--model.reconstruction=null"],
         "data.sources.plain has coarse fields and no truth"),
        (None, ["--data.fine={place}/fine.nc", "--model.reconstruction.weight=2"],
         "each source has its own: state one with coarse alone"),
        ("alone", ["--model.network.ridge=[5,6]"],
         "model.network.ridge is solved on coarse and fine fields, and data has no truth"),
        ("alone", ["--checkpoint.monitor=val_rmse"],
         "nothing is logged as 'val_rmse'; known are val_reconstruction"),
        ("alone", ["--model.reconstruction.patches=2"],
         "model.reconstruction.patches: expected a share in [0, 1), found 2.0"),
        ("alone", ["--init.bundle={place}/alone/bundle", "--init.tune=head"],
         "init.tune head learns the decoder, and data has no truth to learn it from"),
        ("alone", ["--model.reconstruction=3"], "model.reconstruction: expected"),
        (None, ["--ckpt_path={place}/alone/checkpoints/last.ckpt", "--data.coarse=null",
                "--data.fine={place}/fine.nc", "--model.reconstruction=null"],
         "is of a fit with model.reconstruction {...}, found null: state the same"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(config, words, text, place, alone, capsys):
    words = [word.format(place=place) if "{place}" in word else word for word in words]
    configs = [f"-c={place}/base.yaml", *([f"-c={place}/{config}.yaml"] if config else [])]
    assert main(["fit", *configs, f"--trainer.default_root_dir={place}/refused", *words]) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("orbitlite:")]
    assert len(said) == 1
    assert text in said[0]
    assert not (place / "refused").exists()


def test_a_period_without_truth_is_scored_and_not_predicted(alone, place, capsys):
    checkpoint = f"--ckpt_path={alone}/checkpoints/best.ckpt"
    root = f"--trainer.default_root_dir={place}/scored"
    assert main(["validate", checkpoint, root]) == 0
    with Path(place, "scored", "logs", "validate_metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    best = min(column(alone, "val_reconstruction"))
    assert float(row["val_reconstruction"]) == pytest.approx(best, rel=1e-5)
    assert main(["predict", checkpoint, root]) == 2
    assert "data.fine is not stated; `orbitlite downscale`" in capsys.readouterr().err
    pairs = ["--data.coarse=null", f"--data.fine={place}/fine.nc"]
    assert (
        main(["predict", checkpoint, root, *pairs, "--data.predict=[2001-01-09,2001-01-10]"]) == 2
    )
    assert "trained by reconstruction alone" in capsys.readouterr().err
