"""Evaluation of ensembles, from datasets to scores."""

import logging
import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from orbitlite.errors import InputError
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.verification import series
from orbitlite.verification.catalogue import best_of, label
from orbitlite.verification.evaluation import evaluate
from orbitlite.verification.quantity import Quantity

RAIN = "total_precipitation_24hr"
NEW = {
    "crps", "spread_skill", "rmse_unlimited", "rank_distance", "crps_mean_4", "crps_mean_16",
    "crps_max_4", "crps_max_16", "brier_1mm", "brier_10mm", "brier_20mm",
    "ensemble_fss_10mm_3cells", "ensemble_fss_10mm_5cells", "ensemble_fss_10mm_9cells",
}  # fmt: skip
ALONE = NEW - {"spread_skill", "rmse_unlimited", "rank_distance"}


def scene(members=3, days=8, name=RAIN, height=6, width=7):
    """Members that are drawn like the truth about coarse rain, the truth, and the coarse input."""
    coarse_grid = LatLonGrid.from_edges(
        62.0 - 2.0 * np.arange(height + 1), 4.0 + 2.0 * np.arange(width + 1)
    )
    grid = coarse_grid.refine(3)
    generator = np.random.default_rng(2)
    coarse = generator.gamma(0.5, 8.0, (days, height, width))
    smooth = coarse.repeat(3, axis=1).repeat(3, axis=2)
    drawn = smooth * generator.gamma(2.0, 0.5, (members + 1, days, *grid.shape))
    coords = {"time": pd.date_range("2001-01-01", periods=days)}

    def wrap(values, where, *dims):
        dims = (*dims, "time", "lat", "lon")
        data = {name: (dims, values.astype(np.float32))}
        return xr.Dataset(data, coords | {"lat": where.lat, "lon": where.lon})

    ensemble = wrap(drawn[1:], grid, "realization")
    return ensemble, wrap(drawn[0], grid), wrap(coarse, coarse_grid)


@pytest.fixture(scope="module")
def found():
    return evaluate(*scene(), progress=False)


def scores(prediction, truth, coarse=None):
    return evaluate(prediction, truth, coarse, progress=False).scores[RAIN]


def same(found, wanted):
    """Whether scores are the same to rounding; distances of spectra square small differences."""
    assert found == pytest.approx(wanted, rel=1e-5, abs=1e-9)


def test_ours_is_the_mean_of_the_members(found):
    ensemble, truth, coarse = scene()
    alone = scores(ensemble.mean("realization"), truth, coarse)
    row = found.scores[RAIN]["orbitlite"]
    assert set(row) - set(alone["orbitlite"]) == NEW
    same({name: row[name] for name in alone["orbitlite"]}, alone["orbitlite"])
    for name, baseline in alone.items():
        if name != "orbitlite":
            mine = found.scores[RAIN][name]
            assert set(mine) - set(baseline) == ALONE
            assert {key: mine[key] for key in baseline} == baseline


def test_members_are_the_scores_of_each_as_a_sample(found):
    ensemble, truth, _ = scene()
    stacked = ensemble.rename(realization="sample")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = scores(stacked, truth)["orbitlite"]
    row = found.scores[RAIN]["members"]
    same(row, wanted)
    assert row["cells"] == 3 * found.scores[RAIN]["orbitlite"]["cells"]
    assert row["rmse"] > found.scores[RAIN]["orbitlite"]["rmse"]
    assert list(found.scores[RAIN])[:3] == ["orbitlite", "members", "nearest"]
    assert list(found.results[RAIN].spectra)[:2] == ["orbitlite", "members"]


def test_probability_scores_are_those_of_the_arrays(found):
    ensemble, truth, _ = scene()
    members, truth = ensemble[RAIN].values.astype(float), truth[RAIN].values.astype(float)
    weights = np.broadcast_to(found.grid.weights, truth.shape)
    apart = sum(abs(a - b) for a in members for b in members) / (2 * 3 * 2)
    crps = np.average(abs(members - truth).mean(0) - apart, weights=weights)
    row = found.scores[RAIN]["orbitlite"]
    assert row["crps"] == pytest.approx(crps, rel=1e-6)
    p = (members >= 10).mean(0)
    brier = np.average((p - (truth >= 10)) ** 2 - p * (1 - p) / 2, weights=weights)
    assert row["brier_10mm"] == pytest.approx(brier, rel=1e-6)
    variance = np.average(members.var(0, ddof=1), weights=weights) * 4 / 3
    assert row["spread_skill"] == pytest.approx(np.sqrt(variance) / row["rmse"], rel=1e-6)
    wet = np.where(members < 0.1, 0, members), np.where(truth < 0.1, 0, truth)
    below, ties = (wet[0] < wet[1]).sum(0), (wet[0] == wet[1]).sum(0)
    share = [
        np.average(((below <= rank) & (rank <= below + ties)) / (ties + 1), weights=weights)
        for rank in range(4)
    ]
    assert row["rank_distance"] == pytest.approx(np.abs(np.array(share) - 0.25).sum(), rel=1e-6)
    assert found.results[RAIN].calibration.ranks == pytest.approx(share, rel=1e-6)


