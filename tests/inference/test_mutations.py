"""Files that are wrong in one way each: a plain error or an output, never a traceback."""

from __future__ import annotations

import random
import shutil

import numpy as np
import pytest
import xarray as xr

import orbitlite
from orbitlite.api import downscale, evaluate
from orbitlite.data.source import open_source
from orbitlite.errors import InputError

RAIN, HEAT = "total_precipitation_24hr", "2m_temperature"
BOUNDS = ("lat", "bnds")


def along(ds, dim, values, **attrs):
    return ds.assign_coords({dim: (dim, np.resize(values, ds.sizes[dim]), attrs)})


def texts(ds, name):
    return ds.assign({name: (ds[name].dims, np.full(ds[name].shape, "a", object), ds[name].attrs)})


def noted(ds, name, **attrs):
    return ds.assign({name: ds[name].assign_attrs(attrs)})


def counted(**attrs):
    return lambda ds: ds.assign_coords(time=("time", np.arange(ds.sizes["time"]), attrs))


HARMLESS = {
    "reversed rows": lambda ds: ds.isel(lat=slice(None, None, -1)),
    "reversed columns": lambda ds: ds.isel(lon=slice(None, None, -1)),
    "reversed times": lambda ds: ds.isel(time=slice(None, None, -1)),
    "transposed": lambda ds: ds.transpose("lon", "time", "lat"),
    "text as bounds": lambda ds: ds.assign(lat_bnds=(BOUNDS, np.full((6, 2), "a", object))),
    "dates as bounds": lambda ds: ds.assign(lat_bnds=(BOUNDS, np.zeros((6, 2), "M8[ns]"))),
    "bounds of zeros": lambda ds: ds.assign(lat_bnds=(BOUNDS, np.zeros((6, 2)))),
    "bounds of three": lambda ds: ds.assign(lat_bnds=(BOUNDS, np.zeros((6, 3)))),
    "bounds of none": lambda ds: ds.assign(lat_bnds=(BOUNDS, np.zeros((6, 0)))),
    "bounds of nothing": lambda ds: along(ds, "lat", ds.lat.values, units="degrees_north",
                                          bounds="nothing"),
    "bounds that are numbers": lambda ds: along(ds, "lat", ds.lat.values, units="degrees_north",
                                                bounds=[1, 2]),
    "time bounds of text": lambda ds: ds.assign(
        time_bnds=(("time", "bnds"), np.full((5, 2), "a", object))),
    "axis that is a number": lambda ds: along(ds, "lat", ds.lat.values, units="degrees_north",
                                              axis=np.arange(3), standard_name=np.arange(2)),
    "long names": lambda ds: noted(ds, RAIN, long_name=["a", "b"], positive=np.arange(2)),
    "coordinates of nothing": lambda ds: noted(ds, HEAT, grid_mapping="crs"),
    "global names": lambda ds: ds.assign_attrs({"a" * 300: "x", "many": np.zeros(9), "none": ""}),
    "coordinate beside": lambda ds: ds.assign_coords(foo=("time", [*"abcde"])),
    "empty coordinate beside": lambda ds: ds.assign_coords(foo=(("time", "e"), np.zeros((5, 0)))),
    "empty field beside": lambda ds: ds.assign(foo=("e", np.zeros(0))),
    "scalar beside": lambda ds: ds.assign(foo=3),
    "five dims beside": lambda ds: ds.assign(foo=(tuple("abcde"), np.zeros((1, 2, 1, 2, 1)))),
    "doubles": lambda ds: ds.astype("f8").map(lambda data: data, keep_attrs=True),
    "big-endian": lambda ds: ds.astype(">f4"),
    "time of another name": lambda ds: ds.rename(time="foo").assign_coords(
        foo=("foo", ds.time.values, {"standard_name": "time"})),
    "time of an axis": lambda ds: ds.rename(time="foo").assign_coords(
        foo=("foo", ds.time.values, {"axis": "T"})),
}  # fmt: skip

