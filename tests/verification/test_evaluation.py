"""Evaluation from datasets to scores."""

import logging
import warnings

import cftime
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from orbitlite.data.source import open_source
from orbitlite.errors import InputError
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.model.interpolation import upsample
from orbitlite.notice import OrbitliteWarning
from orbitlite.verification import series
from orbitlite.verification.evaluation import evaluate

RAIN = "total_precipitation_24hr"
BASELINES = {"nearest", "bilinear", "bicubic"}


def grids(north=62.0, height=6, width=7, factor=3):
    coarse = LatLonGrid.from_edges(
        north - 2.0 * np.arange(height + 1), 4.0 + 2.0 * np.arange(width + 1)
    )
    return coarse, coarse.refine(factor)


def dataset(grid, values, name=RAIN, start="2001-01-01", freq="1D"):
    times = pd.date_range(start, periods=len(values), freq=freq)
    return xr.Dataset(
        {name: (("time", "lat", "lon"), values.astype(np.float32))},
        {"time": times, "lat": grid.lat, "lon": grid.lon},
    )


def scene(days=20, seed=0, start="2001-01-01", name=RAIN):
    """Truth with detail, its coarse means, and a prediction that is damped and noisy."""
    coarse_grid, grid = grids()
    generator = np.random.default_rng(seed)
    smooth = generator.gamma(0.5, 8.0, (days, 6, 7)).repeat(3, axis=1).repeat(3, axis=2)
    truth = smooth * generator.gamma(2.0, 0.5, (days, *grid.shape))
    coarse = truth.reshape(days, 6, 3, 7, 3).mean(axis=(2, 4))
    prediction = 0.5 * truth + 0.4 * smooth + 0.3
    return tuple(
        dataset(where, values, name, start)
        for where, values in ((grid, prediction), (grid, truth), (coarse_grid, coarse))
    )


@pytest.fixture(scope="module")
def whole():
    prediction, truth, coarse = scene()
    _, past_truth, past_coarse = scene(30, seed=5, start="2000-01-01")
    return evaluate(prediction, truth, coarse, (past_coarse, past_truth), progress=False)


def test_scores_are_those_of_the_arrays(whole):
    prediction, truth, coarse = (data[RAIN].values.astype(float) for data in scene())
    weights = np.broadcast_to(grids()[1].weights, truth.shape) / len(truth)
    around = torch.zeros(len(coarse), dtype=bool)
    fine = upsample(torch.tensor(coarse)[:, None], 3, around, "bilinear")[:, 0].numpy()
    for system, values in (("orbitlite", prediction), ("bilinear", fine)):
        scores = whole.scores[RAIN][system]
        assert scores["rmse"] == pytest.approx(
            np.sqrt((weights * (values - truth) ** 2).sum()), rel=1e-5
        )
        assert scores["bias"] == pytest.approx((weights * (values - truth)).sum(), rel=1e-4)
        threshold = np.quantile(truth, 0.9545, weights=weights, method="inverted_cdf")
        above = weights * (truth > threshold)
        tail = np.sqrt((above * (values - truth) ** 2).sum() / above.sum())
        assert scores["rmse_above_p95.45"] == pytest.approx(tail, rel=1e-2)
        tops = [
            np.quantile(field, 0.99, weights=weights, method="inverted_cdf")
            for field in (values, truth)
        ]
        assert scores["p99_ratio"] == pytest.approx(tops[0] / tops[1], rel=1e-3)
        logs = [np.log1p(field) for field in (values, truth)]
        assert scores["rmse_log1p"] == pytest.approx(
            np.sqrt((weights * (logs[0] - logs[1]) ** 2).sum()), rel=1e-5
        )


