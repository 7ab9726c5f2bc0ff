"""What the commands say of what is wrong: one plain line, and nothing left behind."""

import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

from orbitlite.cli import main

RAIN = "total_precipitation_24hr"


def test_a_budget_that_the_grid_cannot_have(config, tmp_path, monkeypatch, fails):
    monkeypatch.chdir(tmp_path)
    words = ["fit", "-c", "config.yaml", "--model.network.tokens", "0.01"]
    assert "tokens: 0.01 gives" in fails(*words)


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


def in_metres(coarse):
    rain = (coarse[RAIN] / 1000).assign_attrs(units="m")
    return coarse.assign({RAIN: rain})


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
        (units("m"), "102 of 240 values are beyond the limits -0.002939 to 2.939 m"),
        (rewritten(in_metres), None),
        (rewritten(curvilinear), None),
        (rewritten(stretched), "spacing of lat is irregular"),
        (rewritten(lambda ds: ds.assign_coords(lat=ds.lat + 10)), "do not cover this region"),
    ],
)
def test_bad_input_files(files, coarse, source, expected, fails):
    path = source(coarse)
    if expected is None:  # a file that is right after all
        assert main(["downscale", path, "fine.nc", *files]) == 0
        return
    assert expected in fails("downscale", path, "fine.nc", *files)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--batch-size", "0"], "batch_size should be 1 or more, not 0"),
        (["--device", "abacus"], "device 'abacus' is not available here"),
        (["--accumulation-period", "a while"], "accumulation_period should be a length of time"),
        (["--resample", "36h"], "36"),
        (["--statics", "coarse.nc"], "'orography' is not in the source"),
    ],
)
def test_bad_options(files, options, expected, fails):
    assert expected in fails("downscale", "coarse.nc", "fine.nc", *files, *options)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("fine.txt", "ends in .nc or .zarr"),
        ("coarse.nc", "exists"),
        ("coarse.nc/fine.nc", "cannot create the folder coarse.nc"),
        ("s3://bucket/fine.zarr", "is a URL"),
    ],
)
def test_bad_outputs(files, output, expected, fails):
    assert expected in fails("downscale", "coarse.nc", output, *files)


def test_folder_without_write_permission(files, monkeypatch, fails):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the tests may be root
    assert "not writable" in fails("downscale", "coarse.nc", "fine.nc", *files)


@pytest.mark.parametrize("damage", ["gone", "config", "weights", "changed"])
def test_bad_bundles(files, damage, fails):
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
    message = fails("downscale", "coarse.nc", "fine.nc", *files)
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
        (with_value("model.loss", "rmse"), "loss: expected mse, mae"),
        (with_value("data.batch_size", "many"), "data.batch_size: expected int, found many"),
    ],
)
def test_bad_configs(config, tmp_path, monkeypatch, change, expected, fails):
    monkeypatch.chdir(tmp_path)
    change(config)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert expected in fails("fit", "-c", "config.yaml")


@pytest.mark.parametrize(
    ("section", "value", "expected"),
    [
        ("data", -1, "config.yaml: expected keys and values in data, found -1"),
        ("data", [], "config.yaml: expected keys and values in data, found []"),
        ("data", "world", "config.yaml: expected keys and values in data, found 'world'"),
        ("data", None, "data.fine: expected a source, found none"),
        ("data", {}, "data.fine: expected a source, found none"),
        ("data", {"fine": None}, "data.fine: expected a source, found none"),
        ("data", {"fine": 3}, "data.fine: expected a path"),
        ("data", {"fine": []}, "data.fine: expected a path"),
        ("model", 3, "config.yaml: expected keys and values in model, found 3"),
        ("model", {"network": 3}, "config.yaml: expected keys and values in model.network"),
        ("trainer", [], "config.yaml: expected keys and values in trainer, found []"),
    ],
)
@pytest.mark.parametrize("command", ["fit", "plan"])
def test_sections_and_sources_that_are_none(
    config, tmp_path, monkeypatch, section, value, expected, command, fails
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**config, section: value}))
    words = ["--gpus", "1"] if command == "plan" else []
    assert fails(command, "-c", "config.yaml", *words).startswith(expected)


