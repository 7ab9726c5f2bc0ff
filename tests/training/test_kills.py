"""A fit that is killed at any moment of any save goes on to what it would have been."""

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import yaml

from orbitlite.training.checkpoints import read_checkpoint

RAIN = "total_precipitation_24hr"
KILLED = 77
OPTIONS = {
    "whole epochs": {},
    "recent": {"recent": {"every": 1, "count": 2}},
    "within epochs": {"trainer": {"val_check_interval": 2}, "recent": {"every": 1, "count": 1}},
    "every second epoch": {"trainer": {"check_val_every_n_epoch": 2, "max_epochs": 3}},
    "steps": {"trainer": {"max_epochs": -1, "max_steps": 8}, "recent": {"every": 4, "count": 1}},
}


def write_config(folder, more):
    random = np.random.default_rng(5)
    dims = ("time", "lat", "lon")
    rain = random.gamma(0.5, 6.0, (16, 8, 8)).astype("f4")
    xr.Dataset(
        {RAIN: (dims, rain, {"units": "mm"})},
        {
            "time": np.datetime64("2001-01-01", "ns") + np.arange(16) * np.timedelta64(1, "D"),
            "lat": ("lat", np.linspace(49.75, 46.25, 8), {"units": "degrees_north"}),
            "lon": ("lon", np.linspace(5.25, 8.75, 8), {"units": "degrees_east"}),
        },
    ).to_netcdf(folder / "fine.nc")
    content = {
        "trainer": {
            "max_epochs": 2, "accelerator": "cpu", "logger": False, "num_sanity_val_steps": 0,
            "enable_progress_bar": False, "enable_model_summary": False,
        } | more.get("trainer", {}),
        "model": {
            "optimisation": {"lr": 0.02},
            "network": {"inputs": [RAIN], "targets": [RAIN], "fine_statics": [], "factor": 2,
                        "embed_dim": 8, "depth": 1, "num_heads": 2, "dropout": 0.1},
        },
        "data": {
            "fine": str(folder / "fine.nc"), "batch_size": 2,
            "train": ["2001-01-01", "2001-01-08"], "validate": ["2001-01-09", "2001-01-12"],
            "test": ["2001-01-13", "2001-01-16"],
        },
    }  # fmt: skip
    (folder / "config.yaml").write_text(
        yaml.safe_dump(content | {"recent": more.get("recent", {})})
    )


def fit(folder, run, kill=None):
    """Fit in this process; it ends at once where `kill` files and folders have got their names.

    Then the next one is written, and not named yet.
    """
    from orbitlite.cli import main

    torch.set_num_threads(1)
    count = [0]

    def watched(function):
        def watch(*words, **options):
            if count[0] == kill:
                os._exit(KILLED)
            count[0] += 1
            return function(*words, **options)

        return watch

    Path.replace, Path.rename = watched(Path.replace), watched(Path.rename)
    words = ["fit", "-c", f"{folder}/config.yaml", "--ckpt_path", "last"]
    status = main([*words, "--trainer.default_root_dir", f"{folder}/{run}"])
    Path(folder, run, "moments").write_text(str(count[0]))
    os._exit(status)


def ended(*words):
    """Return the exit status of a fit in a process of its own."""
    process = multiprocessing.get_context("forkserver").Process(target=fit, args=words)
    process.start()
    process.join()
    return process.exitcode


def weights(path):
    state = read_checkpoint(path)
    return {"step": torch.tensor(state["global_step"])} | state["state_dict"] | {
        f"current {name}": value for name, value in state["current"].items()
    }  # fmt: skip


def same(one, other):
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_killed_at_any_save(tmp_path, name):
    write_config(tmp_path, OPTIONS[name])
    assert ended(str(tmp_path), "whole") == 0
    whole = tmp_path / "whole"
    count = int((whole / "moments").read_text())
    assert count >= 5
    expected = {kind: weights(whole / f"checkpoints/{kind}.ckpt") for kind in ("last", "best")}
    bundle = (whole / "bundle/model.safetensors").read_bytes()
    names = sorted(path.name for path in (whole / "checkpoints").iterdir())
    for moment in range(count):
        run = tmp_path / str(moment)
        assert ended(str(tmp_path), run.name, moment) == KILLED
        assert ended(str(tmp_path), run.name) == 0, moment
        for kind, state in expected.items():
            assert same(weights(run / f"checkpoints/{kind}.ckpt"), state), (moment, kind)
        assert (run / "bundle/model.safetensors").read_bytes() == bundle, moment
        assert sorted(path.name for path in (run / "checkpoints").iterdir()) == names, moment
        assert not list(run.glob(".*")), moment