def test_the_crps_of_a_baseline_is_its_mae(found):
    for name in ("nearest", "bilinear", "bicubic"):
        row = found.scores[RAIN][name]
        assert row["crps"] == pytest.approx(row["mae"], rel=1e-12)
        assert row["crps"] > found.scores[RAIN]["orbitlite"]["crps"]
        assert row["ensemble_fss_10mm_5cells"] == row["fss_10mm_5cells"]
        assert 0 < row["brier_10mm"] < 1


def test_pictures_have_what_the_scores_are_made_of(found):
    calibration, row = found.results[RAIN].calibration, found.scores[RAIN]["orbitlite"]
    assert calibration.members == 3
    assert np.average(calibration.crps, weights=found.grid.weights) == pytest.approx(row["crps"])
    assert list(calibration.events) == [1.0, 10.0, 20.0]
    spread, error, share = calibration.spread
    assert np.sqrt(share @ error**2) == pytest.approx(row["rmse"])
    assert np.sqrt(share @ spread**2) == pytest.approx(row["spread_skill"] * row["rmse"])
    ensemble = scene()[0]
    day, other = found.results[RAIN].days
    if day.kind != "wettest":
        day, other = other, day
    assert other.members is None
    at = {"time": day.time}
    fields = ensemble[RAIN].sel(at).squeeze().values
    assert np.array_equal(day.members, fields)
    assert day.prediction == pytest.approx(fields.mean(0), rel=1e-6)


@pytest.mark.parametrize("days", [1, 3])
def test_chunks_of_time_and_dask_do_not_matter(found, monkeypatch, days):
    ensemble, truth, coarse = (data.chunk(time=2) for data in scene())
    monkeypatch.setattr(series, "_CHUNK_CELLS", days * 3 * 18 * 21)
    small = evaluate(ensemble, truth, coarse, progress=False)
    for system, row in found.scores[RAIN].items():
        assert small.scores[RAIN][system] == pytest.approx(row, rel=1e-6)
    wanted, other = found.results[RAIN].calibration, small.results[RAIN].calibration
    assert other.crps == pytest.approx(wanted.crps)
    assert other.spread == pytest.approx(wanted.spread)


def test_members_count_in_the_size_of_a_chunk(monkeypatch):
    ensemble, truth, _ = scene()
    monkeypatch.setattr(series, "_CHUNK_CELLS", 6 * 18 * 21)
    grid = LatLonGrid.from_dataset(truth)
    parts = series.Series(Quantity.of(RAIN), ensemble[RAIN], truth[RAIN], None, grid)
    assert [window.stop - window.start for window in parts.windows()] == [2] * 4


@pytest.mark.parametrize("name", ["number", "member", "ensemble"])
def test_an_ensemble_by_any_of_its_names(found, name):
    ensemble, truth, _ = scene()
    turned = ensemble.rename(realization=name).transpose("time", "lat", name, "lon")
    rows = scores(turned, truth)
    for system in ("orbitlite", "members"):
        assert rows[system] == pytest.approx(found.scores[RAIN][system], rel=1e-6)


def test_dims_of_an_ensemble_are_multiplied(caplog):
    ensemble, truth, coarse = scene(6)
    index = pd.MultiIndex.from_product([[0, 1], [0, 1, 2]], names=["number", "realization"])
    coords = xr.Coordinates.from_pandas_multiindex(index, "all")
    several = ensemble.rename(realization="all").assign_coords(coords).unstack("all")
    with caplog.at_level(logging.INFO):
        rows = scores(several, truth, coarse)
    assert "2 (number) x 3 (realization) members" in caplog.text
    wanted = scores(ensemble, truth, coarse)
    assert set(rows) == set(wanted)
    for system, row in wanted.items():
        assert rows[system] == pytest.approx(row, rel=1e-6)


def test_what_is_which_is_told_and_is_no_warning(caplog):
    ensemble, truth, _ = scene()
    with warnings.catch_warnings(), caplog.at_level(logging.INFO):
        warnings.simplefilter("error")
        result = evaluate(ensemble, truth, progress=False).results[RAIN]
    assert "mean of 3 (realization) members" in caplog.text
    assert any("mean of 3 (realization) members" in note for note in result.notes)


