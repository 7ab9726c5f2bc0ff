"""Where a model serves: its statics, other ones, and grids that are not its own."""

import logging
import re
import warnings

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import example, given, settings
from hypothesis import strategies as st

import orbitlite
from orbitlite.errors import InputError
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.inference.region import cut, region_for
from orbitlite.model.bundle import Bundle
from orbitlite.model.downscaler import Downscaler, DownscalerConfig
from orbitlite.model.statics import Statics
from orbitlite.notice import OrbitliteWarning

RAIN = "total_precipitation_24hr"


def statics_on(grid, count=1):
    values = torch.arange(float(count * np.prod(grid.shape))).reshape(count, *grid.shape)
    edges = (torch.from_numpy(edges.copy()) for edges in (grid.lat_edges, grid.lon_edges))
    return Statics(values, *edges)


def test_cut_takes_the_cells_that_are_asked_for():
    whole = LatLonGrid.from_edges(np.linspace(50, 44, 13), np.linspace(5, 13, 17))
    part = LatLonGrid.from_edges(np.linspace(49, 47, 5), np.linspace(6.5, 8, 4))
    found, fine = cut(statics_on(whole), part, 1)
    assert fine is part
    np.testing.assert_array_equal(found[0], np.arange(192.0).reshape(12, 16)[2:6, 3:6])


@pytest.mark.parametrize("turn", [-360.0, 0.0, 360.0])
def test_cut_across_the_seam_of_the_globe(turn):
    world = LatLonGrid.from_edges(np.linspace(90, -90, 5), np.linspace(0, 360, 9))
    across = LatLonGrid.from_edges(np.linspace(45, 0, 2), np.linspace(-90, 90, 5) + turn)
    found, _ = cut(statics_on(world), across, 1)
    assert found.ravel().tolist() == [14.0, 15.0, 8.0, 9.0]


@pytest.mark.parametrize(
    ("lat", "lon"),
    [
        ((50.25, 44.25, 13), (5, 13, 17)),  # half a cell to the north
        ((50, 44, 7), (5, 13, 9)),  # cells twice as large
        ((50, 44, 25), (5, 13, 33)),  # half as large
        ((51, 45, 13), (5, 13, 17)),  # beyond the edge
        ((50, 44, 13), (4, 12, 17)),
    ],
)
def test_cut_finds_no_other_cells(lat, lon):
    whole = LatLonGrid.from_edges(np.linspace(50, 44, 13), np.linspace(5, 13, 17))
    other = LatLonGrid.from_edges(np.linspace(*lat), np.linspace(*lon))
    assert cut(statics_on(whole), other, 1) is None


def test_coordinates_in_float32_still_coincide(bundle, coarse):
    single = coarse.assign_coords(lat=coarse.lat.astype("f4"), lon=coarse.lon.astype("f4"))
    found = region_for(single, bundle, None, None)
    np.testing.assert_array_equal(found.statics[0], bundle.statics.values)


def test_own_grid_is_left_alone_even_if_interpolation_is_allowed(bundle, coarse):
    found = region_for(coarse, bundle, None, "linear")
    assert found.coarse is coarse


def test_another_grid_is_interpolated_onto_the_cells_it_covers(bundle, coarse, caplog):
    # points of a finer grid that begins elsewhere, over a part of the region; a plane in lat, lon
    lat, lon = np.arange(48.9, 45.0, -0.25), np.arange(6.2, 11.1, 0.25)
    plane = 2 * lat[:, None] + 3 * lon + np.arange(3)[:, None, None]
    ds = xr.Dataset({RAIN: (("time", "lat", "lon"), plane)}, {"lat": lat, "lon": lon})
    with pytest.raises(InputError, match="regrid"):
        region_for(ds, bundle, None, None)
    with caplog.at_level(logging.INFO, "orbitlite"):
        found = region_for(ds, bundle, None, "linear")
    assert found.grid.lat.tolist() == [48.5, 47.5, 46.5, 45.5]
    assert found.grid.lon.tolist() == [6.5, 7.5, 8.5, 9.5, 10.5]
    expected = 2 * found.grid.lat[:, None] + 3 * found.grid.lon
    np.testing.assert_allclose(found.coarse[RAIN][0], expected, rtol=1e-6)
    np.testing.assert_array_equal(found.statics[0], bundle.statics.values[:, 2:10, 2:12])
    assert "interpolated (linear)" in caplog.text


PLAIN = Downscaler(
    DownscalerConfig(inputs=[RAIN], statics=["orography"], factor=2, embed_dim=8, num_heads=1)
).eval()


def model_of(fine):
    return Bundle(PLAIN, {"training": {}}, statics_on(fine))


def waves(lat, lon):
    return 3 * lat[:, None] + 10 * np.cos(np.radians(lon)) + 4 * np.sin(np.radians(3 * lon))


