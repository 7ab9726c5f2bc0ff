"""Fits of several tasks on one trunk, through the command: losses, scores, resumption, products."""

import copy
import csv
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr
import yaml

import orbitlite
from orbitlite.batch import Batch
from orbitlite.cli import main
from orbitlite.errors import InputError, SharedError
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.tasks import Tasks
from orbitlite.parallel.mesh import Layout, Ranks, check_network
from orbitlite.training.checkpoints import read_checkpoint
from orbitlite.training.module import DownscalingModule
from orbitlite.training.scoring import Scoring
from orbitlite.training.sources import data_of_config

RAIN, WARM = "total_precipitation_24hr", "2m_temperature"
TASKS = {
    "rain": {"factor": 2},
    "heat": {"targets": [WARM], "statics": ["orography"], "factor": 4, "decoder_features": 8},
}
SHARES = {"upper": 0.25, "lower": 0.75}


def write(folder):
    """Write two regions, and configs of fits on both for two tasks, and on each for its own."""
    random = np.random.default_rng(5)
    times = np.datetime64("2001-01-01", "ns") + np.arange(16) * np.timedelta64(1, "D")
    for name, edge in (("upper", 60.25), ("lower", 40.25)):
        axes = {
            "time": times,
            "lat": ("lat", edge + np.arange(16)[::-1] / 2, {"units": "degrees_north"}),
            "lon": ("lon", 5.25 + np.arange(16) / 2, {"units": "degrees_east"}),
        }
        dims, shape = ("time", "lat", "lon"), (16, 16, 16)
        values = {
            RAIN: (dims, random.gamma(0.5, 6.0, shape).astype("f4"), {"units": "mm"}),
            WARM: (dims, random.normal(285, 5, shape).astype("f4"), {"units": "K"}),
            "orography": (dims[1:], 900 * random.random(shape[1:]).astype("f4"), {"units": "m"}),
        }
        xr.Dataset(values, axes).to_netcdf(folder / f"{name}.nc")
    network = {"inputs": [RAIN, WARM], "targets": [RAIN], "statics": [], "factor": 2,
               "embed_dim": 8, "depth": 1, "num_heads": 2, "decoder_features": 16}  # fmt: skip
    content = {
        "seed_everything": 1,
        "trainer": {"max_epochs": 2, "accelerator": "cpu", "log_every_n_steps": 1,
                    "num_sanity_val_steps": 0, "enable_progress_bar": False,
                    "enable_model_summary": False},
        "recent": {"every": 1, "count": 30},
        "model": {"optimisation": {"lr": 0.01}, "network": network},
        "data": {"train": ["2001-01-01", "2001-01-08"], "validate": ["2001-01-09", "2001-01-12"],
                 "test": ["2001-01-13", "2001-01-16"], "batch_size": 4},
    }  # fmt: skip
    for name, task in (("upper", "rain"), ("lower", "heat")):
        alone = copy.deepcopy(content)
        alone["model"]["network"] |= TASKS[task]
        alone["data"] |= {"fine": str(folder / f"{name}.nc"), "batch_size": 8}
        alone["trainer"]["max_epochs"] = 1
        (folder / f"{task}.yaml").write_text(yaml.safe_dump(alone, sort_keys=False))
    network["tasks"] = TASKS
    content["data"]["sources"] = {
        name: {"fine": str(folder / f"{name}.nc"), "weight": SHARES[name], "task": task}
        for name, task in (("upper", "rain"), ("lower", "heat"))
    }
    (folder / "both.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def run(folder, config, name, *words, command="fit"):
    place = ["--trainer.default_root_dir", f"{folder}/{name}"]
    status = main([command, "-c", f"{folder}/{config}.yaml", *place, *map(str, words)])
    logging.getLogger("orbitlite").handlers = []
    return status


def column(folder, name):
    with (folder / "logs" / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("tasks")
    write(found)
    return found


@pytest.fixture(scope="module")
def fitted(folder):
    """Return the folder of a fit of 8 steps, 2 a pass of upper and 6 of lower at a weight of 3."""
    assert run(folder, "both", "run") == 0
    return folder / "run"


def test_the_loss_of_a_task_is_that_of_a_fit_of_it_alone(folder):
    """A decoder begins with the interpolated field, whatever the trunk has learned meanwhile."""
    words = ["--data.batch_size", 8, "--trainer.max_epochs", 1]
    equal = yaml.safe_load((folder / "both.yaml").read_text())["data"]["sources"]
    equal = {name: own | {"weight": 1.0} for name, own in equal.items()}
    assert (
        run(
            folder, "both", "once", *words, "--data.sources", yaml.safe_dump(equal, sort_keys=False)
        )
        == 0
    )
    both = column(folder / "once", "train_loss")
    assert len(both) == 2
    for task, loss in zip(TASKS, both, strict=True):
        assert run(folder, task, f"once {task}") == 0
        assert column(folder / f"once {task}", "train_loss") == [pytest.approx(loss, rel=1e-6)]


def test_scores_are_of_each_source_and_in_the_mean_by_share(fitted):
    parts = {name: column(fitted, f"{name}/val_rmse") for name in SHARES}
    means = [0.25 * one + 0.75 * other for one, other in zip(*parts.values(), strict=True)]
    assert column(fitted, "val_rmse") == pytest.approx(means)
    assert column(fitted, f"val_rmse/{WARM}") == column(fitted, f"lower/val_rmse/{WARM}")
    assert column(fitted, f"val_bias/{RAIN}") == column(fitted, f"upper/val_bias/{RAIN}")
    state = read_checkpoint(fitted / "checkpoints" / "last.ckpt")["state_dict"]
    scale = float(state["network.tasks.heat.target_std"])
    relative = [rmse / scale for rmse in column(fitted, f"lower/val_rmse/{WARM}")]
    assert column(fitted, "lower/val_rmse") == pytest.approx(relative, rel=1e-5)


@pytest.mark.parametrize("step", [1, 3, 5])
def test_goes_on_within_an_epoch_bit_for_bit(folder, fitted, everything, step):
    """At step 1 one of the two decoders has not taken a step yet."""
    kept = [*(fitted / "checkpoints").glob("*.ckpt")]
    path = next(p for p in kept if read_checkpoint(p, weights=False)["global_step"] == step)
    moved = {name.split(".")[2] for name in read_checkpoint(path)["optimizer_states"][0]["state"]
             if name.startswith("network.tasks")}  # fmt: skip
    assert len(moved) == (1 if step == 1 else 2)
    name = f"resumed {step}"
    assert main(["fit", "--ckpt_path", str(path), "--trainer.default_root_dir",
                 f"{folder}/{name}"]) == 0  # fmt: skip
    logging.getLogger("orbitlite").handlers = []
    ours, theirs = (everything(place / "checkpoints" / "last.ckpt")
                    for place in (folder / name, fitted))  # fmt: skip
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_predictions_of_a_bundle_are_those_of_the_run(folder, fitted):
    data = data_of_config(folder / "both.yaml")
    data.choose("heat")
    coarse = data.coarse_dataset("test").load()
    best = fitted / "checkpoints" / "best.ckpt"
    words = ["--ckpt_path", best, "--prediction_file.task", "heat"]
    assert run(folder, "both", "run", *words, command="predict") == 0
    file = xr.open_dataset(fitted / "prediction.nc")
    assert RAIN not in file
    assert file[WARM].shape == (4, 16, 16)
    path = fitted / "bundle"
    fine = coarse.orbitlite.predict(path, task="heat")
    np.testing.assert_allclose(fine[WARM], file[WARM], rtol=1e-5)
    bundle = orbitlite.load(path, task="heat")
    xr.testing.assert_identical(coarse.orbitlite.predict(bundle)[WARM], fine[WARM])
    assert bundle.metadata["training"]["sources"]["lower.fine"] == str(folder / "lower.nc")
    coarse.to_netcdf(folder / "coarse.nc")
    words = ["downscale", f"{folder}/coarse.nc", f"{folder}/fine.nc", "--model", str(path)]
    assert main([*words, "--task", "heat"]) == 0
    logging.getLogger("orbitlite").handlers = []
    np.testing.assert_array_equal(xr.open_dataset(folder / "fine.nc")[WARM], fine[WARM])
    with pytest.raises(InputError, match=r"has 2 tasks \(rain, heat\): state task"):
        orbitlite.predict(coarse, path)
    with pytest.raises(InputError, match=r"task rain: .* has no such task, it has heat"):
        orbitlite.predict(coarse, bundle, task="rain")


def test_a_run_says_which_task_is_missing(folder, fitted, capfd):
    assert run(folder, "both", "run", command="predict") == 2
    said = " ".join(capfd.readouterr().err.split())
    assert "the config has 2 tasks (rain, heat): state prediction_file.task, one of them" in said
    words = ["evaluate", f"{fitted}/prediction.nc", f"{folder}/lower.nc"]
    assert main([*words, "--training", f"{folder}/both.yaml"]) == 2
    assert "state --task, one of them" in " ".join(capfd.readouterr().err.split())


def test_evaluation_takes_the_data_of_a_task(folder, fitted, tmp_path):
    words = ["--ckpt_path", fitted / "checkpoints" / "best.ckpt", "--prediction_file.task", "heat"]
    assert run(folder, "both", "run", *words, command="predict") == 0
    words = ["--training", f"{folder}/both.yaml", "--task", "heat"]
    files = [f"{fitted}/prediction.nc", f"{folder}/lower.nc"]
    assert main(["evaluate", *files, *words, "--json", f"{tmp_path}/scores.json"]) == 0
    found = yaml.safe_load((tmp_path / "scores.json").read_text())
    assert {"orbitlite", "bilinear"} <= found[WARM].keys()


def test_validation_of_a_checkpoint_repeats_its_scores(folder, fitted):
    last = fitted / "checkpoints" / "last.ckpt"
    assert run(folder, "both", "again", "--ckpt_path", last, command="validate") == 0
    with (folder / "again" / "logs" / "validate_metrics.csv").open() as file:
        row = next(csv.DictReader(file))
    assert float(row["val_rmse"]) == pytest.approx(column(fitted, "val_rmse")[-1], rel=1e-6)


def test_one_source_decides_which_checkpoint_is_the_best(folder):
    words = ["--checkpoint.monitor", "lower/val_rmse", "--trainer.max_steps", 4]
    assert run(folder, "both", "watched", *words) == 0
    state = read_checkpoint(folder / "watched" / "checkpoints" / "best.ckpt", weights=False)
    kept = next(value for key, value in state["callbacks"].items() if "lower/val_rmse" in key)
    best = min(column(folder / "watched", "lower/val_rmse"))
    assert float(kept["best_model_score"]) == pytest.approx(best)


def test_a_fit_of_one_task_begins_with_that_of_several(folder, fitted, capfd):
    path = fitted / "bundle"
    words = ["--init", path, "--trainer.max_steps", 1, "--model.optimisation.lr", 1e-12]
    assert run(folder, "heat", "refused", *words) == 2
    assert "has 2 tasks (rain, heat): state task" in " ".join(capfd.readouterr().err.split())
    assert run(folder, "heat", "tuned", *words, "--init.task", "heat") == 0
    assert "decoder, corrections" in capfd.readouterr().err
    given = orbitlite.load(path, task="heat").model.state_dict()
    state = read_checkpoint(folder / "tuned" / "checkpoints" / "last.ckpt")
    for name, value in given.items():
        torch.testing.assert_close(state["state_dict"][f"network.{name}"], value)
    assert state["initialisation"]["origin"]["task"] == "heat"
    words = ["--ckpt_path", folder / "tuned" / "checkpoints" / "last.ckpt"]
    assert run(folder, "heat", "tuned", *words, "--trainer.max_steps", 2) == 0
    words = [*words, "--init.task", "rain", "--trainer.max_steps", 3]
    assert run(folder, "heat", "tuned", *words) == 2
    assert "init.task rain: a fit goes on from" in " ".join(capfd.readouterr().err.split())


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--init", "somewhere"], "init.bundle somewhere: a fit of several tasks"),
        (["--model.target_weights", "[1.0]"], "target_weights: each task has targets of its own"),
        (["--model.network.tasks.snow", "{factor: 2}"], "tasks.snow has no source to learn from"),
        (["--model.network.tokens", "40"], "data.sources.upper (task rain, factor 2)"),
        (["--data.sources.upper", "{coarse: FOLDER/upper.nc, task: rain, weight: 1}"],
         "data.sources.upper has coarse fields and no truth, of which a network of several tasks"),
        (["--checkpoint.monitor", "east/val_rmse"], "nothing is logged as 'east/val_rmse'"),
    ],
)  # fmt: skip
def test_fits_that_cannot_be(folder, capfd, words, text):
    words = [word.replace("FOLDER", str(folder)) for word in words]
    assert run(folder, "both", "refused", *words) == 2
    assert text in " ".join(capfd.readouterr().err.split())
    assert not (folder / "refused").exists()


