"""Forecasts: starts and lead times of any name and type become valid times."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from orbitlite.data.source import open_source
from orbitlite.data.times import valid_times
from orbitlite.errors import InputError
from orbitlite.notice import OrbitliteWarning

START = np.datetime64("2001-01-01", "ns")
HOUR = np.timedelta64(3600 * 10**9, "ns")
LEADS = [
    "prediction_timedelta", "lead_time", "forecast_period", "leadtime", "fhour", "forecast_hour",
    "lead", "step", "valid_time_offset", "lead_hours",
]  # fmt: skip
STARTS = [
    "time", "init_time", "reference_time", "forecast_reference_time", "initial_time", "start_date",
]  # fmt: skip


def forecast(runs, leads, start="time", lead="step", attrs=None):
    """Return a dataset whose values are the hours of valid time since START."""
    runs, hours = np.asarray(runs), np.asarray(leads)
    given = HOUR * hours if attrs is None else hours
    return xr.Dataset(
        {"v": ((start, lead), runs[:, None] + hours)},
        {start: START + HOUR * runs, lead: (lead, given, attrs or {})},
    )


def consistent(ds, count):
    assert ds["v"].dims == ("time",)
    assert ds.sizes["time"] == count
    np.testing.assert_array_equal((ds["time"] - START) / HOUR, ds["v"])
    assert (np.diff(ds["v"]) > 0).all()


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("lead", LEADS)
def test_starts_and_leads_of_any_name(start, lead):
    consistent(valid_times(forecast([0, 12], range(1, 13), start, lead)), 24)
    consistent(valid_times(forecast([0, 12], range(1, 13), start, lead, {"units": "hours"})), 24)


@pytest.mark.parametrize(
    ("units", "length"),
    [("h", 1), ("hours", 1), ("days", 24), ("minutes", 1 / 60), ("s", 1 / 3600),
     ("hours since forecast_reference_time", 1)],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [np.int32, np.float32, np.uint16])
def test_leads_that_are_plain_numbers(units, length, dtype):
    ds = forecast([0], [24, 48], "time", "x")
    counts = np.array([24, 48]) / length
    if counts.max() > np.iinfo(np.uint16).max:
        dtype = np.int32
    attrs = {"units": units, "standard_name": "forecast_period"}
    consistent(valid_times(ds.assign_coords(x=("x", counts.astype(dtype), attrs))), 2)


def test_a_unit_that_the_name_tells():
    ds = forecast([0], [6, 12], "init", "fhour").assign_coords(fhour=[6, 12])
    consistent(valid_times(ds), 2)


@pytest.mark.parametrize("units", [None, "months", "1"])
def test_leads_without_a_usable_unit(units):
    attrs = {} if units is None else {"units": units}
    ds = forecast([0], [6, 12]).assign_coords(step=("step", [6, 12], attrs))
    with pytest.raises(InputError, match=r"lead times 'step' have the units .*expected hours"):
        valid_times(ds)


def test_leads_with_missing_values():
    ds = forecast([0], [6, 12]).assign_coords(step=np.array([HOUR, "NaT"], "timedelta64[ns]"))
    with pytest.raises(InputError, match="lead times 'step' have missing values"):
        valid_times(ds)
    ds = ds.assign_coords(step=("step", [6.0, np.nan], {"units": "hours"}))
    with pytest.raises(InputError, match="lead times 'step' have missing values"):
        valid_times(ds)


@pytest.mark.parametrize("lead", LEADS)
def test_one_lead_of_many_runs(lead):
    ds = forecast([0, 6, 12], [72], "time", lead)
    consistent(valid_times(ds), 3)
    consistent(valid_times(ds.isel({lead: 0})), 3)
    hours = forecast([0, 6, 12], [72], "time", lead, {"units": "hours"})
    consistent(valid_times(hours.isel({lead: 0})), 3)


@pytest.mark.parametrize("lead", LEADS)
def test_one_run_of_many_leads(lead):
    ds = forecast([6], [0, 6, 12], "init_time", lead)
    consistent(valid_times(ds), 3)
    consistent(valid_times(ds.isel(init_time=0)), 3)


@settings(deadline=None)
@given(
    runs=st.lists(st.integers(0, 200), min_size=1, max_size=5, unique=True),
    leads=st.lists(st.integers(0, 100), min_size=1, max_size=6, unique=True),
    numbers=st.booleans(),
)
def test_values_stand_at_their_valid_time_or_are_refused(runs, leads, numbers):
    ds = forecast(runs, leads, "time", "lead", {"units": "hours"} if numbers else None)
    totals = {run + lead for run, lead in itertools.product(runs, leads)}
    if len(totals) == len(runs) * len(leads):
        consistent(valid_times(ds), len(totals))
    else:
        with pytest.raises(InputError, match="more than once: select one lead time, or one start"):
            valid_times(ds)


def test_other_calendars():
    runs = xr.date_range("2001-02-28", periods=2, calendar="noleap", use_cftime=True)
    ds = forecast([0, 24], [12, 24], "time", "step").assign_coords(time=runs)
    times = valid_times(ds).indexes["time"]
    assert [time.strftime("%d.%m. %H") for time in times] == [
        "28.02. 12", "01.03. 00", "01.03. 12", "02.03. 00",
    ]  # fmt: skip


def test_far_years_keep_their_resolution():
    ds = forecast([0], [6, 12]).assign_coords(time=np.array(["2290-03-01"], "datetime64[s]"))
    times = valid_times(ds)["time"].values.astype("datetime64[h]").astype(str)
    np.testing.assert_array_equal(times, ["2290-03-01T06", "2290-03-01T12"])


def test_valid_times_beside_what_they_are_made_of():
    ds = forecast([0, 12], [6, 12])
    full = ds.assign_coords(valid_time=ds["time"] + ds["step"])
    consistent(valid_times(full), 4)
    with pytest.raises(InputError, match=r"'valid_time' are not those of 'time' and 'step'"):
        valid_times(full.assign_coords(valid_time=full["valid_time"] + HOUR))
    cf = ds.isel(time=1).rename(time="forecast_reference_time", step="forecast_period")
    cf = cf.assign_coords(
        time=("forecast_period", START + HOUR * np.array([18, 24]), {"standard_name": "time"})
    ).swap_dims(forecast_period="time")
    consistent(valid_times(cf), 2)
    wrong = cf.assign_coords(forecast_reference_time=START)
    with pytest.raises(InputError, match="are not those of 'forecast_reference_time'"):
        valid_times(wrong)
    gone = cf.drop_vars("forecast_reference_time")  # times and leads of one run
    consistent(valid_times(gone), 2)
    many = gone.assign_coords(forecast_period=("time", HOUR * np.array([6, 6])))
    with pytest.raises(InputError, match="may hold starts or valid times"):
        valid_times(many)


def test_leads_without_a_start():
    ds = forecast([0], [6, 12]).isel(time=0, drop=True)
    with pytest.raises(InputError, match="'step' have no start"):
        valid_times(ds)
    assert "step" not in valid_times(ds.isel(step=0)).variables


def test_two_lead_axes():
    ds = forecast([0], [6, 12]).expand_dims(lead_time=HOUR * np.array([1, 2]))
    with pytest.raises(InputError, match="'lead_time' and 'step' are both lead times"):
        valid_times(ds)
    ds = forecast([0], [6, 12]).assign_coords(lead_time=5 * HOUR)
    with pytest.raises(InputError, match="'step' and 'lead_time' contradict each other"):
        valid_times(ds)


def test_starts_alone_are_taken_as_times_and_said():
    ds = forecast([0, 6], [0]).isel(step=0, drop=True).rename(time="forecast_reference_time")
    with pytest.warns(OrbitliteWarning, match="No lead time is given"):
        consistent(valid_times(ds), 2)


def fields(**dims):
    """Return temperatures in Celsius degrees along the given dims, each with its coordinate."""
    sizes = {**{name: len(values) for name, values in dims.items()}, "lat": 3, "lon": 4}
    values = np.arange(float(np.prod([*sizes.values()]))).reshape(*sizes.values()) / 10
    coords = {**dims, "lat": [2.0, 1.0, 0.0], "lon": np.arange(4.0)}
    return xr.Dataset({"t2m": ((*sizes,), values, {"units": "degC"})}, coords)


TIMES = START + 24 * HOUR * np.arange(2)


@pytest.mark.parametrize(
    ("dim", "values"),
    [
        ("window", HOUR * np.arange(2)),  # lengths of time of an unknown name
        ("analysis", START + HOUR * np.arange(2)),
        ("hour", [0, 12]),
        ("month", [1, 2]),
        ("lag", [0, 1]),
    ],
)
def test_what_counts_time_is_no_member(dim, values):
    with pytest.raises(InputError, match=f"'{dim}'"):
        open_source(fields(**{dim: values, "time": TIMES}), ["2m_temperature"])


@pytest.mark.parametrize("units", ["hours", "days"])
def test_numbers_in_units_of_time_are_no_members(units):
    ds = fields(x=[0, 1], time=TIMES)
    ds["x"].attrs["units"] = units
    with pytest.raises(InputError, match="dimension 'x'"):
        open_source(ds, ["2m_temperature"])


def test_a_lead_dimension_without_coordinate_is_no_member():
    ds = fields(step=HOUR * np.arange(2), time=TIMES).drop_vars("step")
    with pytest.raises(InputError, match="dimension 'step'"):
        open_source(ds, ["2m_temperature"])


@pytest.mark.parametrize(
    ("dim", "values"),
    [("number", [0, 1]), ("realization", [1, 2]), ("model", ["a", "b"]), ("quantile", [0.1, 0.9])],
)
def test_members_stay(dim, values):
    ds = fields(**{dim: values, "time": TIMES})
    found = open_source(ds, ["2m_temperature"])["2m_temperature"]
    assert found.dims == (dim, "time", "lat", "lon")
    forecast = fields(**{dim: values, "time": TIMES, "lead_time": 12 * HOUR * np.arange(2)})
    found = open_source(forecast, ["2m_temperature"])["2m_temperature"]
    assert found.dims == (dim, "time", "lat", "lon")
    np.testing.assert_array_equal(found["time"], START + 12 * HOUR * np.arange(4))
    expected = forecast["t2m"].values.reshape(2, 4, 3, 4) + 273.15
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_leads_that_some_fields_lack():
    ds = fields(time=TIMES, step=HOUR * np.arange(2))
    ds = ds.assign(msl=ds["t2m"].isel(step=0, drop=True).assign_attrs(units="Pa"))
    with pytest.raises(InputError, match="'msl' has no dimension 'step'"):
        open_source(ds)
    static = ds[["t2m"]].assign(lsm=ds["msl"].isel(time=0, drop=True).assign_attrs(units="1"))
    assert open_source(static)["land_sea_mask"].dims == ("lat", "lon")


def test_one_start_is_no_member():
    ds = fields(forecast_reference_time=[START], time=TIMES)
    found = open_source(ds, ["2m_temperature"])["2m_temperature"]
    assert found.dims == ("time", "lat", "lon")
    with pytest.raises(InputError, match="dimension 'init'"):
        open_source(fields(init=TIMES, time=TIMES), ["2m_temperature"])


def test_through_a_file(tmp_path):
    ds = fields(init_time=TIMES, lead_time=12 * HOUR * np.arange(2))
    expected = open_source(ds)
    ds.to_netcdf(tmp_path / "x.nc")
    xr.testing.assert_allclose(open_source(tmp_path / "x.nc").compute(), expected)
    plain = xr.open_dataset(tmp_path / "x.nc", decode_timedelta=False)
    assert plain["lead_time"].dtype.kind in "if"
    xr.testing.assert_allclose(open_source(plain), expected)
