"""What comes out is called, chunked and measured as a user of the input expects."""

import numpy as np
import pytest
import xarray as xr

import orbitlite
from orbitlite.errors import InputError
from orbitlite.inference.engine import PlacedNetwork
from orbitlite.model.bundle import Bundle
from orbitlite.notice import OrbitliteWarning

RAIN = "total_precipitation_24hr"
HEAT = "2m_temperature"
ERA5 = {"lat": "latitude", "lon": "longitude", "time": "valid_time"}


def cases(coarse):
    """Return inputs whose shape or names are not the canonical ones, with the dims to come."""
    return {
        "names": (coarse.rename(ERA5), ("valid_time", "latitude", "longitude")),
        "dims": (
            coarse.rename_dims(lat="y", lon="x").drop_indexes(["lat", "lon"]),
            ("time", "y", "x"),
        ),
        "one time": (coarse.isel(time=0), ("lat", "lon")),
        "one time of another name": (
            coarse.rename(ERA5).isel(valid_time=0),
            ("latitude", "longitude"),
        ),
        "no time": (
            coarse.isel(time=0, drop=True).rename(lat="latitude"),
            ("latitude", "lon"),
        ),
        "members": (
            coarse.expand_dims(number=[3, 7]).rename(ERA5),
            ("number", "valid_time", "latitude", "longitude"),
        ),
        "members at no time": (
            coarse.isel(time=0, drop=True).expand_dims(number=[3, 7]),
            ("number", "lat", "lon"),
        ),
    }


CASES = [
    "names", "dims", "one time", "one time of another name", "no time", "members",
    "members at no time",
]  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore:The input has no time")


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("way", ["memory", "lazy", "nc", "zarr"])
def test_dims_are_those_of_the_input(coarse, bundle, tmp_path, case, way):
    ds, dims = cases(coarse)[case]
    plain = orbitlite.predict(coarse, bundle)
    if way == "memory":
        found = orbitlite.predict(ds, bundle)
    elif way == "lazy":
        found = orbitlite.predict(ds.chunk(), bundle)
        assert found[RAIN].chunks
    else:
        path = tmp_path / f"fine.{way}"
        flow = orbitlite.downscale(ds, path, bundle)
        found = xr.open_dataset(path) if way == "nc" else xr.open_zarr(path)
        assert set(flow.sizes) == set(dims)
    assert found[RAIN].dims == dims
    expected = plain[RAIN] if {"time", "valid_time"} & set(dims) else plain[RAIN].isel(time=0)
    for member in range(found.sizes.get("number", 1)):
        values = found[RAIN].isel(number=member, missing_dims="ignore")
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-4)
    assert found[RAIN].attrs["units"] == "mm"
    times = {"time", "valid_time"} & set(found.coords)
    assert times == ({"time", "valid_time"} & set(ds.coords))
    for name in times:
        np.testing.assert_array_equal(found[name], ds[name])
        assert found[name].attrs["standard_name"] == "time"
    for axis, size in (("lat", 12), ("lon", 16)):
        name = ERA5[axis] if ERA5[axis] in ds.coords else axis
        assert found[name].size == size
        np.testing.assert_array_equal(found[name], plain[axis])
        bounds = found[found[name].attrs["bounds"]]
        assert bounds.dims == (*found[name].dims, "bnds")
        np.testing.assert_array_equal(bounds, plain[f"{axis}_bnds"])


@pytest.mark.parametrize("case", [case for case in CASES if "no time" not in case])
def test_what_comes_out_can_be_evaluated(coarse, bundle, tmp_path, case):
    ds, _ = cases(coarse)[case]
    truth = orbitlite.predict(coarse, bundle)
    orbitlite.downscale(ds, tmp_path / "fine.nc", bundle)
    for found in (orbitlite.predict(ds, bundle), tmp_path / "fine.nc"):
        scores = orbitlite.evaluate(found, truth, progress=False).scores[RAIN]["orbitlite"]
        assert scores["rmse"] < 1e-4


