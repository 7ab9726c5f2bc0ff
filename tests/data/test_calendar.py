"""Times of any calendar, year and resolution."""

from __future__ import annotations

import datetime
import logging

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from orbitlite.data.calendar import comparable, dates_of, held, seconds_of, standard_calendar
from orbitlite.data.resampling import resample
from orbitlite.data.source import harmonise, open_source
from orbitlite.errors import InputError

WARM, RAIN = "2m_temperature", "total_precipitation_24hr"
RESOLUTIONS = ["s", "ms", "us", "ns"]


@pytest.fixture(autouse=True)
def messages(caplog):
    caplog.set_level(logging.INFO)
    return caplog


def store(times, name="tas", units="K"):
    """One field per time: its number, of temperatures from 200 on."""
    first = 200 if units == "K" else 0
    values = np.broadcast_to(
        first + np.arange(len(times), dtype=np.float32)[:, None, None], (len(times), 2, 2)
    )
    return xr.Dataset(
        {name: (("time", "lat", "lon"), values.copy(), {"units": units})},
        {"time": times, "lat": [1.0, 0.0], "lon": [5.0, 6.0]},
    )


def days(start, periods, calendar, freq="1D"):
    return xr.date_range(start, periods=periods, freq=freq, calendar=calendar, use_cftime=True)


@pytest.mark.parametrize(("calendar", "kept"), [("noleap", 60), ("360_day", 58)])
def test_other_calendars_match_by_date(calendar, kept, messages):
    ds = standard_calendar(harmonise(store(days("2001-01-01", 60, calendar)), [WARM]))
    index = ds.indexes["time"]
    assert isinstance(index, pd.DatetimeIndex)
    assert len(index) == kept
    # 1 March is the 60th day of 365 and the 61st of 360
    where = np.flatnonzero(index == pd.Timestamp("2001-02-28"))
    assert ds[WARM][where, 0, 0] == (258 if calendar == "noleap" else 257)
    assert calendar in messages.text


@pytest.mark.parametrize("year", ["0001", "0850", "1600", "2001", "2290", "9998"])
@pytest.mark.parametrize("calendar", ["noleap", "360_day", "standard", "proleptic_gregorian"])
def test_dates_keep_their_name_in_every_year(year, calendar, messages):
    times = days(f"{year}-11-28 06:30:15", 40, calendar)
    found = standard_calendar(store(times)).indexes["time"]
    assert [str(time)[:19] for time in found] == [str(time).zfill(19) for time in times]
    assert ("matched to the standard one" in messages.text) == (calendar in ("noleap", "360_day"))


def test_a_single_time_and_dates_that_there_are_not():
    one = store(days("2290-02-28", 3, "360_day"))
    assert standard_calendar(one.isel(time=0)).time.values == np.datetime64("2290-02-28")
    with pytest.raises(InputError, match="none of the dates"):
        standard_calendar(one.isel(time=[1]))


@given(
    moment=st.datetimes(datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31)),
    unit=st.sampled_from(["s", "ms", "us"]),
)
def test_seconds_of_any_year(moment, unit):
    moment = moment.replace(microsecond=0)
    times = pd.DatetimeIndex(np.array([moment], f"datetime64[{unit}]"))
    expected = (moment - datetime.datetime(1970, 1, 1)) // datetime.timedelta(seconds=1)
    assert seconds_of(times).tolist() == [expected]
    assert dates_of(seconds_of(times), times) == np.datetime64(moment)
    far = standard_calendar(store(days(moment.isoformat(), 1, "proleptic_gregorian")))
    assert seconds_of(far.indexes["time"]).tolist() == [expected]


def test_seconds():
    times = pd.DatetimeIndex(["1970-01-02", "2000-01-01 00:00:30", "1969-12-31 23:59:59.9999"])
    assert seconds_of(times).tolist() == [86400, 946684830, 0]
    noleap = days("2000-03-01", 1, "noleap")
    assert seconds_of(noleap).tolist() == [86400 * (30 * 365 + 59)]
    assert dates_of(seconds_of(noleap), noleap)[0] == noleap[0]


def test_nanoseconds_where_they_fit():
    near, far = np.array(["2001-01-01"], "datetime64[s]"), np.array(["2290"], "datetime64[s]")
    assert held(near)[0].dtype == "datetime64[ns]"
    assert {part.dtype for part in held(near, far)} == {np.dtype("datetime64[us]")}
    assert held(near, far)[1] == far[0]


@pytest.mark.parametrize("ours", RESOLUTIONS)
@pytest.mark.parametrize("theirs", RESOLUTIONS)
@pytest.mark.parametrize("start", ["2001-01-01", "2262-04-10"])
def test_times_of_any_two_resolutions_compare(ours, theirs, start):
    """The second store begins within nanoseconds' reach and leaves it, unless it cannot."""
    one = store(np.datetime64(start).astype(f"datetime64[{ours}]") + np.arange(2).astype("m8[D]"))
    size = 2 if theirs == "ns" else 5
    other = np.datetime64(start).astype(f"datetime64[{theirs}]") + np.arange(size).astype("m8[D]")
    first, second = (ds.indexes["time"] for ds in comparable([one, store(other)]))
    assert first.dtype == second.dtype
    assert first.intersection(second).equals(first)
    assert [str(time)[:10] for time in second] == [str(time)[:10] for time in other]


def test_far_years_as_cftime_compare_with_near_ones():
    """xarray opens the file of one decade as datetime64 and that of the next as cftime."""
    near = store(np.datetime64("2261-01-01", "ns") + np.arange(3).astype("m8[D]"))
    far = store(days("2290-01-01", 3, "proleptic_gregorian"))
    whole = open_source([far, near], [WARM])
    assert whole.sizes["time"] == 6
    assert [str(time)[:4] for time in whole.indexes["time"]] == ["2261"] * 3 + ["2290"] * 3
    with pytest.raises(InputError, match="several calendars"):
        open_source([store(days("2290-01-01", 3, "noleap")), near], [WARM])


def test_times_counted_in_floating_point_equal_those_that_are_not():
    exact = np.datetime64("2001-01-01", "ns") + 300 * np.arange(6).astype("m8[s]")
    off = exact + np.array([0, -128, 128, 5000, -400_000, 0]).astype("m8[ns]")
    first, second = comparable([store(exact), store(off)])
    assert first.indexes["time"].equals(second.indexes["time"])
    assert (comparable([store(off)])[0].time.values == off).all()


@pytest.mark.parametrize("year", ["0850", "2290"])
@pytest.mark.parametrize("kind", ["s", "noleap", "360_day", "proleptic_gregorian"])
def test_windows_of_far_years(year, kind):
    times = (
        np.datetime64(f"{year}-02-27", "s") + 6 * np.arange(13).astype("m8[h]")
        if kind == "s"
        else days(f"{year}-02-27", 13, kind, "6h")
    )
    ds = store(times, "pr", "mm day-1")
    found = resample(harmonise(ds, [RAIN], rates=True), "24h")
    last = "02-29" if kind == "360_day" else "03-01"
    names = [f"{year}-02-27", f"{year}-02-28", f"{year}-{last}"]
    if kind == "360_day":  # the standard calendar lacks 29 February of these years
        names = names[:2]
    assert [str(time)[:10] for time in found.indexes["time"]] == names
    # rates that end at 06, 12, 18 and 24 of each day
    np.testing.assert_allclose(found[RAIN][:2, 0, 0], [2.5, 6.5])