def test_a_precision_that_rounds_times(config, tmp_path, monkeypatch, fails):
    monkeypatch.chdir(tmp_path)
    assert "state bf16-mixed" in fails("fit", "-c", "config.yaml", "--trainer.precision=bf16-true")
    config["trainer"]["precision"] = "16-true"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert "state bf16-mixed" in fails("plan", "-c", "config.yaml", "--gpus", "1")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_channel_without_a_usable_value(config, tmp_path, monkeypatch, value, fails):
    monkeypatch.chdir(tmp_path)
    ds = xr.open_dataset("fine.nc").load()
    ds["2m_temperature"][:] = value
    ds.to_netcdf("bad.nc")
    message = fails("fit", "-c", "config.yaml", "--data.fine", "bad.nc")
    assert "2m_temperature" in message


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda ds: ds.isel(lon=slice(None, -1)), "cells"),
        (lambda ds: ds.assign_coords(time=ds.time + np.timedelta64(400, "D")), "No time"),
        (lambda ds: ds.drop_vars(RAIN), "No channel found in 2m_temperature"),
    ],
)
def test_bad_truth(files, coarse, change, expected, fails):
    change(coarse).to_netcdf("truth.nc")
    words = ["evaluate", "coarse.nc", "truth.nc", "--json", "scores.json"]
    if expected.startswith("No channel"):
        coarse[[RAIN]].to_netcdf("only_rain.nc")
        words[1] = "only_rain.nc"
    assert expected in fails(*words)


def test_evaluate_names_what_does_not_nest(files, coarse, fails):
    part = coarse.isel(lat=slice(0, 5))
    part.to_netcdf("part.nc")
    words = ("evaluate", "coarse.nc", "coarse.nc", "--coarse", "part.nc")
    assert "regrid" in fails(*words)
    assert main([*words, "--regrid", "linear"]) == 0


@pytest.mark.parametrize("option", ["--json", "--report"])
def test_evaluate_writes_onto_no_input(files, coarse, fails, option):
    coarse.to_zarr("x.zarr")
    before = Path("coarse.nc").read_bytes()
    place = "coarse.nc" if option == "--json" else "x.zarr"
    line = fails("evaluate", "coarse.nc", "x.zarr", option, place)
    assert "which is an input" in line
    assert Path("coarse.nc").read_bytes() == before


@pytest.mark.parametrize("place", ["config.yaml", "own.yaml", "past.nc"])
def test_evaluate_writes_onto_no_config_and_nothing_that_it_names(files, coarse, fails, place):
    coarse.to_netcdf("past.nc")
    network = {"inputs": [RAIN], "targets": [RAIN], "statics": [], "factor": 2}
    content = {"model": {"network": network}, "data": {"fine": "past.nc"}}
    Path("config.yaml").write_text(yaml.safe_dump(content))
    Path("own.yaml").write_text("{}\n")
    before = Path(place).read_bytes()
    words = ["--training", "config.yaml", "--variables", "own.yaml", "--json", place]
    assert "which is an input" in fails("evaluate", "coarse.nc", "coarse.nc", *words)
    assert Path(place).read_bytes() == before


def test_evaluate_needs_a_config(files, fails):
    words = ("evaluate", "coarse.nc", "coarse.nc", "--training")
    assert "cannot read the config nowhere.yaml" in fails(*words, "nowhere.yaml")
    with open("list.yaml", "w") as file:
        file.write("- 1\n")
    assert "expected a config" in fails(*words, "list.yaml")


@pytest.mark.parametrize("words", [["info", "coarse.nc"], ["export", "coarse.nc", "bundle"]])
def test_what_is_no_checkpoint(files, words, fails):
    assert "checkpoint" in fails(*words)


@pytest.mark.parametrize("command", ["downscale", "evaluate"])
def test_values_that_cannot_be(files, coarse, command, fails, capsys):
    """Fill values are missing and told once, with the rest of them at the end; others refused."""
    bad, words = coarse.copy(deep=True), ["coarse.nc", "bad.nc"]
    if command == "downscale":
        words = ["bad.nc", "out.nc", *files, "--overwrite"]
    bad["2m_temperature"][2:4, 1, 2:4] = bad[RAIN][2, 1:3, 2] = -9999
    encoding = {name: {"chunksizes": (1, 6, 8), "_FillValue": None} for name in bad.data_vars}
    bad.chunk(time=1).to_netcdf("bad.nc", encoding=encoding)
    assert main([command, *words]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "missing" in line]
    told = [line for line in lines if "skipped" not in line and "of the prediction" not in line]
    assert len(told) == 3
    told.sort()
    assert told[0].startswith("2m_temperature: 2 of 48 values are -9999 K, beyond the limits")
    assert told[1] == "2m_temperature: 4 values in all were taken as missing."
    assert told[2].startswith(f"{RAIN}: 2 of 48 values are -9999 mm, beyond the limits")
    bad["2m_temperature"][2, 1, 2:4] = [20, 21]
    bad.to_netcdf("bad.nc")
    if command == "downscale":
        words[1] = "other.nc"
    message = fails(command, *words)
    assert message.startswith("2m_temperature: 4 of 240 values are beyond the limits 100 to 400 K")
