"""Table, JSON and pictures."""

import io
import json
import logging
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from PIL import Image
from rich.console import Console

from orbitlite.errors import InputError
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.verification import maps, plots, report
from orbitlite.verification.catalogue import label
from orbitlite.verification.evaluation import evaluate
from orbitlite.verification.quantity import Quantity

RAIN = "total_precipitation_24hr"


@pytest.fixture(scope="module")
def evaluation():
    coarse_grid = LatLonGrid.from_edges(60.0 - np.arange(6.0), 3.0 + np.arange(8.0))
    grid = coarse_grid.refine(3)
    generator = np.random.default_rng(0)
    rain = generator.gamma(0.5, 8.0, (6, *grid.shape)).astype(np.float32)
    rain[:, 3:6, 2] = np.nan
    coarse = np.nanmean(rain.reshape(6, 5, 3, 7, 3), axis=(2, 4))
    times = pd.date_range("2001-01-01", periods=6)

    def wrap(values, where):
        names = {RAIN: values, "2m_temperature": 280 + values}
        return xr.Dataset(
            {name: (("time", "lat", "lon"), data) for name, data in names.items()},
            {"time": times, "lat": where.lat, "lon": where.lon},
        )

    truth = wrap(rain, grid)
    land = (np.arange(21) > 5) * np.ones((15, 1))
    truth["land_sea_mask"] = (("lat", "lon"), land.astype(np.float32))
    prediction = wrap(0.7 * np.nan_to_num(rain) + 0.5, grid)
    return evaluate(prediction, truth, wrap(coarse, coarse_grid), progress=False)


def text_of(evaluation, width=150):
    stream = io.StringIO()
    Console(file=stream, width=width).print(evaluation.table())
    return stream.getvalue()


def cells_of(text, start):
    """Values of a row, from all tables one below the other."""
    rows = [line for line in text.splitlines() if line.startswith(start)]
    return [cell for row in rows for cell in row.removeprefix(start).split()]


def test_table_marks_the_best_value_of_each_row(evaluation):
    cells = cells_of(text_of(evaluation), "RMSE (mm/day)")
    values = {s: r["rmse"] for s, r in evaluation.scores[RAIN].items()}
    best = list(values).index(min(values, key=values.get))
    assert [cell.endswith("*") for cell in cells] == [n == best for n in range(len(values))]
    assert cells[best] == f"{min(values.values()):.3f}*"


def widened(evaluation, count, name="analog_climatological"):
    """Of one variable, with further systems of long names and awkward values."""
    result = evaluation.results[RAIN]
    row = result.scores["orbitlite"]
    odd = row | {"bias": -1.234e-11, "rmse": 1234.5678, "r2": math.nan, "cells": 1.2e9}
    more = {f"{name}_{n}": odd for n in range(count)}
    return replace(evaluation, results={RAIN: replace(result, scores=result.scores | more)})


@pytest.mark.parametrize("width", [60, 80, 150])
@pytest.mark.parametrize("count", [0, 2, 9])
def test_no_value_is_cut_or_wrapped_in_any_width(evaluation, width, count):
    wide = widened(evaluation, count)
    text = text_of(wide, width)
    assert "…" not in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert text.count("Total precipitation in") == text.count("Score ")
    assert text.count("Scores (* best of the row)") == text.count("Area-weighted.") == 1
    values = [*wide.scores[RAIN].values()]
    for name, start in (("rmse", "RMSE (mm/day)"), ("bias", "Bias (mm/day)"), ("r2", "R2  ")):
        cells = [cell.rstrip("*") for cell in cells_of(text, start)]
        assert len(cells) == len(values)
        for cell, row in zip(cells, values, strict=True):
            wanted = row[name]
            digits = 1e-3 if abs(wanted) >= 0.01 else 0.06 * abs(wanted)
            assert cell == "-" if math.isnan(wanted) else abs(float(cell) - wanted) <= digits
    assert (count > 0) == ("1.2e+09" in text)


def test_six_systems_stand_side_by_side_in_80_columns(evaluation):
    text = text_of(widened(evaluation, 2, "quantile_mapped"), 80)
    assert text.count("Total precipitation in") == 1
    lines = text.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("RMSE above truth's"))
    assert lines[at + 1].startswith("  p68.27 (mm/day)   ")


def test_variables_of_one_long_name_have_rows_each(evaluation):
    result = evaluation.results[RAIN]
    text = text_of(replace(evaluation, results={RAIN: result, "again": result}))
    assert text.count("RMSE (mm/day)") == 2
    assert "again: 6 times" in text


def test_table_names_units_and_what_is_missing(evaluation):
    text = text_of(evaluation)
    assert "Bias (K)" in text
    assert "PSNR (dB)" in text
    assert "18 (1.0%) skipped as missing" in text
    assert "No quantile mapping" in text


def test_the_table_prints_itself(evaluation, capsys):
    print(evaluation.table())  # noqa: T201
    printed = capsys.readouterr().out
    assert "RMSE (mm/day)" in printed
    assert "\x1b" not in printed
    assert printed == f"{evaluation.table()!r}\n"
    assert all(line == line.rstrip() for line in printed.splitlines())
    page = evaluation.table()._repr_html_()
    assert "<pre" in page
    assert "RMSE (mm/day)" in page
    assert "color:" in page