HARMFUL = {
    "no rain": lambda ds: ds.drop_vars(RAIN),
    "no heat": lambda ds: ds.drop_vars(HEAT),
    "nothing": lambda ds: xr.Dataset(attrs=ds.attrs),
    "coordinates alone": lambda ds: ds[["time", "lat", "lon"]],
    "no time": lambda ds: ds.drop_vars("time"),
    "no lat": lambda ds: ds.drop_vars("lat"),
    "no lon": lambda ds: ds.drop_vars("lon"),
    "empty time": lambda ds: ds.isel(time=slice(0, 0)),
    "empty lat": lambda ds: ds.isel(lat=slice(0, 0)),
    "empty lon": lambda ds: ds.isel(lon=slice(0, 0)),
    "one lat": lambda ds: ds.isel(lat=[0]),
    "one lon": lambda ds: ds.isel(lon=[0]),
    "one time": lambda ds: ds.isel(time=[0]),
    "scalar lat": lambda ds: ds.isel(lat=0),
    "scalar time": lambda ds: ds.isel(time=0),
    "lat twice": lambda ds: ds.isel(lat=[0, 0, 1]),
    "time twice": lambda ds: ds.isel(time=[0, 0, 1]),
    "lat in disorder": lambda ds: ds.isel(lat=[2, 0, 1]),
    "lat of nothing": lambda ds: along(ds, "lat", [np.nan]),
    "lat of zeros": lambda ds: along(ds, "lat", [0.0]),
    "lat of text": lambda ds: along(ds, "lat", [*"abcdef"]),
    "lat of dates": lambda ds: along(ds, "lat", [np.datetime64("2001-01-01", "ns")]),
    "lat beyond the pole": lambda ds: along(ds, "lat", np.arange(6) * 1e3),
    "lat without end": lambda ds: along(ds, "lat", [np.inf, 1, 2, 3, 4, 5]),
    "lat of two dims": lambda ds: ds.rename(lat="y", lon="x").assign_coords(
        lat=(("y", "x"), np.zeros((6, 8))), lon=(("y", "x"), np.zeros((6, 8)))),
    "rain of text": lambda ds: texts(ds, RAIN),
    "heat of text": lambda ds: texts(ds, HEAT),
    "rain of dates": lambda ds: ds.assign({RAIN: ds[RAIN].astype("M8[ns]").drop_attrs()}),
    "rain of lengths": lambda ds: noted(ds, RAIN, units="days"),
    "rain of no unit": lambda ds: ds.assign({RAIN: ds[RAIN].drop_attrs()}),
    "rain of five dims": lambda ds: ds.assign({RAIN: ds[RAIN].expand_dims(a=2, b=2)}),
    "rain of one value": lambda ds: ds.assign({RAIN: ds[RAIN].mean()}),
    "rain of one series": lambda ds: ds.assign({RAIN: ds[RAIN].isel(lat=0, lon=0, drop=True)}),
    "rain of one step": lambda ds: ds.assign({RAIN: ds[RAIN].isel(time=0, drop=True)}),
    "rain that is missing": lambda ds: ds.assign({RAIN: ds[RAIN] * np.nan}),
    "rain without end": lambda ds: ds.assign({RAIN: ds[RAIN] + np.inf}),
    "members without names": lambda ds: ds.expand_dims(number=2),
    "no members": lambda ds: ds.expand_dims(number=2).isel(number=slice(0, 0)),
    "members of text": lambda ds: ds.expand_dims(number=[*"ab"]),
    "members of dates": lambda ds: ds.expand_dims(number=ds.time.values[:2]),
    "levels without names": lambda ds: ds.expand_dims(level=2),
    "levels of text": lambda ds: ds.assign(
        t=ds[HEAT].expand_dims(level=[*"ab"])).drop_vars(HEAT),
    "time of text": lambda ds: along(ds, "time", [*"abcde"]),
    "time of numbers": counted(),
    "time of no date": counted(units="days since x"),
    "time of year 0": counted(units="days since 0000-00-00"),
    "time of no calendar": counted(units="days since 2000-01-01", calendar="moon"),
    "time of 360 days": counted(units="days since 2000-01-01", calendar="360_day"),
    "time that is missing": lambda ds: along(ds, "time", [0, np.nan], units="days since 2000"),
    "time without end": lambda ds: along(ds, "time", [0, 1e300], units="days since 2000-01-01"),
    "hours of text": lambda ds: noted(ds, RAIN, accumulation_hours="x"),
    "hours of a list": lambda ds: noted(ds, RAIN, accumulation_hours=[1, 2]),
    "unit of a list": lambda ds: noted(ds, HEAT, units=np.array([1, 2])),
    "unit of nonsense": lambda ds: noted(ds, HEAT, units="m**99999"),
    "name of another": lambda ds: noted(ds, HEAT, standard_name="latitude"),
}  # fmt: skip


