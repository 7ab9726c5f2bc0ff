"""A fit goes on with the settings of its checkpoint; what is stated beside it wins and is told."""

import logging
import os
import shutil

import pytest
import torch
import xarray as xr
import yaml

from orbitlite.cli import main
from orbitlite.errors import InputError
from orbitlite.model.config import DownscalerConfig
from orbitlite.notice import OrbitliteWarning
from orbitlite.training.checkpoints import read_checkpoint
from orbitlite.training.continuation import SETTINGS, settings_of, with_checkpoint_settings
from orbitlite.training.machine import fitted
from orbitlite.training.stated import Stated, without

STATED = {
    "trainer": {"gradient_clip_val": 0.125, "accumulate_grad_batches": 2, "precision": "bf16-mixed",
                "log_every_n_steps": 3, "val_check_interval": 2, "logger": None},
    "recent": {"every": 4, "count": 1},
}  # fmt: skip
MORE = {"seed_everything": 17, "ema": {"decay": 0.5}, "step_line": {"every": 7}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, write_config):
    """A folder with a fit that states much: four steps of two batches."""
    folder = tmp_path_factory.mktemp("stated")
    write_config(folder, **STATED)
    content = yaml.safe_load((folder / "config.yaml").read_text()) | MORE
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    root = ["--trainer.default_root_dir", f"{folder}/run"]
    assert main(["fit", "-c", f"{folder}/config.yaml", *root]) == 0
    return folder


@pytest.fixture
def copied(whole, tmp_path):
    """Return the checkpoint of a copy of the fit's folder, and the words that state its place."""
    shutil.copytree(whole / "run", tmp_path / "run")
    logging.getLogger("orbitlite").handlers = []
    path = tmp_path / "run/checkpoints/last.ckpt"
    return path, ["--ckpt_path", str(path), "--trainer.default_root_dir", f"{tmp_path}/run"]


def recorded(path):
    return yaml.safe_load(path.read_text())


def test_every_setting_is_that_of_the_fit(copied, monkeypatch, tmp_path):
    """Without a config, from another folder: nothing is that of no one."""
    monkeypatch.chdir(tmp_path)
    path, words = copied
    first = recorded(tmp_path / "run/logs/config.yaml")
    assert main(["fit", *words, "--trainer.max_epochs", "3"]) == 0
    found = recorded(tmp_path / "run/logs/config_step4.yaml")
    assert found.pop("ckpt_path") == str(path)
    networks = [content["model"].pop("network") for content in (first, found)]
    one, other = (DownscalerConfig.from_dict(network) for network in networks)
    assert one == other
    first["trainer"] |= {"max_epochs": 3, "default_root_dir": str(tmp_path / "run")}
    assert found == {name: value for name, value in first.items() if name != "ckpt_path"}
    state = read_checkpoint(path)
    assert (state["global_step"], state["settings"]["ema"]) == (6, {"decay": 0.5})
    assert os.listdir(tmp_path) == ["run"]


def test_the_run_s_folder_is_found(whole, monkeypatch, tmp_path):
    """The fit is done, so nothing is written: but it is looked at where it was made."""
    monkeypatch.chdir(tmp_path)
    before = (whole / "run/logs/metrics.csv").read_bytes()
    assert main(["fit", "--ckpt_path", f"{whole}/run/checkpoints/last.ckpt"]) == 0
    assert (whole / "run/logs/metrics.csv").read_bytes() == before
    assert os.listdir(tmp_path) == []


def test_an_optimiser_that_is_stated_wins(copied, capfd):
    path, words = copied
    stated = ["--model.optimisation.lr", "0.004", "--model.optimisation.betas", "[0.5, 0.75]"]
    stated += ["--model.optimisation", "{weight_decay: 0.25}", "--trainer.max_epochs", "3"]
    assert main(["fit", *words, *stated]) == 0
    said = capfd.readouterr().err
    assert (
        said.count("model.optimisation.lr is 0.004 from here on; the checkpoint was made with 0.02")
        == 1
    )
    assert (
        said.count("weight_decay is 0.25 from here on") == said.count("betas is (0.5, 0.75)") == 1
    )
    state = read_checkpoint(path)
    options = state["optimizer_states"][0]["options"]
    assert options["decayed"]["initial_lr"] == options["no_decay"]["initial_lr"] == 0.004
    assert 0 < options["decayed"]["lr"] < 0.004
    assert tuple(options["no_decay"]["betas"]) == (0.5, 0.75)
    assert (options["decayed"]["weight_decay"], options["no_decay"]["weight_decay"]) == (0.25, 0.0)
    assert state["lr_schedulers"][0]["base_lrs"] == [0.004, 0.004]
    used = state["hyper_parameters"]["optimisation"]
    assert (used["lr"], used["weight_decay"], list(used["betas"])) == (0.004, 0.25, [0.5, 0.75])
    # and is the checkpoint's from then on
    assert main(["fit", *words, "--trainer.max_epochs", "4"]) == 0
    assert "from here on" not in capfd.readouterr().err
    assert read_checkpoint(path)["hyper_parameters"]["optimisation"] == used


