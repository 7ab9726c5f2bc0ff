"""Totals since the start of a run, a day or a series, without GRIB."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from orbitlite.data.resampling import resample
from orbitlite.data.source import open_source
from orbitlite.errors import InputError
from orbitlite.notice import OrbitliteWarning

ERA5_LAND = {"long_name": "Total precipitation", "GRIB_stepType": "accum"}
LAND = {**ERA5_LAND, "GRIB_dataset": "era5_land"}


def rain(steps, seed=0, shape=(6, 7)):
    """Return showers in mm: dry half of the time."""
    rng = np.random.default_rng(seed)
    return rng.gamma(0.5, 2.0, (steps, *shape)) * (rng.random((steps, *shape)) < 0.5)


def since_midnight(amounts, times):
    """Return totals since 00 UTC; at 00 UTC of the day before."""
    days = (times - pd.Timedelta(seconds=1)).floor("D")
    return np.concatenate([amounts[days == day].cumsum(0) for day in days.unique()])


def dataset(values, times, attrs=None, units="m", **dataset_attrs):
    values = np.asarray(values) / (1000 if units == "m" else 1)
    _, rows, columns = values.shape
    dims, attrs = ("valid_time", "latitude", "longitude"), {"units": units, **(attrs or {})}
    return xr.Dataset(
        {"tp": (dims, values, attrs)},
        {"valid_time": times, "latitude": np.arange(rows)[::-1] / 10,
         "longitude": np.arange(columns) / 10},
        dataset_attrs,
    )  # fmt: skip


def hours(count, start="2020-01-01 01:00", step=1):
    return pd.date_range(start, periods=count, freq=f"{step}h")


@pytest.mark.parametrize(
    ("attrs", "dataset_attrs"),
    [
        (LAND, {}),
        (ERA5_LAND, {"title": "ERA5-Land hourly data from 1950 to present"}),
        ({}, {"history": "cdsapi reanalysis-era5-land"}),
        ({"long_name": "precipitation since 00 UTC"}, {}),
        (ERA5_LAND, {}),  # by what the values do
        ({}, {}),
    ],
)
@pytest.mark.parametrize("step", [1, 3, 6])
def test_totals_of_the_day(attrs, dataset_attrs, step):
    count = 240 // step
    amounts, times = rain(count), hours(count, "2020-01-01", step) + pd.Timedelta(hours=step)
    ds = dataset(since_midnight(amounts, times), times, attrs, **dataset_attrs)
    channel = "total_precipitation" if step == 1 else f"total_precipitation_{step}hr"
    for period in (None, f"{step}h", "24h"):
        with pytest.warns(OrbitliteWarning, match="accumulated from 00 UTC of each day"):
            found = open_source(ds, [channel], accumulation_period=period)[channel]
        np.testing.assert_allclose(found, amounts, atol=1e-4)
        np.testing.assert_array_equal(found["time"], times)


@pytest.mark.parametrize("attrs", [LAND, {}])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_totals_of_the_day_in_a_file(tmp_path, attrs, dtype):
    amounts, times = rain(48), hours(48)
    ds = dataset(since_midnight(amounts, times).astype(dtype), times, attrs)
    packing = {"dtype": "int16", "scale_factor": 2e-6, "add_offset": 0.06, "_FillValue": -32768}
    ds.to_netcdf(tmp_path / "x.nc", encoding={"tp": packing})
    with pytest.warns(OrbitliteWarning, match="accumulated from 00 UTC of each day"):
        found = open_source(tmp_path / "x.nc", ["total_precipitation"])["total_precipitation"]
    assert found.chunks is not None
    assert (found.values >= 0).all()
    np.testing.assert_allclose(found, amounts, atol=4e-3)


def test_windows_of_a_day_hold_what_fell():
    amounts, times = rain(48), hours(48)
    ds = dataset(since_midnight(amounts, times), times, LAND)
    with pytest.warns(OrbitliteWarning):
        opened = open_source(ds, ["total_precipitation_24hr"], accumulation_period="1h", rates=True)
    found = resample(opened, "24h")["total_precipitation_24hr"]
    np.testing.assert_allclose(found, amounts.reshape(2, 24, 6, 7).sum(1), rtol=1e-4)


def test_steps_without_a_step_before_are_missing():
    amounts, times = rain(60), hours(60, "2020-01-01 01:00")
    ds = dataset(since_midnight(amounts, times), times, LAND)
    kept = np.r_[5:20, 21:60]
    with pytest.warns(OrbitliteWarning, match="2 of 54 steps have no step 1 h before them"):
        found = open_source(ds.isel(valid_time=kept), ["total_precipitation"])
    expected = amounts[kept]
    expected[[0, 15]] = np.nan
    np.testing.assert_allclose(found["total_precipitation"], expected, atol=1e-4)


def test_unsorted_times_and_other_fields_beside():
    amounts, times = rain(48), hours(48)
    ds = dataset(since_midnight(amounts, times), times, LAND)
    ds["t2m"] = (ds["tp"] + 280).assign_attrs(units="K")
    order = np.random.default_rng(0).permutation(48)
    with pytest.warns(OrbitliteWarning):
        found = open_source(ds.isel(valid_time=order))
    np.testing.assert_allclose(found["total_precipitation"], amounts, atol=1e-4)
    np.testing.assert_allclose(found["2m_temperature"], ds["t2m"], rtol=1e-6)


@pytest.mark.parametrize(("hour", "over"), [(0, 24), (6, 6), (1, 1)])
def test_totals_of_days_at_one_hour_only(hour, over):
    times = pd.date_range("2020-01-02", periods=5) + pd.Timedelta(hours=hour)
    amounts = rain(5)
    ds = dataset(amounts, times, LAND)
    channel = "total_precipitation" + (f"_{over}hr" if over > 1 else "")
    for steps in (slice(None), [0], 0):
        with pytest.warns(OrbitliteWarning, match=f"as that of ERA5-Land: over {over} h"):
            found = open_source(ds.isel(valid_time=steps), [channel], accumulation_period="3h")[
                channel
            ]
        np.testing.assert_allclose(np.squeeze(found), amounts[steps].squeeze(), atol=1e-4)
    if over > 1:
        with pytest.raises(InputError, match=f"amounts over {over} h"):
            open_source(ds.isel(valid_time=0), ["total_precipitation"], accumulation_period="1h")
    mixed = dataset(amounts[:2], times[:2] + pd.to_timedelta([0, 3], "h"), LAND)
    with pytest.raises(InputError, match="its steps end at other hours each"):
        open_source(mixed, ["total_precipitation"], accumulation_period="1h")


@pytest.mark.parametrize("attrs", [{}, ERA5_LAND, LAND])
def test_amounts_per_step_stay(attrs, recwarn):
    """As ERA5 on single levels comes, marked like the totals of ERA5-Land."""
    amounts, times = rain(72), hours(72, "2020-01-01")
    ds = dataset(amounts, times, attrs)
    found = open_source(ds, ["total_precipitation"], accumulation_period="1h")[
        "total_precipitation"
    ]
    np.testing.assert_allclose(found, amounts, rtol=1e-5)
    said = [str(warning.message) for warning in recwarn]
    assert any("falls within the day" in text for text in said) == (attrs is LAND)


def test_a_total_that_starts_anew_unexpectedly_is_refused_on_reading():
    amounts, times = rain(48), hours(48)
    totals = since_midnight(amounts, times)
    totals[30:36] = amounts[30:36]
    ds = dataset(totals, times, LAND).chunk(valid_time=6)
    found = open_source(ds, ["total_precipitation"])["total_precipitation"]
    np.testing.assert_allclose(found[:24], amounts[:24], atol=1e-4)
    with pytest.raises(InputError, match=r"'tp' was taken as accumulated .* falls by up to"):
        found.compute()


@pytest.mark.parametrize("step", [1, 24])
@pytest.mark.parametrize("period", [None, "1h"])
def test_a_total_over_the_whole_series_is_refused(step, period):
    ds = dataset(rain(40).cumsum(0), hours(40, step=step))
    with pytest.raises(InputError, match=r"looks accumulated since some start.*never") as error:
        open_source(ds, ["total_precipitation"], accumulation_period=period)
    assert "state it with period" not in str(error.value)
    said = dataset(rain(6).cumsum(0), hours(6), {"description": "ACCUMULATED TOTAL PRECIPITATION"})
    with pytest.raises(InputError, match="looks accumulated since some start"):
        open_source(said, ["total_precipitation"], accumulation_period=period)


def test_a_total_that_starts_anew_at_another_hour_is_refused():
    amounts, times = rain(72), hours(72)
    shifted = since_midnight(amounts, times - pd.Timedelta(hours=9))
    with pytest.raises(InputError, match="falls only at 10 UTC"):
        open_source(dataset(shifted, times), ["total_precipitation"], accumulation_period="1h")


@pytest.mark.parametrize("units", ["mm h-1", "kg m-2 h-1"])
def test_rates_are_not_judged(units):
    ds = dataset(rain(40).cumsum(0), hours(40), units=units)
    assert "total_precipitation" in open_source(ds, ["total_precipitation"])


def test_a_stated_period_is_believed():
    totals = rain(40).cumsum(0)
    for attrs in ({"accumulation_hours": 1}, {"cell_methods": "time: sum (comment: over 1 hour)"}):
        ds = dataset(totals, hours(40), attrs)
        found = open_source(ds, ["total_precipitation"])["total_precipitation"]
        np.testing.assert_allclose(found, totals, rtol=1e-5)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.floats(0.02, 1), st.integers(1, 12), st.integers(13, 80))
def test_amounts_are_never_taken_for_totals(seed, share, cells, steps):
    rng = np.random.default_rng(seed)
    amounts = rng.gamma(0.5, 2.0, (steps, 2, cells + 1)) * (rng.random((steps, 1, 1)) < share)
    ds = dataset(amounts, hours(steps, "2020-01-01"))
    found = open_source(ds, ["total_precipitation"], accumulation_period="1h")[
        "total_precipitation"
    ]
    np.testing.assert_allclose(found, amounts, rtol=1e-5)


@pytest.mark.parametrize("calendar", ["standard", "noleap"])
def test_bounds_that_begin_together(calendar):
    amounts = rain(6)
    times = xr.date_range("2020-02-27", periods=4, freq="12h", calendar=calendar, use_cftime=True)
    start = np.array([times[0]] * 3 + [times[2]] * 3)
    lengths = [pd.Timedelta(hours=n).to_pytimedelta() for n in (6, 12, 18)] * 2
    ends = start + np.array(lengths)
    totals = np.concatenate([amounts[:3].cumsum(0), amounts[3:].cumsum(0)])
    ds = dataset(totals, ends, {"cell_methods": "time: sum"}).rename(valid_time="time")
    ds["time"].attrs["bounds"] = "time_bnds"
    ds["time_bnds"] = (("time", "bnds"), np.stack([start, ends], 1))
    ds = ds.isel(time=[0, 1, 2, 4, 5]).sortby("time")
    with pytest.warns(OrbitliteWarning, match="bounds of time that begin together"):
        found = open_source(ds, ["total_precipitation_6hr"])["total_precipitation_6hr"]
    order = np.argsort(ends[[0, 1, 2, 4, 5]], kind="stable")
    expected = np.stack([*amounts[:3], np.full((6, 7), np.nan), amounts[5]])[order]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def forecast(values, attrs=None, lead="lead_time"):
    ds = dataset(values, 6 * np.arange(1, len(values) + 1), attrs)
    ds = ds.rename(valid_time=lead).assign_coords(init_time=np.datetime64("2020-01-01", "ns"))
    ds[lead].attrs = {"units": "hours"}
    return ds


@pytest.mark.parametrize(
    "attrs", [{}, {"long_name": "precipitation since the start of the forecast"}]
)
def test_totals_of_a_forecast(attrs):
    amounts = rain(8)
    with pytest.warns(OrbitliteWarning, match="accumulated from the start of the run"):
        found = open_source(forecast(amounts.cumsum(0), attrs), ["total_precipitation_6hr"])
    np.testing.assert_allclose(found["total_precipitation_6hr"], amounts, atol=1e-4)


def test_amounts_of_a_forecast_stay():
    amounts = rain(8)
    found = open_source(forecast(amounts), ["total_precipitation_6hr"], accumulation_period="6h")
    np.testing.assert_allclose(found["total_precipitation_6hr"], amounts, rtol=1e-5)


def test_runs_one_after_another():
    amounts = rain(8)
    totals = np.concatenate([amounts[:4].cumsum(0), amounts[4:].cumsum(0)])
    ds = dataset(totals, hours(8, "2020-01-01 06:00", 6), {"GRIB_stepType": "accum"})
    ds = ds.rename(valid_time="time").assign_coords(
        forecast_reference_time=("time", np.repeat(pd.date_range("2020-01-01", periods=2), 4)),
        forecast_period=("time", [6, 12, 18, 24] * 2, {"units": "hours"}),
    )
    with pytest.warns(OrbitliteWarning, match="accumulated from the start of the run"):
        found = open_source(ds, ["total_precipitation_6hr"])["total_precipitation_6hr"]
    np.testing.assert_allclose(found, amounts, atol=1e-4)


def test_amounts_that_only_grow_stay():
    """Steadily, as made-up data do; or over a few steps, as rain may."""
    steady = np.arange(40 * 42.0).reshape(40, 6, 7) / 5000
    short = np.array([0, 0, 0, 1, 1, 2.0])[:, None, None] / 10 + np.zeros((6, 6, 7))
    for amounts in (steady, short):
        ds = dataset(amounts, hours(len(amounts), "2020-01-01"))
        found = open_source(ds, ["total_precipitation"], accumulation_period="1h")[
            "total_precipitation"
        ]
        np.testing.assert_allclose(found, amounts, rtol=1e-5)
