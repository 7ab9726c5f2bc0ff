"""The command that scores: held-back years, a submission, tables and JSON."""

import json
import shutil

import numpy as np
import pytest
import xarray as xr

import orbitlite
from orbitlite.cli import main
from orbitlite.cordex.evaluation import _check_held_back
from orbitlite.cordex.task import EXPERIMENTS, UNITS
from orbitlite.data.unstated import with_units
from orbitlite.model.bundle import Bundle, load_bundle, save_bundle

pytestmark = pytest.mark.slow
ESD = "ESD_pseudo_reality"


@pytest.fixture(scope="module")
def rows(submitted, kit, tmp_path_factory):
    """Return the rows of a JSON of all that can be scored, by period, condition and GCM."""
    path = tmp_path_factory.mktemp("scores") / "scores.json"
    words = kit.words(submitted, "evaluate", "--submission", "out", "--json", str(path))
    assert main([*words, "--domain", "NZ"]) == 0
    found = json.loads(path.read_text())
    assert found["benchmark"] == "CORDEX ML-Bench"
    return {(row["period"], row["condition"], row["gcm"]): row for row in found["rows"]}


def test_rows_are_of_what_has_a_target(rows):
    gcms, conditions = ("ACCESS-CM2", "EC-Earth3"), ("perfect", "imperfect")
    tests = {(p, c, g) for p in ("historical", "end_century") for c in conditions for g in gcms}
    assert {*rows} == tests | {("held_back", "perfect", "ACCESS-CM2")}


def test_held_back_years_are_scored(submitted, rows):
    root = submitted / "data/NZ/NZ_domain/train" / ESD
    with (
        xr.open_dataset(root / "predictors/ACCESS-CM2_1961-1980.nc") as ds,
        xr.open_dataset(root / "target/pr_tasmax_ACCESS-CM2_1961-1980.nc") as target,
    ):
        days = with_units(ds.sel(time=slice("1979", "1980")).load(), UNITS)
        truth = target.sel(time=slice("1979", "1980")).load()
    bundle = submitted / "runs/NZ" / ESD / "bundle"
    fine = orbitlite.predict(days, bundle, members=10, progress=False).sortby("lat")
    row = rows["held_back", "perfect", "ACCESS-CM2"]
    for name, channel in (("pr", "total_precipitation_24hr"), ("tasmax", "2m_temperature_max")):
        error = fine[channel].mean("realization").transpose("time", "lat", "lon").values
        error = error - truth[name].values
        expected = np.sqrt((error**2).mean(0)).mean()
        assert row["scores"][name]["rmse"] == pytest.approx(expected, rel=1e-4)
    assert row["years"] == "1979-1980"
    assert not list((submitted / "runs/NZ" / ESD).glob("tmp*"))


@pytest.mark.parametrize("condition", ["perfect", "imperfect"])
def test_signals_are_from_the_historical_period(submitted, rows, condition):
    def mean(place, period, years):
        with xr.open_dataset(submitted / place.format(period=period, years=years)) as ds:
            field = ds["tasmax"].load()
        return field.mean([dim for dim in field.dims if dim not in ("lat", "lon")])

    ours = f"out/NZ_Domain/{ESD}/{{period}}/{condition}"
    ours += "/Predictions_pr_tasmax_EC-Earth3_{years}.nc"
    target = "data/NZ/NZ_domain/test/{period}/target/pr_tasmax_EC-Earth3_{years}.nc"
    change, wanted = (
        mean(place, "end_century", "2080-2081") - mean(place, "historical", "1981-1982")
        for place in (ours, target)
    )
    scores = rows["end_century", condition, "EC-Earth3"]["scores"]["tasmax"]
    away = float(np.abs(change - wanted).mean())
    assert scores["mean_signal_abs_bias"] == pytest.approx(away, rel=1e-5)
    assert "mean_signal_abs_bias" not in rows["historical", "perfect", "EC-Earth3"]["scores"]["pr"]


def test_tables_are_printed(submitted, kit, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(kit.words(submitted, "evaluate", *kit.ONE)) == 0
    shown = capsys.readouterr().out
    assert "NZ ESD_pseudo_reality: held back 1979-1980, perfect ACCESS-CM2" in " ".join(
        shown.split()
    )
    for text in ("pr, mm/day", "tasmax, K", "RALSD, dB²", "TXx, |bias|", "CDD, |bias|, days"):
        assert text in shown


@pytest.mark.parametrize(
    ("validation", "said"),
    [
        (["1978-01-01", "1979-01-01"], "was chosen by the years 1979-1980, which are scored"),
        (None, "may have been chosen by the years 1979-1980"),
        (["1978-01-01", "1978-12-31"], None),
    ],
)
def test_years_that_chose_the_checkpoint_are_told(validation, said, caplog):
    known = {"period": ["1961-01-01", "1977-12-31"], "validation": validation}
    _check_held_back(Bundle(None, {"training": known}), EXPERIMENTS[ESD])
    assert (said in caplog.text) if said else not caplog.text


def test_what_cannot_be_scored_is_refused(submitted, kit, fails, tmp_path):
    data, runs, step = submitted / "data", submitted / "runs", ("cordex-bench", "evaluate")
    assert "has no fit of NZ" in fails(*step, data, tmp_path, *kit.ONE)
    assert "is not there: predict it first" in fails(
        *step, data, runs, *kit.ONE, "--submission", tmp_path
    )
    path = tmp_path / "runs/NZ" / ESD / "bundle"
    bundle = load_bundle(str(runs / "NZ" / ESD / "bundle"))
    assert "validation" in bundle.metadata["training"]
    bundle.metadata["training"]["period"][1] = "1980-12-31 12:00:00"
    path.parent.mkdir(parents=True)
    save_bundle(path, bundle.model, metadata=bundle.metadata, statics=bundle.statics)
    said = fails(*step, data, tmp_path / "runs", *kit.ONE)
    assert "the years 1979-1980 are not held back" in said
    shutil.rmtree(path)
    assert "bundle is not there: fit it first" in fails(*step, data, tmp_path / "runs", *kit.ONE)