def test_all_systems_and_scores_are_there(whole):
    systems = whole.scores[RAIN]
    assert list(systems) == ["orbitlite", "nearest", "bilinear", "bicubic", "quantile_mapped"]
    assert len({tuple(row) for row in systems.values()}) == 1
    for row in systems.values():
        assert all(np.isfinite(value) for value in row.values()), row
        assert row["cells"] == 20 * 18 * 21
        assert row["skipped_cells"] == 0
    assert systems["orbitlite"]["spectrum_distance"] < systems["bilinear"]["spectrum_distance"]


def test_prediction_and_truth_are_not_exchangeable(whole):
    prediction, truth, coarse = scene()
    swapped = evaluate(truth, prediction, coarse, progress=False).scores[RAIN]["orbitlite"]
    right = whole.scores[RAIN]["orbitlite"]
    assert swapped["bias"] == pytest.approx(-right["bias"], rel=1e-4)
    for name in ("r2", "psnr", "rmse_above_p95.45", "p99_ratio", "wet_day_frequency_ratio"):
        assert abs(swapped[name] - right[name]) > 1e-3, name


def test_a_shift_by_one_day_is_seen(whole):
    prediction, truth, _ = scene()
    late = prediction.assign_coords(time=prediction["time"] + np.timedelta64(1, "D"))
    found = evaluate(late, truth, progress=False).scores[RAIN]["orbitlite"]
    assert found["pearson"] < 0.2 < whole.scores[RAIN]["orbitlite"]["pearson"]
    assert found["cells"] == 19 * 18 * 21


def test_row_order_does_not_matter(whole):
    prediction, truth, coarse = scene()
    turned = (ds.isel(lat=slice(None, None, -1)) for ds in (prediction, coarse))
    prediction, coarse = (
        open_source(ds.assign({RAIN: ds[RAIN].assign_attrs(units="mm")})) for ds in turned
    )
    flipped = evaluate(prediction, truth, coarse, progress=False).scores[RAIN]
    for system, row in flipped.items():
        assert row == pytest.approx(whole.scores[RAIN][system], rel=1e-6)


def test_chunks_of_time_and_dask_do_not_matter(whole, monkeypatch):
    monkeypatch.setattr(series, "_CHUNK_CELLS", 7 * 18 * 21)
    prediction, truth, coarse = (data.chunk(time=3) for data in scene())
    found = evaluate(prediction, truth, coarse, progress=False)
    for system, row in found.scores[RAIN].items():
        assert row == pytest.approx(whole.scores[RAIN][system], rel=1e-6)
    assert [(day.kind, day.time) for day in found.results[RAIN].days] == [
        (day.kind, day.time) for day in whole.results[RAIN].days
    ]


def test_all_systems_are_scored_on_the_same_values_and_the_rest_is_counted():
    prediction, truth, coarse = scene()
    truth[RAIN][:, 4, 5] = np.nan
    prediction[RAIN][3, 0, :] = np.inf
    found = evaluate(prediction, truth, coarse, progress=False)
    for row in found.scores[RAIN].values():
        assert row["skipped_cells"] == 20 + 21
        assert row["cells"] == 20 * 18 * 21 - 41
    assert "41 (0.5%) skipped as missing" in found.results[RAIN].notes[0]
    hidden = np.isfinite(prediction[RAIN].values) & np.isfinite(truth[RAIN].values)
    weights = np.where(hidden, grids()[1].weights, 0.0)
    error = np.where(hidden, prediction[RAIN].values - truth[RAIN].values, 0.0)
    wanted = np.sqrt((weights * error.astype(float) ** 2).sum() / weights.sum())
    assert found.scores[RAIN]["orbitlite"]["rmse"] == pytest.approx(wanted, rel=1e-5)


def test_other_variables_get_only_the_scores_that_make_sense():
    prediction, truth, coarse = scene(name="2m_temperature")
    found = evaluate(prediction + 280, truth + 280, coarse + 280, progress=False)
    row = found.scores["2m_temperature"]["orbitlite"]
    assert set(row) == {
        "bias", "rmse", "mae", "r2", "pearson", "ssim", "psnr", "rmse_above_p68.27",
        "rmse_above_p95.45", "rmse_above_p99.73", "spectrum_distance", "ralsd", "cells",
        "skipped_cells",
    }  # fmt: skip
    assert found.results["2m_temperature"].quantity.unit == "K"
    # The range is that of the truth, not from zero.
    span = float(truth["2m_temperature"].max() - truth["2m_temperature"].min())
    assert row["psnr"] == pytest.approx(20 * np.log10(span / row["rmse"]), rel=1e-5)