def test_an_evaluation_is_shown_in_a_line_or_two(evaluation):
    shown = repr(evaluation)
    rmse = evaluation.scores[RAIN]["bilinear"]["rmse"]
    assert f"bilinear {rmse:.3g}" in shown
    assert "2m_temperature" in shown
    assert "mm/day" in shown
    assert len(shown) < 320
    assert "\n" not in shown
    many = replace(evaluation, results=dict.fromkeys("abcd", evaluation.results[RAIN]))
    assert repr(many).endswith("; 2 more variables>")


def test_labels_carry_the_unit_and_threshold_of_the_quantity():
    hourly, daily = (Quantity.of(f"total_precipitation{end}") for end in ("", "_24hr"))
    assert label("wet_frequency", hourly) == "Wet frequency (>= 0.1 mm/h)"
    assert label("csi_2.5mm", hourly) == "CSI at 2.5 mm/h"
    assert label("rmse", hourly) == "RMSE (mm/h)"
    assert label("wet_day_frequency", daily) == "Wet-day frequency (>= 1 mm/day)"
    assert label("csi_20mm", daily) == "CSI at 20 mm/day"
    assert label("fss_10mm_5cells", daily) == "FSS at 10 mm/day, 5 cells"
    assert label("rmse", Quantity.of("2m_temperature")) == "RMSE (K)"


def test_json_holds_all_scores_and_null_for_what_is_not_finite(evaluation, tmp_path):
    path = tmp_path / "deep" / "scores.json"
    evaluation.to_json(path)
    found = json.loads(path.read_text())
    assert found.keys() == evaluation.scores.keys()
    for system, row in evaluation.scores[RAIN].items():
        for name, value in row.items():
            wanted = value if math.isfinite(value) else None
            assert found[RAIN][system][name] == wanted
    assert [p.name for p in path.parent.iterdir()] == ["scores.json"]


def test_perfect_prediction_has_null_psnr(evaluation, tmp_path):
    grid = evaluation.grid
    field = np.random.default_rng(1).gamma(1.0, 5.0, (2, *grid.shape)).astype(np.float32)
    data = xr.Dataset(
        {RAIN: (("time", "lat", "lon"), field)},
        {"time": pd.date_range("2001-01-01", periods=2), "lat": grid.lat, "lon": grid.lon},
    )
    evaluate(data, data, progress=False).to_json(tmp_path / "s.json")
    assert json.loads((tmp_path / "s.json").read_text())[RAIN]["orbitlite"]["psnr"] is None


def test_report_writes_scores_and_pictures(evaluation, tmp_path):
    paths = evaluation.report(tmp_path / "report")
    names = {path.name for path in paths}
    assert names == {path.name for path in (tmp_path / "report").iterdir()}
    assert {"scores.json", "scores.txt", f"{RAIN}_wettest_day.png", f"{RAIN}_median_day.png",
            f"{RAIN}_spectra.png", f"{RAIN}_quantiles.png",
            "2m_temperature_highest_mean_day.png"} <= names  # fmt: skip
    for path in paths:
        if path.suffix == ".png":
            with Image.open(path) as picture:
                small = picture.convert("RGB").resize((200, 200))
            assert min(picture.size) > 500
            assert len(small.getcolors(40_000)) > 50
    assert "RMSE (mm/day)" in (tmp_path / "report" / "scores.txt").read_text()


def test_pictures_of_another_evaluation_are_told(evaluation, tmp_path, caplog, monkeypatch):
    """Those that it writes anew, and what is no picture, are not."""
    figure = next(plots.figures(evaluation))
    monkeypatch.setattr(plots, "figures", lambda _: [figure])
    with caplog.at_level(logging.INFO):
        paths = evaluation.report(tmp_path)
        (tmp_path / "notes.txt").touch()
        assert evaluation.report(tmp_path) == paths
        assert "Not of this" not in caplog.text
        for name in ("a.png", "b.png", "c.png", "d.png"):
            (tmp_path / name).touch()
        assert evaluation.report(tmp_path) == paths
    assert f"Not of this evaluation: a.png, b.png, c.png and 1 more in {tmp_path}" in caplog.text


def test_maps_share_limits_and_show_units_and_day(evaluation):
    result = evaluation.results[RAIN]
    figure = maps.day_figure(evaluation, result, result.days[0])
    meshes = [axis.collections[0] for axis in figure.axes[:4]]
    assert len({id(mesh.norm) for mesh in meshes[:3]}) == 1
    assert meshes[0].norm.vmax > max(np.nanmax(result.days[0].truth), 1)
    assert meshes[3].norm.vmin == -meshes[3].norm.vmax
    difference = result.days[0].prediction - result.days[0].truth
    drawn = np.ma.filled(meshes[3].get_array(), np.nan)
    assert np.array_equal(drawn, difference, equal_nan=True)
    assert result.days[0].time in figure.get_suptitle()
    assert {axis.get_ylabel() for axis in figure.axes} >= {"mm/day", "difference, mm/day"}


