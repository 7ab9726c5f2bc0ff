"""Prediction in tiles: the same as on the whole grid, wherever context is complete."""

import logging

import dask
import numpy as np
import pytest
import torch
import xarray as xr

import orbitlite
from orbitlite.errors import InputError
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.inference.options import PredictOptions
from orbitlite.inference.plan import choose_tiles
from orbitlite.model.bundle import Bundle
from orbitlite.model.decoder import reach
from orbitlite.model.downscaler import Downscaler, DownscalerConfig
from orbitlite.model.statics import Statics

RAIN = "total_precipitation_24hr"


def world(height=24, width=36, times=3, ascending=False):
    random = np.random.default_rng(1)
    dims = ("time", "lat", "lon")
    rain = random.gamma(0.5, 8, (times, height, width)).astype("f4")
    rain[0, :4, :4] = np.nan
    lat = 90 - (np.arange(height) + 0.5) * 180 / height
    ds = xr.Dataset(
        {
            RAIN: (dims, rain, {"units": "mm"}),
            "2m_temperature": (dims, rain + 270, {"units": "K"}),
        },
        {
            "time": np.datetime64("2001-01-01", "ns") + np.arange(times) * np.timedelta64(1, "D"),
            "lat": ("lat", lat, {"units": "degrees_north"}),
            "lon": ("lon", np.arange(width) * 360 / width, {"units": "degrees_east"}),
        },
    )
    return ds.isel(lat=slice(None, None, -1)) if ascending else ds


def region():
    return world().isel(lat=slice(3, 20), lon=slice(4, 29))


def model(ds, depth=0, **settings):
    torch.manual_seed(3)
    config = DownscalerConfig(
        inputs=[RAIN, "2m_temperature"], statics=["orography"], factor=2, embed_dim=16,
        depth=depth, num_heads=2, patch_size=2, **settings,
    )  # fmt: skip
    net = Downscaler(config)
    torch.nn.init.normal_(net.decoder.out.weight, std=0.3)
    for block in net.decoder.body:
        torch.nn.init.normal_(block.second.weight, std=0.1)
    net.set_statistics(input_mean=[1.0, 280.0], input_std=[1.0, 5.0])
    fine = LatLonGrid.from_dataset(ds.sortby("lat", ascending=False)).refine(2)
    edges = (torch.from_numpy(edges.copy()) for edges in (fine.lat_edges, fine.lon_edges))
    return Bundle(net.eval(), {"training": {}}, Statics(torch.rand(1, *fine.shape), *edges))


SOURCES = {"world": world(), "ascending": world(ascending=True), "region": region()}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("tile", [4, 7, 100])
@pytest.mark.parametrize("constraint", ["nonnegative", "conserve"])
def test_without_attention_tiles_change_nothing(name, tile, constraint):
    ds = SOURCES[name]
    bundle = model(ds, constraint=constraint)
    whole = orbitlite.predict(ds, bundle)
    tiled = orbitlite.predict(ds, bundle, tile=tile, halo=reach(bundle.model.config))
    np.testing.assert_allclose(tiled[RAIN], whole[RAIN], rtol=2e-5, atol=2e-5)
    for coordinate in ("lat", "lon", "lat_bnds", "lon_bnds"):
        xr.testing.assert_identical(tiled[coordinate], whole[coordinate])


def test_the_difference_falls_as_the_halo_grows():
    ds = world()
    bundle = model(ds, depth=2)
    whole = orbitlite.predict(ds, bundle)[RAIN]
    errors = [
        float(np.abs(orbitlite.predict(ds, bundle, tile=8, halo=halo)[RAIN] - whole).mean())
        for halo in (0, 4, 14)
    ]
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("name", ["world", "ascending", "region"])
def test_lazy_tiles_are_blocks_and_compute_the_same(name):
    ds = SOURCES[name]
    bundle = model(ds, depth=1)
    expected = orbitlite.predict(ds, bundle, tile=8, halo=2)
    counted = []
    with dask.config.set(scheduler=lambda *a, **k: counted.append(1)):
        lazy = orbitlite.predict(ds.chunk(lat=5), bundle, tile=8, halo=2)
    assert not counted
    assert lazy[RAIN].chunks[1][0] in (16, 2 * (ds.sizes["lat"] % 8))
    assert len(lazy[RAIN].chunks[2]) == -(-ds.sizes["lon"] // 8)
    for scheduler in ("synchronous", "threads"):
        found = lazy.compute(scheduler=scheduler)
        np.testing.assert_allclose(found[RAIN], expected[RAIN], rtol=1e-5, atol=1e-5)


def test_cores_meet_without_a_line():
    """Jumps across seams are those of the same places without seams."""
    ds = world(48, 96, times=4).fillna(0)
    bundle = model(ds, depth=2)
    tiled, whole = (orbitlite.predict(ds, bundle, tile=tile)[RAIN] for tile in (16, None))
    across = [float(np.abs(one.diff("lon"))[..., 31::32].mean()) for one in (tiled, whole)]
    assert across[0] == pytest.approx(across[1], rel=0.02)


def test_a_large_grid_is_tiled_and_it_is_said(caplog):
    grid = LatLonGrid.from_edges(np.linspace(90, -90, 401), np.linspace(0, 360, 801))
    config = DownscalerConfig(inputs=[RAIN])
    with caplog.at_level(logging.INFO):
        plan, batch = choose_tiles(grid, config, PredictOptions())
    assert (plan.tile, plan.halo, plan.wraps, plan.align) == (128, 10, True, 2)
    assert "400 x 800 cells are predicted in tiles of 128 x 128" in caplog.text
    assert 1 <= batch <= 8
    assert choose_tiles(grid, config, PredictOptions(tokens=0.1))[0].tile is None
    assert choose_tiles(grid, config, PredictOptions(tile=64, halo=2))[0].tile == 64
    assert choose_tiles(grid, config, PredictOptions(batch_size=3))[1] == 3


@pytest.mark.parametrize("wrong", [{"tile": 0}, {"tile": 8, "halo": -1}])
def test_sizes_that_are_none(wrong):
    ds = region()
    with pytest.raises(InputError, match="expected"):
        orbitlite.predict(ds, model(ds), **wrong)
