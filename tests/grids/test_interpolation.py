"""Weights on the sphere: exact for what is linear there, one for a constant, empty beyond."""

import numpy as np
import pytest
import xarray as xr

from orbitlite.data.regrid import regrid
from orbitlite.errors import InputError
from orbitlite.grids.crs import Crs
from orbitlite.grids.interpolation import Weights
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.grids.mesh import Axes, MeshGrid
from orbitlite.grids.sphere import vectors

POLE = Crs({
    "grid_mapping_name": "rotated_latitude_longitude",
    "grid_north_pole_latitude": 39.25,
    "grid_north_pole_longitude": -162.0,
})  # fmt: skip
ATTRS = {"y": {"units": "degrees"}, "x": {"units": "degrees"}}


def mesh(height=12, width=14, step=0.4, north=5.0, west=-3.0):
    y = north - step * np.arange(height + 1)
    return MeshGrid.from_axes(Axes(y, west + step * np.arange(width + 1), ATTRS, POLE))


def globe(height=90, width=180):
    return LatLonGrid.from_edges(np.linspace(90, -90, height + 1), np.linspace(0, 360, width + 1))


def smooth(grid):
    """Return a field that is nearly linear over a few degrees."""
    x = vectors(*grid.centres)
    return 3 * x[..., 0] - 2 * x[..., 1] + 5 * x[..., 2]


def within(grid):
    """Return a grid of latitude and longitude in the middle of another."""
    lat, lon = (float(values.mean()) for values in grid.centres)
    return LatLonGrid.from_edges(np.linspace(lat + 2, lat - 2, 9), np.linspace(lon - 2, lon + 2, 9))


LARGE = mesh(40, 40, 0.4, 12.0, -10.0)
PAIRS = {
    "globe to mesh": (globe(), mesh()),
    "mesh to mesh": (LARGE, mesh()),
    "mesh to lat-lon": (LARGE, within(LARGE)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_mean_of_the_places_is_the_place(name):
    """Weights are positive, sum to one, and point from the source points to the target's."""
    source, target = PAIRS[name]
    weights = Weights.of(source, target)
    np.testing.assert_allclose(weights.linear.sum(axis=1), 1.0, rtol=1e-9)
    assert (weights.linear.data >= 0).all()
    assert weights.linear.nnz <= 3 * weights.linear.shape[0]
    x = np.moveaxis(vectors(*source.centres), -1, 0)
    mean = np.moveaxis(weights(x), 0, -1)
    mean /= np.linalg.norm(mean, axis=-1, keepdims=True)
    np.testing.assert_allclose(mean, vectors(*target.centres), atol=1e-9)
    np.testing.assert_allclose(weights(smooth(source)), smooth(target), atol=2e-3)


def test_a_grid_onto_itself():
    grid = mesh()
    field = np.random.default_rng(0).random((2, *grid.shape))
    weights = Weights.of(grid, grid)
    np.testing.assert_allclose(weights(field), field, atol=1e-12)
    np.testing.assert_array_equal(weights.nearest, np.arange(field[0].size))


def test_longitudes_go_round():
    """Between the last meridian and the first."""
    source = globe(18, 36)
    target = MeshGrid.from_points(*np.meshgrid([2.0, -3.0], [-4.0, -1.0, 3.0], indexing="ij"))
    np.testing.assert_allclose(
        Weights.of(source, target)(smooth(source)), smooth(target), atol=0.05
    )


def test_what_lies_beyond_is_missing():
    source, target = mesh(6, 7), mesh(12, 14)
    ones = xr.Dataset({"t": (("y", "x"), np.ones(source.shape))}, source.coordinates())
    found = regrid(ones, target, "linear")["t"].values
    assert found.shape == target.shape
    inside = np.zeros(target.shape, bool)
    inside[:6, :7] = True
    np.testing.assert_array_equal(np.isfinite(found), inside)


def test_missing_values_and_classes():
    source, target = globe(), mesh(west=-2.9)
    field = np.random.default_rng(1).integers(1, 5, source.shape).astype("f4")
    ds = xr.Dataset(
        {"landcover": (("lat", "lon"), field), "2m_temperature": (("lat", "lon"), field.copy())},
        source.coordinates(),
    )
    ds["2m_temperature"][:18] = np.nan  # to 54 N
    found = regrid(ds.chunk(lat=30), target, "linear").compute()
    assert found["2m_temperature"].dims == ("y", "x")
    lat, lon = target.centres
    cells = ((90 - lat) / 2).astype(int), (lon % 360 / 2).astype(int)
    np.testing.assert_array_equal(found["landcover"], field[cells])
    here = np.isfinite(found["2m_temperature"].values)
    assert not here[lat > 55].any()  # the first points that have values lie at 53 N
    assert here[lat < 53].all()
    assert (lat > 55).any()
    assert (lat < 53).any()


def test_conservative_is_refused():
    source, target = globe(), mesh()
    ds = xr.Dataset({"t": (("lat", "lon"), np.ones(source.shape))}, source.coordinates())
    with pytest.raises(InputError, match="use linear"):
        regrid(ds, target, "conservative")
