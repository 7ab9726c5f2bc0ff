"""A variable of one's own, from the config to the scores: every process knows it."""

import json
import pickle

import cloudpickle
import numpy as np
import pytest
import xarray as xr
import yaml

import orbitlite
import orbitlite.cli as commands
from orbitlite.variables import VARIABLES

OWN = {
    "glacier_runoff": {
        "units": "mm", "long_name": "Runoff of glaciers", "transform": "log1p",
        "limits": [0, 5000], "hours": 24, "aliases": ["gro"],
    },
    "hub_wind": {"units": "m s-1", "nonnegative": True},
}  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Go to a folder with a fine and a coarse file, a declaration and a config without it."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(7)
    dims = ("time", "lat", "lon")
    runoff = random.gamma(0.5, 8.0, (24, 8, 12)) / 86400
    fine = xr.Dataset(
        {
            "GRO": (dims, runoff.astype("f4"), {"units": "kg m-2 s-1"}),
            "hub_wind": (dims, random.gamma(2, 3, (24, 8, 12)).astype("f4"), {"units": "knots"}),
        },
        {
            "time": np.datetime64("2001-01-01", "ns") + np.arange(24) * np.timedelta64(1, "D"),
            "lat": ("lat", np.linspace(48.75, 45.25, 8), {"units": "degrees_north"}),
            "lon": ("lon", np.linspace(5.25, 10.75, 12), {"units": "degrees_east"}),
        },
    )
    fine.to_netcdf("fine.nc")
    with xr.set_options(keep_attrs=True):
        fine.coarsen(lat=2, lon=2).mean().to_netcdf("coarse.nc")
    network = {
        "inputs": [*OWN], "targets": ["glacier_runoff"], "statics": [], "factor": 2,
        "patch_size": 2, "embed_dim": 8, "depth": 1, "num_heads": 2,
    }  # fmt: skip
    content = {
        "trainer": {
            "max_epochs": 1, "default_root_dir": "run", "accelerator": "cpu",
            "enable_progress_bar": False, "enable_model_summary": False,
        },
        "model": {"network": network},
        "data": {
            "fine": "fine.nc", "train": ["2001-01-01", "2001-01-16"],
            "validate": ["2001-01-17", "2001-01-20"], "test": ["2001-01-21", "2001-01-24"],
            "num_workers": 1, "cache": False,
        },
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(OWN))
    return tmp_path


@pytest.mark.slow
def test_from_the_config_to_the_scores(folder, forget, capsys):
    assert commands.main(["fit", "-c", "config.yaml"]) == 2
    assert "is not a channel of the variable table" in capsys.readouterr().err
    own = ["--model.network.variables", "own.yaml"]
    assert commands.main(["fit", "-c", "config.yaml", *own]) == 0
    record = json.loads((folder / "run/bundle/config.json").read_text())
    assert list(record["config"]["variables"]) == [*OWN]
    assert record["config"]["log1p"] == ["glacier_runoff"]

    forget()
    words = ["--data.num_workers", "0", "--ckpt_path", "run/checkpoints/best.ckpt"]
    assert commands.main(["test", "-c", "config.yaml", *words]) == 0
    forget()
    assert commands.main(["downscale", "coarse.nc", "fine_out.nc", "--model", "run/bundle"]) == 0
    with xr.open_dataset("fine_out.nc") as found:
        field = found["glacier_runoff"]
        assert (field.attrs["units"], field.attrs["long_name"]) == ("mm", "Runoff of glaciers")
        values = field.values

    forget()
    scoring = ["evaluate", "fine_out.nc", "fine.nc", "--json", "scores.json"]
    capsys.readouterr()
    assert commands.main(scoring) == 2
    assert "--variables" in capsys.readouterr().err
    (folder / "own_config.yaml").write_text(
        (folder / "config.yaml").read_text().replace("inputs:", "variables: own.yaml\n    inputs:")
    )
    for told in (["--variables", "own.yaml"], ["--training", "own_config.yaml"]):
        forget()
        assert commands.main([*scoring, *told]) == 0
        scores = json.loads((folder / "scores.json").read_text())["glacier_runoff"]["orbitlite"]
        with xr.open_dataset("fine.nc") as ds:
            truth = ds["GRO"].values * 86400.0
        weights = np.cos(np.deg2rad(np.linspace(48.75, 45.25, 8)))[:, None] * np.ones(12)
        weights = np.broadcast_to(weights, truth.shape)
        assert scores["bias"] == pytest.approx(
            np.average(values - truth, weights=weights), rel=1e-3
        )
        logs = np.log1p(values) - np.log1p(truth)
        rmse = np.sqrt(np.average(logs**2, weights=weights))
        assert scores["rmse_log1p"] == pytest.approx(rmse, rel=1e-3)


def test_a_prediction_that_goes_to_another_process(folder, forget):
    orbitlite.declare_variables(OWN)
    config = orbitlite.DownscalerConfig(
        inputs=[*OWN], targets=["glacier_runoff"], statics=[], factor=2, embed_dim=8, depth=0
    )
    model = orbitlite.Downscaler(config)
    coarse = xr.open_dataset("coarse.nc", chunks={"time": 8})
    fine = orbitlite.predict(coarse, model)
    stored = cloudpickle.dumps(dict(fine["glacier_runoff"].data.dask))
    forget()
    pickle.loads(stored)
    assert VARIABLES["glacier_runoff"].hours == 24
    assert np.isfinite(fine["glacier_runoff"].values).all()
