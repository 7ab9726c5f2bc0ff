"""What a file holds beside the numbers."""

import cftime
import numpy as np
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