def points_of(west, width, step=2.0):
    lat, lon = np.arange(39.0, 20, -step), west + step * (np.arange(width) + 0.5)
    field = (("time", "lat", "lon"), waves(lat, lon)[None])
    return xr.Dataset({RAIN: field}, {"lat": lat, "lon": lon})


meridians = st.floats(-360, 360).map(lambda west: round(west, 2))


@settings(max_examples=60, deadline=None)
@given(seam=meridians, west=meridians, width=st.integers(3, 180))
@example(seam=0.0, west=-20.0, width=30)
@example(seam=0.0, west=340.0, width=30)
@example(seam=-180.0, west=150.0, width=30)
@example(seam=0.0, west=-180.0, width=180)
@example(seam=0.0, west=3.0, width=179)
def test_any_region_is_interpolated_across_the_seam_of_the_statics(seam, west, width):
    fine = LatLonGrid.from_edges(np.arange(40.0, 19, -2.5), seam + np.linspace(0, 360, 145))
    ds = points_of(west, width)
    found = region_for(ds, model_of(fine), None, "linear")
    grid, east = found.grid, west + 2 * width
    # every block whose middle lies in the data, once, from west to east as the data count
    blocks = seam + 5 * np.arange(72) + 2.5
    off = (blocks - west) % 360
    ends = np.abs((off[:, None] - [0, 2 * width] + 180) % 360 - 180).min(axis=1)
    clear = (ends > 1e-6) | (width == 180)  # a middle on the edge of the data may be in or out
    expected = off[clear & (off < 2 * width)]
    found_off = (grid.lon - west) % 360
    apart = np.abs((expected[:, None] - found_off + 180) % 360 - 180)
    assert (apart.min(axis=1) < 1e-6).all()
    assert len(expected) <= grid.lon.size <= len(expected) + (~clear).sum()
    np.testing.assert_allclose(np.diff(grid.lon), 5)
    assert abs(grid.lon.mean() - ds.lon.values.mean()) < 5.01
    around = np.concatenate([ds.lon - 360, ds.lon, ds.lon + 360]) if width == 180 else ds.lon
    values = np.tile(ds[RAIN][0, 0] - 3 * 39.0, 3 if width == 180 else 1)
    row = np.interp(grid.lon, around, values)
    if width < 180:
        row[(grid.lon < west - 1e-6) | (grid.lon > east + 1e-6)] = np.nan
    lat = grid.lat.clip(21.0, 39.0)
    np.testing.assert_allclose(found.coarse[RAIN][0], 3 * lat[:, None] + row, atol=1e-4)
    # the statics of the same cells
    column = np.round((grid.refine(2).lon - seam - 1.25) / 2.5) % 144
    np.testing.assert_array_equal(found.statics[0, 0, 0], column)


@settings(max_examples=30, deadline=None)
@example(seam=0.0, west=-2.0, width=10)
@given(seam=meridians, west=meridians, width=st.integers(3, 180))
@pytest.mark.parametrize("method", ["linear", "conservative"])
def test_a_region_at_the_seam_is_as_elsewhere(method, seam, west, width):
    """The same cells in statics that begin at another meridian give the same fields."""
    ds = points_of(west, width)
    lat = np.arange(40.0, 19, -2.5)
    first, second = (
        region_for(
            ds,
            model_of(LatLonGrid.from_edges(lat, start + np.linspace(0, 360, 145))),
            None,
            method,
        )
        for start in (seam, seam + 5 * 29)
    )
    np.testing.assert_allclose(first.grid.lon_edges, second.grid.lon_edges, atol=1e-9)
    np.testing.assert_allclose(first.coarse[RAIN], second.coarse[RAIN], rtol=1e-5)
    assert np.isfinite(first.coarse[RAIN]).all()
    if method == "conservative":
        assert first.grid.lon_edges[0] <= west + 1e-6 or first.grid.wraps
        assert first.grid.lon_edges[-1] >= west + 2 * width - 1e-6 or first.grid.wraps


def test_statics_that_are_open_behind_the_data_are_said():
    fine = LatLonGrid.from_edges(np.arange(40.0, 19, -2.5), np.linspace(-170, 170, 137))
    with pytest.warns(OrbitliteWarning, match="gap within the data"):
        found = region_for(points_of(120, 60), model_of(fine), None, "linear")
    assert found.grid.lon_edges[[0, -1]].tolist() == [190, 240]
    assert np.isfinite(found.coarse[RAIN]).all()


def dataset_on(grid):
    """Every cell holds ten times its latitude plus its longitude within the turn."""
    values = 10 * grid.lat[:, None] + grid.lon % 360
    field = (("time", "lat", "lon"), values[None])
    return xr.Dataset({RAIN: field}, grid.coordinates())


