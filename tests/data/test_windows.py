from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from orbitlite.data.source import harmonise
from orbitlite.data.windows import accumulate, seconds_of, standard_calendar
from orbitlite.errors import InputError


@pytest.fixture(autouse=True)
def messages(caplog):
    caplog.set_level(logging.INFO)
    return caplog


def hourly(start="2001-01-01", steps=72, step="1h", **fields):
    """A dataset of one cell pair; `fields` gives names and units.

    Values count the steps; in K they are 150 and half a step each.
    """
    times = pd.date_range(start, periods=steps, freq=step)
    ramp = np.arange(steps, dtype=np.float32)[:, None, None] * np.array([[1.0], [2.0]], np.float32)
    values = np.broadcast_to(ramp, (steps, 2, 2)).copy()
    return xr.Dataset(
        {
            name: (
                ("time", "lat", "lon"),
                150 + values / 2 if unit == "K" else values,
                {"units": unit},
            )
            for name, unit in fields.items()
        },
        {"time": times, "lat": [1.0, 0.0], "lon": [5.0, 6.0]},
    )


def windows(ds, channels, window="24h", period="1h"):
    return accumulate(harmonise(ds, channels, period=period, rates=True), window)


def test_amounts_end_at_their_stamp_and_the_rest_does_not():
    ds = hourly(tp="mm", t2m="K")
    days = windows(ds, ["total_precipitation_24hr", "2m_temperature"])
    assert list(days.indexes["time"]) == [pd.Timestamp("2001-01-01"), pd.Timestamp("2001-01-02")]
    # the hours that end at 01 to 24 of each day, and the instants 00 to 23
    np.testing.assert_allclose(
        days["total_precipitation_24hr"][:, 0, 0], [np.arange(1, 25).sum(), np.arange(25, 49).sum()]
    )
    np.testing.assert_allclose(days["2m_temperature"][:, 0, 0], [155.75, 167.75])
    assert "source_hours" not in days["total_precipitation_24hr"].attrs


def test_against_pandas_resampling():
    ds = hourly(steps=24 * 9 + 5, start="2001-01-01 07:00", tp="mm", t2m="K")
    days = windows(ds, ["total_precipitation_24hr", "2m_temperature"])
    frame = ds["tp"][:, 1, 1].to_series().resample("24h", closed="right", label="left").sum()
    expected = frame[days.indexes["time"]]
    np.testing.assert_allclose(days["total_precipitation_24hr"][:, 1, 1], expected, rtol=1e-6)
    mean = ds["t2m"][:, 1, 1].to_series().resample("24h").mean()[days.indexes["time"]]
    np.testing.assert_allclose(days["2m_temperature"][:, 1, 1], mean, rtol=1e-6)
    assert len(days["time"]) == 8


def test_six_hourly_rates_and_amounts_agree():
    rate = hourly(step="6h", steps=13, pr="mm day-1")
    amount = hourly(step="6h", steps=13, tp="mm")
    amount["tp"] /= 4
    channel = ["total_precipitation_24hr"]
    xr.testing.assert_allclose(
        windows(rate, channel, period=None), windows(amount, channel, period="6h")
    )


def test_sums_over_the_day_before_each_stamp_are_not_added_up():
    """WeatherBench: total_precipitation_24hr at every sixth hour."""
    ds = hourly(step="6h", steps=9, total_precipitation_24hr="mm")
    days = windows(ds, ["total_precipitation_24hr"], period=None)
    np.testing.assert_allclose(days["total_precipitation_24hr"][:, 0, 0], [4.0, 8.0])


def test_extremes_stay_extremes():
    ds = hourly(mx2t="K", mn2t="K")
    days = windows(ds, ["2m_temperature_max", "2m_temperature_min"])
    assert days["2m_temperature_max"][:, 0, 0].values.tolist() == [161.5, 173.5, 185.5]
    assert days["2m_temperature_min"][:, 0, 0].values.tolist() == [150.0, 162.0, 174.0]


def test_incomplete_windows_are_dropped_and_missing_values_stay(messages):
    ds = hourly(t2m="K").isel(time=[*range(30), *range(31, 72)])
    ds["t2m"][50, 0, 1] = np.nan
    days = windows(ds, ["2m_temperature"])
    assert list(days.indexes["time"]) == [pd.Timestamp("2001-01-01"), pd.Timestamp("2001-01-03")]
    assert np.isnan(days["2m_temperature"].values).sum() == 1
    assert "1 of 3 windows" in messages.text


def test_daily_steps_take_the_name_of_their_window():
    ds = hourly("2001-01-01 12:00", steps=3, step="24h", tas="K")
    days = windows(ds, ["2m_temperature"])
    assert days.indexes["time"][0] == pd.Timestamp("2001-01-01")
    assert days["2m_temperature"][:, 0, 0].values.tolist() == [150, 150.5, 151]


def test_statics_stay_and_lazy_stays_lazy():
    ds = hourly(t2m="K").assign(lsm=(("lat", "lon"), np.ones((2, 2)), {"units": "1"}))
    channels = ["2m_temperature", "land_sea_mask"]
    eager = windows(ds, channels)
    lazy = windows(ds.chunk(time=7), channels)
    assert lazy["2m_temperature"].chunks
    xr.testing.assert_identical(lazy.compute(), eager)
    assert eager["land_sea_mask"].dims == ("lat", "lon")


@pytest.mark.parametrize(
    ("step", "window", "words"),
    [("7h", "24h", "7 h cannot"), ("48h", "24h", "48 h cannot"), ("1h", "96h", "is complete")],
)
def test_steps_that_do_not_fit(step, window, words):
    with pytest.raises(InputError, match=words):
        windows(hourly(step=step, t2m="K"), ["2m_temperature"], window)


def test_amounts_of_no_fitting_period():
    with pytest.raises(InputError, match="amounts over 3 h at steps of 1 h"):
        windows(hourly(tp="mm"), ["total_precipitation_24hr"], period="3h")


@pytest.mark.parametrize(("calendar", "kept"), [("noleap", 60), ("360_day", 58)])
def test_other_calendars_match_by_date(calendar, kept, messages):
    times = xr.date_range("2001-01-01", periods=60, calendar=calendar, use_cftime=True)
    ds = hourly(steps=60, t2m="K").assign_coords(time=times)
    ds = standard_calendar(harmonise(ds, ["2m_temperature"]))
    index = ds.indexes["time"]
    assert isinstance(index, pd.DatetimeIndex)
    assert len(index) == kept
    # 1 March is the 60th day of 365 and the 61st of 360
    where = np.flatnonzero(index == pd.Timestamp("2001-02-28"))
    assert ds["2m_temperature"][where, 0, 0] == (179 if calendar == "noleap" else 178.5)
    assert calendar in messages.text


def test_seconds():
    times = pd.DatetimeIndex(["1970-01-02", "2000-01-01 00:00:30"])
    assert seconds_of(times).tolist() == [86400, 946684830]
