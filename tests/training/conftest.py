"""A fit of seconds through the command, and what its checkpoints hold."""

import numpy as np
import pytest
import torch
import xarray as xr
import yaml

from orbitlite.training.checkpoints import read_checkpoint

RAIN = "total_precipitation_24hr"


@pytest.fixture(scope="session")
def write_config():
    """Return a function: write data and a config of a fit of seconds, eight steps, to a folder."""
    return _write_config


def _write_config(folder, **more):
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
            "network": {"inputs": [RAIN], "targets": [RAIN], "statics": [], "factor": 2,
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


@pytest.fixture(scope="session")
def everything():
    """Return a function: the step and all weights of a checkpoint, by name."""

    def read(path):
        state = read_checkpoint(path)
        current = {f"current {name}": value for name, value in state["current"].items()}
        return {"step": torch.tensor(state["global_step"])} | state["state_dict"] | current

    return read
