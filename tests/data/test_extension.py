"""Extension types of pandas among the coordinates."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from orbitlite.data.source import open_source
from orbitlite.errors import InputError

TIMES = pd.date_range("2001-01-01", periods=2, freq="6h")


def fields(**coords):
    values = 280 + np.arange(24.0).reshape(2, 3, 4)
    places = {"lat": [2.0, 1.0, 0.0], "lon": np.arange(4.0)}
    return xr.Dataset(
        {"t2m": (("time", "lat", "lon"), values, {"units": "K"})},
        {"time": TIMES, **places, **coords},
    )


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize("objects", [False, True])
def test_times_of_a_zone_become_utc(zone, objects, caplog):
    local = TIMES.tz_localize("UTC").tz_convert(zone)
    times = np.array(list(local), object) if objects else local
    with caplog.at_level("INFO"):
        ds = open_source(fields(time=times))
    np.testing.assert_array_equal(ds["time"], TIMES)
    assert "converted to UTC" in caplog.text
    aside = fields().drop_vars("time").assign_coords(time=("time", times))
    np.testing.assert_array_equal(open_source(aside)["time"], TIMES)


def test_dates_of_python():
    dates = np.array([time.to_pydatetime() for time in TIMES], object)
    np.testing.assert_array_equal(open_source(fields(time=dates))["time"], TIMES)


def test_periods_are_an_error():
    with pytest.raises(InputError, match=r"holds periods .*to_timestamp"):
        open_source(fields(time=pd.period_range("2001-01-01", periods=2, freq="D")))


@pytest.mark.parametrize(
    "values",
    [
        pd.Categorical(["DJF", "DJF"]),
        pd.array([1, None], dtype="Int64"),
        pd.array(["a", "b"], dtype="string"),
        pd.array([True, None], dtype="boolean"),
        pd.period_range("2001-01", periods=2, freq="M"),
    ],
)
def test_what_lies_along_time_does_no_harm(values):
    found = open_source(fields(aside=("time", values))).drop_vars("aside", errors="ignore")
    xr.testing.assert_identical(found, open_source(fields()))


@pytest.mark.parametrize(
    "numbers", [pd.array([3, 4], dtype="Int64"), pd.Categorical(["a", "b"]), pd.Index([3.0, 4.0])]
)
def test_members_keep_their_names(numbers):
    ds = xr.concat([fields(), fields()], "number").assign_coords(number=pd.Index(numbers))
    found = open_source(ds)["2m_temperature"]
    assert found["number"].values.tolist() == list(numbers)


def test_nullable_latitudes():
    ds = fields().assign_coords(lat=pd.Index([2.0, 1.0, 0.0], dtype="Float64"))
    np.testing.assert_array_equal(open_source(ds)["lat"], [2, 1, 0])