def test_another_set_of_tasks_cannot_go_on(folder, fitted, capfd):
    words = ["--ckpt_path", fitted / "checkpoints" / "last.ckpt", "--trainer.max_epochs", 3]
    changed = {**TASKS, "heat": {**TASKS["heat"], "decoder_features": 12}}
    words += ["--model.network.tasks", yaml.safe_dump(changed, sort_keys=False)]
    assert run(folder, "both", "run", *words) == 2
    said = " ".join(capfd.readouterr().err.split())
    assert "is of another network than the config: tasks" in said


def test_channels_of_tasks_are_not_split_over_processes():
    config = DownscalerConfig(inputs=[RAIN, WARM], tasks=TASKS, channel_groups=2)
    with pytest.raises(SharedError, match="channels of a network with tasks are not split"):
        check_network(config, Layout(tensor=2))
    check_network(config, Layout(data=2, sequence=2))


def test_members_are_calibrated_task_by_task():
    config = DownscalerConfig(
        inputs=[RAIN, WARM],
        targets=[RAIN],
        statics=[],
        embed_dim=8,
        depth=1,
        num_heads=2,
        noise=1,
        tasks={"rain": {}, "heat": {"targets": [WARM]}},
    )
    network, shares = Tasks(config), {"a": 0.5, "b": 0.3, "c": 0.2}
    tasks = {"a": "rain", "b": "heat", "c": "rain"}
    data = SimpleNamespace(
        scored=lambda split: shares,
        parts=shares,
        truthful=shares,
        assignment=SimpleNamespace(tasks=tasks),
    )
    scores = Scoring(network, data)
    random = torch.Generator().manual_seed(3)
    for number, spread in enumerate((0.9, 0.6, 1.5)):
        batch = Batch(torch.zeros(2, 2, 4, 4), source=number)
        truth = torch.randn(2, 1, 4, 4, generator=random)
        members = spread * torch.randn(2, 8, 1, 4, 4, generator=random)
        one = torch.ones(())
        scores.of(batch).update(members, truth, torch.ones(2, 4, 1), one, one)
    found = scores.compute(network, Ranks(), torch.device("cpu"))
    scores.calibrate(network)
    ratio = {name: found[f"{name}/val_spread_skill/{target}"]
             for name, target in (("a", RAIN), ("b", WARM), ("c", RAIN))}  # fmt: skip
    expected = {"rain": (0.5 * ratio["a"] + 0.2 * ratio["c"]) / 0.7, "heat": ratio["b"]}
    for task, mean in expected.items():
        assert 0.5 < 1 / mean < 2
        assert float(network.tasks[task].noise_size) == pytest.approx(1 / mean, rel=1e-5)
    assert found[f"val_spread_skill/{RAIN}"] == pytest.approx(expected["rain"])


def test_rescaling_multiplies_the_rain_of_each_task():
    tasks = {"rain": {"statics": []}, "both": {"targets": [WARM, RAIN], "statics": [], "factor": 2}}
    config = DownscalerConfig(inputs=[RAIN, WARM], tasks=tasks, embed_dim=8, depth=1, num_heads=2)
    module = DownscalingModule(config, rescaling=4.0)
    sizes = {task: one.targets for task, one in module.variations.rescaling.items()}
    assert sizes == {"rain": [RAIN], "both": [WARM, RAIN]}
