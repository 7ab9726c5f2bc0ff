from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from orbitlite.data.coordinates import check_spacing, standardise
from orbitlite.data.source import open_source
from orbitlite.errors import InputError
from orbitlite.grids.mesh import MeshGrid
from orbitlite.grids.reading import read_grid


def grid(lat, lon, lat_name="lat", lon_name="lon", **coords):
    """Return a dataset whose values tell the longitude (mod 360) and latitude of their cell."""
    lat, lon = np.asarray(lat, float), np.asarray(lon, float)
    values = 1000 * lat[:, None] + lon[None, :] % 360
    return xr.Dataset(
        {"v": ((lat_name, lon_name), values)}, {lat_name: lat, lon_name: lon, **coords}
    )


def consistent(ds):
    """Check that every value still stands at its own cell."""
    expected = 1000 * ds["lat"].values[:, None] + ds["lon"].values[None, :] % 360
    np.testing.assert_allclose(ds["v"].transpose("lat", "lon").values, expected)


@pytest.mark.parametrize(
    ("lat", "lon"),
    [("lat", "lon"), ("latitude", "longitude"), ("LAT", "LON"), ("nav_lat", "nav_lon")],
)
def test_names(lat, lon):
    ds = standardise(grid([3, 2, 1], [10, 11, 12], lat, lon))
    assert set(ds["v"].dims) == {"lat", "lon"}
    consistent(ds)


def test_any_name_with_cf_attributes():
    ds = grid([1, 2], [10, 11], "phi", "lambda")
    ds["phi"].attrs["units"] = "degrees_north"
    ds["lambda"].attrs["standard_name"] = "longitude"
    consistent(standardise(ds))


def test_coordinates_along_dimensions_of_another_name():
    ds = (
        grid([1, 2], [10, 11], "lat", "lon")
        .rename_dims(lat="j", lon="i")
        .reset_index(["lat", "lon"])
    )
    consistent(standardise(ds.reset_coords()))


@pytest.mark.parametrize("order", [1, -1])
def test_latitude_runs_from_the_north(order):
    lat = np.array([1.0, 2.0, 3.0])[::order]
    np.testing.assert_array_equal(standardise(grid(lat, [1, 2]))["lat"], [3.0, 2.0, 1.0])


@pytest.mark.parametrize(
    ("lon", "expected"),
    [
        ([0, 90, 180, 270], [0, 90, 180, 270]),
        ([-180, -90, 0, 90], [-180, -90, 0, 90]),
        ([180, 270, 0, 90], [0, 90, 180, 270]),  # a global grid that starts in the middle
        ([0, 90, -180, -90], [-180, -90, 0, 90]),
        ([350, 355, 0, 5], [350, 355, 360, 365]),  # across Greenwich
        ([0, 5, 350, 355], [350, 355, 360, 365]),  # the same, sorted by value
        ([170, 175, -180, -175], [170, 175, 180, 185]),  # across the date line
        ([-180, -175, 170, 175], [170, 175, 180, 185]),
        ([12, 11, 10], [10, 11, 12]),
        ([350, 360, 370], [350, 360, 370]),
    ],
)
def test_longitude_ascends_without_a_gap(lon, expected):
    ds = standardise(grid([1, 2], lon))
    np.testing.assert_allclose(ds["lon"], expected)
    consistent(ds)


@given(
    start=st.integers(-180, 359),
    count=st.integers(3, 71),
    convention=st.sampled_from([0, -180]),
    ordered=st.booleans(),
)
def test_every_region_keeps_its_cells(start, count, convention, ordered):
    lon = (start + 5.0 * np.arange(count) - convention) % 360 + convention
    ds = standardise(grid([1, 2], np.sort(lon) if ordered else lon))
    np.testing.assert_allclose(np.diff(ds["lon"]), 5)
    consistent(ds)


def test_the_repeated_meridian_is_dropped():
    ds = standardise(grid([1, 2], [0, 90, 180, 270, 360]))
    np.testing.assert_array_equal(ds["lon"], [0, 90, 180, 270])


