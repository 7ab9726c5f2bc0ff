"""What stored numbers stand for, against the NetCDF library where it has a say."""

from __future__ import annotations

import warnings

import netCDF4
import numpy as np
import pytest
import xarray as xr

from orbitlite.data.conversion import convert
from orbitlite.data.source import open_source
from orbitlite.errors import InputError
from orbitlite.notice import OrbitliteWarning

WARM, RAIN = "2m_temperature", "total_precipitation_24hr"
SHAPE = (2, 3, 4)


def write(path, numbers, dtype, fill=None, **attributes):
    """Write raw numbers of a type with the NetCDF library."""
    numbers = np.asarray(numbers)
    with netCDF4.Dataset(path, "w") as file:
        for dim, size in zip(("time", "lat", "lon"), numbers.shape, strict=True):
            file.createDimension(dim, size)
            axis = file.createVariable(dim, "f8", (dim,))
            axis[:] = np.arange(size)[:: -1 if dim == "lat" else 1]
            axis.units = {"time": "days since 2001-01-01", "lat": "degrees_north"}.get(
                dim, "degrees_east"
            )
        data = file.createVariable("t2m", dtype, ("time", "lat", "lon"), fill_value=fill)
        data.setncatts({"units": "K", **attributes})
        data.set_auto_maskandscale(False)
        data[:] = numbers.astype(dtype)
    return str(path)


def library(path):
    """Read as the NetCDF library does: NaN where it masks."""
    with netCDF4.Dataset(path) as file:
        return np.ma.filled(file["t2m"][:].astype(np.float64), np.nan)


def numbers(dtype, fill):
    """Numbers from 200 up, with two of `fill`."""
    values = np.arange(200, 200 + np.prod(SHAPE)).reshape(SHAPE).astype(dtype)
    values[0, 1, 2] = values[1, 2, 3] = fill
    return values


@pytest.mark.parametrize("raw", [False, True], ids=["unpacked", "mask_and_scale=False"])
@pytest.mark.parametrize(
    ("dtype", "fill", "attributes"),
    [
        ("i2", -32767, {"scale_factor": 0.5, "add_offset": 150.0}),
        ("i2", -32767, {"scale_factor": -0.25, "add_offset": 300.0}),
        ("i4", -2147483647, {"scale_factor": 0.5, "add_offset": 150.0}),
        ("u2", 65535, {"scale_factor": 1e-3, "add_offset": 200.0}),
        ("i2", -32767, {}),
        ("f4", netCDF4.default_fillvals["f4"], {}),
        ("f8", netCDF4.default_fillvals["f8"], {}),
    ],
)
def test_default_fill_values_as_the_library_reads_them(tmp_path, dtype, fill, attributes, raw):
    path = write(tmp_path / "a.nc", numbers(dtype, fill), dtype, **attributes)
    expected = library(path)
    assert np.isnan(expected).sum() == 2
    source = xr.open_dataset(path, mask_and_scale=False) if raw else path
    with pytest.warns(OrbitliteWarning, match="2 of 24 values are .*, and are taken as missing"):
        found = open_source(source, [WARM])[WARM].values
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("packing", "fill"),
    [
        ({"scale_factor": 0.01, "add_offset": 500.0}, r"172\.33"),
        # unpacked in float32, which rounds
        ({"scale_factor": np.float32(0.0085), "add_offset": np.float32(507.3)}, r"228\.780"),
    ],
)
def test_a_default_fill_value_within_the_limits_is_missing(tmp_path, packing, fill):
    values = np.where(numbers("i2", -1) < 0, -32767, -30000)
    path = write(tmp_path / "a.nc", values, "i2", **packing)
    with pytest.warns(
        OrbitliteWarning, match=f"2 of 24 values are {fill}.*, the fill value of the"
    ):
        found = open_source(path, [WARM])[WARM].values
    np.testing.assert_allclose(found, library(path), rtol=1e-6)
    assert np.isnan(found).sum() == 2