@pytest.mark.parametrize(("name", "logs"), [("snowfall", True), ("10m_wind_speed", False)])
def test_scores_of_the_logarithm_are_for_what_the_table_transforms(name, logs):
    prediction, truth, _ = scene(name=name)
    scores = evaluate(prediction, truth, progress=False).scores[name]["orbitlite"]
    assert ("rmse_log1p" in scores) == logs
    if logs:
        weights = np.broadcast_to(grids()[1].weights, truth[name].shape)
        gap = np.log1p(prediction[name].values) - np.log1p(truth[name].values)
        rmse = np.sqrt(np.average(gap.astype(float) ** 2, weights=weights))
        assert scores["rmse_log1p"] == pytest.approx(rmse, rel=1e-5)


@pytest.mark.parametrize(
    ("hours", "unit", "keys"),
    [
        (1, "mm/h", {"csi_1mm", "csi_2.5mm", "csi_10mm", "fss_2.5mm_3cells"}),
        (6, "mm/6h", {"csi_1mm", "csi_5mm", "csi_15mm", "fss_5mm_3cells"}),
    ],
)
def test_amounts_of_less_than_a_day_are_scored_as_they_are(hours, unit, keys):
    grid = grids()[1]
    values = scene()[1][RAIN].values / 4
    name = "total_precipitation" if hours == 1 else f"total_precipitation_{hours}hr"
    truth = dataset(grid, values, name, freq=f"{hours}h")
    prediction = dataset(grid, values + 0.15, name, freq=f"{hours}h")
    found = evaluate(prediction, truth, progress=False)
    row = found.scores[name]["orbitlite"]
    assert found.results[name].quantity.unit == unit
    assert row["bias"] == pytest.approx(0.15, rel=1e-4)
    events = {key for key in row if key.startswith(("csi", "fss"))}
    assert {key for key in events if "5cells" not in key and "9cells" not in key} == keys
    weights = np.broadcast_to(grid.weights, values.shape) / len(values)
    wet = 0.1 if hours == 1 else 0.5
    share = (weights * (values + np.float32(0.15) >= wet)).sum()
    assert row["wet_frequency"] == pytest.approx(share, abs=1e-6)
    ratio = share / (weights * (values >= wet)).sum()
    assert row["wet_frequency_ratio"] == pytest.approx(ratio, rel=1e-5)
    assert "wet_day_frequency" not in row
    both = (weights * (values >= 10 if hours == 1 else values >= 15)).sum()
    either = (weights * (values + np.float32(0.15) >= (10 if hours == 1 else 15))).sum()
    top = "csi_10mm" if hours == 1 else "csi_15mm"
    assert row[top] == pytest.approx(both / either, rel=1e-5)
    assert [day.time[10:] for day in found.results[name].days] != ["", ""]


def test_daily_amounts_keep_their_scores(whole):
    row = whole.scores[RAIN]["orbitlite"]
    assert [key for key in row if key.startswith(("wet", "csi", "fss"))] == [
        "wet_day_frequency", "wet_day_frequency_ratio", "csi_1mm", "csi_10mm", "csi_20mm",
        "fss_10mm_3cells", "fss_10mm_5cells", "fss_10mm_9cells",
    ]  # fmt: skip
    assert whole.results[RAIN].quantity.unit == "mm/day"
    assert whole.results[RAIN].step == "day"


