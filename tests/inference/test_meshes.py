"""Predictions on projected and curvilinear grids: the same fields however a file has its grid."""

from __future__ import annotations

import netCDF4
import numpy as np
import pytest
import torch
import xarray as xr

import orbitlite
from orbitlite.data.datamodule import PairDataModule
from orbitlite.data.regrid import regrid
from orbitlite.errors import InputError
from orbitlite.grids.coarsening import coarsen
from orbitlite.grids.crs import Crs
from orbitlite.grids.mesh import Axes, MeshGrid
from orbitlite.grids.reading import read_grid
from orbitlite.model.bundle import load_bundle, save_bundle
from orbitlite.model.downscaler import Downscaler, DownscalerConfig
from orbitlite.model.statics import Statics
from orbitlite.training.provenance import provenance

RAIN = "total_precipitation_24hr"
POLE = {
    "grid_mapping_name": "rotated_latitude_longitude",
    "grid_north_pole_latitude": 39.25,
    "grid_north_pole_longitude": -162.0,
}
SAID = {axis: {"standard_name": f"grid_{name}", "units": "degrees", "axis": axis.upper()}
        for axis, name in (("y", "latitude"), ("x", "longitude"))}  # fmt: skip


def stored(height, width, step, south_first=True):
    """Return a file's dataset on a rotated pole."""
    random = np.random.default_rng(2)
    edges = step * np.arange(height, -1, -1.0), 4 + step * np.arange(width + 1.0)
    grid = MeshGrid.from_axes(Axes(*edges, SAID, Crs(POLE)))
    coords = grid.coordinates()
    dims = ("time", "rlat", "rlon")
    ds = xr.Dataset(
        {
            "pr": (dims, random.gamma(0.5, 8, (6, height, width)).astype("f4"),
                   {"units": "mm day-1", "grid_mapping": "rotated_pole"}),
            "orog": (dims[1:], random.random((height, width)).astype("f4") * 900, {
                "units": "m", "standard_name": "surface_altitude", "grid_mapping": "rotated_pole"}),
        },
        {
            "time": np.datetime64("2001-01-01", "ns") + np.arange(6) * np.timedelta64(1, "D"),
            "rlat": ("rlat", coords["y"].values, SAID["y"]),
            "rlon": ("rlon", coords["x"].values, SAID["x"]),
            "lat": (dims[1:], grid.lat, {"units": "degrees_north", "standard_name": "latitude"}),
            "lon": (dims[1:], grid.lon, {"units": "degrees_east", "standard_name": "longitude"}),
        },
    ).assign(rotated_pole=((), 0, POLE))  # fmt: skip
    return ds.isel(rlat=slice(None, None, -1)) if south_first else ds


@pytest.fixture(scope="module")
def fine(tmp_path_factory):
    path = tmp_path_factory.mktemp("mesh") / "fine.nc"
    stored(24, 32, 0.44).to_netcdf(path)
    return str(path)


@pytest.fixture(scope="module")
def bundle(fine, tmp_path_factory):
    """Return an untrained network, placed by the data that it would learn from, and saved."""
    torch.manual_seed(0)
    config = DownscalerConfig(
        inputs=[RAIN], statics=["orography"], factor=2, embed_dim=16, depth=1, num_heads=2,
        patch_size=2, constraint="conserve", noise=4,
    )  # fmt: skip
    network = Downscaler(config)
    torch.nn.init.normal_(network.decoder.out.weight, std=0.3)
    data = PairDataModule(
        fine, inputs=[RAIN], targets=[RAIN], static_names=["orography"], factor=2,
        train=["2001-01-01", "2001-01-04"], validate=["2001-01-05", "2001-01-06"],
    )  # fmt: skip
    data.setup("fit")
    found = provenance(network, data, {})
    path = tmp_path_factory.mktemp("mesh") / "bundle"
    save_bundle(path, network, metadata=found["metadata"], statics=Statics(**found["statics"]))
    return load_bundle(path)