def consistent(found):
    """Check that inputs and statics are those of their cells."""
    grid = found.grid
    expected = 10 * grid.lat[:, None] + grid.lon % 360
    np.testing.assert_allclose(found.coarse[RAIN][0], expected, rtol=1e-6)
    np.testing.assert_allclose(found.coarse["lat"], grid.lat)
    np.testing.assert_allclose(found.coarse["lon"], grid.lon)


@settings(max_examples=60, deadline=None)
@given(
    start=st.tuples(st.integers(-9, 12), st.integers(-9, 12)),
    size=st.tuples(st.integers(4, 18), st.integers(4, 18)),
    turn=st.integers(-1, 1),
)
def test_what_the_statics_do_not_hold_whole_is_left_out(start, size, turn):
    """As in training, where fine cells that make no whole block are dropped."""
    coarse = LatLonGrid.from_edges(np.arange(50.0, 43, -1), np.arange(5.0, 14))
    north, west = 50 - 0.5 * start[0], 5 + 0.5 * start[1] + 360 * turn
    fine = LatLonGrid.from_edges(
        north - 0.5 * np.arange(size[0] + 1), west + 0.5 * np.arange(size[1] + 1)
    )
    model = model_of(fine)
    ds = dataset_on(coarse)
    rows, columns = (
        [i for i in range(count) if begin <= 2 * i and 2 * i + 2 <= begin + cells]
        for begin, cells, count in zip(start, size, coarse.shape, strict=True)
    )
    if not (rows and columns):
        with pytest.raises(InputError, match="do not cover this region"):
            region_for(ds, model, None, None)
        return
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = region_for(ds, model, None, None)
    assert found.grid.lat.tolist() == coarse.lat[rows].tolist()
    assert found.grid.lon.tolist() == coarse.lon[columns].tolist()
    consistent(found)
    own = np.arange(size[0] * size[1]).reshape(size)
    first = 2 * rows[0] - start[0], 2 * columns[0] - start[1]
    expected = own[first[0] : first[0] + 2 * len(rows), first[1] : first[1] + 2 * len(columns)]
    np.testing.assert_array_equal(found.statics[0, 0], expected)
    assert bool(said) == (found.grid.shape != coarse.shape)
    if said:
        counts = f"{6 - len(rows)} row.* and {8 - len(columns)} column"
        assert re.search(counts, str(said[0].message))


def test_a_globe_is_cut_across_its_seam_to_statics_of_a_region():
    globe = LatLonGrid.from_edges(np.linspace(90, -90, 19), np.linspace(0, 360, 37))
    fine = LatLonGrid.from_edges(np.arange(65.0, 29, -5), np.arange(-25.0, 46, 5))
    with pytest.warns(OrbitliteWarning, match="15 row.* and 30 column.* were left out"):
        found = region_for(dataset_on(globe), model_of(fine), None, None)
    assert found.grid.lon_edges.tolist() == [340, 350, 360, 370, 380, 390, 400]
    assert found.grid.lat_edges.tolist() == [60, 50, 40, 30]
    consistent(found)
    # statics of the same cells: row 1 and column 1 on
    np.testing.assert_array_equal(found.statics[0, 0], np.arange(7 * 14).reshape(7, 14)[1:7, 1:13])


def test_few_cells_that_happen_to_coincide_are_not_enough():
    """Cells of 1.001 degrees agree with those of one degree in some rows only."""
    fine = LatLonGrid.from_edges(50 - 0.5 * np.arange(81), 5 + 0.5 * np.arange(81))
    drifting = LatLonGrid.from_edges(50 - 1.001 * np.arange(31), 5 + 1.001 * np.arange(31))
    with pytest.raises(InputError, match="do not cover this region"):
        region_for(dataset_on(drifting), model_of(fine), None, None)
    assert region_for(dataset_on(drifting), model_of(fine), None, "linear").grid.shape == (30, 30)


def test_statics_without_a_whole_number_of_blocks_take_an_interpolated_input():
    fine = LatLonGrid.from_edges(50 - 0.5 * np.arange(12), 5 + 0.5 * np.arange(16))
    shifted = LatLonGrid.from_edges(52.3 - np.arange(10), 3.3 + np.arange(13))
    ds = xr.Dataset(
        {RAIN: (("time", "lat", "lon"), (10 * shifted.lat[:, None] + shifted.lon)[None])},
        shifted.coordinates(),
    )
    with pytest.warns(OrbitliteWarning, match="make no whole block of 2 and were dropped"):
        found = region_for(ds, model_of(fine), None, "linear")
    assert found.grid.lat_edges.tolist() == [50, 49, 48, 47, 46, 45]
    assert found.grid.lon_edges.tolist() == [5, 6, 7, 8, 9, 10, 11, 12]
    consistent(found)
    assert found.statics.shape == (1, 1, 10, 14)


