"""(time, tile) pairs: their cores make the whole, and nothing else is read."""

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
import zarr

from orbitlite.batch import Batch
from orbitlite.data.datamodule import PairDataModule
from orbitlite.data.pairing import Pairing
from orbitlite.data.pairs import PairDataset
from orbitlite.data.tiles import TilePlan, take
from orbitlite.errors import InputError
from orbitlite.grids.latlon import LatLonGrid

RAIN = "total_precipitation_24hr"
GLOBE = LatLonGrid.from_edges(np.linspace(90, -90, 13), np.linspace(0, 360, 25))
PART = LatLonGrid.from_edges(np.linspace(60, 30, 11), np.linspace(5, 41, 13))
DAYS = pd.date_range("2001-01-01", periods=3)


def store(grid, name, units, members=None):
    """Values count the cells, in steps that the quantity can have."""
    shape = (len(DAYS), *grid.shape)
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    values[:, 2, 3] = np.nan
    dims = ("time", "lat", "lon")
    if members:
        values = values + 1e4 * np.arange(members, dtype=np.float32)[:, None, None, None]
        dims = ("number", *dims)
    return xr.Dataset(
        {name: (dims, 150 + values / 64 if units == "K" else values / 4, {"units": units})},
        {"time": DAYS, "lat": grid.lat, "lon": grid.lon},
    )


def plan(grid, members=None):
    fine = grid.refine(2)
    height = np.arange(np.prod(fine.shape), dtype=np.float32).reshape(fine.shape)
    fields = store(fine, "pr", "mm day-1", members)
    fields["orography"] = (("lat", "lon"), height, {"units": "m"})
    return Pairing(fields, store(grid, "t2m", "K", members), None, ("2m_temperature",), (RAIN,),
                   ("orography",), 2)  # fmt: skip


def dataset(pairing, **options):
    pairs = pairing.open()
    return PairDataset(pairing, np.arange(len(DAYS)), pairs, **options)


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("grid", [GLOBE, PART], ids=["globe", "part"])
@pytest.mark.parametrize("members", [None, 2])
def test_cores_make_the_whole(grid, cache, members):
    pairing = plan(grid, members)
    whole, tiled = dataset(pairing), dataset(pairing, cache=cache, tile=4, halo=3)
    tiles = TilePlan(*grid.shape, 4, 3, grid.wraps).tiles
    assert len(tiled) == len(whole) * len(tiles) > len(whole)
    for number in range(len(whole)):
        full = whole[number]
        indices = range(number * len(tiles), (number + 1) * len(tiles))
        batch = tiled.__getitems__([*indices])[0]
        found = np.full(full.fine.shape[1:], -1.0)
        assert batch.time.unique() == full.time
        for i, tile in enumerate(tiles):
            np.testing.assert_array_equal(batch.coarse[i], take(full.coarse[0].numpy(), tile))
            np.testing.assert_array_equal(batch.statics[i], take(full.statics[0].numpy(), tile, 2))
            core = np.zeros(full.fine.shape[1:], bool)
            core[:, *(slice(2 * s.start, 2 * s.stop) for s in tile.core)] = True
            inner = np.zeros(batch.fine.shape[1:], bool)
            inner[:, *(slice(2 * s.start, 2 * s.stop) for s in tile.kept)] = True
            assert np.isnan(batch.fine[i].numpy()[~inner]).all()
            found[core] = batch.fine[i].numpy()[inner]
            west = batch.lon_edges[i, 0] % 360
            assert west == full.lon_edges[0, tile.column] % 360
            assert batch.lat_edges[i, 0] == full.lat_edges[0, tile.row]
        np.testing.assert_array_equal(found, full.fine[0])


@pytest.mark.parametrize("tile", [12, 50])
def test_one_tile_is_the_whole(tile):
    pairing = plan(PART)
    whole, tiled = dataset(pairing), dataset(pairing, tile=tile, halo=4)
    assert len(whole) == len(tiled)
    for name, tensor in vars(whole[1]).items():
        torch.testing.assert_close(getattr(tiled[1], name), tensor, rtol=0, atol=0, equal_nan=True)


def test_only_the_chunks_of_a_tile_are_read(tmp_path, monkeypatch):
    fine = GLOBE.refine(2)
    store(fine, "pr", "mm day-1").chunk(time=1, lat=4, lon=6).to_zarr(tmp_path / "fine.zarr")
    store(GLOBE, "t2m", "K").chunk(time=1, lat=2, lon=3).to_zarr(tmp_path / "coarse.zarr")
    pairing = Pairing(str(tmp_path / "fine.zarr"), str(tmp_path / "coarse.zarr"), None,
                      ("2m_temperature",), (RAIN,), (), 2)  # fmt: skip
    tiled = dataset(pairing, tile=6, halo=2)
    whole = zarr.storage.LocalStore.get
    read = []

    async def get(self, key, *arguments, **options):
        read.append(key)
        return await whole(self, key, *arguments, **options)

    monkeypatch.setattr(zarr.storage.LocalStore, "get", get)
    _ = tiled[0]  # rows 0..10 and columns -2..8 of step 0
    keys = {key for key in read if "/c/" in key}
    assert keys == {
        *(f"t2m/c/0/{row}/{column}" for row in range(5) for column in (0, 1, 2, 7)),
        *(f"pr/c/0/{row}/{column}" for row in range(3) for column in range(2)),
    }


@pytest.mark.parametrize("workers", [0, 2])
def test_each_pair_once_per_epoch(workers):
    data = PairDataModule(
        plan(GLOBE).fine, plan(GLOBE).coarse, inputs=["2m_temperature"], targets=[RAIN],
        static_names=[], factor=2, train=["2001-01-01", "2001-01-03"], tile=4, halo=1,
        batch_size=5, num_workers=workers,
    )  # fmt: skip
    data.setup("fit")
    seen = []
    for batch in data.train_dataloader():
        assert isinstance(batch, Batch)
        corner = zip(batch.lat_edges[:, 0], batch.lon_edges[:, 0], batch.time, strict=True)
        seen += [tuple(map(float, place)) for place in corner]
    assert len(seen) == len(set(seen)) == 3 * 3 * 6


@pytest.mark.parametrize("wrong", [{"tile": 0}, {"tile": 4, "halo": -1}])
def test_sizes_that_are_none(wrong):
    with pytest.raises(InputError, match="expected"):
        PairDataModule("world", inputs=[RAIN], targets=[RAIN], static_names=[], factor=2, **wrong)
