"""Land cover, soil type and the like: codes are counted, never averaged."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from orbitlite.data.pairing import Pairing
from orbitlite.data.regrid import regrid
from orbitlite.grids.coarsening import coarsen
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.variables import VARIABLES

CLASSES = ["landcover", "soil_type", "type_of_high_vegetation", "type_of_low_vegetation"]


def area(grid):
    """Steradians over a constant, (H, W)."""
    heights = np.abs(np.diff(np.sin(np.radians(grid.lat_edges))))
    return heights[:, None] * np.diff(grid.lon_edges)


def winner(codes, areas):
    """The class of the largest area by counting, the smallest code of equal ones."""
    there = ~np.isnan(codes)
    if not areas[there].sum() > 1e-9:
        return np.nan
    shares = {code: areas[codes == code].sum() for code in np.unique(codes[there])}
    most = max(shares.values())
    return min(code for code, share in shares.items() if share > most * (1 - 1e-9))


def codes_on(shape, seed=0):
    random = np.random.default_rng(seed)
    codes = random.choice([10.0, 11.0, 20.0, 210.0, np.nan], shape, p=[0.3, 0.3, 0.2, 0.1, 0.1])
    return codes.astype(np.float32)


def test_these_are_classes():
    assert [name for name, row in VARIABLES.items() if row.classes] == CLASSES


@settings(max_examples=40, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", CLASSES)
def test_a_block_takes_the_class_of_the_largest_area(name, data):
    factor, south = data.draw(st.integers(1, 4)), data.draw(st.floats(-80, 60))
    grid = LatLonGrid.from_edges(south + np.array([8.0, 4.0, 0]), [350, 354, 358, 362])
    grid = grid.refine(factor)
    elements = st.sampled_from([1.0, 2.0, 7.0, np.nan])
    codes = data.draw(hnp.arrays(np.float32, grid.shape, elements=elements))
    found = coarsen(xr.Dataset({name: (("lat", "lon"), codes)}), grid, factor)[name]
    areas = area(grid)
    blocks = [
        [
            tuple(
                of[factor * i : factor * (i + 1), factor * j : factor * (j + 1)]
                for of in (codes, areas)
            )
            for j in range(3)
        ]
        for i in range(2)
    ]
    expected = [[winner(*block) for block in row] for row in blocks]
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float32


def test_equal_areas_give_the_smallest_code_and_the_missing_do_not_count():
    grid = LatLonGrid.from_edges([61.0, 60.0, 59.0], [0.1, 0.4, 0.7])
    codes = {
        ((5, 3), (5, 3)): 3,
        ((3, 5), (3, 5)): 3,
        ((np.nan, np.nan), (np.nan, 9)): 9,
        ((1, 1), (2, 2)): 2,  # the southern row is larger
        ((np.nan, np.nan), (np.nan, np.nan)): np.nan,
    }
    for block, expected in codes.items():
        field = xr.DataArray(np.array(block, "f4"), dims=("lat", "lon"), name="landcover")
        np.testing.assert_equal(coarsen(field, grid, 2).item(), expected)


@pytest.mark.parametrize("seed", range(3))
def test_linear_takes_the_cell_that_the_point_lies_in(seed):
    """Across the seam too; outside is missing."""
    source = LatLonGrid.from_edges(np.linspace(60, -60, 13), 5 + np.linspace(0, 360, 25))
    codes = codes_on(source.shape, seed=seed)
    ds = xr.Dataset({"soil_type": (("lat", "lon"), codes, {"units": "1"})}, source.coordinates())
    target = LatLonGrid.from_edges(np.arange(71.3, 20, -3), np.arange(-33.1, 40, 3.7))
    found = regrid(ds, target, "linear")["soil_type"]
    for i, lat in enumerate(target.lat):
        for j, lon in enumerate(target.lon):
            row, column = int((60 - lat) // 10), int((lon - 5) % 360 // 15)
            expected = codes[row, column] if lat < 60 else np.nan
            np.testing.assert_equal(found.values[i, j], expected)
    assert found.attrs == {"units": "1"}


@pytest.mark.parametrize("west", [0.0, 15.0, -180.0, 345.0])
def test_a_point_on_an_edge_takes_the_cell_to_the_south_east(west):
    """Wherever the source begins, and though coordinates are rounded."""
    source = LatLonGrid.from_edges(np.linspace(60, -60, 13), west + np.linspace(0, 360, 25))
    codes = source.lat[:, None] + 1000 * (source.lon % 360)
    ds = xr.Dataset({"soil_type": (("lat", "lon"), codes)}, source.coordinates())
    random = np.random.default_rng(0)
    lat, lon = np.arange(50.0, -51, -10), 15.0 * np.arange(-12, 12)
    rounded = (points + 1e-4 * random.normal(size=points.size) for points in (lat, lon))
    edges = source.lat_edges[:12], np.arange(25.0)
    found = regrid(ds, LatLonGrid(*rounded, *edges), "linear")
    expected = (lat - 5)[:, None] + 1000 * ((lon + 7.5) % 360)
    np.testing.assert_array_equal(found["soil_type"], expected)


@pytest.mark.parametrize("seed", range(3))
def test_conservative_takes_the_largest_overlap(seed):
    source = LatLonGrid.from_edges(np.linspace(60, -60, 13), 5 + np.linspace(0, 360, 25))
    codes = codes_on(source.shape, seed=seed)
    ds = xr.Dataset({"landcover": (("lat", "lon"), codes)}, source.coordinates())
    target = LatLonGrid.from_edges(np.arange(73.0, 20, -14), np.arange(-33.0, 60, 18))
    found = regrid(ds, target, "conservative")["landcover"]
    # by counting cells of a degree, of which all edges are made
    tiny = LatLonGrid.from_edges(np.arange(73.0, -61, -1), np.arange(-33.0, 60))
    rows = ((60 - tiny.lat) // 10).astype(int)
    columns = ((tiny.lon - 5) % 360 // 15).astype(int)
    fine = np.where(rows[:, None] < 0, np.nan, codes[rows.clip(0)[:, None], columns])
    for i, j in np.ndindex(*target.shape):
        cell = slice(14 * i, 14 * (i + 1)), slice(18 * j, 18 * (j + 1))
        np.testing.assert_equal(found.values[i, j], winner(fine[cell], area(tiny)[cell]))


@pytest.mark.parametrize("method", ["linear", "conservative", None])
def test_lazy_classes_stay_lazy_and_agree(method):
    grid = LatLonGrid.from_edges(np.linspace(60, 40, 13), np.linspace(0, 360, 25))
    codes = codes_on((2, *grid.shape))
    ds = xr.Dataset({"landcover": (("number", "lat", "lon"), codes)}, grid.coordinates())

    def change(ds):
        if method is None:
            return coarsen(ds, grid, 3)
        return regrid(ds, LatLonGrid.from_edges([58, 51, 44], [-7.0, 6, 19]), method)

    lazy = change(ds.chunk(lat=5, lon=7, number=1))
    assert lazy["landcover"].chunks
    xr.testing.assert_identical(lazy.compute(), change(ds))
    assert set(np.unique(lazy["landcover"].fillna(10))) <= {10, 11, 20, 210}


@pytest.mark.parametrize("method", ["linear", "conservative", None])
def test_pairs_hold_codes_only(method):
    """Land cover of its own grid as a fine static, and coarsened as an input."""
    coarse = LatLonGrid.from_edges(np.arange(48.0, 42.5, -1.0), np.arange(3.0, 10.5, 1.0))
    fine = coarse.refine(2)
    own = fine if method is None else coarse.refine(5)
    days = np.datetime64("2001-01-01", "ns") + np.arange(2) * np.timedelta64(1, "D")
    rain = np.ones((2, *fine.shape), "f4")
    warm = np.full((2, *coarse.shape), 280, "f4")
    dims = ("time", "lat", "lon")
    cover = np.random.default_rng(1).choice([10, 50, 210], own.shape)
    inputs = {"t2m": (dims, warm, {"units": "K"})}
    targets = {"pr": (dims, rain, {"units": "mm day-1"})}
    pairs = Pairing(
        xr.Dataset(targets, {"time": days, **fine.coordinates()}),
        xr.Dataset(inputs, {"time": days, **coarse.coordinates()}),
        xr.Dataset({"landcover": (("lat", "lon"), cover)}, own.coordinates()),
        ("2m_temperature", "landcover"), ("total_precipitation_24hr",), ("landcover",), 2,
        regrid=method,
    ).open()  # fmt: skip
    for field in (pairs.statics["landcover"], pairs.coarse["landcover"]):
        assert set(np.unique(field)) == {10, 50, 210}
