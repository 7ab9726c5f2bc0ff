"""Outputs are read by GDAL and cf-xarray where they lie: in a process without our libraries."""

import json
import subprocess
import sys

import cf_xarray  # noqa: F401  (registers an accessor)
import numpy as np
import pytest
import torch
import xarray as xr

import orbitlite
from orbitlite.grids.crs import Crs
from orbitlite.grids.mesh import Axes, MeshGrid
from orbitlite.model.bundle import save_bundle
from orbitlite.model.downscaler import Downscaler, DownscalerConfig

WARM = "2m_temperature"
SYSTEMS = {
    "regular": {"grid_mapping_name": "latitude_longitude"},
    "rotated": {
        "grid_mapping_name": "rotated_latitude_longitude",
        "grid_north_pole_latitude": 39.25,
        "grid_north_pole_longitude": -162.0,
    },
    "lambert": {
        "grid_mapping_name": "lambert_conformal_conic",
        "standard_parallel": [30.0, 65.0],
        "longitude_of_central_meridian": 10.0,
        "latitude_of_projection_origin": 45.0,
        "earth_radius": 6371229.0,
    },
}
STEP = {"regular": 0.5, "rotated": 0.5, "lambert": 5e4}
HEIGHT, WIDTH = 6, 8

# GDAL finds a file's reference system, its corner and steps, and the cells that places lie in.
READER = """
import json, sys
import rasterio
from rasterio.warp import transform

path, places = sys.argv[1], json.load(sys.stdin)
with rasterio.open(f"netcdf:{path}:2m_temperature") as file:
    x, y = transform("EPSG:4326", file.crs, places["lon"], places["lat"])
    corner, step = (file.transform[2], file.transform[5]), (file.transform[0], file.transform[4])
    cells = [((v - corner[1]) / step[1], (u - corner[0]) / step[0]) for u, v in zip(x, y)]
    print(json.dumps({
        "transform": file.transform[:6], "cells": cells, "shape": file.shape,
        "values": file.read(1).tolist(), "crs": file.crs.to_wkt(),
    }))
"""