def test_statics_given_are_cropped_as_in_training(coarse, bundle):
    lat, lon = np.arange(49.25, 43.2, -0.5), np.arange(4.75, 12.8, 0.5)
    height = np.random.default_rng(0).random((lat.size, lon.size)).astype("f4")
    statics = xr.Dataset(
        {"orography": (("lat", "lon"), height, {"units": "m"})}, {"lat": lat, "lon": lon}
    )
    with pytest.warns(OrbitliteWarning, match="1 row.* and 0 column"):
        found = orbitlite.predict(coarse, bundle, statics=statics)
    assert found[RAIN].shape == (5, 10, 16)
    own = Bundle(bundle.model, bundle.metadata, Statics(
        torch.from_numpy(height[1:11, 1:17])[None],
        torch.linspace(49, 44, 11, dtype=torch.float64),
        torch.linspace(5, 13, 17, dtype=torch.float64),
    ))  # fmt: skip
    expected = orbitlite.predict(coarse.isel(lat=slice(1, None)), own)
    xr.testing.assert_allclose(found[RAIN], expected[RAIN])


def test_nothing_in_common_is_said(bundle, coarse):
    far = coarse.assign_coords(lat=coarse.lat + 30)
    with pytest.raises(InputError, match="no cell in common"):
        region_for(far, bundle, None, "conservative")


def test_model_without_statics_serves_any_region(coarse):
    model = Downscaler(DownscalerConfig(inputs=[RAIN], statics=[], factor=3, embed_dim=8))
    far = coarse.assign_coords(lat=coarse.lat - 60)
    found = region_for(far, Bundle(model), None, None)
    assert found.statics is None
    assert found.grid.lat.max() == -10.5


def test_static_inputs_are_coarsened_as_in_training(coarse, bundle):
    config = DownscalerConfig(
        inputs=[RAIN, "orography"], statics=["orography"], factor=2, embed_dim=8
    )
    own = Bundle(Downscaler(config), {}, bundle.statics)
    fine = bundle.statics.values[0].numpy()
    weights = np.diff(np.sin(np.radians(np.linspace(50, 44, 13)))).reshape(6, 2)
    blocks = fine.reshape(6, 2, 8, 2).mean(axis=3)
    expected = np.einsum("hiw,hi->hw", blocks, weights) / weights.sum(1)[:, None]
    found = region_for(coarse, own, None, None)
    np.testing.assert_allclose(found.coarse["orography"], expected, rtol=1e-6)
    theirs = coarse.assign(orography=(("lat", "lon"), np.full((6, 8), 7.0)))
    assert (region_for(theirs, own, None, None).coarse["orography"] == 7).all()


@pytest.fixture
def with_ridge(bundle, coarse):
    """Return `bundle` with a regression, trained on the grid of `coarse`."""
    lat, lon = coarse.lat.values, coarse.lon.values
    shape = [len(lat), len(lon)]
    config = DownscalerConfig.from_dict(bundle.model.config.to_dict() | {"ridge": shape})
    net = Downscaler(config).eval()
    for name, value in {"low": -1e3, "high": 1e3, "std": 1, "most": 99}.items():
        net.ridge.get_buffer(name).fill_(value)
    net.ridge.weight.copy_(0.01 * torch.rand(net.ridge.weight.shape))
    trained = {"lat": [lat.min(), lat.max()], "lon": [lon.min(), lon.max()],
               "shape": shape, "spacing": 1.0}  # fmt: skip
    return Bundle(net, {"training": {"grid": trained}}, bundle.statics)


@pytest.mark.parametrize("turn", [0, 360, -360])
def test_a_regression_serves_the_grid_of_its_training(with_ridge, coarse, turn):
    turned = coarse.assign_coords(lon=("lon", coarse.lon.values + turn, coarse.lon.attrs))
    found, expected = (orbitlite.predict(ds, with_ridge)[RAIN] for ds in (turned, coarse))
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-5, atol=1e-6)
    flipped = orbitlite.predict(coarse.isel(lat=slice(None, None, -1)), with_ridge)[RAIN]
    np.testing.assert_allclose(flipped.sortby("lat", ascending=False), expected, rtol=1e-5,
                               atol=1e-6)  # fmt: skip


def test_a_regression_serves_no_other_grid(with_ridge, bundle, coarse):
    part = coarse.isel(lat=slice(1, None))
    orbitlite.predict(part, bundle)
    with pytest.raises(InputError, match=r"expected 6 x 8 cells, .* found 5 x 8 cells"):
        orbitlite.predict(part, with_ridge)


def test_a_regression_takes_no_tiles(with_ridge, coarse):
    with pytest.raises(InputError, match=r"regression .* needs the whole grid .* found 4 tiles"):
        orbitlite.predict(coarse, with_ridge, tile=3)
