"""The command line: what it does, what it says, and what it leaves."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import yaml

import orbitlite
from orbitlite.cli import main
from orbitlite.data.notice import notice
from orbitlite.inference.journal import Journal
from orbitlite.model.bundle import save_bundle
from orbitlite.model.downscaler import Downscaler, DownscalerConfig

RAIN = "total_precipitation_24hr"


@pytest.fixture(autouse=True)
def own_handlers():
    """Let every test begin without handlers that write to the streams of an earlier one."""
    notice.cache_clear()
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).handlers = []
    yield
    logging.getLogger("orbitlite").handlers = []


@pytest.fixture
def files(coarse, bundle_path, tmp_path, monkeypatch):
    """Go to a folder with a coarse file in it; return the arguments that name the model."""
    monkeypatch.chdir(tmp_path)
    coarse.to_netcdf("coarse.nc")
    return ["--model", str(bundle_path)]


def fails(capsys, *words):
    """Run a command that is to fail; return its only line of complaint."""
    before = sorted(os.listdir())
    assert main(words) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line.startswith("orbitlite: ")]
    assert len(lines) == 1
    assert err.splitlines()[-1] == lines[0]
    assert sorted(os.listdir()) == before
    return lines[0].removeprefix("orbitlite: ")


# what it does


@pytest.mark.parametrize("name", ["new/fine.nc", "fine.zarr"])
def test_downscale_is_predict(files, coarse, bundle, name, capsys):
    assert main(["downscale", "coarse.nc", name, *files, "--batch", "8"]) == 0
    found = orbitlite.open_source(name)
    np.testing.assert_allclose(
        found[RAIN], orbitlite.predict(coarse, bundle)[RAIN], rtol=1e-5, atol=1e-5
    )
    assert found.attrs["institution"] == "nobody"
    assert f"Wrote {name} (5 time x 12 lat x 16 lon)" in capsys.readouterr().err


def test_downscale_with_the_mean_of_two(files, bundle, coarse, capsys):
    other = Downscaler(bundle.model.config)
    torch.nn.init.normal_(other.decoder.out.weight, std=0.3)
    save_bundle("other", other, metadata=bundle.metadata, statics=bundle.statics)
    assert main(["downscale", "coarse.nc", "fine.nc", *files, "--model", "other"]) == 0
    models = [files[1], "other"]
    one, two = (orbitlite.predict(coarse, model)[RAIN] for model in models)
    np.testing.assert_allclose(
        orbitlite.open_source("fine.nc")[RAIN], (one + two) / 2, rtol=1e-5, atol=1e-5
    )
    changed = DownscalerConfig.from_dict(bundle.model.config.to_dict() | {"patch_size": 1})
    save_bundle("finer", Downscaler(changed), metadata=bundle.metadata, statics=bundle.statics)
    words = ["downscale", "coarse.nc", "again.nc", *files, "--model", "finer"]
    assert "patch_size is 2 in model 1 and 1 in model 2" in fails(capsys, *words)


def test_history_holds_the_command(files, monkeypatch):
    words = ["downscale", "coarse.nc", "a b.nc", *files]
    monkeypatch.setattr(sys, "argv", ["/usr/bin/orbitlite", *words])
    assert main() == 0
    first = xr.open_dataset("a b.nc").attrs["history"].splitlines()[0]
    assert first.endswith(f"orbitlite downscale coarse.nc 'a b.nc' {' '.join(files)}")
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", first)


def test_downscale_passes_its_options_on(files, coarse, bundle, capsys):
    moved = coarse.assign_coords(lat=coarse.lat + 20).drop_vars("2m_temperature")
    moved["tp"] = (moved[RAIN] / 1000).assign_attrs(units="m")
    moved = moved.drop_vars(RAIN)
    moved.lat.attrs["units"] = "degrees_north"
    moved.to_netcdf("moved.nc")
    lat, lon = np.linspace(69.75, 64.25, 12), np.linspace(5.25, 12.75, 16)
    height = bundle.statics.values.numpy()[0]
    statics = xr.Dataset(
        {"orography": (("lat", "lon"), height, {"units": "m"})}, {"lat": lat, "lon": lon}
    )
    statics.to_netcdf("statics.nc")
    words = ["downscale", "moved.nc", "fine.nc", *files, "--statics", "statics.nc"]
    assert main([*words, "--period", "24h", "--device", "cpu", "-q"]) == 0
    assert "Wrote" not in capsys.readouterr().err
    assert xr.open_dataset("fine.nc").lat.values.tolist() == lat.tolist()
    assert "say to overwrite" in fails(capsys, *words, "--period", "24h")
    assert main([*words, "--period", "24h", "--overwrite"]) == 0


@pytest.fixture
def config(tmp_path):
    """Return a config of a fit on a fine file with a rain of 30 days, and its fine dataset."""
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
        "inputs": [RAIN, "2m_temperature"], "targets": [RAIN], "fine_statics": ["orography"],
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


@pytest.mark.slow
def test_from_fit_to_scores(config, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "-c", "config.yaml"]) == 0
    checkpoint = "run/checkpoints/last.ckpt"
    words = ["test", "-c", "config.yaml", "--ckpt_path", checkpoint]
    said = fails(capsys, *words, "--model.network.depth", "2", "--model.network.num_heads", "1")
    assert "depth 1 there, 2 here; num_heads 2 there, 1 here" in said
    assert main(["export", checkpoint, "bundle"]) == 0
    assert main(["predict", "-c", "config.yaml", "--ckpt_path", checkpoint]) == 0
    predicted = "run/prediction.nc"
    scores = ["--training", "config.yaml", "--json", "scores.json", "--report", "report"]
    assert main(["evaluate", predicted, "fine.nc", *scores]) == 0
    shown = capsys.readouterr().out
    assert "RMSE" in shown
    found = json.loads((tmp_path / "scores.json").read_text())[RAIN]
    assert set(found) == {"orbitlite", "nearest", "bilinear", "bicubic", "quantile_mapped"}
    assert len(list((tmp_path / "report").glob("*.png"))) >= 4
    for model in ("bundle", checkpoint):
        assert main(["info", model]) == 0
        shown = capsys.readouterr().out
        for text in (RAIN, "orography", "2001-01-01", "44.5 to 49.5 N", "6 x 8 coarse"):
            assert text in re.sub(r"\s*│\s*", " ", shown)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["channel_groups", "2"], ("channel groups 2 (attention)", "tokens every patch")),
        (
            ["channel_groups", f"[[{RAIN}], [2m_temperature]]", "group_aggregation", "linear"],
            ("channel groups 2 (linear)",),
        ),
        (["tokens", "0.75"], ("tokens 0.75 of the patches (gradient",)),
        (["tokens", "9", "saliency", "learned", "max_leaf", "2"], ("tokens 9 (learned",)),
    ],
)
def test_fit_with_groups_and_leaves(config, tmp_path, monkeypatch, capsys, words, expected):
    monkeypatch.chdir(tmp_path)
    names = (f"--model.network.{name}" for name in words[::2])
    options = [word for pair in zip(names, words[1::2], strict=True) for word in pair]
    assert main(["fit", "-c", "config.yaml", *options]) == 0
    assert main(["info", "run/bundle"]) == 0
    shown = re.sub(r"\s*│\s*", " ", capsys.readouterr().out)
    for text in expected:
        assert text in shown
    checkpoint = "run/checkpoints/last.ckpt"
    assert main(["validate", "--ckpt_path", checkpoint]) == 0


def test_a_budget_that_the_grid_cannot_have(config, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["fit", "-c", "config.yaml", "--model.network.tokens", "0.01"]
    assert "tokens: 0.01 gives" in fails(capsys, *words)


def test_evaluate_without_baselines(files, coarse, capsys):
    (coarse[[RAIN]] + 2).assign_attrs(coarse.attrs).map(
        lambda field: field.assign_attrs(units="mm")
    ).to_netcdf("other.nc")
    assert main(["evaluate", "other.nc", "coarse.nc", "--json", "new/scores.json"]) == 0
    assert "RMSE" in capsys.readouterr().out
    found = json.loads(Path("new/scores.json").read_text())
    assert set(found[RAIN]) == {"orbitlite"}
    assert found[RAIN]["orbitlite"]["bias"] == pytest.approx(2, rel=1e-4)


# what it says


def test_unknown_command(capsys):
    assert main(["downscael"]) == 2
    assert "did you mean 'downscale'?" in capsys.readouterr().err


def test_wrong_arguments(capsys):
    for words in ([], ["downscale"], ["downscale", "a", "b", "--modell", "c"]):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 2


def rewritten(change):
    """Return a file of the coarse fields after a change."""

    def write(coarse):
        change(coarse).to_netcdf("bad.nc")
        return "bad.nc"

    return write


def units(value):
    def change(coarse):
        field = coarse[RAIN].drop_attrs()
        return coarse.assign({RAIN: field.assign_attrs(units=value) if value else field})

    return rewritten(change)


def truncated(coarse):
    with open("coarse.nc", "rb") as whole, open("bad.nc", "wb") as part:
        part.write(whole.read()[:3000])
    return "bad.nc"


def curvilinear(coarse):
    lat, lon = np.meshgrid(coarse.lat, coarse.lon, indexing="ij")
    ds = coarse.rename_dims(lat="y", lon="x").drop_vars(["lat", "lon"])
    return ds.assign_coords(
        lat=(("y", "x"), lat, {"units": "degrees_north"}),
        lon=(("y", "x"), lon, {"units": "degrees_east"}),
    )


def stretched(coarse):
    lat = coarse.lat.values - 0.1 * np.arange(6) ** 2
    return coarse.assign_coords(lat=("lat", lat, {"units": "degrees_north"}))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (lambda _: "absent.nc", "No such file or folder: absent.nc"),
        (lambda _: "absent_*.nc", "No file matches"),
        (truncated, "Could not open bad.nc"),
        (rewritten(lambda ds: ds.rename({RAIN: "rain_gauge", "2m_temperature": "b"})), RAIN),
        (units(None), "has no units attribute; accepted are mm"),
        (units("bananas"), "has the unit 'bananas'; accepted are mm"),
        (units("K"), "has the unit 'K'; accepted are mm"),
        (units("m"), None),
        (rewritten(curvilinear), "2-D coordinates are not supported"),
        (rewritten(stretched), "spacing of lat is irregular"),
        (rewritten(lambda ds: ds.assign_coords(lat=ds.lat + 10)), "do not cover this region"),
    ],
)
def test_bad_input_files(files, coarse, source, expected, capsys):
    path = source(coarse)
    if expected is None:  # a file that is right after all
        assert main(["downscale", path, "fine.nc", *files]) == 0
        return
    assert expected in fails(capsys, "downscale", path, "fine.nc", *files)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--batch", "0"], "batch_size should be 1 or more, not 0"),
        (["--device", "abacus"], "device 'abacus' is not to be had here"),
        (["--period", "a while"], "period should be a length of time"),
        (["--accumulate", "36h"], "36"),
        (["--statics", "coarse.nc"], "'orography' is not in the source"),
    ],
)
def test_bad_options(files, options, expected, capsys):
    assert expected in fails(capsys, "downscale", "coarse.nc", "fine.nc", *files, *options)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("fine.txt", "ends in .nc or .zarr"),
        ("coarse.nc", "exists"),
        ("coarse.nc/fine.nc", "cannot create the folder coarse.nc"),
        ("s3://bucket/fine.zarr", "is a URL"),
    ],
)
def test_bad_outputs(files, output, expected, capsys):
    assert expected in fails(capsys, "downscale", "coarse.nc", output, *files)


def test_folder_without_write_permission(files, monkeypatch, capsys):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the tests may be root
    assert "not writable" in fails(capsys, "downscale", "coarse.nc", "fine.nc", *files)


@pytest.mark.parametrize("damage", ["gone", "config", "weights", "changed"])
def test_bad_bundles(files, damage, capsys):
    bundle = files[1]
    if damage == "gone":
        files[1] = "nowhere"
    elif damage == "config":
        with open(f"{bundle}/config.json", "w") as file:
            file.write("{")
    elif damage == "weights":
        os.remove(f"{bundle}/model.safetensors")
    else:
        with open(f"{bundle}/model.safetensors", "ab") as file:
            file.write(b"\0")
    message = fails(capsys, "downscale", "coarse.nc", "fine.nc", *files)
    assert ("config.json" if damage in ("gone", "config") else "model.safetensors") in message


def with_value(key, value):
    def change(content):
        *parents, last = key.split(".")
        section = content
        for parent in parents:
            section = section[parent]
        section[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (with_value("data.batchsize", 4), "did you mean 'data.batch_size'?"),
        (with_value("model.network.factr", 4), "did you mean 'model.network.factor'?"),
        (with_value("data.fine", "absent.nc"), "No such file"),
        (with_value("data.train", ["1999-01-01", "1999-12-31"]), "train"),
        (with_value("data.validate", ["2001-01-19", "2001-01-25"]), "overlap"),
        (with_value("model.network.factor", 40), "no block of 40 x 40"),
        (with_value("model.network.targets", ["total_precipitaton_24hr"]), RAIN),
        (with_value("model.network.inputs", [RAIN, "temprature_850"]), "temperature_850"),
        (with_value("model.loss", "rmse"), "model.loss: expected one of 'mse'"),
        (with_value("data.batch_size", "many"), "data.batch_size: expected int, found many"),
    ],
)
def test_bad_configs(config, tmp_path, monkeypatch, change, expected, capsys):
    monkeypatch.chdir(tmp_path)
    change(config)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert expected in fails(capsys, "fit", "-c", "config.yaml")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_channel_without_a_usable_value(config, tmp_path, monkeypatch, value, capsys):
    monkeypatch.chdir(tmp_path)
    ds = xr.open_dataset("fine.nc").load()
    ds["2m_temperature"][:] = value
    ds.to_netcdf("bad.nc")
    message = fails(capsys, "fit", "-c", "config.yaml", "--data.fine", "bad.nc")
    assert "2m_temperature" in message


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda ds: ds.isel(lon=slice(None, -1)), "cells"),
        (lambda ds: ds.assign_coords(time=ds.time + np.timedelta64(400, "D")), "No time"),
        (lambda ds: ds.drop_vars(RAIN), "No channel to be had of 2m_temperature"),
    ],
)
def test_bad_truth(files, coarse, change, expected, capsys):
    change(coarse).to_netcdf("truth.nc")
    words = ["evaluate", "coarse.nc", "truth.nc", "--json", "scores.json"]
    if expected.startswith("No channel"):
        coarse[[RAIN]].to_netcdf("only_rain.nc")
        words[1] = "only_rain.nc"
    assert expected in fails(capsys, *words)


def test_evaluate_names_what_does_not_nest(files, coarse, capsys):
    part = coarse.isel(lat=slice(0, 5))
    part.to_netcdf("part.nc")
    words = ("evaluate", "coarse.nc", "coarse.nc", "--coarse", "part.nc")
    assert "interpolate" in fails(capsys, *words)


def test_evaluate_needs_a_config(files, capsys):
    words = ("evaluate", "coarse.nc", "coarse.nc", "--training")
    assert "cannot read the config nowhere.yaml" in fails(capsys, *words, "nowhere.yaml")
    with open("list.yaml", "w") as file:
        file.write("- 1\n")
    assert "expected a config" in fails(capsys, *words, "list.yaml")


@pytest.mark.parametrize("words", [["info", "coarse.nc"], ["export", "coarse.nc", "bundle"]])
def test_what_is_no_checkpoint(files, words, capsys):
    assert "checkpoint" in fails(capsys, *words)


# how it ends


def test_interrupt(files, monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(xr.Dataset, "to_netcdf", stop)
        assert main(["downscale", "coarse.nc", "fine.nc", *files]) == 130
    assert capsys.readouterr().err.endswith("interrupted\n")
    assert sorted(os.listdir()) == [".fine.nc.partial", "coarse.nc"]
    assert "unfinished fine.nc" in fails(capsys, "downscale", "coarse.nc", "fine.nc", *files)
    assert main(["downscale", "coarse.nc", "fine.nc", *files, "--resume"]) == 0
    assert sorted(os.listdir()) == ["coarse.nc", "fine.nc"]
    assert main(["downscale", "coarse.nc", "fine.nc", *files, "--resume"]) == 0
    assert "whole already" in capsys.readouterr().err


@pytest.mark.slow
def test_real_interrupt(files, coarse):
    many = xr.concat([coarse] * 400, "time", combine_attrs="override")
    days = np.datetime64("2001-01-01", "ns") + np.arange(2000) * np.timedelta64(1, "D")
    many.assign_coords(time=days).to_netcdf("many.nc")
    words = [sys.executable, "-m", "orbitlite.cli", "downscale", "many.nc", "new/fine.nc"]
    words = [*words, *files, "--batch", "1"]
    # a runner of tests may hand down an ignored SIGINT
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, preexec_fn=heed)
    while process.poll() is None and len(Journal(Path("new/fine.nc")).done) < 3:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "orbitlite: interrupted"
    assert "--resume goes on" in err
    assert os.listdir("new") == [".fine.nc.partial"]
    assert main(["downscale", "many.nc", "new/fine.nc", *files, "--resume"]) == 0
    assert os.listdir("new") == ["fine.nc"]


def test_bugs_keep_their_traceback(files, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("orbitlite.api.stream", broken)
    with pytest.raises(ZeroDivisionError):
        main(["downscale", "coarse.nc", "fine.nc", *files])


def test_reader_that_leaves(files):
    command = f"{sys.executable} -m orbitlite.cli info {files[1]} | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_verbose_says_where_from(files, capsys):
    assert main(["downscale", "coarse.nc", "fine.nc", *files, "-v"]) == 0
    assert re.search(r"\d INFO orbitlite: Wrote fine.nc", capsys.readouterr().err)