def test_one_member_is_deterministic():
    ensemble, truth, coarse = scene(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = evaluate(ensemble, truth, coarse, progress=False)
    bare = evaluate(ensemble.isel(realization=0), truth, coarse, progress=False)
    assert one.scores == bare.scores
    assert one.results[RAIN].notes == bare.results[RAIN].notes
    assert one.results[RAIN].calibration is None


def test_members_that_the_truth_has_too_are_paired():
    ensemble, truth, _ = scene()
    paired = xr.concat([truth, truth * 2, truth + 1], ensemble["realization"])
    with pytest.warns(UserWarning, match=r"over 3 \(realization\) fields of each time"):
        rows = scores(ensemble, paired)
    assert set(rows) == {"orbitlite"}
    error = ensemble[RAIN].values.astype(float) - paired.transpose(..., "time", "lat", "lon")[RAIN]
    weights = np.broadcast_to(LatLonGrid.from_dataset(truth).weights, error.shape)
    assert rows["orbitlite"]["mae"] == pytest.approx(np.average(abs(error), weights=weights))
    assert not NEW & set(rows["orbitlite"])


@pytest.mark.parametrize("name", ["realization", "scenario"])
def test_what_the_truth_has_too_is_paired_by_its_labels(name):
    ensemble, _, coarse = scene()
    drawn = ensemble.rename(realization=name).assign_coords({name: ["a", "b", "c"]})
    turned = drawn.isel({name: [2, 0, 1]})
    with pytest.warns(UserWarning, match=rf"over 3 \({name}\) fields"):
        assert scores(drawn, turned)["orbitlite"]["rmse"] == 0.0
    inputs = xr.concat([coarse, coarse * 2, coarse * 3], drawn[name])
    with pytest.warns(UserWarning, match=rf"over 3 \({name}\) fields"):
        expected, rows = (
            scores(drawn, turned, x) for x in (inputs, inputs.isel({name: [1, 2, 0]}))
        )
    assert rows == expected
    with pytest.raises(
        InputError, match=rf"'{name}' differ: the truth has \['a', 'b', 'x'\], the "
    ):
        evaluate(drawn, drawn.assign_coords({name: ["a", "b", "x"]}), progress=False)


def test_members_without_labels_are_paired_in_their_order(caplog):
    bare, _, _ = scene()
    with caplog.at_level(logging.INFO), pytest.warns(UserWarning, match="over 3"):
        rows = scores(bare.assign_coords(realization=[4, 5, 6]), bare)
    assert rows["orbitlite"]["rmse"] == 0.0
    assert "'realization' has no labels in the truth" in caplog.text


def test_a_training_period_is_paired_by_its_labels():
    _, truth, coarse = scene()
    runs = pd.Index(["dry", "wet"], name="run")
    fine, past = (
        xr.concat([data, data * data.roll(lon=1)], runs).assign_coords(
            time=data["time"] - np.timedelta64(365, "D")
        )
        for data in (truth, coarse)
    )
    past = past.where(past["run"] == "wet")
    expected, rows = (
        evaluate(truth, truth, coarse, (past, data), progress=False).scores
        for data in (fine, fine.isel(run=[1, 0]))
    )
    assert rows == expected


def test_dims_of_other_sizes_are_one_plain_error():
    ensemble, truth, coarse = scene()
    two = xr.concat([truth, truth], pd.Index([0, 1], name="realization"))
    with pytest.raises(InputError, match=r"'realization' \(2 values\) in the truth, .* 3 in the"):
        evaluate(ensemble, two, progress=False)
    with pytest.raises(InputError, match=r"\(2 values\) in the truth, which is missing from"):
        evaluate(ensemble.isel(realization=0), two, progress=False)
    inputs = xr.concat([coarse, coarse], pd.Index([0, 1], name="realization"))
    with pytest.raises(InputError, match=r"\(2 values\) in the coarse input, .* 3 in the"):
        evaluate(ensemble, truth, inputs, progress=False)
    with pytest.raises(InputError, match="no values along the dimension 'realization'"):
        evaluate(ensemble.isel(realization=slice(0)), truth, progress=False)


def test_other_dims_beside_members_stay_samples(found):
    ensemble, truth, coarse = scene()
    more = xr.concat([ensemble, ensemble + 1.0], pd.Index([0, 1], name="scenario"))
    with pytest.warns(UserWarning, match=r"over 2 \(scenario\) fields"):
        both = evaluate(more, truth, coarse, progress=False)
    second = scores(ensemble + 1.0, truth, coarse)
    for system in ("orbitlite", "members", "nearest"):
        row, first = both.scores[RAIN][system], found.scores[RAIN][system]
        assert row["cells"] == 2 * first["cells"]
        for name in ("mae", "bias", "crps", "crps_max_4", "brier_10mm"):
            if name in row:
                mean = (first[name] + second[system][name]) / 2
                assert row[name] == pytest.approx(mean, rel=1e-5, abs=1e-7)
    assert np.array_equal(both.results[RAIN].days[0].truth, found.results[RAIN].days[0].truth)


def test_a_coarse_ensemble_gives_baselines_that_are_ensembles(found):
    ensemble, truth, coarse = scene()
    equal = xr.concat([coarse] * 3, ensemble["realization"])
    rows = scores(ensemble, truth, equal)
    for system, row in found.scores[RAIN].items():
        assert {name: rows[system][name] for name in row} == pytest.approx(row, rel=1e-6)
    assert rows["nearest"]["spread_skill"] == 0.0
    drawn = equal * xr.DataArray([0.5, 1.0, 1.5], dims="realization")
    rows = scores(ensemble, truth, drawn)
    assert rows["nearest"]["mae"] == pytest.approx(found.scores[RAIN]["nearest"]["mae"], rel=1e-5)
    assert rows["nearest"]["crps"] < rows["nearest"]["mae"]
    assert rows["nearest"]["spread_skill"] > 0.1


def test_a_value_that_one_member_lacks_is_skipped_in_all():
    ensemble, truth, coarse = scene()
    holes = ensemble.copy(deep=True)
    holes[RAIN][1, 2, :, 3] = np.nan
    masked = truth.copy(deep=True)
    masked[RAIN][2, :, 3] = np.nan
    with pytest.warns(UserWarning, match="18 values of the truth are not scored"):
        rows = scores(holes, truth, coarse)
    wanted = scores(ensemble, masked, coarse)
    for system in rows:
        # Tails and ranges of the truth are those of all that it has.
        for name in ("rmse", "crps", "crps_mean_4", "crps_max_16", "brier_1mm", "cells", "ralsd"):
            if name in wanted[system]:
                assert rows[system][name] == pytest.approx(wanted[system][name], rel=1e-6)
    assert rows["orbitlite"]["skipped_cells"] == 18
    assert rows["members"]["skipped_cells"] == 54


def test_squares_larger_than_the_grid_are_left_out():
    rows = scores(*scene(height=5, width=9))
    assert {name for name in rows["orbitlite"] if name.startswith("crps_")} == {
        "crps_mean_4", "crps_max_4",
    }  # fmt: skip
    rows = scores(*scene(height=1, width=9)[:2])
    assert not {name for name in rows["orbitlite"] if name.startswith("crps_")}


def test_other_variables_have_no_events():
    name = "2m_temperature"
    ensemble, truth, coarse = scene(name=name)
    found = evaluate(ensemble + 280, truth + 280, coarse + 280, progress=False)
    row = found.scores[name]["orbitlite"]
    lacking = NEW - set(row)
    assert lacking == {score for score in NEW if score.startswith(("brier", "ensemble_fss"))}
    assert found.results[name].calibration.events == {}
    assert found.results[name].days[0].kind == "highest mean"
    assert found.results[name].days[0].members is not None


def test_the_table_has_rows_for_ensembles(found):
    quantity = Quantity.of(RAIN)
    assert label("crps", quantity) == "CRPS (fair) (mm/day)"
    assert label("brier_10mm", quantity) == "Brier score (fair) at 10 mm/day"
    lines = str(found.table()).splitlines()
    [row] = [n for n, line in enumerate(lines) if line.startswith("CRPS (fair) (mm/day)")]
    cells = lines[row].removeprefix("CRPS (fair) (mm/day)").split()
    assert cells[0].endswith("*")
    assert cells[1] == "-"
    assert row < next(n for n, line in enumerate(lines) if line.startswith("SSIM"))


@pytest.mark.parametrize(
    ("score", "values", "best"),
    [
        ("crps", {"a": 1.0, "b": 0.5}, {"b"}),
        ("spread_skill", {"a": 0.5, "b": 1.6}, {"b"}),
        ("rank_distance", {"a": 0.1, "b": 0.4}, {"a"}),
        ("brier_10mm", {"a": 0.1, "b": 0.05}, {"b"}),
        ("crps_max_16", {"a": 0.1, "b": 0.05}, {"b"}),
        ("ralsd", {"a": 0.1, "b": 0.05}, {"b"}),
        ("ensemble_fss_10mm_9cells", {"a": 0.1, "b": 0.05}, {"a"}),
    ],
)
def test_best_value(score, values, best):
    assert best_of(score, values) == best