def test_without_coarse_input_there_are_no_baselines(caplog):
    prediction, truth, _ = scene()
    with caplog.at_level(logging.INFO):
        found = evaluate(prediction, truth, progress=False)
    assert set(found.scores[RAIN]) == {"orbitlite"}
    assert "No baselines" in caplog.text
    assert any("No baselines" in note for note in found.results[RAIN].notes)


def test_without_training_only_quantile_mapping_is_left_out():
    found = evaluate(*scene(), progress=False)
    assert set(found.scores[RAIN]) == {"orbitlite"} | BASELINES
    assert any("No quantile mapping" in note for note in found.results[RAIN].notes)


def test_training_that_overlaps_the_scored_period_is_reported(caplog):
    prediction, truth, coarse = scene()
    with caplog.at_level(logging.WARNING):
        found = evaluate(prediction, truth, coarse, (coarse, truth), progress=False)
    assert "20 scored times lie in the training period" in caplog.text
    mapped = found.scores[RAIN]["quantile_mapped"]
    assert mapped["p99_ratio"] == pytest.approx(1.0, abs=0.01)


def test_values_along_other_dims_count_as_samples():
    prediction, truth, coarse = scene()
    pair = xr.concat([prediction, prediction + 1.0], pd.Index([0, 1], name="scenario"))
    with pytest.warns(OrbitliteWarning, match=r"over 2 \(scenario\) fields of each time, each"):
        found = evaluate(pair, truth, coarse, progress=False)
    row = found.scores[RAIN]["orbitlite"]
    single = evaluate(prediction, truth, coarse, progress=False).scores[RAIN]["orbitlite"]
    assert row["cells"] == 2 * single["cells"]
    assert row["bias"] == pytest.approx(single["bias"] + 0.5, rel=1e-4)
    assert set(row) == set(single)
    assert any("2 (scenario) fields" in note for note in found.results[RAIN].notes)


def test_a_coarse_input_of_fewer_times_leaves_our_scores_alone():
    prediction, truth, coarse = scene()
    alone = evaluate(prediction, truth, progress=False)
    with pytest.warns(OrbitliteWarning, match="No baselines: the coarse input lacks 3 of the 20"):
        found = evaluate(prediction, truth, coarse.isel(time=slice(3, 20)), progress=False)
    assert found.scores == alone.scores
    assert "lacks 3 of the 20 times" in " ".join(str(found.table()).split())
    longer = xr.concat([coarse, scene(start="2002-01-01")[2]], "time")
    whole = evaluate(prediction, truth, longer, progress=False)
    assert whole.scores == evaluate(prediction, truth, coarse, progress=False).scores
    assert whole.scores[RAIN]["orbitlite"] == alone.scores[RAIN]["orbitlite"]


def test_a_coarse_input_without_values_leaves_our_scores_alone():
    prediction, truth, coarse = scene()
    with pytest.warns(OrbitliteWarning, match="the coarse input has no value where"):
        found = evaluate(prediction, truth, coarse * np.nan, progress=False)
    assert found.scores == evaluate(prediction, truth, progress=False).scores
    coarse[RAIN][4] = np.nan
    with pytest.warns(OrbitliteWarning, match="378 values of prediction and truth are not scored"):
        evaluate(prediction, truth, coarse, progress=False)


def test_values_of_the_truth_that_the_prediction_lacks_are_told_of():
    prediction, truth, _ = scene()
    truth[RAIN][:, 4, 5] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate(prediction, truth, progress=False)
    prediction[RAIN][3, 0, :] = np.nan
    with pytest.warns(OrbitliteWarning, match="21 values of the truth are not scored"):
        evaluate(prediction, truth, progress=False)


def thirty_days(data):
    """Give the same fields dates of a calendar of twelve months of 30 days, from 21 February on."""
    start = cftime.Datetime360Day(2001, 2, 21)
    return data.assign_coords(time=xr.date_range(start, periods=20, calendar="360_day",
                                                 use_cftime=True))  # fmt: skip


