"""Names, units, levels, times and coordinates of other dialects in the canonical form."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from orbitlite.data.source import harmonise, open_source
from orbitlite.errors import InputError

CHANNELS = ["2m_temperature", "geopotential_850", "mean_sea_level_pressure", "land_sea_mask"]


def is_lazy(ds):
    return all(data.chunks is not None for data in ds.data_vars.values())


def is_numpy(ds):
    return all(isinstance(data.data, np.ndarray) for data in ds.data_vars.values())


def test_xarray_objects_keep_their_backing(check, era5):
    check(harmonise(era5, CHANNELS))
    assert is_numpy(harmonise(era5))
    assert is_numpy(open_source(era5))
    assert is_lazy(open_source(era5.chunk(time=1)))


def test_data_arrays(era5):
    assert list(harmonise(era5["t2m"]).data_vars) == ["2m_temperature"]
    with pytest.raises(InputError, match="no name"):
        harmonise(era5["t2m"].rename(None))


def test_attributes(era5):
    ds = harmonise(era5, CHANNELS)
    assert ds.attrs == era5.attrs
    assert ds["lat"].attrs["units"] == "degrees_north"
    assert ds["2m_temperature"].attrs["standard_name"] == "air_temperature"
    assert "level" not in ds["geopotential_850"].coords


def test_the_given_object_is_not_changed(era5):
    given = era5.rename(latitude="lat", longitude="lon")
    given["lat"].attrs["note"] = "kept"
    before = given.copy(deep=True)
    harmonise(given, accumulation_period="1h")
    xr.testing.assert_identical(given, before)
    canonical = harmonise(given, accumulation_period="1h")
    canonical["lon"].attrs["note"] = "kept"
    before = canonical.copy(deep=True)
    harmonise(canonical)
    xr.testing.assert_identical(canonical, before)


def test_all_that_is_recognised(era5, caplog):
    era5["mystery"] = era5["t2m"]
    with caplog.at_level("INFO"):
        ds = harmonise(era5, accumulation_period="1h")
    assert set(ds.data_vars) == {
        *("2m_temperature", "total_precipitation", "mean_sea_level_pressure", "land_sea_mask"),
        *("geopotential_500", "geopotential_700", "geopotential_850"),
    }
    assert "mystery" in caplog.text


@pytest.mark.parametrize(
    ("units", "period", "channel", "factor"),
    [
        ("m", "1h", "total_precipitation", 1000),
        ("m", "6h", "total_precipitation_6hr", 1000),
        ("mm", "24h", "total_precipitation_24hr", 1),
        ("mm day-1", None, "total_precipitation", 1 / 24),
        ("kg m-2 s-1", None, "total_precipitation", 3600),
    ],
)
@pytest.mark.parametrize(
    ("name", "family"),
    [("pr", "total_precipitation"), ("prsn", "snowfall"), ("mrro", "runoff")],
)
def test_water_gets_the_name_of_its_period(era5, units, period, channel, factor, name, family):
    channel = channel.replace("total_precipitation", family)
    rain = era5[["tp"]].rename(tp=name)
    rain[name].attrs["units"] = units
    ds = harmonise(rain, accumulation_period=period)
    np.testing.assert_allclose(ds[channel], era5["tp"] * factor, rtol=1e-6)
    np.testing.assert_array_equal(
        harmonise(rain, [channel], accumulation_period=period)[channel], ds[channel]
    )


def test_amounts_without_period_are_left_out_unless_asked_for(era5, caplog):
    assert "total_precipitation" not in harmonise(era5)
    with pytest.raises(InputError, match="'tp' holds amounts in 'm'"):
        harmonise(era5, ["total_precipitation_24hr"])
    assert "total_precipitation" in harmonise(era5, accumulation_period="1h")


def test_hourly_amounts_do_not_pass_for_daily_ones(era5):
    with pytest.raises(InputError, match="amounts over 1 h"):
        harmonise(era5, ["total_precipitation_24hr"], accumulation_period="1h")
    ds = harmonise(era5, ["total_precipitation_24hr"], accumulation_period="1h", rates=True)
    np.testing.assert_allclose(ds["total_precipitation_24hr"], era5["tp"] * 24e3, rtol=1e-6)


def test_time_bounds_state_the_period(era5):
    rain = era5[["tp"]]
    rain["tp"].attrs["cell_methods"] = "time: sum"
    rain["time"].attrs["bounds"] = "time_bnds"
    ends = rain["time"].values
    rain["time_bnds"] = (("time", "bnds"), np.stack([ends - np.timedelta64(3, "h"), ends], 1))
    ds = harmonise(rain)
    np.testing.assert_allclose(ds["total_precipitation_3hr"], era5["tp"] * 1e3, rtol=1e-6)


def test_the_canonical_form_is_a_fixed_point(era5, tmp_path):
    once = harmonise(era5, accumulation_period="1h")
    xr.testing.assert_identical(harmonise(once), once)
    once.to_netcdf(tmp_path / "once.nc")
    xr.testing.assert_allclose(open_source(tmp_path / "once.nc"), once)


@pytest.mark.parametrize(
    ("name", "units", "scale"),
    [("pressure_level", "hPa", 1), ("plev", "Pa", 100), ("isobaricInhPa", None, 1)],
)
def test_level_dims(check, era5, name, units, scale):
    other = era5.rename(level=name).assign_coords({name: era5["level"].values * scale})
    if units:
        other[name].attrs["units"] = units
    check(harmonise(other, CHANNELS))


def test_one_level_as_a_scalar_coordinate(era5):
    ds = harmonise(era5[["z"]].sel(level=700))
    assert list(ds.data_vars) == ["geopotential_700"]


def test_flattened_levels(era5):
    ds = harmonise(era5["t2m"].rename("ta850"))
    assert list(ds.data_vars) == ["temperature_850"]


def test_geopotential_height_and_surface_geopotential(era5):
    height = (era5["z"] / 9.80665).rename("zg").assign_attrs(units="m")
    np.testing.assert_allclose(
        harmonise(height)["geopotential_500"], era5["z"].sel(level=500), rtol=1e-6
    )
    surface = era5["z"].isel(level=0, drop=True)
    orography = harmonise(surface, ["orography"])["orography"]
    assert orography.dims == ("lat", "lon")
    np.testing.assert_allclose(orography, surface[0] / 9.80665, rtol=1e-6)
    model_level = surface.assign_attrs(GRIB_typeOfLevel="hybrid")
    with pytest.raises(InputError, match="No channel"):
        harmonise(model_level)


def test_latitude_comes_from_the_coordinates(era5):
    ds = harmonise(era5, ["2m_temperature", "latitude"])
    assert ds["latitude"].dims == ("lat", "lon")
    np.testing.assert_array_equal(ds["latitude"][:, 3], era5["latitude"])
    assert list(harmonise(era5, ["latitude"]).data_vars) == ["latitude"]
    stored = xr.full_like(era5["lsm"], 7.0).rename("lattitude")
    assert (harmonise(era5.assign(lattitude=stored), ["latitude"])["latitude"] == 7).all()


def test_extra_dims_are_kept(era5):
    members = xr.concat([era5[["t2m"]], era5[["t2m"]] + 1], "number").assign_coords(number=[3, 5])
    members["t2m"].attrs["units"] = "K"
    data = harmonise(members.transpose("latitude", "time", "number", "longitude"))["2m_temperature"]
    assert data.dims == ("number", "time", "lat", "lon")
    np.testing.assert_array_equal(data["number"], [3, 5])
    np.testing.assert_allclose(data.sel(number=5), era5["t2m"] + 1)


def test_one_time_as_a_scalar_coordinate(era5):
    assert harmonise(era5["t2m"].isel(time=2)).sizes["time"] == 1


def test_fields_without_any_time_stay_without(era5):
    bare = era5["t2m"].isel(time=2, drop=True)
    assert harmonise(bare)["2m_temperature"].dims == ("lat", "lon")
    with pytest.raises(InputError, match="2m_temperature is in several files and has no time"):
        open_source([bare, bare + 1])
    with pytest.raises(InputError, match="2m_temperature has no time, and others have"):
        open_source([bare, era5["msl"]])


def test_a_canonical_name_comes_before_an_alias(era5):
    both = era5[["t2m"]].assign({"2m_temperature": era5["t2m"] + 1})
    both["2m_temperature"].attrs["units"] = "K"
    np.testing.assert_array_equal(harmonise(both)["2m_temperature"], era5["t2m"] + 1)


def test_nothing_is_read_to_open(era5, tmp_path):
    era5.to_netcdf(tmp_path / "era5.nc")
    lazy = xr.open_dataset(tmp_path / "era5.nc")
    ds = harmonise(lazy, ["geopotential_850", "2m_temperature"])
    assert not ds["2m_temperature"].variable._in_memory  # float32 in K: not even touched


def test_nothing_is_computed_to_build_the_graph(era5):
    def fail(block):
        raise AssertionError("computed")

    lazy = era5.chunk(time=1)
    for name, data in lazy.data_vars.items():
        lazy[name] = data.copy(data=data.data.map_blocks(fail, dtype=data.dtype, meta=np.ones(0)))
    turned = lazy.isel(time=[3, 1, 2, 0, 4], longitude=slice(None, None, -1))
    ds = harmonise(turned, accumulation_period="1h")
    assert is_lazy(ds)
    assert len(ds.data_vars) == 7
    with pytest.raises(AssertionError, match="computed"):
        ds["land_sea_mask"].compute()


def test_missing_variables_name_the_nearest(era5):
    with pytest.raises(
        InputError, match=r"'temperature_850' is not in the source \(nearest: .*temp"
    ):
        harmonise(era5, ["2m_temperature", "temperature_850"])
    with pytest.raises(InputError, match=r"geopotential_925.*nearest: geopotential_"):
        harmonise(era5, ["geopotential_925"])
    with pytest.raises(InputError, match="Did you mean 2m_temperature"):
        harmonise(era5, ["2m_temprature"])
    with pytest.raises(InputError, match="No channel found in mystery"):
        harmonise(era5["t2m"].rename("mystery"))


def test_optional_channels_may_be_absent(era5, caplog):
    with caplog.at_level("INFO"):
        ds = harmonise(era5, ["lake_depth", "2m_temperature"], optional=["lake_depth"])
    assert list(ds.data_vars) == ["2m_temperature"]
    assert "lake_depth" in caplog.text


def test_missing_and_wrong_units(era5):
    del era5["t2m"].attrs["units"]
    with pytest.raises(InputError, match=r"'t2m' .2m_temperature. has no units.*K, degC"):
        harmonise(era5, ["2m_temperature"])
    era5["t2m"].attrs["units"] = "m s-1"
    with pytest.raises(InputError, match=r"'t2m' .2m_temperature. has the unit 'm s-1'"):
        harmonise(era5, ["2m_temperature"], optional=["2m_temperature"])
    assert "mean_sea_level_pressure" in harmonise(era5)  # the rest can be had


def test_two_dimensional_and_irregular_coordinates(era5):
    lat, lon = xr.broadcast(era5["latitude"], era5["longitude"])
    curved = (
        era5[["t2m"]].rename_dims(latitude="y", longitude="x").drop_vars(["latitude", "longitude"])
    )
    curved = curved.assign_coords(lat=(("y", "x"), lat.values), lon=(("y", "x"), lon.values))
    found = harmonise(curved)["2m_temperature"]
    np.testing.assert_array_equal(found, harmonise(era5)["2m_temperature"])
    uneven = era5.isel(latitude=[0, 1, 3])
    with pytest.raises(InputError, match="irregular"):
        harmonise(uneven)
    assert harmonise(uneven, regular=False).sizes["lat"] == 3


def test_bounds_are_kept(era5):
    edges = 50.125 - 0.25 * np.arange(7)
    bounds = np.stack([edges[:-1], edges[1:]], axis=1)
    raw = era5.assign(latitude_bnds=(("latitude", "bnds"), bounds))
    for channels in (None, ["2m_temperature"]):
        ds = harmonise(raw[["t2m", "latitude_bnds"]], channels)
        np.testing.assert_array_equal(ds["lat_bnds"], bounds)
        assert ds["lat"].attrs["bounds"] == "lat_bnds"