def test_map_rows_lie_at_their_latitudes(evaluation):
    result = evaluation.results[RAIN]
    figure = maps.day_figure(evaluation, result, result.days[0])
    mesh = figure.axes[2].collections[0]
    corners = mesh.get_coordinates()
    assert corners[0, 0, 1] == pytest.approx(60.0)
    assert corners[-1, -1].tolist() == pytest.approx([10.0, 55.0])


def test_without_coarse_input_three_maps_are_drawn(evaluation):
    result = evaluation.results[RAIN]
    day = result.days[0]
    bare = type(day)(day.time, day.kind, None, day.prediction, day.truth)
    figure = maps.day_figure(evaluation, result, bare)
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert [title.split(":")[0] for title in titles] == [
        "Prediction", "Truth", "Prediction minus truth",
    ]  # fmt: skip


def test_spectra_and_quantiles_draw_every_system(evaluation):
    result = evaluation.results[RAIN]
    spectra = plots.spectra_figure(evaluation, result)
    legend = [text.get_text() for text in spectra.axes[0].get_legend().get_texts()]
    assert set(legend) == {"truth", *evaluation.scores[RAIN]}
    assert "Wavelength [km]" in spectra.axes[1].get_xlabel()
    quantiles = plots.quantile_figure(result)
    line = next(x for x in quantiles.axes[0].lines if x.get_label() == "orbitlite")
    assert np.array_equal(line.get_xdata(), result.quantiles["truth"])
    assert np.array_equal(line.get_ydata(), result.quantiles["orbitlite"])


def test_a_system_without_a_style_of_its_own_is_drawn(evaluation):
    result = evaluation.results[RAIN]
    more = {name: getattr(result, name) | {"analogues": getattr(result, name)["bilinear"]}
            for name in ("scores", "spectra", "quantiles")}  # fmt: skip
    result = replace(result, **more)
    for figure in (plots.spectra_figure(evaluation, result), plots.quantile_figure(result)):
        legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        assert "analogues" in legend


def test_a_deterministic_prediction_has_no_pictures_of_an_ensemble(evaluation):
    names = {name for name, _ in plots.figures(evaluation)}
    assert not {f"{RAIN}_{kind}" for kind in ("members_day", "ranks", "spread", "crps_map")} & names


def test_folder_that_cannot_be_made_is_one_plain_error(evaluation, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match="cannot be written"):
        evaluation.report(tmp_path / "file" / "report")


def test_failure_leaves_nothing_under_the_final_name(tmp_path):
    path = tmp_path / "scores.json"

    def fail():
        with report.writing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []
    path.write_text("old")
    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"


def test_a_full_disk_is_one_plain_error(tmp_path):
    def write():
        with report.writing(tmp_path / "scores.json"):
            raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match="No space left"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_report_is_whole_or_none(evaluation, tmp_path, monkeypatch):
    def fail(result):
        raise RuntimeError("no picture")

    monkeypatch.setattr(plots, "quantile_figure", fail)
    with pytest.raises(RuntimeError, match="no picture"):
        evaluation.report(tmp_path / "report")
    assert not (tmp_path / "report").exists()
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("kind", ["dry", "constant", "one value"])
@pytest.mark.filterwarnings("ignore:.*no picture of spectra")
def test_a_truth_without_contrast_has_a_whole_report(kind, tmp_path):
    grid = LatLonGrid.from_edges(60.0 - np.arange(16.0), 3.0 + np.arange(19.0))
    amounts = np.random.default_rng(0).gamma(0.5, 8.0, (3, *grid.shape)).astype(np.float32)
    truth = {
        "dry": np.zeros_like(amounts),
        "constant": np.full_like(amounts, 3.0),
        "one value": np.where(np.arange(amounts.size).reshape(amounts.shape) == 7, 3.0, np.nan),
    }[kind]

    def wrap(values):
        coords = {"time": pd.date_range("2001-01-01", periods=3), "lat": grid.lat, "lon": grid.lon}
        return xr.Dataset({RAIN: (("time", "lat", "lon"), values)}, coords)

    found = evaluate(wrap(amounts), wrap(truth), progress=False)
    paths = found.report(tmp_path)
    assert sorted(paths) == sorted(tmp_path.iterdir())
    assert {"scores.json", "scores.txt", f"{RAIN}_quantiles.png"} <= {path.name for path in paths}
    assert json.loads((tmp_path / "scores.json").read_text())[RAIN]["orbitlite"]["ssim"] is None


def test_places_of_inputs_are_refused(tmp_path):
    truth, store = tmp_path / "truth.nc", tmp_path / "x.zarr"
    truth.touch()
    store.mkdir()
    sources = [str(truth), str(store)]
    for scores, folder in (
        (truth, None), (store / "a.json", None), (None, store), (None, store / "report"),
        (tmp_path, None), (None, truth),
    ):  # fmt: skip
        with pytest.raises(InputError, match=r"input|is a f"):
            report.check_places(scores and str(scores), folder and str(folder), sources)
    report.check_places(str(tmp_path / "scores.json"), str(tmp_path), sources)
