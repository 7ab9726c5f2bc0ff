"""Time bounds: over which time a value extends, and in which window it falls."""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from orbitlite import evaluate
from orbitlite.data.pairing import Pairing
from orbitlite.data.resampling import resample
from orbitlite.data.source import harmonise, open_source
from orbitlite.errors import InputError
from orbitlite.notice import OrbitliteWarning

RAIN, WARM = "total_precipitation_24hr", "2m_temperature"


@pytest.fixture(autouse=True)
def messages(caplog):
    caplog.set_level(logging.INFO)
    return caplog


def steps(hours=6, stamp=0.0, days=3, bounds="time_bnds", units="mm/hr"):
    """Rain and temperature over steps that begin at 00; stamps lie a share of a step later.

    The value of a step is its number, in mm per step and K; the temperature has no cell methods.
    """
    begin = pd.date_range("2001-02-27", periods=days * 24 // hours, freq=f"{hours}h", unit="ns")
    step = pd.Timedelta(hours=hours)
    number = np.arange(len(begin), dtype=np.float32)[:, None, None] * np.ones((1, 2, 2), np.float32)
    rate = number / (hours if units == "mm/hr" else 1)
    ds = xr.Dataset(
        {
            "pr": (("time", "lat", "lon"), rate, {"units": units, "cell_methods": "time: mean"}),
            "tas": (("time", "lat", "lon"), number + 200, {"units": "K"}),
        },
        {"time": begin + stamp * step, "lat": [1.0, 0.0], "lon": [5.0, 6.0]},
    )
    if bounds:
        ds[bounds] = (("time", "nv"), np.stack([begin, begin + step], axis=1))
        ds["time"].attrs["bounds"] = bounds
    return ds


def days(ds, window="24h", channels=(RAIN, WARM), **options):
    return resample(harmonise(ds, list(channels), rates=True, **options), window)


def right(ds, hours=6, first=0, names=("2001-02-27", "2001-02-28", "2001-03-01")):
    """Check sums and means of the numbers of the steps of each day."""
    count = 24 // hours
    numbers = [first + np.arange(day * count, (day + 1) * count) for day in range(len(names))]
    assert [str(time)[:10] for time in ds.indexes["time"]] == list(names)
    np.testing.assert_allclose(ds[RAIN][:, 0, 0], [part.sum() for part in numbers], rtol=1e-6)
    np.testing.assert_allclose(ds[WARM][:, 0, 0], [200 + part.mean() for part in numbers])


@pytest.mark.parametrize("hours", [1, 3, 6, 12, 24])
@pytest.mark.parametrize("stamp", [0, 0.25, 0.5, 1])
def test_begin_middle_and_end_stamps_agree(hours, stamp):
    right(days(steps(hours, stamp)), hours)


@pytest.mark.parametrize("name", ["time_bnds", "time_bounds", "anything"])
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_of_files(tmp_path, name, suffix):
    ds = steps(stamp=1, bounds=name)
    path = tmp_path / f"a{suffix}"
    ds.to_netcdf(path) if suffix == ".nc" else ds.to_zarr(path)
    right(resample(open_source(path, [RAIN, WARM], rates=True), "24h"))
    parts = [ds.isel(time=slice(0, 5)), ds.isel(time=slice(5, 11)), ds.isel(time=11)]
    right(resample(open_source(parts, [RAIN, WARM], rates=True), "24h"))


def test_without_the_attribute_and_without_a_unit_of_their_own(tmp_path):
    """As some programs leave them: plain numbers in the unit of time."""
    ds = steps(stamp=1)
    numbers = (ds["time_bnds"] - np.datetime64("2001-01-01")) / np.timedelta64(1, "h")
    del ds["time"].attrs["bounds"]
    ds = ds.assign(time_bnds=numbers)
    ds.to_netcdf(tmp_path / "a.nc", encoding={"time": {"units": "hours since 2001-01-01"}})
    right(resample(open_source(tmp_path / "a.nc", [RAIN, WARM], rates=True), "24h"))


@pytest.mark.parametrize("calendar", ["noleap", "360_day"])
def test_other_calendars(calendar):
    """The last step of 28 February ends on the day after, which other calendars lack or have."""
    ds = steps(stamp=1)
    times = xr.date_range("2001-02-27", periods=13, freq="6h", calendar=calendar, use_cftime=True)
    edges = np.stack([times[:-1], times[1:]], axis=1)
    ds = ds.assign_coords(time=("time", times[1:], {"bounds": "time_bnds"}))
    found = days(ds.assign(time_bnds=(("time", "nv"), edges)))
    names = ("2001-02-27", "2001-02-28", "2001-03-01")
    right(found, names=names if calendar == "noleap" else names[:2])


def test_the_callers_dataset_stays_as_it_is():
    ds = steps()
    before = ds.copy(deep=True)
    days(ds)
    xr.testing.assert_identical(ds, before)
    assert ds["pr"].attrs == before["pr"].attrs


def test_points_of_time_are_where_their_stamps_are():
    """Instants in a file whose means end at their stamp."""
    ds = steps(stamp=1)
    ds["tas"].attrs["cell_methods"] = "area: mean time: point"
    found = days(ds)
    # the instants 00, 06, 12, 18 of each day are those that end steps 3, 4, 5, 6...
    assert list(found.indexes["time"].astype(str)) == ["2001-02-28", "2001-03-01"]
    np.testing.assert_allclose(found[WARM][:, 0, 0], [200 + 4.5, 200 + 8.5])
    np.testing.assert_allclose(found[RAIN][:, 0, 0], [22, 38])


def test_channels_of_two_files_have_bounds_of_their_own():
    rain, warm = steps(stamp=1)[["pr", "time_bnds"]], steps(stamp=1, bounds=None)[["tas"]]
    found = resample(open_source([rain, warm], [RAIN, WARM], rates=True), "24h")
    np.testing.assert_allclose(found[RAIN][:, 0, 0], [22, 38])
    np.testing.assert_allclose(found[WARM][:, 0, 0], [200 + 4.5, 200 + 8.5])
    other = steps(stamp=0)[["pr", "time_bnds"]].isel(time=slice(8, 12))
    mixed = open_source([rain.isel(time=slice(0, 6)), other], [RAIN], rates=True)
    with pytest.raises(InputError, match="lie otherwise at some times"):
        resample(mixed, "24h")


def test_sums_over_the_day_are_taken_where_they_end():
    """Running sums over 24 h at every sixth hour, whichever end they are stamped at."""
    for stamp in (0, 24):
        ends = pd.date_range("2001-02-28", periods=9, freq="6h")
        begin = ends - pd.Timedelta("24h")
        ds = steps(bounds=None).isel(time=slice(0, 9))
        ds = ds.assign_coords(time=begin + pd.Timedelta(hours=stamp)).drop_vars("tas")
        ds["pr"].attrs.update(units="mm", cell_methods="time: sum")
        ds["time_bnds"] = (("time", "nv"), np.stack([begin, ends], axis=1))
        found = days(ds, channels=[RAIN])
        names = [str(time)[:10] for time in found.indexes["time"]]
        assert names == ["2001-02-28", "2001-03-01"]
        np.testing.assert_allclose(found[RAIN][:, 0, 0] * 6, [4, 8])


def test_daily_means_at_noon_and_the_truth_at_midnight():
    noon, midnight, end = (days(steps(24, stamp)) for stamp in (0.5, 0, 1))
    xr.testing.assert_identical(noon, midnight)
    xr.testing.assert_identical(end, midnight)


def test_amounts_across_the_beginning_of_a_window_are_refused():
    gauge = steps(24)
    shift = pd.Timedelta("6h")
    gauge = gauge.assign_coords(time=gauge["time"] + shift)
    gauge["time_bnds"] = gauge["time_bnds"] + shift
    gauge["time"].attrs["bounds"] = "time_bnds"
    with pytest.raises(InputError, match=r"from 06:00 to 06:00.* 24h\+6h"):
        days(gauge)
    right(days(gauge, "24h+6h"), 24)
    with pytest.warns(UserWarning, match="2m_temperature extends from 06:00"):
        days(gauge, channels=[WARM])


def test_bounds_that_fit_nothing():
    ds = steps()
    ds["time_bnds"] = ds["time_bnds"].copy(
        data=ds["time_bnds"].values + np.array([0, 1], "m8[h]")  # 7 h every 6 h
    )
    with pytest.raises(InputError, match="over 7 h at steps of 6 h"):
        days(ds)
    ds["time_bnds"][3, 0] -= np.timedelta64(2, "h")
    with pytest.raises(InputError, match="lie otherwise at some times"):
        days(ds)
    amounts = steps(units="mm").drop_vars("tas")
    with pytest.raises(InputError, match="over 1 h, and its time bounds are 6 h apart"):
        days(amounts, channels=[RAIN], accumulation_period="1h")


@pytest.mark.parametrize(("hours", "units"), [(1, "mm/hr"), (6, "kg m-2 h-1"), (12, "mm day-1")])
@pytest.mark.parametrize("bounds", ["time_bnds", None])
def test_rates_at_shorter_steps_are_refused(hours, units, bounds):
    ds = steps(hours, bounds=bounds, units=units)
    with pytest.raises(InputError, match=rf"'pr' holds rates at steps of {hours} h.*--resample"):
        harmonise(ds, [RAIN])
    own = "total_precipitation" + (f"_{hours}hr" if hours > 1 else "")
    assert own in harmonise(ds)
    assert own in harmonise(ds, [own])


def test_files_of_a_single_time_each():
    """A step that only all files together tell."""
    ds = steps(bounds=None)
    with pytest.raises(InputError, match="steps of 6 h"):
        open_source([ds.isel(time=[k]) for k in range(4)], [RAIN])
    assert RAIN in open_source([ds.isel(time=k) for k in (0, 4, 8)], [RAIN])


def test_a_single_time(messages):
    with pytest.warns(UserWarning, match="single time and no time bounds: taken as the mean over"):
        found = harmonise(steps(24, bounds=None).isel(time=1), [RAIN])[RAIN]
    np.testing.assert_allclose(found, 1)
    messages.clear()
    assert harmonise(steps(24).isel(time=1), [RAIN])[RAIN].sizes["time"] == 1
    assert not [record for record in messages.records if record.levelname == "WARNING"]
    with pytest.raises(InputError, match="steps of 6 h"):
        harmonise(steps().isel(time=1), [RAIN])
    with pytest.raises(InputError, match="No window of 24h"):
        days(steps().isel(time=[1]))
    with pytest.warns(UserWarning, match="single time, taken as a whole window"):
        assert days(steps(bounds=None).isel(time=[1]), channels=[WARM]).sizes["time"] == 1


def test_monthly_means_are_mean_amounts_per_day(messages):
    """With bounds (of months of any length) and without."""
    begin = pd.date_range("2001-01-01", periods=5, freq="MS")
    ds = steps(24, bounds=None, days=4, units="mm day-1").assign_coords(time=begin[:-1])
    found = harmonise(ds, [RAIN])
    np.testing.assert_allclose(found[RAIN][:, 0, 0], [0, 1, 2, 3])
    assert "mean amount per 24 h" in messages.text
    ds["time_bnds"] = (("time", "nv"), np.stack([begin[:-1], begin[1:]], axis=1))
    xr.testing.assert_identical(harmonise(ds, [RAIN]), found)
    xr.testing.assert_identical(harmonise(ds)[RAIN], found[RAIN])
    with pytest.raises(InputError, match="resample"):
        days(ds)


def test_rates_of_an_instant_are_said():
    ds = steps(24)
    ds["pr"].attrs["cell_methods"] = "time: point"
    with pytest.warns(UserWarning, match="rates of an instant"):
        harmonise(ds, [RAIN])


def test_amounts_without_bounds_end_at_their_stamps_and_it_is_said(messages):
    right_days = days(steps(stamp=1), channels=[RAIN])
    xr.testing.assert_identical(days(steps(stamp=1, bounds=None), channels=[RAIN]), right_days)
    assert "no time bounds: its amounts are taken to end at their times" in messages.text
    messages.clear()
    right(days(steps(stamp=0.5, bounds=None)))
    assert "no time bounds" not in messages.text


def test_cftime_bounds_of_times_that_numpy_holds():
    """The last bound of a file may lie where xarray goes over to cftime."""
    ds = steps(24, stamp=0.5, days=2, bounds=None)
    times = np.array(["2262-04-10T12", "2262-04-11T12"], "datetime64[ns]")
    edges = np.array([[cftime.DatetimeGregorian(2262, 4, d + k) for k in (0, 1)] for d in (10, 11)])
    ds = ds.assign_coords(time=("time", times, {"bounds": "time_bnds"}))
    found = days(ds.assign(time_bnds=(("time", "nv"), edges)))
    assert [str(time)[:10] for time in found.indexes["time"]] == ["2262-04-10", "2262-04-11"]


@pytest.mark.parametrize("value", [1, 1.5, "a", b"x"])
def test_bounds_that_are_no_dates_are_as_none(value):
    ds = steps(units="mm")
    expected = harmonise(steps(units="mm", bounds=None), [WARM])
    ds["time_bnds"] = (("time", "nv"), np.full((ds.sizes["time"], 2), value, object))
    xr.testing.assert_equal(harmonise(ds, [WARM])[WARM], expected[WARM])


def bounded_days(begin, end):
    """Four days of rain whose time begins and ends so many hours after their stamps."""
    times = pd.date_range("2001-01-01", periods=4)
    edges = np.stack([times + pd.Timedelta(hours=hour) for hour in (begin, end)], axis=1)
    values = np.arange(16.0, dtype=np.float32).reshape(4, 2, 2)
    return xr.Dataset(
        {
            "pr": (("time", "lat", "lon"), values, {"units": "mm day-1"}),
            "time_bnds": (("time", "nv"), edges),
        },
        {"time": times, "lat": [1.0, 0.0], "lon": [5.0, 6.0]},
    )


@pytest.mark.parametrize("window", [None, "24h"])
def test_values_of_one_stamp_that_are_of_other_days_are_refused(window):
    """Stamps at the end of the day and at its beginning; windows are named by their beginning."""
    begin, end = bounded_days(0, 24), bounded_days(-24, 0)
    with pytest.raises(InputError, match=r"from -24 to \+0 h"):
        evaluate(end, begin, resample=window, progress=False)
    evaluate(begin, end, resample="24h", progress=False)


def test_values_that_share_a_part_of_their_time_are_told_of():
    with pytest.warns(
        OrbitliteWarning, match=r"from \+9 to \+33 h .* in the truth, and from \+0 to"
    ):
        evaluate(bounded_days(0, 24), bounded_days(9, 33), progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate(bounded_days(9, 33), bounded_days(9, 33), progress=False)


def test_pairs_of_other_days_are_refused():
    fine = bounded_days(0, 24)
    coarse = bounded_days(-24, 0).assign_coords(lat=[1.0, 0.0])
    plan = Pairing(fine, coarse, None, (RAIN,), (RAIN,), (), 1)
    with pytest.raises(InputError, match="in the coarse store, and from"):
        plan.open()
    assert len(replace(plan, resample="24h").open().times) == 3
