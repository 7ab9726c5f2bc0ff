"""What the commands do."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import orbitlite
from orbitlite.cli import main
from orbitlite.model.bundle import save_bundle
from orbitlite.model.downscaler import Downscaler, DownscalerConfig

RAIN = "total_precipitation_24hr"


@pytest.mark.parametrize("name", ["new/fine.nc", "fine.zarr"])
def test_downscale_is_predict(files, coarse, bundle, name, capsys):
    assert main(["downscale", "coarse.nc", name, *files, "--batch-size", "8"]) == 0
    found = orbitlite.open_source(name)
    np.testing.assert_allclose(
        found[RAIN], orbitlite.predict(coarse, bundle)[RAIN], rtol=1e-5, atol=1e-5
    )
    assert found.attrs["institution"] == "nobody"
    assert f"Wrote {name} (5 time x 12 lat x 16 lon)" in capsys.readouterr().err


def test_downscale_with_the_mean_of_two(files, bundle, coarse, fails):
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
    assert "patch_size is 2 in model 1 and 1 in model 2" in fails(*words)


def test_history_holds_the_command(files, monkeypatch):
    words = ["downscale", "coarse.nc", "a b.nc", *files]
    monkeypatch.setattr(sys, "argv", ["/usr/bin/orbitlite", *words])
    assert main() == 0
    first = xr.open_dataset("a b.nc").attrs["history"].splitlines()[0]
    assert first.endswith(f"orbitlite downscale coarse.nc 'a b.nc' {' '.join(files)}")
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", first)


def test_downscale_passes_its_options_on(files, coarse, bundle, fails, capsys):
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
    assert main([*words, "--accumulation-period", "24h", "--device", "cpu", "-q"]) == 0
    assert "Wrote" not in capsys.readouterr().err
    assert xr.open_dataset("fine.nc").lat.values.tolist() == lat.tolist()
    assert "say to overwrite" in fails(*words, "--accumulation-period", "24h")
    assert main([*words, "--accumulation-period", "24h", "--overwrite"]) == 0


@pytest.mark.slow
def test_from_fit_to_scores(config, tmp_path, monkeypatch, fails, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "-c", "config.yaml"]) == 0
    checkpoint = "run/checkpoints/last.ckpt"
    words = ["test", "-c", "config.yaml", "--ckpt_path", checkpoint]
    said = fails(*words, "--model.network.depth", "2", "--model.network.num_heads", "1")
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


def test_evaluate_without_baselines(files, coarse, capsys):
    (coarse[[RAIN]] + 2).assign_attrs(coarse.attrs).map(
        lambda field: field.assign_attrs(units="mm")
    ).to_netcdf("other.nc")
    assert main(["evaluate", "other.nc", "coarse.nc", "--json", "new/scores.json"]) == 0
    assert "RMSE" in capsys.readouterr().out
    found = json.loads(Path("new/scores.json").read_text())
    assert set(found[RAIN]) == {"orbitlite"}
    assert found[RAIN]["orbitlite"]["bias"] == pytest.approx(2, rel=1e-4)


def test_variables_are_listed_one_a_line(tmp_path, capsys):
    (tmp_path / "own.yaml").write_text("glacier_snow: {units: mm, limits: [0, 50], hours: 24}")
    words = ["variables", "Snow", "--variables", str(tmp_path / "own.yaml")]
    assert main(words) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    rows = {line[0]: line[1:] for line in lines[2:]}
    assert {"snow_depth", "snowfall", "snowfall_24hr", "glacier_snow"} <= set(rows)
    assert rows["snowfall_24hr"][:6] == ["mm", "sum", "of", "24", "h", "log1p"]
    assert rows["glacier_snow"] == ["mm", "sum", "of", "24", "h,", "declared", "0", "to", "50"]
    assert "total_precipitation" not in rows