@pytest.fixture(scope="module")
def coarse(fine):
    """Return a file's dataset of the coarse fields, named as its source names them."""
    ds = orbitlite.open_source(fine)[[RAIN]]
    means = coarsen(ds, read_grid(ds), 2).drop_vars(["lat_bnds", "lon_bnds"])
    means = means.rename(y="rlat", x="rlon", crs="rotated_pole", **{RAIN: "pr"})
    means["pr"].attrs = {"units": "mm day-1", "grid_mapping": "rotated_pole"}
    return means.isel(rlat=slice(None, None, -1)).load()


def test_secrets_of_urls_are_not_in_records(bundle, caplog):
    """`bundle`: its record is that of a fit."""
    known = bundle.metadata["training"]["sources"]
    assert known["fine"].endswith("fine.nc")
    with caplog.at_level("INFO"):
        data = PairDataModule(
            known["fine"], inputs=[RAIN], targets=[RAIN], static_names=["orography"], factor=2,
            train=["2001-01-01", "2001-01-04"], validate=["2001-01-05", "2001-01-06"],
        )  # fmt: skip
        data.setup("fit")
        urls = ["/data/a_?.nc", "https://me:pw@a.org/b.nc?sig=s3cr3t"]
        object.__setattr__(data.pairing, "coarse", urls)
        init = {"path": "https://a.org/bundle?sig=s3cr3t", "identity": "0" * 12, "tune": "full"}
        found = provenance(bundle.model, data, {}, init)["metadata"]["training"]
    assert found["sources"]["coarse"] == ["/data/a_?.nc", "https://a.org/b.nc"]
    assert found["init"] == {**init, "path": "https://a.org/bundle"}
    assert caplog.text.count("names https://a.org/b.nc without user and query") == 1
    assert "s3cr3t" not in caplog.text


def predicted(source, bundle, **options):
    return orbitlite.predict(source, bundle, members=2, progress=False, **options)


def test_coordinates_are_those_of_the_source(coarse, bundle, fine):
    found = predicted(coarse, bundle)
    with xr.open_dataset(fine) as truth:
        assert found[RAIN].dims == ("realization", "time", "rlat", "rlon")
        for name in ("rlat", "rlon", "lat", "lon"):
            np.testing.assert_allclose(found[name], truth[name], atol=1e-9)
            for key in ("units", "standard_name"):
                assert found[name].attrs[key] == truth[name].attrs[key]
        said = dict(found["rotated_pole"].attrs)
        assert Crs({"crs_wkt": said.pop("crs_wkt")}).angular
        assert said == POLE
        assert found[RAIN].encoding["grid_mapping"] == "rotated_pole"
        assert found["lat"].attrs["bounds"] == "lat_bnds"
        assert found["lat_bnds"].dims == ("rlat", "rlon", "vertices")


def test_means_of_the_coarse_cells_are_kept(coarse, bundle):
    found = predicted(coarse, bundle)
    ds = orbitlite.open_source(found)
    means = coarsen(ds[[RAIN]], read_grid(ds), 2)[RAIN]
    expected = orbitlite.open_source(coarse)[RAIN]
    np.testing.assert_allclose(means.isel(realization=1), expected, rtol=1e-4, atol=1e-4)


def other_names(ds):
    return ds.rename(
        rlat="nj", rlon="ni", lat="nav_lat", lon="nav_lon", rotated_pole="mapping"
    ).assign(
        pr=ds["pr"]
        .rename(rlat="nj", rlon="ni", lat="nav_lat", lon="nav_lon", rotated_pole="mapping")
        .assign_attrs(grid_mapping="mapping")
    )


def without_mapping(ds):
    return ds.drop_vars("rotated_pole").assign(
        pr=ds["pr"].drop_vars("rotated_pole").assign_attrs(grid_mapping="")
    )


