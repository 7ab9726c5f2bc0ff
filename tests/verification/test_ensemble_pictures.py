"""Pictures of an ensemble: its members, and how they lie about the truth."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from PIL import Image

from orbitlite.grids.latlon import LatLonGrid
from orbitlite.verification import calibration_plots, maps
from orbitlite.verification.evaluation import evaluate

RAIN = "total_precipitation_24hr"


@pytest.fixture(scope="module")
def ensemble():
    """Of 14 members, more than the classes of a picture; temperature without rain's many zeros."""
    grid = LatLonGrid.from_edges(60.0 - np.arange(16.0), 3.0 + np.arange(22.0))
    generator = np.random.default_rng(4)
    smooth = generator.gamma(0.5, 8.0, (5, *grid.shape))
    fields = np.maximum(smooth + generator.normal(0, 3, (15, *smooth.shape)), 0)
    coords = {"time": pd.date_range("2001-01-01", periods=5), "lat": grid.lat, "lon": grid.lon}
    dims = ("time", "lat", "lon")

    def wrap(values, *more):
        names = {RAIN: values, "2m_temperature": 280 + values}
        data = {name: ((*more, *dims), field.astype(np.float32)) for name, field in names.items()}
        return xr.Dataset(data, coords)

    fields[0, :, 3:5, 2] = np.nan
    return evaluate(wrap(fields[1:], "number"), wrap(fields[0]), progress=False)


def test_an_ensemble_has_pictures_of_its_own(ensemble, tmp_path):
    names = {path.stem for path in ensemble.report(tmp_path)}
    kinds = {"members_day", "ranks", "reliability", "spread", "crps_map", "spectra"}
    assert {f"{RAIN}_{kind}" for kind in kinds} <= names
    assert {f"2m_temperature_{kind}" for kind in kinds - {"reliability"}} <= names
    assert "2m_temperature_reliability" not in names
    for path in tmp_path.glob("*.png"):
        with Image.open(path) as picture:
            assert min(picture.size) > 500
            assert len(picture.convert("RGB").resize((200, 200)).getcolors(40_000)) > 50


def test_truth_mean_and_members_share_one_scale(ensemble):
    result = ensemble.results[RAIN]
    day = next(day for day in result.days if day.members is not None)
    figure = maps.members_figure(ensemble, result, day, day.members)
    meshes = [axis.collections[0] for axis in figure.axes[:6]]
    assert len({id(mesh.norm) for mesh in meshes}) == 1
    titles = [axis.get_title().split("\n")[0] for axis in figure.axes[:6]]
    assert titles == ["Truth", "Mean of all members", *(f"Member {n}" for n in (0, 1, 2, 3))]
    for mesh, field in zip(meshes, [day.truth, day.prediction, *day.members], strict=True):
        drawn = np.ma.filled(mesh.get_array(), np.nan)
        assert np.array_equal(drawn, np.where(np.isfinite(day.truth), field, np.nan), True)
    shown = maps.day_figure(ensemble, result, day).axes[0].get_title()
    assert shown.startswith("Mean of 14 members: mean")


@pytest.mark.parametrize(
    ("dims", "labels", "expected"),
    [
        (["number"], {"number": [7, 3, 5, 0, 1, 2]}, ["7", "3", "5", "0"]),
        (["member", "realization"], {"member": ["r1", "r2"]}, ["r1, 0", "r1, 1", "r1, 2", "r2, 0"]),
    ],
)
def test_members_have_the_names_of_the_prediction(dims, labels, expected):
    rng = np.random.default_rng(4)
    truth = rng.gamma(0.6, 5.0, (3, 16, 20)).astype(np.float32)
    sizes = (6,) if len(dims) == 1 else (2, 3)
    drawn = rng.gamma(0.6, 5.0, (*sizes, 3, 16, 20)).astype(np.float32)
    fine = {
        "time": np.datetime64("2001-06-01", "ns") + np.arange(3) * np.timedelta64(1, "D"),
        "lat": 40 - 0.25 * np.arange(16.0),
        "lon": 350 + 0.25 * np.arange(20.0),
    }
    attrs = {"units": "mm"}
    prediction = xr.DataArray(drawn, fine | labels, [*dims, "time", "lat", "lon"], attrs=attrs)
    found = evaluate(
        prediction.to_dataset(name=RAIN),
        xr.DataArray(truth, fine, ["time", "lat", "lon"], attrs=attrs).to_dataset(name=RAIN),
        progress=False,
    )
    result = found.results[RAIN]
    day = next(day for day in result.days if day.members is not None)
    figure = maps.members_figure(found, result, day, day.members)
    titles = [axis.get_title().split("\n")[0] for axis in figure.axes[2:6]]
    assert titles == [f"Member {name}" for name in expected]
    place = int(np.argmax(truth.mean((1, 2), dtype=np.float64)))
    assert np.array_equal(day.members, drawn.reshape(-1, *drawn.shape[-3:])[:4, place])


