"""What a file holds beside the numbers."""

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import orbitlite
from orbitlite.inference.encoding import prepared
from orbitlite.inference.writer import write

RAIN = "total_precipitation_24hr"


@pytest.fixture
def raw(coarse, bundle, tmp_path):
    """Return a function that writes a prediction and gives the file as it is, undecoded."""

    def make(ds):
        write(orbitlite.predict(ds, bundle), tmp_path / "a.nc")
        return xr.open_dataset(tmp_path / "a.nc", decode_cf=False)

    return make


def test_fields(raw, coarse):
    found = raw(coarse)[RAIN]
    assert found.dtype == np.float32
    assert np.isnan(found.attrs["_FillValue"])
    assert found.encoding["zlib"]
    assert found.encoding["chunksizes"] == (5, 12, 16)
    assert found.attrs["units"] == "mm"
    assert found.attrs["cell_methods"] == "time: sum (comment: over 24 hours)"
    assert "coordinates" not in found.attrs


def test_coordinates(raw, coarse):
    found = raw(coarse)
    assert found.lat.attrs["bounds"] == "lat_bnds"
    assert found.lat_bnds.dims == ("lat", "bnds")
    for name in ("lat", "lon", "lat_bnds", "lon_bnds", "time"):
        assert "_FillValue" not in found[name].attrs
    assert found.time.attrs["units"].startswith("hours since 1970-01-01")
    assert found.time.values[0] == 24 * (31 * 365 + 8)
    assert "coordinates" not in found.attrs


def test_other_calendars_survive(raw, coarse):
    days = [cftime.DatetimeNoLeap(2001, 2, day) for day in (26, 27, 28)] + [
        cftime.DatetimeNoLeap(2001, 3, day) for day in (1, 2)
    ]
    found = raw(coarse.assign_coords(time=days))
    assert found.time.attrs["calendar"] == "noleap"
    decoded = xr.decode_cf(found)
    assert [str(time)[:10] for time in decoded.time.values[2:4]] == ["2001-02-28", "2001-03-01"]


STEPS = {"hours": "3h", "minutes": "5min", "seconds": "1s", "milliseconds": "40ms"}


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize("unit", STEPS)
@pytest.mark.parametrize("start", ["2001-01-01", "0850-01-01", "2290-01-01"])
def test_times_are_whole_numbers(coarse, bundle, tmp_path, suffix, unit, start):
    step = pd.Timedelta(STEPS[unit])
    times = np.datetime64(start, "ms") + step.to_numpy() * np.arange(5)
    source = coarse.assign_coords(time=times, init=("time", times - np.timedelta64(90, "m")))
    orbitlite.downscale(source, tmp_path / f"a{suffix}", bundle, progress=False)
    raw = xr.open_dataset(tmp_path / f"a{suffix}", decode_cf=False)
    size = pd.Timedelta(1, unit)
    since = np.datetime64(start, "ms") - np.datetime64("1970-01-01", "ms")
    assert raw.time.attrs["units"] == f"{unit} since 1970-01-01"
    assert raw.time.dtype == np.int64
    assert raw.time.values.tolist() == [(since + i * step) // size for i in range(5)]


def test_dates_of_every_kind_come_back(tmp_path):
    """Bounds share the unit of their times; a missing date stays missing."""
    times = pd.date_range("2001-01-01", periods=3, freq="1h")
    ends = np.stack([times - pd.Timedelta("30s"), times], axis=1)
    ds = xr.Dataset(
        {RAIN: ("time", np.zeros(3, np.float32))},
        {
            "time": ("time", times, {"bounds": "time_bnds"}),
            "time_bnds": (("time", "bnds"), ends),
            "init": ("time", np.array(["2001-01-01", "NaT", "2000-12-31T23:59:59.5"], "M8[ns]")),
            "run": cftime.DatetimeNoLeap(2290, 3, 1, 0, 5),
            "fine": pd.Timestamp("2001-01-01 00:00:00.000000001"),
        },
    )
    write(ds, tmp_path / "a.nc")
    raw, found = (xr.open_dataset(tmp_path / "a.nc", decode_cf=cf) for cf in (False, True))
    assert raw.time_bnds.attrs.get("units", raw.time.attrs["units"]) == "seconds since 1970-01-01"
    assert raw.time.values.tolist() == [(978307200 + 3600 * i) for i in range(3)]
    assert raw.time_bnds.values[:, 0].tolist() == [(978307170 + 3600 * i) for i in range(3)]
    for name in ("time", "time_bnds", "init", "fine"):
        np.testing.assert_array_equal(found[name], ds[name])
    assert found.run.item() == ds.run.item()


@pytest.mark.parametrize("units", [None, "hours since 1970-01-01", "days since 1850-01-01"])
def test_times_of_a_written_file_are_those_of_the_truth(coarse, bundle, tmp_path, units):
    """Every five minutes; other programs count them in floating point."""
    source = coarse.assign_coords(time=pd.date_range("2000-12-01", periods=5, freq="5min"))
    fine = orbitlite.predict(source, bundle)
    if units:
        fine.to_netcdf(tmp_path / "a.nc", encoding={"time": {"units": units, "dtype": "float64"}})
    else:
        write(fine, tmp_path / "a.nc")
    found = orbitlite.evaluate(tmp_path / "a.nc", fine, progress=False)
    assert found.results[RAIN].notes[0].startswith("5 times")


def test_attributes_that_netcdf_lacks_are_put_into_words(raw, coarse):
    coarse.attrs |= {"nested": {"a": [1, None]}, "flag": True, "levels": [500, 850], "none": None}
    found = raw(coarse)
    assert found.attrs["nested"] == '{"a": [1, null]}'
    assert found.attrs["flag"] == 1
    assert found.attrs["levels"].tolist() == [500, 850]
    assert found.attrs["none"] == "null"
    assert coarse.attrs["none"] is None


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"time": 5000, "lat": 20, "lon": 30}, (436, 20, 30)),
        ({"time": 10, "lat": 2880, "lon": 5760}, (1, 1024, 1024)),
        ({"number": 3, "time": 10, "lat": 100, "lon": 100}, (1, 10, 100, 100)),
        ({"lat": 12, "lon": 16}, (12, 16)),
    ],
)
def test_chunks_are_about_a_mebibyte(sizes, expected):
    data = np.broadcast_to(np.float32(1), tuple(sizes.values()))
    _, encoding = prepared(xr.Dataset({RAIN: (tuple(sizes), data)}), "netcdf")
    assert encoding[RAIN]["chunksizes"] == expected
