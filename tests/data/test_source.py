from __future__ import annotations

import pickle
import sys
from functools import partial

import fsspec
import numpy as np
import pytest
import xarray as xr

from orbitlite.data.source import harmonise, open_source
from orbitlite.errors import InputError

CHANNELS = ["2m_temperature", "geopotential_850", "mean_sea_level_pressure", "land_sea_mask"]


def check(ds, era5):
    """Compare with what the made-up file holds, in the units of the table."""
    assert list(ds.data_vars) == CHANNELS
    assert ds["2m_temperature"].dims == ("time", "lat", "lon")
    assert ds["land_sea_mask"].dims == ("lat", "lon")
    np.testing.assert_array_equal(ds["time"], era5["time"])
    np.testing.assert_array_equal(ds["lat"], era5["latitude"])
    np.testing.assert_array_equal(ds["lon"], era5["longitude"])
    for channel, expected in zip(
        CHANNELS,
        (era5["t2m"], era5["z"].sel(level=850), era5["msl"] * 100, era5["lsm"]),
        strict=True,
    ):
        np.testing.assert_allclose(ds[channel], expected, rtol=1e-6)
        assert ds[channel].dtype == np.float32


def is_lazy(ds):
    return all(data.chunks is not None for data in ds.data_vars.values())


def is_numpy(ds):
    return all(isinstance(data.data, np.ndarray) for data in ds.data_vars.values())


@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf", "scipy"])
def test_netcdf(era5, tmp_path, engine):
    path = tmp_path / "era5.nc"
    era5.to_netcdf(path, engine=engine)
    ds = open_source(path, CHANNELS)
    check(ds, era5)
    assert is_lazy(ds)
    check(open_source(str(path), CHANNELS, engine=engine), era5)


@pytest.mark.parametrize("version", [2, 3])
def test_zarr(era5, tmp_path, version):
    path = tmp_path / "store"  # no suffix: found from the content
    era5.chunk(time=2).to_zarr(path, zarr_format=version, consolidated=False)
    ds = open_source(path, CHANNELS)
    check(ds, era5)
    assert ds["2m_temperature"].chunks[0] == (2, 2, 1)


@pytest.mark.parametrize("form", ["nc", "zarr2", "zarr3"])
def test_memory_urls(era5, form):
    url = f"memory://test_source/{form}/era5.{form.rstrip('23')}"
    if form == "nc":
        with fsspec.open(url, "wb") as file:
            file.write(bytes(era5.to_netcdf(engine="h5netcdf")))
    else:
        era5.to_zarr(url, zarr_format=int(form[-1]), mode="w", consolidated=False)
    check(open_source(url, CHANNELS), era5)


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("engine", ["netcdf4", "scipy"])
def test_netcdf_over_http(era5, tmp_path, serve, ranges, engine, caplog):
    era5.to_netcdf(tmp_path / "era5.nc", engine=engine)
    with caplog.at_level("INFO"):
        check(open_source(f"{serve(ranges)}/era5.nc", CHANNELS), era5)
    assert ("fetched whole" in caplog.text) == (engine == "netcdf4" and not ranges)


@pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part")
@pytest.mark.parametrize("version", [2, 3])
def test_zarr_over_http(era5, tmp_path, serve, version):
    era5.to_zarr(tmp_path / "era5.zarr", zarr_format=version, consolidated=True)
    check(open_source(f"{serve()}/era5.zarr", CHANNELS), era5)
    era5.to_zarr(tmp_path / "plain", zarr_format=version, consolidated=True)
    check(open_source(f"{serve()}/plain/", CHANNELS), era5)


def test_lists_and_globs_join_along_time(era5, tmp_path, monkeypatch):
    for number in (1, 0, 2):
        era5.isel(time=slice(2 * number, 2 * number + 2)).to_netcdf(tmp_path / f"part{number}.nc")
    check(open_source(tmp_path / "part?.nc", CHANNELS), era5)
    check(open_source([tmp_path / f"part{n}.nc" for n in (2, 0, 1)], CHANNELS), era5)
    check(open_source(f"file://{tmp_path}/part*.nc", CHANNELS), era5)
    monkeypatch.setenv("HOME", str(tmp_path))
    check(open_source("~/part*.nc", CHANNELS), era5)


def test_lists_join_other_variables(era5, tmp_path):
    era5[["t2m", "lsm"]].to_netcdf(tmp_path / "a.nc")
    era5[["z", "msl"]].isel(latitude=slice(None, None, -1)).to_netcdf(tmp_path / "b.nc")
    check(open_source([tmp_path / "a.nc", tmp_path / "b.nc"], CHANNELS), era5)
    check(open_source([tmp_path / "a.nc", era5[["z", "msl"]]], CHANNELS), era5)