@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_text_of_members_is_large_in_80_columns_and_labels_are_outside(ensemble, count):
    result = ensemble.results[RAIN]
    day = next(day for day in result.days if day.members is not None)
    figure = maps.members_figure(ensemble, result, day, day.members[:count])
    figure.draw_without_rendering()
    shown = figure.axes[: 2 + count]
    # At 800 pixels, the width of a page; 72 points are an inch.
    scale = 800 / (72 * figure.get_figwidth())
    texts = [axis.title for axis in shown] + shown[0].get_xticklabels() + shown[0].get_yticklabels()
    assert min(text.get_fontsize() for text in texts) * scale > 10
    across = 3 if count > 2 else 2
    for place, axis in enumerate(shown):
        left = any(text.get_visible() for text in axis.get_yticklabels())
        below = any(text.get_visible() for text in axis.get_xticklabels())
        assert left == (place % across == 0)
        assert below == (place + across >= len(shown))
        box, frame = axis.title.get_window_extent(), axis.get_window_extent()
        assert box.width <= 1.15 * frame.width


def test_the_map_of_crps_leaves_what_is_missing_blank(ensemble):
    found = ensemble.results[RAIN].calibration
    mesh = maps.crps_figure(ensemble, ensemble.results[RAIN], found).axes[0].collections[0]
    assert np.array_equal(np.ma.filled(mesh.get_array(), np.nan), found.crps, equal_nan=True)
    assert np.isnan(found.crps[3:5, 2]).all()


def test_ranks_and_the_flat_line(ensemble):
    found = ensemble.results[RAIN].calibration
    axes = calibration_plots.ranks_figure(ensemble.results[RAIN], found).axes[0]
    assert [bar.get_height() for bar in axes.patches] == pytest.approx(found.ranks)
    assert axes.lines[0].get_ydata() == pytest.approx([1 / 15, 1 / 15])


def test_reliability_of_many_members_is_in_classes(ensemble):
    found = ensemble.results[RAIN].calibration
    figure = calibration_plots.reliability_figure(ensemble.results[RAIN], found)
    curve = next(x for x in figure.axes[0].lines if x.get_label() == "1 mm/day")
    forecast, both = found.events[1.0]
    counts = np.arange(15)
    groups = np.rint(counts / 14 * 10)
    held = [group for group in range(11) if forecast[groups == group].sum() > 0]
    for group, x, y in zip(held, *curve.get_data(), strict=True):
        inside = groups == group
        assert x == pytest.approx(np.average(counts[inside] / 14, weights=forecast[inside]))
        assert y == pytest.approx(both[inside].sum() / forecast[inside].sum())
    heights = [bar.get_height() for bar in figure.axes[1].patches[: len(held)]]
    assert sum(heights) == pytest.approx(1.0)


def test_spread_is_drawn_against_the_error(ensemble):
    found = ensemble.results["2m_temperature"].calibration
    figure = calibration_plots.spread_figure(ensemble.results["2m_temperature"], found)
    curve = next(x for x in figure.axes[0].lines if x.get_label() == "members")
    spread, error, share = found.spread
    used = (spread > 0) & (share >= 0.002)
    assert curve.get_xdata() == pytest.approx(spread[used])
    assert curve.get_ydata() == pytest.approx(error[used])
    # what is drawn is more than the standard deviation: the label says by which factor
    assert "(M + 1) / M" in figure.axes[1].get_xlabel()
    line = next(x for x in figure.axes[0].lines if x.get_label() == "1 : 1")
    assert np.array_equal(*line.get_data())


def test_equal_members_have_a_whole_report(ensemble, tmp_path):
    grid = ensemble.grid
    coords = {"time": pd.date_range("2001-01-01", periods=2), "lat": grid.lat, "lon": grid.lon}
    field = np.random.default_rng(0).gamma(0.5, 8.0, (2, *grid.shape)).astype(np.float32)
    for name, truth in (("equal", field), ("other", field * 2 + 1)):
        data = {RAIN: (("number", "time", "lat", "lon"), np.stack([field, field]))}
        found = evaluate(
            xr.Dataset(data, coords),
            xr.Dataset({RAIN: (("time", "lat", "lon"), truth)}, coords),
            progress=False,
        )
        paths = found.report(tmp_path / name)
        assert f"{RAIN}_spread.png" in {path.name for path in paths}