def test_an_optimiser_that_is_stated_is_used_at_once(copied):
    """With next to no learning rate the weights stay, from the first step on."""
    path, words = copied
    before = read_checkpoint(path)["current"]
    assert (
        main(["fit", *words, "--model.optimisation.lr", "1e-30", "--trainer.max_epochs", "3"]) == 0
    )
    for name, value in read_checkpoint(path)["current"].items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=1e-25)


def test_fewer_epochs_than_there_were(copied, capsys):
    assert main(["fit", *copied[1], "--trainer.max_epochs", "1"]) == 2
    said = capsys.readouterr().err
    assert "orbitlite: trainer.max_epochs 1: the checkpoint is of epoch 2" in said


def changed(path, **values):
    """Change a checkpoint; `a__b` is the key b within a."""
    state = torch.load(path, weights_only=True)
    for keys, value in values.items():
        *outer, last = keys.split("__")
        place = state
        for key in outer:
            place = place[key]
        place[last] = value
    torch.save(state, path)


ENDLESS = []
ENDLESS.append(ENDLESS)
WIDE = [0]
for _ in range(12):
    WIDE = [WIDE] * 10


@pytest.mark.parametrize("command", ["fit", "test"])
@pytest.mark.parametrize(
    ("values", "told"),
    [
        (
            {"datamodule_hyper_parameters__statics": {"class_path": "orbitlite.demo.run"}},
            "name a class",
        ),
        (
            {"datamodule_hyper_parameters__fine": [{"class_path": "orbitlite.demo.run"}]},
            "name a class",
        ),
        ({"hyper_parameters__loss": {"class_path": "orbitlite.demo.run"}}, "name a class"),
        ({"datamodule_hyper_parameters__fine": torch.zeros(2)}, "hold a Tensor"),
        ({"datamodule_hyper_parameters": [1]}, "expected keys and values in its datamodule"),
        ({"hyper_parameters": 7}, "is not a checkpoint of orbitlite fit"),
        ({"hyper_parameters__network": 7}, "expected keys and values in model.network"),
        ({"settings": "orbitlite.demo.run"}, "expected keys and values in its settings"),
        ({"settings__trainer": "trainer.yaml"}, "expected keys and values in trainer"),
        ({"settings__trainer__nonsense": 1}, "last.ckpt holds cannot be used: unknown key"),
        ({"settings__parallel__tensor": "x"}, "tensor: expected int, found x"),
        ({"settings__trainer__devices": ENDLESS}, "its settings have no end"),
        ({"settings__ema": {"decay": WIDE}}, "its settings have no end"),
    ],
    ids=lambda value: str([*value]) if isinstance(value, dict) else "",
)
def test_settings_that_are_none(copied, monkeypatch, capsys, command, values, told):
    monkeypatch.setattr("orbitlite.demo.run", lambda: pytest.fail("a checkpoint ran it"))
    changed(copied[0], **values)
    assert main([command, *copied[1]]) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("orbitlite: ")]
    assert told in line
    assert "last.ckpt" in line


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"optimizer_states": []}, "holds the weights alone"),
        ({"optimizer_states": [{"state": {}, "options": {}}]}, "training state is none of a fit"),
        ({"epoch": "many"}, "training state is none of a fit"),
        ({"lr_schedulers": [7]}, "training state is none of a fit"),
    ],
    ids=lambda value: str([*value]) if isinstance(value, dict) else "",
)
def test_training_states_that_are_none(copied, capsys, values, told):
    changed(copied[0], **values)
    assert main(["fit", *copied[1], "--trainer.max_epochs", "3"]) == 2
    assert told in capsys.readouterr().err.splitlines()[-1]


