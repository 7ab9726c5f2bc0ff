"""Cells and times of what is compared."""

import logging

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from orbitlite.errors import InputError
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.notice import OrbitliteWarning
from orbitlite.verification.alignment import (
    cover_times,
    located,
    match_calendars,
    match_cells,
    match_times,
)


def dataset(lat=(50.0, 49.0, 48.0), lon=(5.0, 6.0, 7.0, 8.0), days=4, start="2001-01-01"):
    values = np.arange(days * len(lat) * len(lon), dtype=np.float32)
    return xr.Dataset(
        {"2m_temperature": (("time", "lat", "lon"), values.reshape(days, len(lat), len(lon)))},
        {"time": pd.date_range(start, periods=days), "lat": list(lat), "lon": list(lon)},
    )


def matched(data, reference):
    data, grid = located(data, "truth")
    return match_cells(data, grid, LatLonGrid.from_dataset(reference), "truth", "prediction")


def test_a_single_time_becomes_a_dimension():
    data, _ = located(dataset().isel(time=2), "truth")
    assert data["2m_temperature"].dims == ("time", "lat", "lon")
    assert data.sizes["time"] == 1


def test_missing_dimensions_are_named():
    with pytest.raises(InputError, match="prediction has no dimension lat"):
        located(dataset().rename(lat="latitude"), "prediction")


def test_doubled_times_are_refused():
    doubled = xr.concat([dataset(), dataset()], "time")
    with pytest.raises(InputError, match="times occur twice in the truth"):
        located(doubled, "truth")


def test_longitudes_may_differ_by_whole_turns():
    turned = dataset().assign_coords(lon=np.array([5.0, 6.0, 7.0, 8.0]) - 360)
    found = matched(turned, dataset())
    assert np.array_equal(found["2m_temperature"], dataset()["2m_temperature"])


def test_a_global_grid_may_begin_elsewhere():
    lon = np.arange(0.0, 360, 45)
    reference = dataset(lon=lon)
    west = reference.assign_coords(lon=(lon + 180) % 360 - 180).sortby("lon")
    assert west["lon"][0] == -180
    found = matched(west, reference)
    assert np.array_equal(found["2m_temperature"], reference["2m_temperature"])


@pytest.mark.parametrize("shift", [{"lat": 0.03}, {"lon": -0.03}, {"lat": 1.0}])
def test_shifted_cells_are_refused(shift):
    moved = dataset().assign_coords({k: dataset()[k] + v for k, v in shift.items()})
    with pytest.raises(InputError, match="do not coincide"):
        matched(moved, dataset())


def test_rounded_coordinates_pass():
    moved = dataset().assign_coords(lat=dataset()["lat"] + 5e-4, lon=dataset()["lon"] - 5e-4)
    matched(moved, dataset())


def test_what_reaches_further_is_cut(caplog):
    reference = dataset().isel(lat=slice(0, 2), lon=slice(1, 3))
    with caplog.at_level(logging.INFO):
        found = matched(dataset(), reference)
    assert np.array_equal(found["2m_temperature"], reference["2m_temperature"])
    assert "truth has 3 x 4 cells; only the 2 x 2 of the prediction are used" in caplog.text


def test_fewer_cells_are_refused_with_both_shapes():
    with pytest.raises(InputError, match=r"truth has 3 x 3 cells and the prediction 3 x 4"):
        matched(dataset(lon=(5.0, 6.0, 7.0)), dataset())


def test_common_times_are_kept_in_order_and_the_others_logged(caplog):
    early = dataset(days=5)
    late = dataset(days=6, start="2001-01-03").isel(time=[4, 1, 0, 2, 3])
    with caplog.at_level(logging.INFO):
        first, second = match_times({"prediction": early, "truth": late})
    days = ["2001-01-03", "2001-01-04", "2001-01-05"]
    assert first["time"].dt.strftime("%Y-%m-%d").values.tolist() == days
    assert np.array_equal(first["2m_temperature"], early["2m_temperature"][2:])
    wanted = late.sortby("time").isel(time=slice(0, 3))
    assert np.array_equal(second["2m_temperature"], wanted["2m_temperature"])
    assert "2 of the 5 times of the prediction" in caplog.text
    assert "2 of the 5 times of the truth" in caplog.text


def test_times_that_run_backwards_are_put_in_order():
    back = dataset().isel(time=slice(None, None, -1))
    first, second = match_times({"prediction": back, "truth": back})
    xr.testing.assert_equal(first, dataset())
    xr.testing.assert_equal(second, dataset())


def test_no_common_time_names_both_periods():
    with pytest.raises(InputError, match=r"from 2001-01-01.*from 2005-01-01"):
        match_times({"prediction": dataset(), "truth": dataset(start="2005-01-01")})


def test_dates_of_one_calendar_are_left_alone():
    thirty = dataset().assign_coords(
        time=[cftime.Datetime360Day(2001, 2, day) for day in (28, 29, 30, 1)]
    )
    found = match_calendars({"prediction": thirty, "truth": thirty})
    assert found["truth"] is thirty
    plain = match_calendars({"prediction": dataset(), "truth": dataset()})
    xr.testing.assert_identical(plain["truth"], dataset())


def test_different_calendars_are_matched_by_date():
    thirty = dataset(days=5).assign_coords(
        time=[cftime.Datetime360Day(2001, 2, day) for day in (26, 27, 28, 29, 30)]
    )
    plain = dataset(days=5, start="2001-02-26")
    with pytest.warns(OrbitliteWarning, match="2 of 5 have no such date"):
        found = match_calendars({"prediction": thirty, "truth": plain})
    first, second = match_times(found)
    assert first["time"].dt.strftime("%m-%d").values.tolist() == ["02-26", "02-27", "02-28"]
    assert np.array_equal(first["2m_temperature"], thirty["2m_temperature"][:3])
    assert np.array_equal(second["2m_temperature"], plain["2m_temperature"][:3])


def test_what_covers_some_of_the_times_is_not_taken():
    times = dataset().indexes["time"]
    early = dataset(days=10, start="2000-12-30")
    xr.testing.assert_equal(cover_times(early, times, "coarse input"), early.isel(time=slice(2, 6)))
    assert cover_times(dataset(days=3), times, "coarse input") is None
    with pytest.raises(InputError, match="coarse input: 4 times from 2011"):
        cover_times(dataset(start="2011-01-01"), times, "coarse input")


@pytest.mark.parametrize("year", ["0850", "2290"])
def test_far_years_of_any_kind_match(year):
    """One file gives its times as cftime, the other as datetime64 of seconds."""
    start = np.datetime64(f"{year}-01-01", "s")
    plain = dataset().assign_coords(time=start + np.arange(4).astype("m8[D]"))
    dates = xr.date_range(f"{year}-01-02", periods=4, calendar="standard", use_cftime=True)
    roles = {"prediction": plain, "truth": dataset().assign_coords(time=dates)}
    prediction, truth = match_times(match_calendars(roles))
    assert prediction.indexes["time"].equals(truth.indexes["time"])
    assert [str(t)[:10] for t in truth.time.values] == [f"{year}-01-0{d}" for d in (2, 3, 4)]
    np.testing.assert_array_equal(prediction["2m_temperature"], dataset()["2m_temperature"][1:])
    np.testing.assert_array_equal(truth["2m_temperature"], dataset()["2m_temperature"][:3])