def test_bytes_have_no_default_fill_value(tmp_path):
    """NetCDF User's Guide: all values of a byte may be data."""
    path = write(tmp_path / "a.nc", np.full(SHAPE, -127), "i1", add_offset=400.0, scale_factor=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", OrbitliteWarning)
        assert (open_source(path, [WARM])[WARM].values == 273).all()


@pytest.mark.parametrize("raw", [False, True], ids=["unpacked", "mask_and_scale=False"])
@pytest.mark.parametrize(
    ("dtype", "attributes"),
    [
        ("f4", {"valid_range": np.array([205, 215.5], "f4")}),
        ("f4", {"valid_min": np.float32(205), "valid_max": np.float32(215.5)}),
        ("f4", {"valid_min": np.float32(210.1)}),
        ("i2", {"valid_range": np.array([205, 215], "i2"), "scale_factor": 0.5, "add_offset": 99}),
        ("i2", {"valid_max": np.int16(215), "scale_factor": -0.5, "add_offset": 400.0}),
        # unpacked to float32, which rounds
        ("i2", {"valid_range": np.array([201, 209], "i2"), "scale_factor": 1.23}),
        ("i2", {"valid_range": np.array([203, 222], "i2"), "scale_factor": 1.37}),
    ],
)  # fmt: skip
def test_valid_ranges_as_the_library_reads_them(tmp_path, dtype, attributes, raw):
    values = np.arange(200, 224).reshape(SHAPE)
    path = write(tmp_path / "a.nc", values, dtype, **attributes)
    expected = library(path)
    count = int(np.isnan(expected).sum())
    assert 0 < count < 24
    source = xr.open_dataset(path, mask_and_scale=False) if raw else path
    with pytest.warns(
        OrbitliteWarning, match=f"{count} of 24 values are outside of the valid range"
    ):
        found = open_source(source, [WARM])[WARM].values
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("raw", [False, True], ids=["unpacked", "mask_and_scale=False"])
def test_unsigned_numbers(tmp_path, raw):
    """Bytes from 200 to 223 stored as -56 to -33; their fill value and range as well."""
    path = write(
        tmp_path / "a.nc", np.arange(-56, -32).reshape(SHAPE), "i1", np.int8(-56), _Unsigned="true",
        valid_range=np.array([-128, -41], "i1"), scale_factor=0.5, add_offset=150.0,
    )  # fmt: skip
    source = xr.open_dataset(path, mask_and_scale=False) if raw else path
    with pytest.warns(
        OrbitliteWarning, match="8 of 24 values are outside .* (128 to 215|214 to 257)"
    ):
        found = open_source(source, [WARM])[WARM].values
    values = np.arange(200.0, 224.0).reshape(SHAPE)
    expected = np.where((values == 200) | (values > 215), np.nan, 150 + values / 2)
    np.testing.assert_array_equal(found, expected)


def test_a_valid_range_of_floats_is_in_the_unit_of_unpacked_values(tmp_path):
    """NetCDF User's Guide; the netCDF4 module takes it for packed numbers."""
    packing = {"scale_factor": 0.5, "add_offset": 150.0}  # 200 is 250 K, 223 is 261.5 K
    values = np.arange(200, 224).reshape(SHAPE)
    path = write(tmp_path / "a.nc", values, "i2", valid_range=np.array([251.0, 260.0]), **packing)
    expected = np.where((values < 202) | (values > 220), np.nan, values * 0.5 + 150)
    for source in (path, xr.open_dataset(path, mask_and_scale=False)):
        with pytest.warns(OrbitliteWarning, match="valid range that the source states"):
            found = open_source(source, [WARM])[WARM].values
        np.testing.assert_array_equal(found, expected.astype("f4"))


def array(values, units="K", name="t2m", **attributes):
    return xr.DataArray(values, dims="x", name=name, attrs={"units": units, **attributes})


def test_a_range_of_packed_numbers_outlives_unpacking_and_is_not_used():
    """Attributes are kept by many operations, the encoding is not."""
    data = array(np.array([250.0, 280.0], "f4"), valid_range=np.array([-32766, 32767], "i2"))
    with pytest.warns(OrbitliteWarning, match="valid range of integers .* is ignored"):
        assert convert(data, WARM).values.tolist() == [250.0, 280.0]
    for stated in ({"valid_range": [150, 350]}, {"valid_max": 350}, {"valid_max": "350"}):
        data = array(np.array([250.0, 380.0], "f4"), **stated)
        with pytest.warns(OrbitliteWarning, match="1 of 2 values are outside"):
            np.testing.assert_array_equal(convert(data, WARM), [250.0, np.nan])


@pytest.mark.parametrize("stated", ["from low to high", [1.0], [350.0, 150.0]])
def test_a_valid_range_that_is_none_is_told(stated):
    with pytest.warns(OrbitliteWarning, match="valid"):
        assert convert(array(np.array([250.0], "f4"), valid_range=stated), WARM) == 250


@pytest.mark.parametrize(
    ("missing", "value"),
    [(np.float64(-4.9), np.float32(-4.9)), ("-5.5", -5.5), (np.array([-7.0, -8.0]), -8.0)],
)
def test_a_declared_missing_value_of_another_type_than_the_data(tmp_path, missing, value):
    """Within the limits of a wind; xarray compares float64 with float32, and text with numbers."""
    values = np.arange(24, dtype="f4").reshape(SHAPE)
    values[1, 0, 1] = value
    path = write(
        tmp_path / "a.nc", values, "f4", np.float32(-1e3), missing_value=missing, units="m s-1",
        standard_name="eastward_wind",
    )  # fmt: skip
    with xr.open_dataset(path) as ds:
        wind = open_source(ds.rename(t2m="u10"), ["10m_u_component_of_wind"])
    found = wind["10m_u_component_of_wind"].values
    assert np.isnan(found[1, 0, 1])
    assert np.isnan(found).sum() == 1


def test_zeros_that_a_user_filled_in_stay_zeros():
    data = array(np.array([0.0, 1.0], "f4"), "mm", RAIN)
    data.encoding = {"_FillValue": np.float32(0), "dtype": np.dtype("f4")}
    assert convert(data, RAIN).values.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("chunks", [None, {"time": 1}, {"time": 2, "lat": 2}])
def test_packed_numbers_are_unpacked_as_xarray_does(tmp_path, chunks):
    packing = {"scale_factor": 0.01, "add_offset": 273.15}
    path = write(tmp_path / "a.nc", numbers("i2", -9999), "i2", np.int16(-9999), **packing)
    raw = xr.open_dataset(path, mask_and_scale=False, chunks=chunks)
    found = open_source(raw, [WARM])[WARM]
    assert bool(found.chunks) is (chunks is not None)
    np.testing.assert_allclose(found, xr.open_dataset(path)["t2m"], rtol=1e-6)
    np.testing.assert_allclose(found, library(path), rtol=1e-6)
    assert np.isnan(found).sum() == 2


def test_floats_beside_attributes_of_packing_are_refused():
    data = array(np.array([250.0]), scale_factor=0.01, add_offset=273.15)
    with pytest.raises(InputError, match=r"'t2m' holds floating .* scale_factor: .*decode_cf"):
        convert(data, WARM)
    assert convert(array(np.array([250.0]), scale_factor=1.0, add_offset=0.0), WARM) == 250


@pytest.mark.parametrize(("key", "value"), [("scale_factor", "big"), ("add_offset", [1.0, 2.0])])
def test_packing_that_is_no_number_is_refused(key, value):
    with pytest.raises(InputError, match=f"'t2m' has {key} .*: expected one number"):
        convert(array(np.array([1], "i2"), **{key: value}), WARM)


# Of every type that a store can hold; the values are what the type can hold of them.
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", ">i2", "i2", "u2", "i8", "g", "O"])
@pytest.mark.parametrize(
    ("channel", "units", "value", "right"),
    [
        ("mean_sea_level_pressure", "hPa", 1013, 101300),
        (WARM, "degC", 17, 290.15),
        ("geopotential_500", "m", 5500, 5500 * 9.80665),
        (RAIN, "m", 1, 1000),
    ],
)
def test_types_do_not_overflow_or_coarsen(dtype, channel, units, value, right):
    data = array(np.array([value]), units, channel).astype(dtype)
    exact = float(data.values[0])
    found = convert(data, channel, "24h")
    assert found.dtype == np.dtype("=f4")
    assert float(found[0]) == pytest.approx(right * exact / value if units != "degC" else right)


@pytest.mark.parametrize("dtype", ["?", "u1", "i1"])
def test_masks_of_bits_and_bytes(dtype):
    found = convert(array(np.array([0, 1, 1]).astype(dtype), "1", "lsm"), "land_sea_mask")
    assert (found.dtype, found.values.tolist()) == (np.float32, [0.0, 1.0, 1.0])


def test_wide_integers_keep_their_digits():
    data = array(np.array([101_325_123], "i4"), "mPa", "msl")
    assert float(convert(data, "mean_sea_level_pressure")[0]) == np.float32(101325.123)


def test_masked_blocks():
    import dask.array

    block = np.ma.masked_equal(np.array([280, -5, 290], "i2"), -5)
    data = array(dask.array.from_array(block, chunks=2, asarray=False))
    np.testing.assert_array_equal(convert(data, WARM), [280, np.nan, 290])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([1, 2], "m8[h]").astype("m8[ns]"), "lengths of time"),
        (np.array(["2001-01-01"], "M8[ns]"), "dates"),
        (np.array([1 + 2j]), "complex numbers"),
        (np.array(["warm"]), "text"),
        (np.array([b"warm"]), "text"),
        (np.array(["warm", None], object), "no numbers"),
    ],
)
def test_what_is_no_number_is_refused(values, words):
    with pytest.raises(InputError, match=rf"'t2m'.* holds .*{words}"):
        convert(array(values), WARM)