def test_times_that_lack_a_channel_are_dropped_and_said(era5, caplog):
    early, late = era5[["t2m"]].isel(time=slice(0, 4)), era5[["msl"]].isel(time=slice(1, 5))
    with caplog.at_level("INFO"):
        ds = open_source([early, late])
    np.testing.assert_array_equal(ds["time"], era5["time"][1:4])
    with pytest.raises(InputError, match="no time in common"):
        open_source([early.isel(time=[0]), late])


def test_overlapping_files(era5):
    with pytest.raises(InputError, match="2001-01-01 02:00:00 in more than one file"):
        open_source([era5.isel(time=slice(0, 3)), era5.isel(time=slice(2, 5))], ["2m_temperature"])


def test_files_on_different_grids(era5):
    other = era5[["msl"]].isel(longitude=slice(0, 4))
    with pytest.raises(InputError, match="different grids: lon has 8 values"):
        open_source([era5[["t2m"]], other])


def test_xarray_objects_keep_their_backing(era5):
    check(harmonise(era5, CHANNELS), era5)
    assert is_numpy(harmonise(era5))
    assert is_numpy(open_source(era5))
    assert is_lazy(open_source(era5.chunk(time=1)))


def test_data_arrays(era5):
    assert list(harmonise(era5["t2m"]).data_vars) == ["2m_temperature"]
    with pytest.raises(InputError, match="no name"):
        harmonise(era5["t2m"].rename(None))


def test_arguments_pickle_and_open_elsewhere(era5, tmp_path):
    era5.to_netcdf(tmp_path / "era5.nc")
    check(pickle.loads(pickle.dumps(partial(open_source, tmp_path / "era5.nc", CHANNELS)))(), era5)
    ds = pickle.loads(pickle.dumps(open_source(tmp_path / "era5.nc", CHANNELS)))
    check(ds, era5)


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
    harmonise(given, period="1h")
    xr.testing.assert_identical(given, before)
    canonical = harmonise(given, period="1h")
    canonical["lon"].attrs["note"] = "kept"
    before = canonical.copy(deep=True)
    harmonise(canonical)
    xr.testing.assert_identical(canonical, before)


def test_all_that_is_recognised(era5, caplog):
    era5["mystery"] = era5["t2m"]
    with caplog.at_level("INFO"):
        ds = harmonise(era5, period="1h")
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
        ("mm day-1", None, "total_precipitation_24hr", 1),
        ("kg m-2 s-1", None, "total_precipitation_24hr", 86400),
    ],
)
def test_precipitation_gets_the_name_of_its_period(era5, units, period, channel, factor):
    rain = era5[["tp"]].rename(tp="pr")
    rain["pr"].attrs["units"] = units
    ds = harmonise(rain, period=period)
    np.testing.assert_allclose(ds[channel], era5["tp"] * factor, rtol=1e-6)
    np.testing.assert_array_equal(harmonise(rain, [channel], period=period)[channel], ds[channel])


def test_amounts_without_period_are_left_out_unless_asked_for(era5, caplog):
    assert "total_precipitation" not in harmonise(era5)
    with pytest.raises(InputError, match="'tp' holds amounts in 'm'"):
        harmonise(era5, ["total_precipitation_24hr"])
    assert "total_precipitation" in harmonise(era5, period="1h")


def test_hourly_amounts_do_not_pass_for_daily_ones(era5):
    with pytest.raises(InputError, match="amounts over 1 h"):
        harmonise(era5, ["total_precipitation_24hr"], period="1h")
    ds = harmonise(era5, ["total_precipitation_24hr"], period="1h", rates=True)
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
    once = harmonise(era5, period="1h")
    xr.testing.assert_identical(harmonise(once), once)
    once.to_netcdf(tmp_path / "once.nc")
    xr.testing.assert_allclose(open_source(tmp_path / "once.nc"), once)


@pytest.mark.parametrize(
    ("name", "units", "scale"),
    [("pressure_level", "hPa", 1), ("plev", "Pa", 100), ("isobaricInhPa", None, 1)],
)
def test_level_dims(era5, name, units, scale):
    other = era5.rename(level=name).assign_coords({name: era5["level"].values * scale})
    if units:
        other[name].attrs["units"] = units
    check(harmonise(other, CHANNELS), era5)


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
    with pytest.raises(InputError, match="no time"):
        harmonise(era5["t2m"].isel(time=2, drop=True))


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
    ds = harmonise(turned, period="1h")
    assert is_lazy(ds)
    assert len(ds.data_vars) == 7
    with pytest.raises(AssertionError, match="computed"):
        ds["land_sea_mask"].compute()


