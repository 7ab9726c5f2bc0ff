"""Context: what a coarse source has around the fine grid."""

import numpy as np
import pytest
import xarray as xr

from orbitlite.data.datamodule import PairDataModule
from orbitlite.data.nesting import surround
from orbitlite.data.pairing import Pairing
from orbitlite.data.pairs import PairDataset
from orbitlite.errors import InputError
from orbitlite.grids.context import Context
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.grids.mesh import MeshGrid
from orbitlite.notice import OrbitliteWarning

DAYS = np.arange("2001-01-01", "2001-01-04", dtype="datetime64[D]").astype("datetime64[ns]")
GLOBE = LatLonGrid.from_edges(np.linspace(90, -90, 19), np.linspace(0, 360, 37))
REGION = GLOBE.select(np.arange(4, 9), np.arange(10, 16))
TEMPERATURE, RAIN = "2m_temperature", "total_precipitation_24hr"
SHORT = {TEMPERATURE: ("t2m", "K"), RAIN: ("pr", "mm day-1")}


def field(grid):
    """Return a value of the place, that of a cell the same on any grid with such a centre."""
    lat, lon = grid.centres
    return 250 + 0.1 * lat + np.cos(np.radians(lon)) * np.cos(np.radians(lat))


def store(grid, name, values=None):
    short, units = SHORT[name]
    values = field(grid) if values is None else values
    data = np.arange(3.0)[:, None, None] + values
    return xr.Dataset(
        {short: (("time", *grid.dims), data.astype("f4"), {"units": units})},
        {"time": DAYS, **grid.coordinates()},
    )


def pairing(coarse=GLOBE, fine=REGION, context=2, **options):
    return Pairing(store(fine.refine(2), RAIN), store(coarse, TEMPERATURE), None, (TEMPERATURE,),
                   (RAIN,), (), 2, context=context, **options)  # fmt: skip


def test_what_surrounds_the_region_is_there():
    pairs = pairing().open()
    assert pairs.context == Context(2, 2, 2, 2)
    expected = field(GLOBE)[2:11, 8:18]
    np.testing.assert_allclose(pairs.coarse[TEMPERATURE][0], expected, rtol=1e-6)
    np.testing.assert_allclose(pairs.core[TEMPERATURE][0], expected[2:-2, 2:-2], rtol=1e-6)
    assert pairs.lattice.same_cells(GLOBE.select(np.arange(2, 11), np.arange(8, 18)))
    assert pairs.grid.same_cells(REGION)
    assert pairs.fine_grid.same_cells(REGION.refine(2))


def test_it_goes_on_across_the_first_meridian_and_ends_at_the_pole():
    fine = GLOBE.select(np.arange(1, 4), np.arange(0, 3))
    pairs = pairing(fine=fine).open()
    assert pairs.context == Context(1, 2, 2, 2)
    columns = np.arange(-2, 5) % 36
    np.testing.assert_allclose(pairs.coarse[TEMPERATURE][0], field(GLOBE)[:6, columns], rtol=1e-6)
    assert (np.diff(pairs.lattice.lon) > 0).all()


@pytest.mark.parametrize("options", [{}, {"regrid": "linear"}])
def test_the_globe_has_no_surroundings_which_is_told(options, caplog):
    with caplog.at_level("INFO"):
        pairs = pairing(fine=GLOBE, **options).open()
    assert not any(pairs.context)
    assert "data.context is 2, and the fine grid is the whole globe" in caplog.text
    caplog.clear()
    with caplog.at_level("INFO"):
        pairing(**options).open()
    assert "whole globe" not in caplog.text


@pytest.mark.parametrize("pole", ["north", "south"])
def test_half_cells_at_a_pole_are_left_out_and_told(pole, caplog):
    edges = np.concatenate([[90.0], np.arange(85, -86, -10.0), [-90.0]])  # points at the poles
    globe = LatLonGrid.from_edges(edges, np.linspace(0, 360, 37))
    rows = np.arange(2, 5) if pole == "north" else np.arange(14, 17)
    with caplog.at_level("INFO"):
        pairs = pairing(coarse=globe, fine=globe.select(rows, np.arange(10, 16))).open()
    assert pairs.context == (Context(1, 2, 2, 2) if pole == "north" else Context(2, 1, 2, 2))
    assert f"The half cells at the pole ({pole}) are no part of the context." in caplog.text
    caplog.clear()
    with caplog.at_level("INFO"):
        pairing(coarse=globe, fine=globe.select(np.arange(4, 9), np.arange(10, 16))).open()
    assert "at the pole" not in caplog.text