def source(kind, south_first, **more):
    """Return a dataset whose values are 200 K plus latitude and a tenth of longitude."""
    step, dims = STEP[kind], {"regular": ("lat", "lon"), "rotated": ("rlat", "rlon")}
    rows, columns = dims.get(kind, ("y", "x"))
    y_edges, x_edges = step * np.arange(HEIGHT, -1, -1.0), step * np.arange(WIDTH + 1.0)
    if kind == "regular":
        y_edges += 45
    middles = [(edges[1:] + edges[:-1]) / 2 for edges in (y_edges, x_edges)]
    stated = {
        "regular": ("latitude", "longitude", "degrees_north", "degrees_east"),
        "rotated": ("grid_latitude", "grid_longitude", "degrees", "degrees"),
        "lambert": ("projection_y_coordinate", "projection_x_coordinate", "m", "m"),
    }[kind]
    said = [{"standard_name": stated[i], "units": stated[i + 2]} for i in (0, 1)]
    lat, lon = np.meshgrid(*middles, indexing="ij")
    if kind != "regular":
        axes = Axes(y_edges, x_edges, {"y": said[0], "x": said[1]}, Crs(SYSTEMS[kind]))
        lat, lon = MeshGrid.from_axes(axes).centres
    ds = xr.Dataset(
        {"tas": (("time", rows, columns), (200 + lat + lon / 10)[None].astype("f4"),
                 {"units": "K", "standard_name": "air_temperature", "grid_mapping": "mapping"}),
         "mapping": ((), 0, SYSTEMS[kind] | more)},
        {"time": [np.datetime64("2001-01-01", "ns")],
         rows: (rows, middles[0], said[0]), columns: (columns, middles[1], said[1])},
    )  # fmt: skip
    return ds.isel({rows: slice(None, None, -1)}) if south_first else ds


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    torch.manual_seed(0)
    config = DownscalerConfig(
        inputs=[WARM], targets=[WARM], statics=[], factor=2, embed_dim=8, depth=0, patch_size=2,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("georeference") / "bundle"
    save_bundle(path, Downscaler(config), metadata={})
    return path


@pytest.fixture(params=[False, True], ids=["north first", "south first"])
def south_first(request):
    return request.param


@pytest.fixture(params=SYSTEMS)
def kind(request):
    return request.param


@pytest.fixture
def path(kind, south_first, bundle, tmp_path):
    # what GDAL notes of the grid of the source is not so of the output
    ds = source(kind, south_first, GeoTransform="1 2 0 3 0 -4")
    orbitlite.downscale(ds, tmp_path / "fine.nc", bundle, progress=False)
    return tmp_path / "fine.nc"


def places(ds):
    """Return latitudes, longitudes and values of all cells, rows in GDAL's order."""
    lat, lon = ds["lat"].values, ds["lon"].values
    if lat.ndim == 1:
        lat, lon = np.meshgrid(lat, lon, indexing="ij")
    rows = ds[WARM].dims[1]
    step = -1 if ds[rows][0] < ds[rows][-1] else 1
    return lat[::step], lon[::step], ds[WARM].values[0, ::step]


def test_gdal_finds_every_cell(path, kind):
    """The system, corners at the edges of cells, and each latitude and longitude in its cell."""
    with xr.open_dataset(path) as ds:
        lat, lon, values = places(ds)
    given = json.dumps({"lat": lat.ravel().tolist(), "lon": lon.ravel().tolist()})
    done = subprocess.run(
        [sys.executable, "-c", READER, str(path)], input=given, text=True, capture_output=True,
        check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    north = STEP[kind] * HEIGHT + (45 if kind == "regular" else 0)
    half = STEP[kind] / 2
    np.testing.assert_allclose(found["transform"], [half, 0, 0, 0, -half, north], atol=1e-9)
    assert found["shape"] == [2 * HEIGHT, 2 * WIDTH]
    middles = np.stack(np.indices(values.shape), -1).reshape(-1, 2) + 0.5
    np.testing.assert_allclose(found["cells"], middles, atol=1e-6)
    np.testing.assert_array_equal(found["values"], values)


def test_values_lie_where_the_file_says(path):
    """A cell beside is a quarter of a degree away; at the edges interpolation is not linear."""
    with xr.open_dataset(path) as ds:
        lat, lon, values = (field[2:-2, 2:-2] for field in places(ds))
    np.testing.assert_allclose(values, 200 + lat + lon / 10, atol=0.05)


def test_cf_finds_axes_bounds_and_mapping(path, kind):
    with xr.open_dataset(path, decode_coords="all") as ds:
        rows, columns = ds[WARM].dims[1:]
        if kind != "regular":
            assert ds.cf.axes["Y"] == [rows]
            assert ds.cf.axes["X"] == [columns]
        assert ds[WARM].cf.coordinates["latitude"] == ["lat"]
        assert ds[WARM].cf.coordinates["longitude"] == ["lon"]
        assert ds.cf.bounds["latitude"] == ["lat_bnds"]
        assert ds[WARM].cf.grid_mapping_names == {SYSTEMS[kind]["grid_mapping_name"]: ["mapping"]}
        assert "GeoTransform" not in ds["mapping"].attrs


@pytest.mark.parametrize(
    "order",
    ["orbitlite eccodes rasterio", "eccodes orbitlite rasterio", "rasterio eccodes orbitlite"],
)
def test_three_copies_of_proj_in_one_process(order):
    """Each package brings its own; eccodes and then another without ours between them crash."""
    code = f"""
for name in {order.split()!r}:
    __import__(name)
from orbitlite.grids.crs import Crs
import numpy as np
import rasterio.warp
print(*Crs({{"proj4": "+proj=lcc +lat_1=30 +lat_2=60 +lon_0=10"}}).degrees(np.ones(1), np.ones(1)))
print(*rasterio.warp.transform("EPSG:3035", "EPSG:4326", [4321000.0], [3210000.0]))
"""
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert "[10.0] [52.0" in done.stdout or "[10.0] [51.99" in done.stdout