def test_bounds_follow_their_cells():
    ds = grid([2, 1], [355, 0, 5], "latitude", "longitude")
    ds["longitude"].attrs["bounds"] = "longitude_bnds"
    ds["longitude_bnds"] = (("longitude", "bnds"), [[352.5, 357.5], [-2.5, 2.5], [2.5, 7.5]])
    ds["lat_bnds"] = (("latitude", "bnds"), [[2.5, 1.5], [1.5, 0.5]])
    ds = standardise(ds)
    np.testing.assert_allclose(ds["lon"], [355, 360, 365])
    np.testing.assert_allclose(ds["lon_bnds"], [[352.5, 357.5], [357.5, 362.5], [362.5, 367.5]])
    np.testing.assert_allclose(ds["lat_bnds"], [[2.5, 1.5], [1.5, 0.5]])


@pytest.mark.parametrize(
    ("lat", "lon", "message"),
    [
        ([1, 2, 4], [1, 2], "spacing of lat is irregular .1 to 2 degrees.*regrid"),
        ([1, 2], [1, 2, 3, 5], "spacing of lon is irregular"),
        ([1, 2, 1], [1, 2], "ascend or descend"),
        ([1], [1, 2], "two at least"),
        ([100, 200], [1, 2], "reaches 200: expected degrees of latitude"),
        ([1, np.nan], [1, 2], "missing values"),
        ([1, 2], [1e5, 2e5], "expected degrees of longitude"),
    ],
)
def test_bad_values(lat, lon, message):
    with pytest.raises(InputError, match=message):
        standardise(grid(lat, lon))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spacing", [0.025, 1 / 12, 0.1, 0.25, 0.25025, 1.0, 2.8125])
def test_regular_spacing_survives_rounding(dtype, spacing):
    values = -180 + spacing * np.arange(int(360 / spacing))
    check_spacing(values.astype(dtype).astype(np.float64), "lon")
    if spacing > 0.05:
        check_spacing(np.round(values, 3), "lon")


@pytest.mark.parametrize("count", [64, 94, 320])
def test_gaussian_latitudes_are_irregular_but_may_be_let_through(count):
    lat = np.degrees(np.arcsin(np.polynomial.legendre.leggauss(count)[0]))[::-1]
    with pytest.raises(InputError, match="spacing of lat is irregular"):
        standardise(grid(lat, [1, 2]))
    np.testing.assert_array_equal(standardise(grid(lat, [1, 2]), regular=False)["lat"], lat)


def two_dimensional(bend):
    """Return a regular grid whose coordinates and vertices are stored in two dimensions."""
    lat, lon = np.meshgrid([60.0, 50, 40], [0.0, 10, 20, 30], indexing="ij")
    south, north = np.array([55.0, 45, 35])[:, None], np.array([65.0, 55, 45])[:, None]
    west, east = lon - 5, lon + 5
    lats = np.stack(np.broadcast_arrays(south, south + bend, north + bend, north), axis=-1)
    lats = np.broadcast_to(lats, (3, 4, 4))
    bounds = {"lat_v": lats, "lon_v": np.stack([west, east, east, west], axis=-1)}
    dims = ("nj", "ni")
    return xr.Dataset(
        {"tas": (dims, np.full((3, 4), 280.0), {"units": "K", "standard_name": "air_temperature"}),
         **{name: ((*dims, "v"), values) for name, values in bounds.items()}},
        {"latitude": (dims, lat, {"units": "degrees_north", "bounds": "lat_v"}),
         "longitude": (dims, lon, {"units": "degrees_east", "bounds": "lon_v"})},
    )  # fmt: skip


@pytest.mark.parametrize("transposed", [False, True])
def test_vertices_of_a_regular_grid_are_its_edges(transposed):
    ds = two_dimensional(0.0)
    found = read_grid(open_source(ds.transpose("v", "ni", "nj") if transposed else ds))
    assert found.lat_edges.tolist() == [65, 55, 45, 35]
    assert found.lon_edges.tolist() == [-5, 5, 15, 25, 35]


def test_cells_that_are_not_between_parallels_stay_what_they_are():
    found = read_grid(open_source(two_dimensional(3.0).isel(ni=slice(1, 3))))
    assert isinstance(found, MeshGrid)
