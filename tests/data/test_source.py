"""Opening of files, stores and URLs, alone and in lists."""

from __future__ import annotations

import pickle
import sys
from functools import partial

import fsspec
import numpy as np
import pytest
import xarray as xr

from orbitlite.data.source import open_source
from orbitlite.errors import InputError

CHANNELS = ["2m_temperature", "geopotential_850", "mean_sea_level_pressure", "land_sea_mask"]


@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf", "scipy"])
def test_netcdf(check, era5, tmp_path, engine):
    path = tmp_path / "era5.nc"
    era5.to_netcdf(path, engine=engine)
    ds = open_source(path, CHANNELS)
    check(ds)
    assert all(data.chunks is not None for data in ds.data_vars.values())
    check(open_source(str(path), CHANNELS, engine=engine))


@pytest.mark.parametrize("version", [2, 3])
def test_zarr(check, era5, tmp_path, version):
    path = tmp_path / "store"  # no suffix: found from the content
    era5.chunk(time=2).to_zarr(path, zarr_format=version, consolidated=False)
    ds = open_source(path, CHANNELS)
    check(ds)
    assert ds["2m_temperature"].chunks[0] == (2, 2, 1)


@pytest.mark.parametrize("form", ["nc", "zarr2", "zarr3"])
def test_memory_urls(check, era5, form):
    url = f"memory://test_source/{form}/era5.{form.rstrip('23')}"
    if form == "nc":
        with fsspec.open(url, "wb") as file:
            file.write(bytes(era5.to_netcdf(engine="h5netcdf")))
    else:
        era5.to_zarr(url, zarr_format=int(form[-1]), mode="w", consolidated=False)
    check(open_source(url, CHANNELS))


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("engine", ["netcdf4", "scipy"])
def test_netcdf_over_http(check, era5, tmp_path, serve, ranges, engine, caplog):
    era5.to_netcdf(tmp_path / "era5.nc", engine=engine)
    with caplog.at_level("INFO"):
        check(open_source(f"{serve(ranges)}/era5.nc", CHANNELS))
    assert ("fetched whole" in caplog.text) == (engine == "netcdf4" and not ranges)


@pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part")
@pytest.mark.parametrize("version", [2, 3])
def test_zarr_over_http(check, era5, tmp_path, serve, version):
    era5.to_zarr(tmp_path / "era5.zarr", zarr_format=version, consolidated=True)
    check(open_source(f"{serve()}/era5.zarr", CHANNELS))
    era5.to_zarr(tmp_path / "plain", zarr_format=version, consolidated=True)
    check(open_source(f"{serve()}/plain/", CHANNELS))


def test_lists_and_globs_join_along_time(check, era5, tmp_path, monkeypatch):
    for number in (1, 0, 2):
        era5.isel(time=slice(2 * number, 2 * number + 2)).to_netcdf(tmp_path / f"part{number}.nc")
    check(open_source(tmp_path / "part?.nc", CHANNELS))
    check(open_source([tmp_path / f"part{n}.nc" for n in (2, 0, 1)], CHANNELS))
    check(open_source(f"file://{tmp_path}/part*.nc", CHANNELS))
    monkeypatch.setenv("HOME", str(tmp_path))
    check(open_source("~/part*.nc", CHANNELS))


def test_lists_join_other_variables(check, era5, tmp_path):
    era5[["t2m", "lsm"]].to_netcdf(tmp_path / "a.nc")
    era5[["z", "msl"]].isel(latitude=slice(None, None, -1)).to_netcdf(tmp_path / "b.nc")
    check(open_source([tmp_path / "a.nc", tmp_path / "b.nc"], CHANNELS))
    check(open_source([tmp_path / "a.nc", era5[["z", "msl"]]], CHANNELS))


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


@pytest.mark.parametrize("dim", ["time", "latitude", "longitude", "level"])
@pytest.mark.parametrize("form", ["object", "dask", "zarr"])
def test_empty_selections(era5, tmp_path, dim, form):
    ds = era5.isel({dim: slice(0, 0)})
    if form == "zarr":
        ds.to_zarr(tmp_path / "x.zarr")
    source = {"object": ds, "dask": ds.chunk(), "zarr": tmp_path / "x.zarr"}[form]
    with pytest.raises(InputError, match=f"The dimension '{dim}' has no values"):
        open_source(source, accumulation_period="1h")


def test_an_empty_dimension_of_no_field_is_no_matter(era5):
    ds = era5[["lsm"]].assign(edges=era5["time"].isel(time=slice(0, 0)).reset_coords(drop=True))
    assert "land_sea_mask" in open_source(ds.isel(time=slice(0, 0)))


def test_files_on_different_grids(era5):
    other = era5[["msl"]].isel(longitude=slice(0, 4))
    with pytest.raises(InputError, match="different grids: one has 6 x 8 cells"):
        open_source([era5[["t2m"]], other])


def test_files_whose_cells_are_counted_or_rounded_otherwise_are_joined(era5):
    plain = open_source(era5[["t2m", "msl"]])
    turned = era5["longitude"].astype("f4").assign_attrs(era5["longitude"].attrs) - 360
    other = era5[["msl"]].assign_coords(longitude=turned)
    xr.testing.assert_equal(open_source([era5[["t2m"]], other]), plain)
    half = era5[["msl"]].assign_coords(longitude=era5["longitude"] + 0.5 * 0.25)
    with pytest.raises(InputError, match="different grids"):
        open_source([era5[["t2m"]], half])


def test_arguments_pickle_and_open_elsewhere(check, era5, tmp_path):
    era5.to_netcdf(tmp_path / "era5.nc")
    check(pickle.loads(pickle.dumps(partial(open_source, tmp_path / "era5.nc", CHANNELS)))())
    ds = pickle.loads(pickle.dumps(open_source(tmp_path / "era5.nc", CHANNELS)))
    check(ds)


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
    with pytest.raises(InputError, match="found an empty list"):
        open_source([])
    with pytest.raises(InputError, match="expected a path"):
        open_source([3])


def test_http_failures(serve, monkeypatch):
    monkeypatch.setattr("orbitlite.remote.FIRST_DELAY", 0.001)
    with pytest.raises(InputError, match=r"Could not open .*broken\.nc"):
        open_source(f"{serve()}/broken.nc")
    with pytest.raises(InputError, match=r"Could not open .*broken\.zarr"):
        open_source(f"{serve()}/broken.zarr")
    for name in ("x.nc", "x.zarr", "x"):
        with pytest.raises(InputError, match=r"127\.0\.0\.1:9/x"):
            open_source(f"http://127.0.0.1:9/{name}")


def test_grib_without_cfgrib(tmp_path, monkeypatch):
    (tmp_path / "x.grib").write_bytes(b"GRIB")
    monkeypatch.setitem(sys.modules, "cfgrib", None)
    with pytest.raises(InputError, match=r"pip install 'orbitlite\[grib\]'"):
        open_source(tmp_path / "x.grib")
