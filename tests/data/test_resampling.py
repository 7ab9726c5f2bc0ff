from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from orbitlite.data.resampling import bounded, resample
from orbitlite.data.source import harmonise
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
    return resample(harmonise(ds, channels, accumulation_period=period, rates=True), window)


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


def test_days_that_begin_at_another_hour():
    """Sums and means from 09 to 09 against those of pandas; both names of the same days."""
    ds = hourly(steps=24 * 9, tp="mm", t2m="K")
    channels = ["total_precipitation_24hr", "2m_temperature"]
    days = windows(ds, channels, "24h+9h")
    assert list(days.indexes["time"]) == list(pd.date_range("2001-01-01 09:00", periods=8))
    options = {"offset": "9h", "label": "left"}
    rain = ds["tp"][:, 1, 1].to_series().resample("24h", closed="right", **options).sum()
    warm = ds["t2m"][:, 1, 1].to_series().resample("24h", **options).mean()
    times = days.indexes["time"]
    np.testing.assert_allclose(days[channels[0]][:, 1, 1], rain[times], rtol=1e-6)
    np.testing.assert_allclose(days[channels[1]][:, 1, 1], warm[times], rtol=1e-6)
    xr.testing.assert_identical(windows(ds, channels, "24h-15h"), days)


@pytest.mark.parametrize(("window", "first"), [("24h+9h", "2001-01-01 09:00"),
                                               ("24h-15h", "2000-12-31 09:00"),
                                               (" 1D + 540min", "2001-01-01 09:00")])  # fmt: skip
@pytest.mark.parametrize("hour", [0, 9, 12])
def test_daily_values_belong_to_the_window_of_their_day(window, first, hour, messages):
    ds = hourly(f"2001-01-01 {hour:02d}:00", steps=3, step="24h", pr="mm day-1")
    days = windows(ds, ["total_precipitation_24hr"], window, period=None)
    assert days.indexes["time"][0] == pd.Timestamp(first)
    assert days["total_precipitation_24hr"][:, 0, 0].values.tolist() == [0, 1, 2]
    assert "belongs to the day of its time" in messages.text


def test_windows_say_how_long_they_are_and_stay_themselves():
    ds = hourly(steps=24 * 4, tp="mm", t2m="K")
    channels = ["total_precipitation_24hr", "2m_temperature"]
    for window in ("24h", "24h+9h", "24h-15h", "12h+3h"):
        if window[:2] == "12":
            channels = ["total_precipitation_12hr", "2m_temperature"]
        ds["tp"] = (ds["tp"] % 7).assign_attrs(units="mm")
        days = bounded(windows(ds, channels, window), window)
        begin, end = days["time_bnds"].values.T
        np.testing.assert_array_equal(begin, days["time"])
        assert (end - begin == np.timedelta64(int(window[:2]), "h")).all()
        again = bounded(windows(days, channels, window, period=None), window)
        xr.testing.assert_identical(again, days)


def test_windows_begin_at_a_step():
    ds = hourly(step="6h", steps=16, tp="mm", t2m="K")
    with pytest.raises(InputError, match=r"from 06:00 to 12:00.*24h\+6h"):
        windows(ds, ["total_precipitation_24hr"], "24h+9h", period="6h")
    assert windows(ds, ["total_precipitation_24hr"], "24h+6h", period="6h").sizes["time"] == 3
    # stamps that are in the middle of steps from midnight, and end those that windows begin with
    odd = hourly("2001-01-01 03:00", step="6h", steps=16, tp="mm")
    rain = windows(odd, ["total_precipitation_24hr"], "24h+9h", period="6h")
    assert rain["total_precipitation_24hr"][0, 0, 0] == 2 + 3 + 4 + 5
    # instants have no length
    warm = windows(ds, ["2m_temperature"], "24h+9h")["2m_temperature"]
    np.testing.assert_allclose(warm[:, 0, 0], [151.75, 153.75, 155.75])


def test_amounts_between_the_hours_are_refused():
    ds = hourly("2001-01-01 05:00", step="6h", steps=12, tp="mm")
    with pytest.raises(InputError, match=r"from 23:00 to 05:00.*24h\+23h"):
        windows(ds, ["total_precipitation_24hr"], period="6h")
    running = hourly("2001-01-01 03:00", step="6h", steps=12, total_precipitation_24hr="mm")
    with pytest.raises(InputError, match=r"from 03:00 to 03:00.*24h\+3h"):
        windows(running, ["total_precipitation_24hr"], period=None)


@pytest.mark.parametrize(
    "window", ["9h+", "24h+24h", "24h-24h", "24", "24h+9", "-24h", "24h+9h+1h", "1us", "a day", ""]
)
def test_mistaken_windows(window):
    with pytest.raises(InputError, match="resample"):
        windows(hourly(t2m="K"), ["2m_temperature"], window)
