"""The record of a run: only a new fit replaces it, and whoever goes on adds to it."""

import csv
import logging
import os
import shutil
import signal

import pytest
import yaml

from orbitlite.cli import main
from orbitlite.notice import OrbitliteWarning
from orbitlite.training.metrics import Rows
from orbitlite.training.module import DownscalingModule

EVERY = {"trainer": {"log_every_n_steps": 1, "logger": None}, "recent": {"every": 1, "count": 99}}


def run(command, folder, name, *words):
    start = [command, "-c", f"{folder}/config.yaml"]
    place = ["--trainer.default_root_dir", f"{folder}/{name}"]
    status = main([*start, *place, *map(str, words)])
    logging.getLogger("orbitlite").handlers = []
    return status


@pytest.fixture(scope="module")
def whole(tmp_path_factory, write_config):
    """A folder with a config and the fit of eight steps that nothing happened to."""
    folder = tmp_path_factory.mktemp("runs")
    write_config(folder, **EVERY)
    assert run("fit", folder, "whole") == 0
    return folder


@pytest.fixture
def copied(whole, tmp_path):
    """A folder with a copy of the fit, which each test may go on with."""
    shutil.copytree(whole / "whole", tmp_path / "run")
    shutil.copy(whole / "config.yaml", tmp_path)
    return tmp_path


