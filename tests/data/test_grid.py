from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from orbitlite.errors import InputError
from orbitlite.grids.coarsening import coarsen
from orbitlite.grids.latlon import LatLonGrid

KINDS = ("region", "centred", "poles", "thirds")


def points(kind, rows=6, columns=8):
    """Coordinates of a region, of a global grid without pole points, and of one with them."""
    lat, lon = {
        "region": (47.5 - 0.5 * np.arange(rows), -3.25 + 0.5 * np.arange(columns)),
        "centred": (90 - 180 / rows * (np.arange(rows) + 0.5), 360 / columns * np.arange(columns)),
        "poles": (np.linspace(90, -90, rows), -180 + 360 / columns * np.arange(columns)),
        "thirds": (60 - np.arange(rows) / 3, 170 + np.arange(columns) / 3),
    }[kind]
    return xr.Dataset(coords={"lat": lat, "lon": lon})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("factor", [1, 2, 3, 5, 7])
def test_refined_grid_is_exact_and_coarsens_back(kind, factor):
    grid = LatLonGrid.from_dataset(points(kind))
    fine = grid.refine(factor)
    assert fine.shape == (grid.shape[0] * factor, grid.shape[1] * factor)
    for axis in ("lat", "lon"):
        edges, fine_edges = getattr(grid, f"{axis}_edges"), getattr(fine, f"{axis}_edges")
        np.testing.assert_array_equal(fine_edges[::factor], edges)
        for i in range(edges.size - 1):
            expected = np.linspace(edges[i], edges[i + 1], factor + 1)
            np.testing.assert_allclose(fine_edges[i * factor : (i + 1) * factor + 1], expected)
    assert fine.wraps == grid.wraps == (kind in ("centred", "poles"))
    back = fine.coarsen(factor)
    for name in ("lat", "lon", "lat_edges", "lon_edges"):
        np.testing.assert_allclose(getattr(back, name), getattr(grid, name), rtol=0, atol=1e-12)
    assert grid.factor_to(fine) == factor


def test_known_fine_coordinates():
    era5 = LatLonGrid.from_dataset(
        xr.Dataset(coords={"lat": 90 - 0.25 * np.arange(721), "lon": 0.25 * np.arange(1440)})
    )
    assert era5.lat_edges[:3].tolist() == [90, 89.875, 89.625]
    assert era5.refine(2).lat[:4].tolist() == [89.96875, 89.90625, 89.8125, 89.6875]
    assert era5.refine(2).lon[:3].tolist() == [-0.0625, 0.0625, 0.1875]
    assert era5.wraps


def test_weights_are_areas():
    grid = LatLonGrid.from_dataset(points("poles", rows=5, columns=4))
    assert grid.weights.sum() == pytest.approx(1)
    cap = (1 - np.sin(np.radians(67.5))) / 2 / 4
    np.testing.assert_allclose(grid.weights[0], cap)
    band = np.sin(np.radians(22.5)) / 4
    np.testing.assert_allclose(grid.weights[2], band)


def test_bounds_decide_in_either_order():
    ds = points("region", rows=3, columns=2)
    ds = ds.assign_coords(
        lat_bnds=(("lat", "bnds"), [[47.7, 47.2], [47.2, 46.8], [46.8, 46.2]]),
        lon_bnds=(("lon", "bnds"), [[-3.5, -3.0], [-3.0, -2.4]]),
    )
    grid = LatLonGrid.from_dataset(ds)
    assert grid.lat_edges.tolist() == [47.7, 47.2, 46.8, 46.2]
    swapped = ds.assign_coords(lat_bnds=(("lat", "bnds"), ds["lat_bnds"].values[:, ::-1]))
    assert LatLonGrid.from_dataset(swapped).lat_edges.tolist() == grid.lat_edges.tolist()
    assert grid.lon_edges.tolist() == [-3.5, -3.0, -2.4]


@pytest.mark.parametrize("bounds", [[[48, 47.3], [47.2, 46.8]], [[50, 49], [49, 48]]])
def test_bounds_with_gaps_or_elsewhere_are_not_used(bounds):
    ds = points("region", rows=2).assign_coords(lat_bnds=(("lat", "bnds"), bounds))
    assert LatLonGrid.from_dataset(ds).lat_edges.tolist() == [47.75, 47.25, 46.75]