@pytest.mark.parametrize("name", ["fine.zarr", "fine.nc"])
def test_a_resumed_job_has_the_names_too(coarse, bundle, tmp_path, monkeypatch, name):
    ds = coarse.rename(ERA5)
    whole, done = PlacedNetwork.cores, []

    def failing(self, windows, tiles, *more):
        if len(done) == 2:
            raise OSError(5, "a fault")
        done.append(tiles)
        return whole(self, windows, tiles, *more)

    monkeypatch.setattr(PlacedNetwork, "cores", failing)
    options = {"tile": 4, "halo": 1, "batch_size": 1}
    with pytest.raises(InputError, match="--resume"):
        orbitlite.downscale(ds, tmp_path / name, bundle, **options)
    monkeypatch.setattr(PlacedNetwork, "cores", whole)
    with pytest.raises(InputError, match="another job: coordinates"):
        orbitlite.downscale(coarse, tmp_path / name, bundle, resume=True)
    orbitlite.downscale(ds, tmp_path / name, bundle, resume=True)
    found = xr.open_dataset(tmp_path / name, engine=None if name.endswith(".nc") else "zarr")
    assert found[RAIN].dims == ("valid_time", "latitude", "longitude")
    np.testing.assert_array_equal(found[RAIN], orbitlite.predict(ds, bundle, **options)[RAIN])


def test_fields_without_time_are_told_of(coarse, bundle):
    with pytest.warns(OrbitliteWarning, match="has no time: it is taken as one step") as said:
        orbitlite.predict(coarse.isel(time=0, drop=True), bundle)
    assert len(said) == 1


def test_fields_without_time_are_one_window_of_a_model_of_windows(coarse, bundle):
    trained = Bundle(bundle.model, {"training": {"accumulate": "24h"}}, bundle.statics)
    bare = coarse.isel(time=1, drop=True)
    with pytest.warns(OrbitliteWarning, match="taken as one window of 24h"):
        found = orbitlite.predict(bare, trained)
    assert found[RAIN].dims == ("lat", "lon")
    expected = orbitlite.predict(coarse, bundle)[RAIN].isel(time=1)
    np.testing.assert_allclose(found[RAIN], expected, rtol=1e-4, atol=1e-4)
    hourly = bare.rename({RAIN: "total_precipitation"})
    with pytest.raises(InputError, match="No window of 24h"):
        orbitlite.predict(hourly, trained, accumulation_period="1h")


def test_windows_have_the_names_too(coarse, bundle):
    trained = Bundle(bundle.model, {"training": {"accumulate": "24h"}}, bundle.statics)
    found = orbitlite.predict(coarse.rename(ERA5), trained)
    assert found[RAIN].dims == ("valid_time", "latitude", "longitude")
    assert found["valid_time"].attrs["standard_name"] == "time"
    assert orbitlite.predict(coarse.isel(time=0), trained)[RAIN].dims == ("lat", "lon")


def test_longitudes_go_on_from_those_of_the_input(coarse, bundle):
    for west in (5.5, -354.5, 365.5):
        moved = coarse.assign_coords(lon=("lon", west + np.arange(8.0), coarse.lon.attrs))
        found = orbitlite.predict(moved, bundle)
        np.testing.assert_allclose(found.lon, west - 0.25 + 0.5 * np.arange(16))


def test_coordinates_along_times_come_along(coarse, bundle, tmp_path):
    seasons = ["DJF", "DJF", "MAM", "MAM", "JJA"]
    ds = coarse.assign_coords(season=("time", seasons), month=("time", [1, 2, 3, 4, 5]), run="a")
    orbitlite.downscale(ds.chunk(), tmp_path / "fine.nc", bundle)
    for found in (orbitlite.predict(ds, bundle), xr.open_dataset(tmp_path / "fine.nc")):
        assert found["season"].values.tolist() == seasons
        assert found["month"].values.tolist() == [1, 2, 3, 4, 5]
        assert found["run"].item() == "a"
        assert found[RAIN].groupby("season").mean().sizes["season"] == 3


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_chunks_of_steps_are_those_of_the_input(coarse, bundle, tmp_path, steps):
    lazy = coarse.rename(ERA5).chunk(valid_time=steps)
    found = orbitlite.predict(lazy, bundle)
    assert found[RAIN].chunks[0] == lazy[RAIN].chunks[0]
    found.to_zarr(tmp_path / "fine.zarr")
    assert xr.open_zarr(tmp_path / "fine.zarr")[RAIN].chunks[0] == lazy[RAIN].chunks[0]


def test_units_are_those_of_the_table(coarse, bundle):
    other = coarse.assign({RAIN: (coarse[RAIN] / 86400).assign_attrs(units="kg m-2 s-1")})
    found = orbitlite.predict(other, bundle)
    assert found[RAIN].attrs["units"] == "mm"
    np.testing.assert_allclose(
        found[RAIN], orbitlite.predict(coarse, bundle)[RAIN], rtol=1e-3, atol=1e-3
    )