def stored(ds, path, kind):
    """Write a dataset as it is, as NetCDF or as Zarr where NetCDF cannot hold it."""
    if kind == "nc":
        try:
            ds.to_netcdf(path / "in.nc")
            return path / "in.nc"
        except Exception:  # of NetCDF's own, of many kinds
            pass
    ds.to_zarr(path / "in.zarr", consolidated=False)
    return path / "in.zarr"


@pytest.fixture
def expected(coarse, bundle):
    return orbitlite.predict(coarse, bundle, progress=False)[RAIN]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", HARMLESS)
def test_what_does_no_harm_changes_nothing(coarse, bundle, expected, name, tmp_path):
    mutated = HARMLESS[name](coarse)
    path = stored(mutated, tmp_path, random.Random(name).choice(["nc", "zarr"]))
    out = tmp_path / random.Random(name).choice(["out.nc", "out.zarr"])
    downscale(path, out, bundle, progress=False)
    found = open_source(out)[RAIN].sortby("time").sortby("lat", ascending=False)
    np.testing.assert_array_equal(found["lat"], expected["lat"])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", HARMFUL)
def test_what_does_harm_is_told(coarse, bundle, name, tmp_path):
    mutated = HARMFUL[name](coarse)
    tries = (
        lambda: downscale(path, tmp_path / "out.nc", bundle, progress=False),
        lambda: orbitlite.predict(mutated, bundle, progress=False),
        lambda: evaluate(path, coarse, progress=False),
        lambda: evaluate(coarse, path, progress=False),
    )
    path = stored(mutated, tmp_path, random.Random(name).choice(["nc", "zarr"]))
    said = []
    for action in tries:
        try:
            action()
        except InputError as error:
            said.append(str(error))
    assert all(len(text) > 20 for text in said)
    assert not [file.name for file in tmp_path.iterdir() if file.name.startswith(".")]


def damaged(path, rng):
    """Damage one file of a store, or the file, in one of several ways."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    file = rng.choice(files)
    data = bytearray(file.read_bytes())
    if not data:
        return
    place = rng.randrange(len(data))
    way = rng.choice(["bit", "cut", "zeros", "number", "gone"])
    if way == "bit":
        data[place] ^= 1 << rng.randrange(8)
    elif way == "cut":
        data = data[:place]
    elif way == "zeros":
        data[place : place + 64] = bytes(len(data[place : place + 64]))
    elif way == "number":
        for old in (b"5", b"6", b"8"):
            data = data.replace(old, rng.choice([b"-1", b"0", b"1e9", b"null", b"99999999999"]), 1)
    file.write_bytes(data)
    if way == "gone" and path.is_dir():
        file.unlink()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["zarr2", "zarr3", "classic"])
def test_damaged_stores(coarse, form, tmp_path):
    whole, path = tmp_path / "whole.zarr", tmp_path / "x.zarr"
    coarse["lat_bnds"] = BOUNDS, coarse["lat"].values[:, None] + np.array([0.5, -0.5])
    if form == "classic":
        whole, path = tmp_path / "whole.nc", tmp_path / "x.nc"
        coarse.to_netcdf(whole, format="NETCDF3_64BIT", engine="scipy")
    else:
        coarse.to_zarr(whole, zarr_format=int(form[-1]), consolidated=form == "zarr2")
    told = 0
    for seed in range(14):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        shutil.copytree(whole, path) if whole.is_dir() else shutil.copy(whole, path)
        damaged(path, random.Random(seed))
        try:
            open_source(path).load()
        except InputError:
            told += 1
    assert told >= 3
