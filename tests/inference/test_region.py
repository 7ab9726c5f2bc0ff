"""Where a model serves: its statics, other ones, and grids that are not its own."""

import logging

import numpy as np
import pytest
import torch
import xarray as xr

import orbitlite
from orbitlite.data.grid import LatLonGrid
from orbitlite.errors import InputError
from orbitlite.inference.region import place
from orbitlite.inference.statics import cut
from orbitlite.model.bundle import Bundle, Statics
from orbitlite.model.downscaler import Downscaler, DownscalerConfig

RAIN = "total_precipitation_24hr"


def statics_on(grid, count=1):
    values = torch.arange(float(count * np.prod(grid.shape))).reshape(count, *grid.shape)
    edges = (torch.from_numpy(edges.copy()) for edges in (grid.lat_edges, grid.lon_edges))
    return Statics(values, *edges)


def test_cut_takes_the_cells_that_are_asked_for():
    whole = LatLonGrid.from_edges(np.linspace(50, 44, 13), np.linspace(5, 13, 17))
    part = LatLonGrid.from_edges(np.linspace(49, 47, 5), np.linspace(6.5, 8, 4))
    found = cut(statics_on(whole), part)
    np.testing.assert_array_equal(found[0], np.arange(192.0).reshape(12, 16)[2:6, 3:6])


@pytest.mark.parametrize("turn", [-360.0, 0.0, 360.0])
def test_cut_across_the_seam_of_the_globe(turn):
    world = LatLonGrid.from_edges(np.linspace(90, -90, 5), np.linspace(0, 360, 9))
    across = LatLonGrid.from_edges(np.linspace(45, 0, 2), np.linspace(-90, 90, 5) + turn)
    found = cut(statics_on(world), across)
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
    assert cut(statics_on(whole), LatLonGrid.from_edges(np.linspace(*lat), np.linspace(*lon))) is (
        None
    )


def test_coordinates_in_float32_still_coincide(bundle, coarse):
    single = coarse.assign_coords(lat=coarse.lat.astype("f4"), lon=coarse.lon.astype("f4"))
    found = place(single, bundle, None, None)
    np.testing.assert_array_equal(found.statics[0], bundle.statics.values)


def test_own_grid_is_left_alone_even_if_interpolation_is_allowed(bundle, coarse):
    found = place(coarse, bundle, None, "linear")
    assert found.coarse is coarse


def test_another_grid_is_interpolated_onto_the_cells_it_covers(bundle, coarse, caplog):
    # points of a finer grid that begins elsewhere, over a part of the region; a plane in lat, lon
    lat, lon = np.arange(48.9, 45.0, -0.25), np.arange(6.2, 11.1, 0.25)
    plane = 2 * lat[:, None] + 3 * lon + np.arange(3)[:, None, None]
    ds = xr.Dataset({RAIN: (("time", "lat", "lon"), plane)}, {"lat": lat, "lon": lon})
    with pytest.raises(InputError, match="interpolate"):
        place(ds, bundle, None, None)
    with caplog.at_level(logging.INFO, "orbitlite"):
        found = place(ds, bundle, None, "linear")
    assert found.grid.lat.tolist() == [48.5, 47.5, 46.5, 45.5]
    assert found.grid.lon.tolist() == [6.5, 7.5, 8.5, 9.5, 10.5]
    expected = 2 * found.grid.lat[:, None] + 3 * found.grid.lon
    np.testing.assert_allclose(found.coarse[RAIN][0], expected, rtol=1e-6)
    np.testing.assert_array_equal(found.statics[0], bundle.statics.values[:, 2:10, 2:12])
    assert "interpolated (linear)" in caplog.text


def test_nothing_in_common_is_said(bundle, coarse):
    far = coarse.assign_coords(lat=coarse.lat + 30)
    with pytest.raises(InputError, match="no cell in common"):
        place(far, bundle, None, "conservative")


def test_model_without_statics_serves_any_region(coarse):
    model = Downscaler(DownscalerConfig(inputs=[RAIN], fine_statics=[], factor=3, embed_dim=8))
    far = coarse.assign_coords(lat=coarse.lat - 60)
    found = place(far, Bundle(model), None, None)
    assert found.statics is None
    assert found.grid.lat.max() == -10.5


def test_static_inputs_are_coarsened_as_in_training(coarse, bundle):
    config = DownscalerConfig(
        inputs=[RAIN, "orography"], fine_statics=["orography"], factor=2, embed_dim=8
    )
    own = Bundle(Downscaler(config), {}, bundle.statics)
    fine = bundle.statics.values[0].numpy()
    weights = np.diff(np.sin(np.radians(np.linspace(50, 44, 13)))).reshape(6, 2)
    blocks = fine.reshape(6, 2, 8, 2).mean(axis=3)
    expected = np.einsum("hiw,hi->hw", blocks, weights) / weights.sum(1)[:, None]
    found = place(coarse, own, None, None)
    np.testing.assert_allclose(found.coarse["orography"], expected, rtol=1e-6)
    turned = place(coarse.isel(lat=slice(None, None, -1)), own, None, None)
    np.testing.assert_allclose(turned.coarse["orography"], expected[::-1], rtol=1e-6)
    theirs = coarse.assign(orography=(("lat", "lon"), np.full((6, 8), 7.0)))
    assert (place(theirs, own, None, None).coarse["orography"] == 7).all()


@pytest.fixture
def with_modes(bundle, coarse):
    """Return `bundle` with modes, trained on the grid of `coarse`."""
    config = DownscalerConfig.from_dict(bundle.model.config.to_dict() | {"modes": 3})
    net = Downscaler(config).eval()
    torch.nn.init.normal_(net.modes.scale, std=0.01)
    lat, lon = coarse.lat.values, coarse.lon.values
    trained = {"lat": [lat.min(), lat.max()], "lon": [lon.min(), lon.max()],
               "shape": [len(lat), len(lon)], "spacing": 1.0}  # fmt: skip
    return Bundle(net, {"training": {"grid": trained}}, bundle.statics)


@pytest.mark.parametrize("turn", [0, 360, -360])
def test_modes_serve_the_grid_of_their_training(with_modes, coarse, turn):
    turned = coarse.assign_coords(lon=("lon", coarse.lon.values + turn, coarse.lon.attrs))
    found, expected = (orbitlite.predict(ds, with_modes)[RAIN] for ds in (turned, coarse))
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-5, atol=1e-6)
    flipped = orbitlite.predict(coarse.isel(lat=slice(None, None, -1)), with_modes)[RAIN]
    np.testing.assert_allclose(flipped.sortby("lat", ascending=False), expected, rtol=1e-5,
                               atol=1e-6)  # fmt: skip


def test_modes_serve_no_other_grid(with_modes, bundle, coarse):
    part = coarse.isel(lat=slice(1, None))
    orbitlite.predict(part, bundle)
    with pytest.raises(InputError, match=r"expected 6 x 8 cells, .* found 5 x 8 cells"):
        orbitlite.predict(part, with_modes)


def test_modes_take_no_tiles(with_modes, coarse):
    with pytest.raises(InputError, match=r"modes \(3\) needs the whole grid .* found 4 tiles"):
        orbitlite.predict(coarse, with_modes, tile=3)