def test_a_step_is_read_by_reading_about_that_step(tmp_path):
    data = xr.DataArray(
        np.zeros((6, 4, 400, 500), np.float32),
        {"time": np.datetime64("2001-01-01", "ns") + np.arange(6) * np.timedelta64(1, "D"),
         "level": ("level", [200, 500, 700, 850], {"units": "hPa"}),
         "lat": np.linspace(-80, 80, 400), "lon": np.linspace(0, 100, 500)},
        ("time", "level", "lat", "lon"), "t", {"units": "K"},
    )  # fmt: skip
    data.to_netcdf(tmp_path / "t.nc")
    chunks = open_source(tmp_path / "t.nc", ["temperature_500"])["temperature_500"].chunks
    assert chunks == ((1,) * 6, (400,), (500,))


# --- bad input ---------------------------------------------------------------------------------


def test_no_such_file(tmp_path, serve):
    for source in (
        tmp_path / "no.nc",
        tmp_path / "no*.nc",
        tmp_path / "no.zarr",
        "memory://no/no.nc",
        "memory://no/no.zarr",
        f"{serve()}/no.nc",
        f"{serve()}/no",
        [tmp_path / "no.nc"],
    ):
        with pytest.raises(InputError, match=r"no(\*)?(\.nc|\.zarr)?\b"):
            open_source(source)


@pytest.mark.parametrize("form", ["NETCDF4", "NETCDF3_CLASSIC", "NETCDF3_64BIT"])
@pytest.mark.parametrize("kept", [0.5, 0.999, 200, 0])
def test_truncated_netcdf(era5, tmp_path, form, kept):
    path = tmp_path / "era5.nc"
    era5.to_netcdf(path, format=form)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept if kept == 200 else kept * len(content))])
    with pytest.raises(InputError, match=r"era5.nc .*(complete|truncated|empty)"):
        open_source(path)


def test_what_is_no_data(tmp_path):
    (tmp_path / "page.html").write_text("<html>not found</html>")
    with pytest.raises(InputError, match="no NetCDF, Zarr or GRIB"):
        open_source(tmp_path / "page.html")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="folder"):
        open_source(tmp_path / "folder")
    (tmp_path / "bad.zarr").mkdir()
    with pytest.raises(InputError, match=r"bad\.zarr"):
        open_source(tmp_path / "bad.zarr")
    with pytest.raises(InputError, match="list of sources is empty"):
        open_source([])
    with pytest.raises(InputError, match="should be a path"):
        open_source([3])


def test_http_failures(serve, monkeypatch):
    monkeypatch.setattr("orbitlite.data.retry.FIRST_DELAY", 0.001)
    with pytest.raises(InputError, match=r"Could not open .*broken\.nc"):
        open_source(f"{serve()}/broken.nc")
    with pytest.raises(InputError, match=r"Could not open .*broken\.zarr"):
        open_source(f"{serve()}/broken.zarr")
    for name in ("x.nc", "x.zarr", "x"):
        with pytest.raises(InputError, match=r"127\.0\.0\.1:9/x"):
            open_source(f"http://127.0.0.1:9/{name}")


def test_missing_variables_name_the_nearest(era5):
    with pytest.raises(
        InputError, match=r"'temperature_850' is not in the source \(nearest: .*temp"
    ):
        harmonise(era5, ["2m_temperature", "temperature_850"])
    with pytest.raises(InputError, match=r"geopotential_925.*nearest: geopotential_"):
        harmonise(era5, ["geopotential_925"])
    with pytest.raises(InputError, match="Did you mean 2m_temperature"):
        harmonise(era5, ["2m_temprature"])
    with pytest.raises(InputError, match="No channel to be had of mystery"):
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
    with pytest.raises(InputError, match="2-D"):
        harmonise(curved)
    uneven = era5.isel(latitude=[0, 1, 3])
    with pytest.raises(InputError, match="irregular"):
        harmonise(uneven)
    assert harmonise(uneven, regular=False).sizes["lat"] == 3


def test_grib_without_cfgrib(tmp_path, monkeypatch):
    (tmp_path / "x.grib").write_bytes(b"GRIB")
    monkeypatch.setitem(sys.modules, "cfgrib", None)
    with pytest.raises(InputError, match=r"pip install 'orbitlite\[grib\]'"):
        open_source(tmp_path / "x.grib")


def test_bounds_are_kept(era5):
    edges = 50.125 - 0.25 * np.arange(7)
    bounds = np.stack([edges[:-1], edges[1:]], axis=1)
    raw = era5.assign(latitude_bnds=(("latitude", "bnds"), bounds))
    for channels in (None, ["2m_temperature"]):
        ds = harmonise(raw[["t2m", "latitude_bnds"]], channels)
        np.testing.assert_array_equal(ds["lat_bnds"], bounds)
        assert ds["lat"].attrs["bounds"] == "lat_bnds"
