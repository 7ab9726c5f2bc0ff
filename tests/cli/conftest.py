"""Files for commands to work on, and what a command is to say that fails."""

import os

import numpy as np
import pytest
import xarray as xr
import yaml

from orbitlite.cli import main

RAIN = "total_precipitation_24hr"


@pytest.fixture
def files(coarse, bundle_path, tmp_path, monkeypatch):
    """Go to a folder with a coarse file in it; return the arguments that name the model."""
    monkeypatch.chdir(tmp_path)
    coarse.to_netcdf("coarse.nc")
    return ["--model", str(bundle_path)]


@pytest.fixture
def fails(capsys):
    """Return a function that runs a command which is to fail, and gives its line of complaint."""

    def run(*words):
        before = sorted(os.listdir())
        assert main(words) == 2
        err = capsys.readouterr().err
        assert "Traceback" not in err
        lines = [line for line in err.splitlines() if line.startswith("orbitlite: ")]
        assert len(lines) == 1
        assert err.splitlines()[-1] == lines[0]
        assert sorted(os.listdir()) == before
        return lines[0].removeprefix("orbitlite: ")

    return run


@pytest.fixture
def config(tmp_path):
    """Write a fine file of 30 days and a config of a fit on it; return what the config holds."""
    random = np.random.default_rng(5)
    rain = random.gamma(0.5, 6.0, (30, 12, 16)).astype("f4")
    dims = ("time", "lat", "lon")
    fine = xr.Dataset(
        {
            RAIN: (dims, rain, {"units": "mm"}),
            "2m_temperature": (dims, rain + 280, {"units": "K"}),
            "orography": (dims[1:], 100 * rain[0], {"units": "m"}),
        },
        {
            "time": np.datetime64("2001-01-01", "ns") + np.arange(30) * np.timedelta64(1, "D"),
            "lat": ("lat", np.linspace(49.75, 44.25, 12), {"units": "degrees_north"}),
            "lon": ("lon", np.linspace(5.25, 12.75, 16), {"units": "degrees_east"}),
        },
    )
    fine.to_netcdf(tmp_path / "fine.nc")
    network = {
        "inputs": [RAIN, "2m_temperature"], "targets": [RAIN], "statics": ["orography"],
        "factor": 2, "patch_size": 2, "embed_dim": 8, "depth": 1, "num_heads": 2,
    }  # fmt: skip
    content = {
        "trainer": {
            "max_epochs": 1, "default_root_dir": str(tmp_path / "run"), "accelerator": "cpu",
            "enable_progress_bar": False, "enable_model_summary": False,
        },
        "model": {"network": network},
        "data": {
            "fine": str(tmp_path / "fine.nc"), "train": ["2001-01-01", "2001-01-20"],
            "validate": ["2001-01-21", "2001-01-25"], "test": ["2001-01-26", "2001-01-30"],
        },
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
    return content