def test_calendars_are_matched_by_date():
    prediction, truth, coarse = scene()
    plain = scene(start="2001-02-21")
    same = evaluate(thirty_days(prediction), thirty_days(truth), progress=False)
    assert same.scores[RAIN]["orbitlite"]["cells"] == 20 * 18 * 21
    # 29 and 30 February are no dates; what follows is two days late by count, not by date
    standard = truth.assign_coords(time=plain[1]["time"])
    days = [*range(8), *range(10, 20)]
    following = standard["time"][:18]
    wanted = evaluate(
        *(data.isel(time=days).assign_coords(time=following) for data in (prediction, truth)),
        progress=False,
    ).scores
    kept = truth.isel(time=days).assign_coords(time=following)
    with pytest.warns(OrbitliteWarning, match="2 of 20 have no such date and were dropped"):
        found = evaluate(thirty_days(prediction), kept, progress=False)
    assert found.scores[RAIN]["orbitlite"] == pytest.approx(wanted[RAIN]["orbitlite"], rel=1e-6)
    # the coarse input and the training period of a fit count in the standard calendar
    past = tuple(data.isel(time=slice(0, 18)) for data in scene(start="1999-02-21"))
    with pytest.warns(OrbitliteWarning, match="2 of 20 have no such date"):
        found = evaluate(
            thirty_days(prediction), thirty_days(truth),
            coarse.isel(time=days).assign_coords(time=following),
            (past[2], past[1]), progress=False,
        )  # fmt: skip
    assert set(found.scores[RAIN]) == {"orbitlite", "quantile_mapped"} | BASELINES
    assert found.scores[RAIN]["orbitlite"] == pytest.approx(wanted[RAIN]["orbitlite"], rel=1e-6)


@pytest.mark.parametrize("name", [RAIN, "2m_temperature", "total_precipitation"])
@pytest.mark.parametrize("value", [0.0, 3.0])
@pytest.mark.parametrize("ours", ["wet", "same"])
def test_a_report_on_a_constant_truth_is_whole(tmp_path, name, value, ours):
    prediction, truth, coarse = scene(5, name=name)
    truth, coarse = truth * 0 + value, coarse * 0 + value
    prediction = truth if ours == "same" else prediction
    found = evaluate(prediction, truth, coarse, (coarse, truth), progress=False)
    row = found.scores[name]["orbitlite"]
    assert np.isnan(row["r2"])
    assert np.isnan(row["pearson"])
    line = next(text for text in str(found.table()).splitlines() if "R2  " in text)
    assert "nan" not in line
    assert line.split().count("-") == len(found.scores[name])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "total_p.*no picture of spectra|2m_.*no picture")
        paths = found.report(tmp_path / "report")
    names = {path.stem for path in paths}
    assert {"scores", f"{name}_quantiles"} <= names
    assert len(names) >= 3
    assert all(path.stat().st_size for path in paths)


def test_a_variable_without_truth_values_leaves_the_others(tmp_path):
    prediction, truth, coarse = scene()
    more = [
        data.assign({"2m_temperature": data[RAIN] + 280}) for data in (prediction, truth, coarse)
    ]
    more[1]["2m_temperature"] = more[1]["2m_temperature"] * np.nan
    with pytest.warns(OrbitliteWarning, match="Not scored: 2m_temperature"):
        found = evaluate(*more, progress=False)
    assert found.scores == evaluate(prediction, truth, coarse, progress=False).scores


def test_a_training_period_without_coarse_input_is_told_of():
    prediction, truth, coarse = scene()
    with pytest.warns(OrbitliteWarning, match="training period is not used"):
        evaluate(prediction, truth, None, (coarse, truth), progress=False)