def test_coordinates_go_round(tmp_path):
    grid = LatLonGrid.from_dataset(points("poles")).refine(3)
    xr.Dataset(coords=grid.coordinates()).to_netcdf(tmp_path / "grid.nc")
    with xr.open_dataset(tmp_path / "grid.nc", decode_coords="all") as ds:
        again = LatLonGrid.from_dataset(ds)
        assert ds["lat"].attrs["standard_name"] == "latitude"
    for name in ("lat", "lon", "lat_edges", "lon_edges"):
        np.testing.assert_array_equal(getattr(again, name), getattr(grid, name))


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_coarsening_keeps_mass(data):
    kind = data.draw(st.sampled_from(KINDS))
    factor = data.draw(st.integers(1, 4))
    grid = LatLonGrid.from_dataset(points(kind, 3, 5)).refine(factor)
    values = data.draw(
        hnp.arrays(np.float32, (2, *grid.shape), elements=st.floats(0, 1e3, width=32))
    )
    missing = data.draw(hnp.arrays(np.bool_, (2, *grid.shape)))
    values = np.where(missing, np.nan, values).astype(np.float32)
    field = xr.DataArray(values, dims=("time", "lat", "lon"))
    coarse = coarsen(field, grid, factor)
    area = grid.weights * ~missing
    area = area.reshape(2, 3, factor, 5, factor).sum((2, 4))
    mass = np.nansum(values.astype(np.float64) * grid.weights, axis=(1, 2))
    kept = np.nansum(coarse.values.astype(np.float64) * area, axis=(1, 2))
    np.testing.assert_allclose(kept, mass, rtol=1e-6, atol=1e-12)
    np.testing.assert_array_equal(np.isnan(coarse.values), area == 0)


def test_coarsening_known_values():
    grid = LatLonGrid.from_edges([90.0, 60.0, 30.0], [0.0, 10.0, 20.0])
    low, high = np.sin(np.radians(60)) - 0.5, 1 - np.sin(np.radians(60))
    field = xr.DataArray([[1.0, 2.0], [4.0, np.nan]], dims=("lat", "lon"), attrs={"units": "mm"})
    expected = (1 * high + 2 * high + 4 * low) / (2 * high + low)
    coarse = coarsen(field, grid, 2)
    assert coarse.item() == pytest.approx(expected)
    assert coarse.attrs == {"units": "mm"}
    assert coarse["lat"].values == [60.0]


def test_lazy_dataset_stays_lazy_and_agrees():
    grid = LatLonGrid.from_dataset(points("centred", 6, 8))
    values = np.random.default_rng(0).normal(size=(5, 2, 6, 8)).astype(np.float32)
    values[0, 0, :2, :2] = np.nan
    ds = xr.Dataset(
        {"a": (("time", "number", "lat", "lon"), values), "b": (("lat", "lon"), values[0, 1])},
        {"time": np.arange(5), **grid.coordinates()},
        {"source": "made up"},
    )
    eager = coarsen(ds, grid, 2)
    lazy = coarsen(ds.chunk(time=2, lat=4, lon=3), grid, 2)
    assert lazy["a"].chunks
    xr.testing.assert_identical(lazy.compute(), eager)
    assert np.isnan(eager["a"].values).sum() == 1
    assert eager["b"].shape == (3, 4)
    assert LatLonGrid.from_dataset(eager).factor_to(grid) == 2


def test_longitudes_a_turn_away_nest():
    coarse = LatLonGrid.from_edges([44.0, 42.0, 40.0], [-10.0, -8.0, -6.0])
    fine = LatLonGrid.from_edges(np.arange(44, 39.5, -0.5), 350 + np.arange(0, 4.5, 0.5))
    assert coarse.factor_to(fine) == 4


def test_coordinates_in_single_precision_nest():
    fine = LatLonGrid.from_dataset(points("thirds", 12, 15))
    rounded = {axis: (axis, getattr(fine, axis).astype(np.float32)) for axis in ("lat", "lon")}
    assert fine.coarsen(3).factor_to(LatLonGrid.from_dataset(xr.Dataset(coords=rounded))) == 3


def shifted():
    """ARPEGE against AROME: the grids share their first point."""
    lat, lon = 47.5 - 0.125 * np.arange(20), -3.25 + 0.125 * np.arange(16)
    return LatLonGrid.from_dataset(xr.Dataset(coords={"lat": lat, "lon": lon}))


@pytest.mark.parametrize(
    "fine",
    [
        shifted(),
        LatLonGrid.from_dataset(points("region", 7, 4)),
        LatLonGrid.from_dataset(points("region", 2, 2)),
        LatLonGrid.from_dataset(points("region", 10, 12)),
    ],
)
def test_grids_that_do_not_nest_name_the_option(fine):
    with pytest.raises(InputError, match="regrid to linear or conservative"):
        LatLonGrid.from_dataset(points("region", 5, 4)).factor_to(fine)