def rows(path):
    with (path / "logs/metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if v} for row in csv.DictReader(file)]


def record(path):
    return [(path / "logs" / name).read_bytes() for name in ("metrics.csv", "config.yaml")]


def test_the_curve_has_each_step_once(whole):
    found = rows(whole / "whole")
    train = [int(row["step"]) for row in found if "train_loss" in row]
    scores = [int(row["step"]) for row in found if "val_rmse" in row]
    assert (train, scores) == ([*range(8)], [3, 7])


@pytest.mark.parametrize("command", ["test", "validate", "predict"])
def test_other_commands_leave_it(copied, command):
    before, run_folder = record(copied / "run"), copied / "run"
    beside = "score" if command == "predict" else f"{command}_metrics.csv"
    assert run(command, copied, "run", "--ckpt_path", "last") == 0
    assert record(run_folder) == before
    assert sorted(os.listdir(run_folder / "logs")) == sorted(
        {"metrics.csv", "config.yaml", beside} - {"score"}
    )
    if command != "predict":
        with (run_folder / "logs" / beside).open() as file:
            (scores,) = csv.DictReader(file)
        assert {"val_rmse", "val_loss"} < set(scores)
        assert not {"step", "epoch"} & set(scores)  # a test stands at no step
    # again: of the last one alone
    assert run(command, copied, "run", "--ckpt_path", "last") == 0
    assert record(run_folder) == before


def test_a_run_that_is_not_there(whole, tmp_path):
    """A test elsewhere makes no record of a fit."""
    path = whole / "whole/checkpoints/best.ckpt"
    place = ["--trainer.default_root_dir", f"{tmp_path}/new/run"]
    assert main(["test", "--ckpt_path", str(path), *place]) == 0
    assert os.listdir(tmp_path / "new/run/logs") == ["test_metrics.csv"]


@pytest.mark.parametrize("step", [2, 4, 5])
def test_who_goes_on_computes_no_row_twice(copied, step):
    """From a checkpoint within an epoch, of its end, with rows of later steps in the file."""
    before = record(copied / "run")
    path = copied / f"run/checkpoints/step={step}.ckpt"
    assert run("fit", copied, "run", "--ckpt_path", path) == 0
    assert record(copied / "run") == before


def test_a_copy_of_the_checkpoint_goes_on_too(copied):
    before, path = rows(copied / "run"), copied / "elsewhere.ckpt"
    shutil.copy(copied / "run/checkpoints/step=4.ckpt", path)
    assert run("fit", copied, "run", "--ckpt_path", path) == 0
    assert rows(copied / "run") == before


@pytest.mark.parametrize("words", [("--ckpt_path=last",), ("-c", "last.yaml")], ids=str)
def test_a_killed_fit_has_the_curve_of_the_whole_one(whole, tmp_path, monkeypatch, words):
    """In mid-epoch, in the middle of a row: its folder is as the kill would leave it."""
    shutil.copy(whole / "config.yaml", tmp_path)
    (tmp_path / "last.yaml").write_text("ckpt_path: last")
    monkeypatch.chdir(tmp_path)
    real = DownscalingModule.training_step

    def step(self, batch, batch_idx):
        if self.trainer.global_step == 6:
            shutil.copytree(tmp_path / "going", tmp_path / "run")
        return real(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(DownscalingModule, "training_step", step)
        assert run("fit", tmp_path, "going") == 0
    with (tmp_path / "run/logs/metrics.csv").open("a") as file:
        file.write("1,6,0.25")
    config = (tmp_path / "run/logs/config.yaml").read_bytes()
    assert run("fit", tmp_path, "run", *words) == 0
    assert (tmp_path / "run/logs/config.yaml").read_bytes() == config
    assert rows(tmp_path / "run") == rows(whole / "whole")


def test_a_stopped_fit_has_the_row_of_its_last_step(whole, tmp_path, monkeypatch):
    shutil.copy(whole / "config.yaml", tmp_path)
    real = DownscalingModule.training_step

    def step(self, batch, batch_idx):
        if self.trainer.global_step == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(DownscalingModule, "training_step", step)
        assert run("fit", tmp_path, "run") == 143
    assert int(rows(tmp_path / "run")[-1]["step"]) == 5
    assert run("fit", tmp_path, "run", "--ckpt_path", "last") == 0
    assert rows(tmp_path / "run") == rows(whole / "whole")


def test_a_new_fit_replaces(copied):
    before = record(copied / "run")
    assert run("fit", copied, "run", "--trainer.max_epochs", 1) == 0
    metrics, config = record(copied / "run")
    assert len(metrics.splitlines()) == 6
    assert config != before[1]
    assert yaml.safe_load(config)["trainer"]["max_epochs"] == 1


def test_a_fit_that_goes_on_from_another_run_is_new_here(whole, copied):
    assert run("fit", copied, "other", "--trainer.max_epochs", 1) == 0
    path = whole / "whole/checkpoints/last.ckpt"
    assert run("fit", copied, "other", "--ckpt_path", path, "--trainer.max_epochs", 3) == 0
    steps = [int(row["step"]) for row in rows(copied / "other") if "train_loss" in row]
    assert steps == [8, 9, 10, 11]


def test_other_settings_stand_beside(copied):
    before = record(copied / "run")
    words = ["--ckpt_path", "last", "--trainer.max_epochs", 3, "--step_line.every", 2]
    assert run("fit", copied, "run", *words) == 0
    metrics, config = record(copied / "run")
    assert config == before[1]
    beside = yaml.safe_load((copied / "run/logs/config_step8.yaml").read_text())
    assert beside["trainer"]["max_epochs"] == 3
    found = rows(copied / "run")  # with columns that the rows before did not have
    assert metrics != before[0]
    assert [int(row["step"]) for row in found if "train_loss" in row] == [*range(12)]
    assert [float(row["lr"]) for row in found[:10] if "lr" in row] == []
    assert "lr" in found[-2]


def test_without_a_logger(copied, monkeypatch):
    """The config lies in the run's folder then; one of the user's there is left alone."""
    words = ["--trainer.logger", "false", "--trainer.max_epochs", 1]
    assert run("fit", copied, "bare", *words) == 0
    first = (copied / "bare/config.yaml").read_bytes()
    assert not (copied / "bare/logs").exists()
    assert run("test", copied, "bare", "--trainer.logger", "false", "--ckpt_path", "last") == 0
    assert (copied / "bare/config.yaml").read_bytes() == first
    own = (copied / "config.yaml").read_bytes()
    assert run("fit", copied, ".", *words) == 0
    assert (copied / "config.yaml").read_bytes() == own


def test_a_csv_logger_of_the_config(copied):
    logger = {
        "class_path": "lightning.pytorch.loggers.CSVLogger",
        "init_args": {"save_dir": str(copied / "curves"), "name": "", "version": "one"},
    }
    (copied / "logger.yaml").write_text(yaml.safe_dump({"trainer": {"logger": [logger]}}))
    words = ["-c", copied / "logger.yaml"]
    assert run("fit", copied, "fresh", *words, "--trainer.max_epochs", 1) == 0
    before = (copied / "curves/one/metrics.csv").read_text()
    for command in ("test", "fit"):
        assert run(command, copied, "fresh", *words, "--ckpt_path", "last") == 0
    assert (copied / "curves/one/metrics.csv").read_text().startswith(before)
    assert len(before.splitlines()) == 6
    assert len((copied / "curves/one/metrics.csv").read_text().splitlines()) == 11


HEAD = "epoch,step,train_loss\n"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (HEAD + "0,0,0.5\n0,1,0.25\n0,2,0.125\n", [0, 1]),
        (HEAD + "0,0,0.5\n0,1,0.2", [0]),
        (HEAD + "0,0,0.5\n0,1,0.25\n0,", [0, 1]),
        (HEAD.strip(), []),
        (HEAD, []),
        ("", []),
        (None, []),
    ],
)
def test_what_a_kill_leaves_is_read(tmp_path, text, kept):
    if text is not None:
        (tmp_path / "metrics.csv").write_text(text)
    found = Rows(str(tmp_path), "fit")
    found.log_metrics({"epoch": 0, "train_loss": 3.0}, 2)  # before it is known where it goes on
    found.save()
    found.begin(2)
    found.log_metrics({"epoch": 0, "a score": 1.0}, 2)
    found.save()
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert lines[0] == "a score,epoch,step,train_loss"
    assert [int(line.split(",")[2]) for line in lines[1:]] == [*kept, 2, 2]
    assert os.listdir(tmp_path) == ["metrics.csv"]


@pytest.mark.parametrize("text", ["a,b\n1,2\n", HEAD + "0,many,1\n0,1,3,4\n0\n", "\0\0\0\n\0\n"])
def test_a_file_that_is_no_curve_is_kept_aside(tmp_path, text):
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.warns(OrbitliteWarning, match=r"the file as it was is .*metrics\.csv\.broken"):
        Rows(str(tmp_path), "fit").begin(2)
    assert (tmp_path / "metrics.csv.broken").read_text() == text


def test_last_is_of_the_fit_that_began_last(copied, monkeypatch, capfd):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # a new fit ends in its first step
        patch.setattr(DownscalingModule, "training_step", stop)
        assert run("fit", copied, "run") == 130
    kept = sorted(path.name for path in (copied / "run/checkpoints").iterdir())
    assert "last.ckpt" in kept
    capfd.readouterr()
    assert run("fit", copied, "run", "--ckpt_path", "last", "--trainer.max_epochs", 1) == 0
    told = capfd.readouterr().err
    assert "of another fit before this" in told
    assert "last.ckpt" in told
    assert [int(row["step"]) for row in rows(copied / "run") if "train_loss" in row] == [*range(4)]
