from __future__ import annotations

import cftime
import numpy as np
import pytest
import xarray as xr

from orbitlite.data.times import valid_times
from orbitlite.errors import InputError

START = np.datetime64("2001-01-01", "ns")
HOUR = np.timedelta64(3600 * 10**9, "ns")


def series(times, name="time", values=None):
    values = np.arange(len(times)) if values is None else values
    return xr.Dataset({"v": (name, values)}, {name: (name, times)})


def test_valid_time_is_time():
    ds = series(START + HOUR * np.arange(3), "valid_time")
    assert valid_times(ds)["v"].dims == ("time",)


def test_forecast_steps_become_valid_times():
    ds = series(HOUR * np.arange(1, 4), "step").assign_coords(time=START)
    result = valid_times(ds)
    np.testing.assert_array_equal(result["time"], START + HOUR * np.arange(1, 4))
    assert "step" not in result.variables


def test_runs_and_steps_are_laid_out_in_time():
    runs, steps = START + 12 * HOUR * np.arange(2), HOUR * np.arange(1, 13)
    values = np.arange(24).reshape(2, 12)
    ds = xr.Dataset({"v": (("time", "step"), values)}, {"time": runs, "step": steps})
    ds = ds.assign_coords(valid_time=ds["time"] + ds["step"])
    result = valid_times(ds)
    np.testing.assert_array_equal(result["time"], START + HOUR * np.arange(1, 25))
    np.testing.assert_array_equal(result["v"], np.arange(24))


def test_overlapping_runs_are_an_error():
    ds = xr.Dataset(
        {"v": (("time", "step"), np.ones((2, 3)))},
        {"time": START + HOUR * np.arange(2), "step": HOUR * np.arange(3)},
    )
    with pytest.raises(InputError, match="2001-01-01 01:00:00 occurs more than once"):
        valid_times(ds)


def test_times_are_sorted():
    ds = valid_times(series(START + HOUR * np.array([2, 0, 1])))
    np.testing.assert_array_equal(ds["v"], [1, 2, 0])


def test_other_calendars():
    dates = xr.date_range("2001-02-27", periods=3, calendar="noleap", use_cftime=True)
    ds = valid_times(series(dates))
    assert isinstance(ds["time"].values[0], cftime.DatetimeNoLeap)


def test_bad_times():
    with pytest.raises(InputError, match="int64 and no dates"):
        valid_times(series(np.arange(3)))
    with pytest.raises(InputError, match="no coordinate"):
        valid_times(xr.Dataset({"v": ("time", [1, 2])}))
    with pytest.raises(InputError, match="dimensions"):
        valid_times(xr.Dataset(coords={"time": (("a", "b"), np.full((2, 1), START))}))


@pytest.mark.parametrize(
    ("name", "attrs"),
    [
        ("day", {"standard_name": "time"}),
        ("Time", {}),
        ("TIME", {"axis": "T"}),
        ("time_counter", {}),
        ("date", {}),
        ("T", {"axis": "T"}),
        ("when", {}),  # the only dates there are
    ],
)
def test_times_of_another_name(name, attrs):
    times = START + HOUR * np.arange(3)
    ds = series(times, name)
    ds[name].attrs = attrs
    result = valid_times(ds)
    assert result["v"].dims == ("time",)
    np.testing.assert_array_equal(result["time"], times)


@pytest.mark.parametrize("numbered", [True, False])
def test_times_along_another_dimension(numbered):
    times = START + HOUR * np.arange(3)
    ds = xr.Dataset({"v": ("t", np.arange(3))}, {"time": ("t", times)})
    result = valid_times(ds.assign_coords(t=[5, 6, 7]) if numbered else ds)
    assert result["v"].dims == ("time",)
    np.testing.assert_array_equal(result["time"], times)


def test_dates_beside_numbers():
    ds = series(np.arange(3)).assign_coords(date=("time", START + HOUR * np.arange(3)))
    np.testing.assert_array_equal(valid_times(ds)["time"], START + HOUR * np.arange(3))


def test_bounds_are_not_times_and_stay_named():
    ds = series(START + HOUR * np.arange(3), "day")
    ds["day"].attrs = {"bounds": "edges"}
    ds = ds.assign_coords(edges=("day", START + HOUR * np.arange(3)))
    result = valid_times(ds)
    assert result["time"].attrs["bounds"] == "edges"
    assert result["edges"].dims == ("time",)


def test_two_axes_of_times():
    ds = xr.Dataset(
        {"v": (("day", "date"), np.ones((2, 2)))},
        {"day": START + HOUR * np.arange(2), "date": START + HOUR * np.arange(2)},
    )
    with pytest.raises(InputError, match="'day' and 'date' are both times"):
        valid_times(ds)


@pytest.mark.parametrize(
    "times",
    [np.array(["x", "y"], object), np.array([1, 2], object), np.array([1.0, np.nan]), ["a", "b"]],
)
def test_what_is_no_date(times):
    with pytest.raises(InputError, match=r"'time' holds .* and no dates"):
        valid_times(series(times))


def test_missing_times():
    with pytest.raises(InputError, match="'time' have missing values"):
        valid_times(series(np.array([START, "NaT"], "datetime64[ns]")))
