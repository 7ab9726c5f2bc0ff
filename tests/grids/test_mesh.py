"""MeshGrid: cells between any corners, divided, joined, found and refused."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from orbitlite.data.nesting import nest
from orbitlite.errors import InputError
from orbitlite.grids.coarsening import coarsen
from orbitlite.grids.crs import Crs
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.grids.mesh import Axes, MeshGrid
from orbitlite.grids.reading import read_grid

POLE = Crs({
    "grid_mapping_name": "rotated_latitude_longitude",
    "grid_north_pole_latitude": 39.25,
    "grid_north_pole_longitude": -162.0,
})  # fmt: skip
ATTRS = {"y": {"units": "degrees"}, "x": {"units": "degrees"}}


def plane(height=8, width=12, step=0.5):
    return Axes(step * np.arange(height, -1, -1.0), step * np.arange(width + 1.0), ATTRS, POLE)


def mesh(height=8, width=12, step=0.5):
    return MeshGrid.from_axes(plane(height, width, step))


def curvilinear(height=8, width=12):
    """Return a grid that no projection makes."""
    i, j = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    lat = 50 - 0.4 * i + 0.05 * np.sin(0.6 * j)
    return MeshGrid.from_points(lat, 5 + 0.5 * j + 0.04 * i + 0.05 * np.cos(0.5 * i))


@pytest.mark.parametrize("grid", [mesh(), curvilinear()], ids=["rotated", "curvilinear"])
def test_datasets_are_coarsened_on_grids_with_axes_and_without(grid):
    random = np.random.default_rng(0).random(grid.shape)
    found = coarsen(xr.Dataset({"orography": (grid.dims, random)}), grid, 2)
    weights = grid.weights
    total = (random * weights).reshape(4, 2, 6, 2).sum((1, 3))
    expected = total / weights.reshape(4, 2, 6, 2).sum((1, 3))
    np.testing.assert_allclose(found["orography"], expected, rtol=1e-5)
    np.testing.assert_array_equal(found["lat"], grid.coarsen(2).lat)


@pytest.mark.parametrize("grid", [mesh(), curvilinear()], ids=["rotated", "curvilinear"])
def test_refining_and_coarsening_are_inverse(grid):
    fine = grid.refine(3)
    assert fine.shape == (24, 36)
    assert fine.coarsen(3).same_cells(grid)
    assert grid.factor_to(fine) == 3
    blocks = fine.weights.reshape(8, 3, 12, 3).sum((1, 3))
    np.testing.assert_allclose(blocks, grid.weights, rtol=2e-4)


def test_weights_are_areas_on_the_sphere():
    """A rotated grid is a regular one, seen from another pole."""
    axes = plane()
    plain = LatLonGrid.from_edges(axes.y_edges, axes.x_edges)
    np.testing.assert_allclose(mesh().weights, plain.weights, rtol=1e-5)
    assert mesh().spacing == pytest.approx((0.5, 0.5), rel=2e-3)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 4), st.integers(0, 6), st.integers(2, 4), st.integers(2, 6))
def test_parts_are_found(row, column, height, width):
    grid = mesh()
    rows, columns = np.arange(row, row + height), np.arange(column, column + width)
    found = grid.find(grid.select(rows, columns))
    assert all(part.same.all() for part in found)
    np.testing.assert_array_equal(found[0].index, rows)
    np.testing.assert_array_equal(found[1].index, columns)


def test_what_is_beyond_is_not_found():
    grid = mesh()
    part = grid.select(np.arange(2, 8), np.arange(3, 12))
    rows, columns = part.find(grid)
    assert rows.same.tolist() == [False, False] + [True] * 6
    assert columns.same.tolist() == [False] * 3 + [True] * 9
    shifted = MeshGrid.from_axes(Axes(plane().y_edges + 0.2, plane().x_edges, ATTRS, POLE))
    assert not any(found.same.any() for found in grid.find(shifted))
    assert not any(found.same.any() for found in grid.find(LatLonGrid.from_edges([2, 1], [1, 2])))


def test_a_mesh_that_goes_round():
    i, j = np.meshgrid(np.arange(6), np.arange(24), indexing="ij")
    lat, lon = 70 - 5.0 * i, 15.0 * j
    edges = np.stack(np.meshgrid(72.5 - 5.0 * np.arange(7), -7.5 + 15.0 * np.arange(25),
                                 indexing="ij"), axis=-1)  # fmt: skip
    grid = MeshGrid.from_corners(edges)
    assert grid.wraps
    assert not mesh().wraps
    part = grid.select(np.arange(6), np.array([22, 23, 0, 1]))
    np.testing.assert_allclose(part.lon[0] % 360, [330, 345, 0, 15], atol=1e-9)
    np.testing.assert_allclose(grid.lat, lat, atol=0.3)
    np.testing.assert_allclose((grid.lon - lon) % 360 % 360, 0, atol=1e-6)


def test_folded_and_empty_cells_are_refused():
    i, j = np.meshgrid(np.arange(4.0), np.arange(5.0), indexing="ij")
    with pytest.raises(InputError, match="have no area or lie over others"):
        MeshGrid.from_points(50 - i, np.where(j > 2, 5 - j, j))
    with pytest.raises(InputError, match="have no area"):
        MeshGrid.from_points(50 - i, np.zeros_like(j))


def test_means_keep_sums():
    random = np.random.default_rng(0)
    grid = mesh()
    field = xr.DataArray(random.random((2, 8, 12)), dims=("time", "y", "x"), name="v")
    means = coarsen(field, grid, 2)
    areas = grid.weights.reshape(4, 2, 6, 2).sum((1, 3))
    np.testing.assert_allclose(
        (means * areas).sum(("y", "x")), (field * grid.weights).sum(("y", "x"))
    )
    hole = field.where(field > 0.3)
    found = coarsen(hole, grid, 2).values
    cut = hole.values.reshape(2, 4, 2, 6, 2)
    weights = grid.weights.reshape(4, 2, 6, 2) * np.isfinite(cut)
    with np.errstate(invalid="ignore"):
        expected = (np.nan_to_num(cut) * weights).sum((2, 4)) / weights.sum((2, 4))
    np.testing.assert_allclose(found, expected)


def test_coarse_meshes_nest():
    fine = mesh(9, 13)
    coarse = fine.select(np.arange(1, 9), np.arange(1, 13)).coarsen(2)
    with pytest.warns(match="were dropped"):
        nesting = nest(fine, 2, coarse)
    assert nesting.grid.same_cells(coarse)
    np.testing.assert_array_equal(nesting.fine_rows, np.arange(1, 9))
    part = coarse.select(np.arange(1, 4), np.arange(6))
    with pytest.warns(match="covers 18 of the 24 coarse cells"):
        nesting = nest(fine, 2, part)
    np.testing.assert_array_equal(nesting.rows, [-1, 0, 1, 2])
    for other in (mesh(4, 6, 0.9), LatLonGrid.from_edges([2, 1, 0], [0, 1, 2])):
        with pytest.raises(InputError, match="does not nest"):
            nest(fine, 2, other)


@pytest.mark.parametrize("grid", [mesh(), curvilinear()], ids=["rotated", "curvilinear"])
def test_coordinates_are_read_again(grid):
    ds = xr.Dataset(coords=grid.coordinates())
    if grid.axes is None:
        ds = ds.assign_coords(y=np.arange(8), x=np.arange(12))
    found = read_grid(ds)
    assert found.same_cells(grid)
    np.testing.assert_allclose(found.corners, grid.corners, atol=1e-9)


def test_bounds_come_first():
    """Corners that lie elsewhere than midway, in any order of the vertices."""
    grid = curvilinear()
    random = np.random.default_rng(1)
    moved = grid.corners + random.uniform(-0.05, 0.05, grid.corners.shape)
    ds = xr.Dataset(coords=MeshGrid.from_corners(moved).coordinates())
    ds = ds.assign_coords(y=np.arange(8), x=np.arange(12))
    ds = ds.isel(vertices=[2, 0, 3, 1])
    np.testing.assert_allclose(read_grid(ds).corners, moved, atol=1e-9)
    torn = np.where(np.arange(4) == 1, ds.lat_bnds + 0.2, ds.lat_bnds)
    with pytest.warns(match="do not join to one net of cells"):
        read_grid(ds.assign_coords(lat_bnds=(ds.lat_bnds.dims, torn)))


def test_a_reference_system_that_contradicts_the_coordinates():
    ds = xr.Dataset(coords=mesh().coordinates()).drop_vars(["lat_bnds", "lon_bnds"])
    read_grid(ds)
    with pytest.raises(InputError, match=r"puts cells up to 3 degrees away"):
        read_grid(ds.assign_coords(lat=ds.lat + 3))