def test_a_checkpoint_of_before_has_the_settings_of_network_and_data(copied):
    state = read_checkpoint(copied[0])
    del state["settings"]
    found = settings_of(state, "old.ckpt")
    assert set(found) == {"model", "data"}
    assert found["model"]["optimisation"]["lr"] == 0.02


def test_no_setting_but_those_of_a_fit(copied):
    changed(copied[0], settings__ckpt_path="other.ckpt", settings__config=["other.yaml"])
    found = settings_of(read_checkpoint(copied[0]), "x")
    assert set(found) == {*SETTINGS, "model", "data"}


def test_no_such_checkpoint(tmp_path):
    for command in ("fit", "test"):
        with pytest.raises(InputError, match="no checkpoint best; expected"):
            with_checkpoint_settings([command, "--ckpt_path", "best"])


ONE = {"trainer": {"accelerator": "cpu", "devices": 1}, "parallel": {"tensor": 1}}


@pytest.mark.parametrize(
    ("trainer", "parallel", "words", "kept", "told"),
    [
        ({"accelerator": "cpu", "devices": 2}, {"data": 2}, [], None, None),
        ({"accelerator": "auto", "devices": "auto"}, {}, [], None, None),
        (
            {"accelerator": "gpu", "devices": 4, "max_epochs": 3}, {"tensor": 2, "compile": True},
            [], ({"max_epochs": 3}, {"compile": True}),
            "trainer.accelerator gpu, trainer.devices 4, parallel.tensor 2",
        ),
        (
            {"accelerator": "cpu", "devices": 4, "num_nodes": 2}, {"data": 8}, [],
            ({"accelerator": "cpu", "devices": 4}, {}), "trainer.num_nodes 2, parallel.data 8",
        ),
        ({"accelerator": "cuda", "devices": [0, 3]}, {}, ["--trainer.accelerator", "cpu"],
         ({"accelerator": "cuda"}, {}), r"here: trainer.devices \[0, 3\]\."),
        ({"accelerator": "nonsense", "devices": -1}, {}, [], ({}, {}), "accelerator nonsense"),
        ({"accelerator": "cpu", "devices": 4}, {"tensor": 2, "data": 2}, ["--trainer.devices=1"],
         ({"accelerator": "cpu", "devices": 4}, {}), r"here: parallel.data 2, parallel.tensor 2\."),
        ({"accelerator": "cpu", "devices": 4}, {"tensor": 2}, ["--trainer.devices", "2"], None,
         None),
    ],
)  # fmt: skip
def test_devices_that_are_not_here(monkeypatch, recwarn, trainer, parallel, words, kept, told):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    for name in ("MASTER_ADDR", "NODE_RANK", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    settings = {"trainer": trainer, "parallel": parallel}
    found = fitted(settings, Stated(["fit", *words]), "fit")
    warned = [str(w.message) for w in recwarn if w.category is OrbitliteWarning]
    trainer, parallel = kept or (trainer, parallel)
    assert found == {"trainer": trainer, "parallel": parallel}
    assert len(warned) == (told is not None)
    if told:
        with pytest.warns(OrbitliteWarning, match=told):
            fitted(settings, Stated(["fit", *words]), "fit")


def test_a_prediction_is_of_one_process(recwarn):
    settings = {"trainer": {"accelerator": "cpu", "devices": 4}, "parallel": {"tensor": 4}}
    found = fitted(settings, Stated(["predict"]), "predict")
    assert (found["trainer"]["devices"], found["parallel"]) == (1, {})
    assert not [w for w in recwarn if w.category is OrbitliteWarning]


def test_under_a_launcher_its_number_of_processes_counts(monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    settings = {"trainer": {"accelerator": "cpu", "devices": 2, "num_nodes": 2}, "parallel": {}}
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert fitted(settings, Stated(["fit"]), "fit") == settings
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.warns(OrbitliteWarning, match="devices 2, trainer.num_nodes 2"):
        found = fitted(settings, Stated(["fit"]), "fit")
    assert found["trainer"] == {"accelerator": "cpu"}


def test_what_is_stated_is_found_wherever(tmp_path):
    (tmp_path / "a.yaml").write_text("trainer: {devices: 3, max_epochs: 2}\nckpt_path: last")
    (tmp_path / "b.yaml").write_text("max_epochs: 9")
    words = [
        "fit",
        "-c",
        f"{tmp_path}/a.yaml",
        "--trainer",
        f"{tmp_path}/b.yaml",
        "--data.x=[1, 2]",
    ]
    found = Stated([*words, "--trainer.logger.save_dir", "there", "--config=none.yaml"])
    assert found.value("trainer.max_epochs") == 9
    assert found.value("trainer.devices") == 3
    assert found.value("ckpt_path") == "last"
    assert found.value("data.x") == [1, 2]
    assert "trainer.logger" in found
    assert "trainer.accelerator" not in found
    assert found.value("ckpt_path.more", 5) == 5
    assert without(["fit", "--a", "1", "--a=2", "--ab", "3"], "--a") == ["fit", "--ab", "3"]


@pytest.mark.slow
def test_another_validation_begins_the_best_score_anew(copied, whole, capfd):
    path, words = copied
    first = score(path)

    def go_on(epochs, *more):
        assert main(["fit", *words, "--trainer.max_epochs", str(epochs), *more]) == 0
        return capfd.readouterr().err

    assert "starts over" not in go_on(3)
    assert score(path) <= first
    said = go_on(4, "--data.validate", "[2001-01-10, 2001-01-12]")
    assert said.count("The best score starts over") == 1
    assert "the validation times" in said
    assert "data.fine" not in said
    assert of_last_two_validations(path)
    fine = xr.open_dataset(whole / "fine.nc")
    other = path.parents[2] / "other.nc"
    # so much rain that no score is as good as the last
    (fine + 300).assign_coords(lat=fine.lat - 10).map(
        lambda field: field.assign_attrs(units="mm")
    ).to_netcdf(other)
    said = go_on(5, "--data.fine", str(other))
    assert said.count("The best score starts over") == 1
    for name in ("data.fine", "the region", "the truth"):
        assert name in said
    best = read_checkpoint(path.with_name("best.ckpt"))
    assert best["provenance"]["metadata"]["training"]["grid"]["lat"][0] < 40
    assert best["global_step"] > 8
    exported = (path.parents[1] / "bundle/config.json").read_text()
    assert "other.nc" in exported
    assert "starts over" not in go_on(6)
    assert "ModelCheckpoint.monitor changed" in go_on(7, "--checkpoint.monitor", "val_loss")
    assert "model.loss changed" in go_on(8, "--model.loss", "mae")


def states(path, monitor):
    found = read_checkpoint(path)["callbacks"]
    return [s for k, s in found.items() if k.startswith("ModelCheckpoint") and monitor in k]


def score(path, monitor="val_rmse"):
    (state,) = states(path, monitor)
    return float(state["best_model_score"])


def of_last_two_validations(path):
    """Tell whether the best score is one of the last epoch's, as the metrics file has them."""
    lines = (path.parents[1] / "logs/metrics.csv").read_text().splitlines()
    place = lines[0].split(",").index("val_rmse")
    scores = [float(text) for line in lines[1:] if (text := line.split(",")[place])]
    return min(scores[-2:]) == pytest.approx(score(path))


def test_the_same_values_at_the_same_place_with_other_truth(copied, whole, tmp_path, capfd):
    """A file whose content was changed is another one, under its old name."""
    _, words = copied
    place = tmp_path / "fine.nc"
    shutil.copy(whole / "fine.nc", place)
    more = ["--data.fine", str(place)]
    assert main(["fit", *words, *more, "--trainer.max_epochs", "3"]) == 0
    said = capfd.readouterr().err
    assert "data.fine changed" in said  # a copy elsewhere is not known to be one
    with xr.open_dataset(whole / "fine.nc") as fine:
        twice = (fine * 2).map(lambda field: field.assign_attrs(units="mm"))
        twice.to_netcdf(tmp_path / "twice.nc")
    os.replace(tmp_path / "twice.nc", place)
    assert main(["fit", *words, "--trainer.max_epochs", "4"]) == 0
    assert "measured on something else: the truth changed" in capfd.readouterr().err


def test_true_is_the_seed_of_the_fit_that_goes_on(copied):
    path, words = copied
    more = ["--seed_everything", "true", "--trainer.max_epochs", "3"]
    assert main(["fit", *words, *more]) == 0
    assert read_checkpoint(path)["settings"]["seed_everything"] == 17