def test_a_training_period_of_a_few_times_is_told_of():
    prediction, truth, coarse = scene()
    _, past_truth, past_coarse = scene(6, seed=5, start="2000-01-01")
    with pytest.warns(OrbitliteWarning, match="fitted on 6 times.*fewer than 30"):
        found = evaluate(prediction, truth, coarse, (past_coarse, past_truth), progress=False)
    assert "quantile_mapped" in found.scores[RAIN]
    with pytest.warns(OrbitliteWarning, match="No quantile mapping: .* no value at the same time"):
        found = evaluate(
            prediction, truth, coarse, (past_coarse, past_truth * np.nan), progress=False
        )
    assert set(found.scores[RAIN]) == {"orbitlite"} | BASELINES
    assert any("No quantile mapping" in note for note in found.results[RAIN].notes)


def test_days_shown_are_the_wettest_and_the_median(whole):
    truth = scene()[1][RAIN]
    daily = (truth.values * grids()[1].weights).sum(axis=(1, 2))
    order = np.argsort(daily)
    shown = {day.kind: day for day in whole.results[RAIN].days}
    for kind, index in (("wettest", order[-1]), ("median", order[(len(order) - 1) // 2])):
        assert shown[kind].time == str(truth["time"].values[index])[:10]
        assert np.array_equal(shown[kind].truth, truth.values[index])
        assert shown[kind].coarse.shape == (6, 7)


def test_a_member_without_values_is_named():
    """No cell has all members then."""
    prediction, truth, _ = scene()
    members = xr.concat([prediction] * 3, "number").assign_coords(number=[4, 5, 6])
    empty = members.where(members["number"] != 5)
    with pytest.raises(InputError, match=f"are missing of {RAIN} of number 5: leave out"):
        evaluate(empty, truth, progress=False)
    with pytest.raises(InputError, match="no value that is present") as caught:
        evaluate(members * np.nan, truth, progress=False)
    assert "leave out" not in str(caught.value)
    evaluate(empty.sel(number=[4, 6]), truth, progress=False)


def test_mistakes_are_named():
    prediction, truth, coarse = scene()
    with pytest.raises(InputError, match="share no variable"):
        evaluate(prediction, truth.rename({RAIN: "2m_temperature"}), progress=False)
    with pytest.raises(InputError, match="No time is in all"):
        evaluate(prediction, truth, scene(start="2011-01-01")[2], progress=False)
    with pytest.raises(InputError, match="do not coincide"):
        evaluate(prediction, truth.assign_coords(lat=truth["lat"] + 0.3), progress=False)
    with pytest.raises(InputError, match="no value that is present"):
        evaluate(prediction, truth * np.nan, progress=False)
    past = scene(start="1990-01-01")
    moved = past[1].assign_coords(lon=past[1]["lon"] + 0.3)
    with pytest.raises(InputError, match="truth of the training period"):
        evaluate(prediction, truth, coarse, (past[2], moved), progress=False)


def test_variables_without_truth_are_logged(caplog):
    prediction, truth, _ = scene()
    more = prediction.assign({"2m_temperature": prediction[RAIN] + 280})
    with caplog.at_level(logging.INFO):
        found = evaluate(more, truth, progress=False)
    assert list(found.scores) == [RAIN]
    assert "2m_temperature is not in the truth" in caplog.text


def test_real_daily_rain_over_iberia(real_data):
    truth, coarse = (
        open_source(real_data(f"iberia/{name}.nc"), [RAIN]) for name in ("fine_eobs", "coarse_ncep")
    )
    late = slice("1993-12", None)
    past = (coarse.sel(time=slice(None, "1993-03")), truth.sel(time=slice(None, "1993-03")))
    bilinear = coarse[RAIN].interp(lat=truth["lat"], lon=truth["lon"]).to_dataset()
    found = evaluate(bilinear.sel(time=late), truth, coarse, past, progress=False)
    systems = found.scores[RAIN]
    # Interior cells of an independent interpolation; the border row of cells is outside its reach.
    assert systems["orbitlite"]["rmse"] == pytest.approx(systems["bilinear"]["rmse"], rel=1e-4)
    assert systems["quantile_mapped"]["p99_ratio"] == pytest.approx(1.0, abs=0.15)
    assert systems["bilinear"]["p99_ratio"] < 0.8
