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