@pytest.mark.parametrize("rows", [slice(3, 10), slice(4, 9)])
def test_what_the_source_does_not_have_is_missing_and_told(rows):
    part = GLOBE.select(np.arange(36)[:18][rows], np.arange(9, 20))
    with pytest.warns(OrbitliteWarning, match="of the 60 coarse cells of the context"):
        pairs = pairing(coarse=part).open()
    expected = field(GLOBE)[2:11, 8:18].copy()
    there = np.zeros((18, 36), bool)
    there[rows, 9:20] = True
    expected[~there[2:11, 8:18]] = np.nan
    np.testing.assert_allclose(pairs.coarse[TEMPERATURE][0], expected, rtol=1e-6)


def test_a_source_between_the_cells_is_interpolated_onto_the_lattice():
    shifted = LatLonGrid.from_edges(np.linspace(88, -88, 89), np.linspace(1, 361, 181))
    pairs = pairing(coarse=shifted, regrid="linear").open()
    np.testing.assert_allclose(pairs.coarse[TEMPERATURE][0], field(GLOBE)[2:11, 8:18], atol=0.02)


def test_a_mesh_goes_on_along_great_circles():
    """On corners that are those of a regular grid far from the poles, it nearly is one."""
    middle = GLOBE.select(np.arange(7, 11), np.arange(10, 16))
    mesh = MeshGrid.from_corners(middle.corners)
    pairs = pairing(fine=mesh, regrid="linear").open()
    assert pairs.lattice.shape == (8, 10)
    lat = pairs.lattice.centres[0]
    expected = GLOBE.select(np.arange(5, 13), np.arange(8, 18))
    assert np.abs(lat - expected.centres[0]).max() < 3
    np.testing.assert_allclose(lat[2:-2, 2:-2], pairs.grid.centres[0], atol=1e-9)
    found = field(pairs.lattice)
    np.testing.assert_allclose(pairs.coarse[TEMPERATURE][0], found, atol=0.05)


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("tile", [None, 3])
def test_samples_have_context_and_truth_of_the_core(cache, tile):
    pairs = pairing().open()
    dataset = PairDataset(pairing(), np.arange(3), pairs, cache=cache, tile=tile, halo=1)
    whole = pairs.coarse[TEMPERATURE].values
    truth = pairs.fine[RAIN].values
    found = np.full(truth.shape, -1.0)
    for number, tile_ in [(n, t) for n in range(3) for t in range(len(dataset.tiles))]:
        one, plan = dataset[number * len(dataset.tiles) + tile_], dataset.tiles[tile_]
        rows = slice(plan.row, plan.row + plan.height)
        columns = slice(plan.column, plan.column + plan.width)
        np.testing.assert_array_equal(one.coarse[0, 0], whole[number, rows, columns])
        assert one.fine.shape[-2:] == tuple(2 * cells for cells in one.core.shape)
        first, height = one.core.first[0], one.core.shape[0]
        edges = one.lat_edges[0, first[0] : first[0] + height + 1]
        np.testing.assert_allclose(edges, REGION.lat_edges[plan.made[0].start :][: height + 1])
        rows, columns = (slice(2 * c.start, 2 * c.stop) for c in plan.made)
        there = ~np.isnan(one.fine[0, 0].numpy())
        found[number, rows, columns][there] = one.fine[0, 0].numpy()[there]
    np.testing.assert_array_equal(found, truth)


def test_it_needs_a_coarse_source():
    with pytest.raises(InputError, match=r"data\.context is 3 and data\.coarse is not stated"):
        PairDataModule(
            store(REGION.refine(2), RAIN), inputs=[RAIN], targets=[RAIN], static_names=[],
            factor=2, context=3,
        )  # fmt: skip


def test_statistics_are_those_of_the_lattice():
    data = PairDataModule(
        store(REGION.refine(2), RAIN), store(GLOBE, TEMPERATURE), inputs=[TEMPERATURE],
        targets=[RAIN], static_names=[], factor=2, context=2, train=["2001-01-01", "2001-01-03"],
    )  # fmt: skip
    known = data.input_statistics
    expected = field(GLOBE)[2:11, 8:18]
    assert known.low[0] == pytest.approx(expected.min(), rel=1e-6)
    assert known.high[0] == pytest.approx(expected.max() + 2, rel=1e-6)
    assert data.largest.first_tile().shape == (9, 10)
    assert data.largest.first_tile().core_shape == (5, 6)


def test_uneven_rows_keep_their_places_where_the_store_ends():
    """The store has other heights in the north, and no cells in the south of the context."""
    edges = np.array([60.0, 52, 46, 42, 40, 38, 36])
    store_grid = LatLonGrid.from_edges(edges, np.linspace(0, 40, 11))
    region = store_grid.select(np.arange(3, 6), np.arange(3, 6))
    around = surround(region, store_grid, np.arange(3, 6), np.arange(3, 6), 2)
    assert around.context == Context(2, 2, 2, 2)
    assert around.lattice.lat_edges.tolist() == [52, 46, 42, 40, 38, 36, 34, 32]
    assert around.rows.tolist() == [1, 2, 3, 4, 5, -1, -1]