def test_mistakes():
    grid = LatLonGrid.from_dataset(points("region"))
    with pytest.raises(InputError, match="whole number"):
        grid.refine(0)
    with pytest.raises(InputError, match="multiples of 4"):
        grid.coarsen(4)
    for lat, lon in (([3.0, 2.0], [2.0, 1.0]), ([2.0, 3.0], [1.0, 2.0])):
        with pytest.raises(InputError, match=r"north to south .* west to east: open the data"):
            LatLonGrid.from_dataset(xr.Dataset(coords={"lat": lat, "lon": lon}))
    with pytest.raises(InputError, match="two at least"):
        LatLonGrid.from_dataset(xr.Dataset(coords={"lat": [3.0], "lon": [2.0, 1.0]}))


@settings(max_examples=100, deadline=None)
@given(
    spacing=st.sampled_from([0.01, 0.025, 0.05, 1 / 12, 0.1, 1 / 3, 1.0]),
    start=st.tuples(st.floats(-80, 80), st.floats(-180, 360)),
    turn=st.integers(-1, 1),
    kind=st.sampled_from(["float32", "three decimals", "exact"]),
)
def test_rounded_and_turned_cells_are_the_same(spacing, start, turn, kind):
    lat, lon = start[0] + spacing * np.arange(9)[::-1], start[1] + spacing * np.arange(7)
    grid, other = (
        LatLonGrid.from_dataset(xr.Dataset(coords={"lat": one, "lon": two}))
        for one, two in ((lat, lon), (rounded(lat, kind, spacing), rounded(lon, kind, spacing)))
    )
    other = other.turn(turn)
    assert grid.same_cells(other)
    assert other.same_cells(grid)
    part = other.select(np.arange(2, 8), np.arange(1, 5))
    rows, columns = grid.find(part)
    for found in (rows, columns):
        assert found.same.all()
        assert found.within.all()
    assert (rows.index.tolist(), columns.index.tolist()) == (list(range(2, 8)), list(range(1, 5)))
    assert not grid.same_cells(part)


def rounded(points, kind, spacing):
    if kind == "three decimals":
        return points.round(3) if spacing >= 0.05 else points
    return points.astype(np.float32) if kind == "float32" else points


@settings(max_examples=100, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    share=st.floats(0.05, 0.95),
    axis=st.sampled_from(["lat", "lon"]),
    sign=st.sampled_from([-1, 1]),
)
def test_shifted_cells_are_others(kind, share, axis, sign):
    ds = points(kind, 7, 9).isel(lat=slice(1, -1))
    step = abs(float(ds[axis][1] - ds[axis][0]))
    moved = ds.assign_coords({axis: ds[axis] + sign * share * step})
    grid, other = LatLonGrid.from_dataset(ds), LatLonGrid.from_dataset(moved)
    assert not grid.same_cells(other)
    found = grid.find(other)[axis == "lon"]
    assert not found.same.any()
    assert found.apart[1:-1] == pytest.approx(step * min(share, 1 - share), rel=1e-6)
    with pytest.raises(InputError, match="does not nest"):
        grid.factor_to(other)


def test_another_spacing_another_start_and_another_size_are_other_cells():
    globe = LatLonGrid.from_dataset(points("centred", 6, 8))
    assert globe.same_cells(globe.turn(1))
    assert not globe.same_cells(globe.select(np.arange(6), np.roll(np.arange(8), 3)))
    assert not globe.same_cells(globe.refine(2))
    region = LatLonGrid.from_edges(np.linspace(40, 30, 6), np.linspace(0, 10, 6))
    stretched = LatLonGrid.from_edges(np.linspace(40, 29.9, 6), np.linspace(0, 10.3, 6))
    assert [found.same.tolist() for found in region.find(stretched)] == [
        [True, True, False, False, False], [False, False, False, False, False],
    ]  # fmt: skip


def test_cells_beyond_and_at_the_edge_of_a_region():
    region = LatLonGrid.from_edges([40, 30, 20, 10], [350, 360, 370])
    rows, columns = region.find(
        LatLonGrid.from_edges([55, 45, 35, 30, 20, 5], [-20, -10, 0, 5, 15])
    )
    assert rows.same.tolist() == [False, False, False, True, False]
    assert rows.within.tolist() == [False, False, True, True, False]
    assert rows.outside.tolist() == [True, False, False, False, False]
    assert columns.same.tolist() == [False, True, False, False]
    assert columns.within.tolist() == [False, True, True, False]
    assert columns.outside.tolist() == [True, False, False, False]