FORMS = {
    "north first": lambda ds: ds.isel(rlat=slice(None, None, -1)),
    "transposed": lambda ds: ds.transpose("rlon", "time", "rlat"),
    "other names": other_names,
    "no points": lambda ds: ds.drop_vars(["lat", "lon"]),
    "no mapping": without_mapping,
    "no axes": lambda ds: without_mapping(ds).drop_vars(["rlat", "rlon"]),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_file_may_have_its_grid_in_any_form(coarse, bundle, form):
    expected, changed = predicted(coarse, bundle), FORMS[form](coarse)
    found = predicted(changed, bundle)
    dims = [dim for dim in changed["pr"].dims if dim != "time"]
    assert set(found[RAIN].dims) == {"realization", "time", *dims}
    ours, theirs = (orbitlite.open_source(ds)[RAIN] for ds in (found, expected))
    # midway between points is not quite midway in the plane
    loose = "mapping" in form or "axes" in form
    np.testing.assert_allclose(
        ours, theirs, rtol=1e-3 if loose else 1e-5, atol=1e-2 if loose else 1e-3
    )


def test_tiles_stores_and_arrays_agree(coarse, bundle, tmp_path):
    expected = predicted(coarse, bundle)
    for name in ("whole.nc", "tiles.zarr"):
        options = {"tile": 4, "halo": 12} if name == "tiles.zarr" else {}
        orbitlite.downscale(coarse, tmp_path / name, bundle, members=2, progress=False, **options)
        engine = {"engine": "zarr"} if name.endswith("zarr") else {}
        with xr.open_dataset(tmp_path / name, decode_coords="all", **engine) as found:
            np.testing.assert_allclose(found[RAIN], expected[RAIN], rtol=1e-5, atol=1e-5)
            assert {"lat", "lon", "rotated_pole", "lat_bnds"} <= {*found.coords}
    with netCDF4.Dataset(tmp_path / "whole.nc") as file:
        assert file[RAIN].grid_mapping == "rotated_pole"
        assert sorted(file[RAIN].coordinates.split()) == ["lat", "lon"]
        assert file["rlat"].standard_name == "grid_latitude"


def test_a_part_of_the_region_is_the_same_part(coarse, bundle):
    """Far from the edges of the part; what lies beyond them is not known there."""
    noisy = predicted(coarse.isel(rlat=slice(0, 10), rlon=slice(2, 16)), bundle)
    assert noisy[RAIN].shape[-2:] == (20, 28)
    whole = predicted(coarse, bundle)
    np.testing.assert_allclose(noisy["lat"], whole["lat"][:20, 4:], atol=1e-9)


def test_another_grid_is_refused(coarse, bundle):
    moved = coarse.assign_coords(rlat=coarse.rlat + 0.3).drop_vars(["lat", "lon"])
    with pytest.raises(InputError, match="do not cover this region"):
        predicted(moved, bundle)
    found = predicted(moved, bundle, regrid="linear")
    part, whole = (
        read_grid(orbitlite.open_source(ds)) for ds in (found, predicted(coarse, bundle))
    )
    assert all(axis.same.all() for axis in whole.find_blocks(part, 1))


def test_sums_are_kept_on_the_way_to_the_mesh(bundle):
    """Of rain on the same pole, in cells of four fifths of those that the network takes."""
    source = stored(15, 20, 0.704).drop_vars("orog")
    with pytest.raises(InputError, match="do not cover this region"):
        predicted(source, bundle)
    sums = []
    for ds in (source, predicted(source, bundle, regrid="conservative")):
        rain = orbitlite.open_source(ds)[RAIN]
        sums.append((rain * read_grid(rain).areas).sum(("y", "x")))
    assert sums[1].shape == (2, 6)
    np.testing.assert_allclose(sums[1], np.stack([sums[0]] * 2), rtol=1e-4)


def test_scores(coarse, bundle, fine, tmp_path):
    found = predicted(coarse, bundle)
    result = orbitlite.evaluate(found, fine, coarse=coarse, progress=False)
    scores = result.scores[RAIN]
    with xr.open_dataset(fine) as truth:
        ds = orbitlite.open_source(truth)
        weights = read_grid(ds).weights
        error = orbitlite.open_source(found)[RAIN].mean("realization").values - ds[RAIN].values
    expected = np.sqrt((weights * error**2).sum((1, 2)).mean())
    assert scores["orbitlite"]["rmse"] == pytest.approx(expected, rel=1e-5)
    assert {"nearest", "bilinear", "bicubic"} <= set(scores)
    assert scores["bilinear"]["rmse"] < scores["nearest"]["rmse"] * 1.2
    result.report(tmp_path / "report")
    assert list((tmp_path / "report").glob("*wettest_day.png"))


def test_a_regular_source_is_brought_onto_the_mesh(bundle, coarse, tmp_path):
    """As a global model's fields are onto the grid of a regional one."""
    random = np.random.default_rng(5)
    lat, lon = np.arange(25.0, 70, 2), np.arange(0.0, 360, 2.5)
    ds = xr.Dataset(
        {"pr": (("time", "latitude", "longitude"), random.gamma(1, 4, (2, lat.size, lon.size)),
                {"units": "mm day-1"})},
        {"time": coarse.time.values[:2], "latitude": lat, "longitude": lon},
    )  # fmt: skip
    with pytest.raises(InputError, match="do not cover this region"):
        predicted(ds, bundle)
    found = predicted(ds, bundle, regrid="linear")
    assert found[RAIN].shape == (2, 2, 24, 32)
    assert found[RAIN].dims[2:] == ("y", "x")
    assert found["crs"].attrs["grid_mapping_name"] == POLE["grid_mapping_name"]
    expected = predicted(coarse, bundle)
    for name in ("lat", "lon"):
        np.testing.assert_allclose(found[name], expected[name].values[::-1], atol=1e-6)
    np.testing.assert_allclose(found["y"], expected["rlat"].values[::-1], atol=1e-9)
    brought = regrid(orbitlite.open_source(ds), read_grid(orbitlite.open_source(coarse)), "linear")
    means = coarsen(
        orbitlite.open_source(found)[[RAIN]], read_grid(orbitlite.open_source(found)), 2
    )
    np.testing.assert_allclose(means[RAIN][0], brought[RAIN], rtol=1e-4, atol=1e-4)
    orbitlite.downscale(ds, tmp_path / "a.nc", bundle, regrid="linear", members=2, progress=False)
    with xr.open_dataset(tmp_path / "a.nc") as again:
        np.testing.assert_allclose(again[RAIN], found[RAIN], rtol=1e-5, atol=1e-5)


def test_a_regular_coarse_store_is_learned_from(fine, tmp_path):
    lat, lon = np.arange(25.0, 70, 2), np.arange(-40.0, 40, 2.5)
    values = np.random.default_rng(6).gamma(1, 4, (6, lat.size, lon.size)).astype("f4")
    ds = xr.Dataset(
        {"pr": (("time", "lat", "lon"), values, {"units": "mm day-1"})},
        {"time": orbitlite.open_source(fine).time.values, "lat": lat, "lon": lon},
    )
    ds.to_netcdf(tmp_path / "coarse.nc")
    options = {
        "inputs": [RAIN], "targets": [RAIN], "static_names": ["orography"], "factor": 4,
        "train": ["2001-01-01", "2001-01-06"],
    }  # fmt: skip
    with pytest.raises(InputError, match="does not nest"):
        PairDataModule(fine, str(tmp_path / "coarse.nc"), **options).setup("fit")
    data = PairDataModule(fine, str(tmp_path / "coarse.nc"), regrid="linear", **options)
    data.setup("fit")
    assert data.grid.shape == (6, 8)
    batch = data.dataset("train")[0]
    assert batch.corners.shape == (1, 7, 9, 2)
    assert batch.areas.shape == (1, 24, 32)
    expected = regrid(orbitlite.open_source(ds), data.grid, "linear")[RAIN][0]
    np.testing.assert_allclose(batch.coarse[0, 0], expected, rtol=1e-6)
