"""Streaming into a file: the same as in memory, chunked like the tiles."""

import threading

import numpy as np
import pytest
import torch
import xarray as xr
import zarr

import orbitlite
from orbitlite.errors import InputError
from orbitlite.inference import plan as cutting
from orbitlite.inference.plan import read_blocks, work_items
from orbitlite.inference.queues import BackgroundWriter, Prefetcher
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler

RAIN = "total_precipitation_24hr"


@pytest.mark.parametrize("name", ["fine.zarr", "fine.nc"])
@pytest.mark.parametrize("tile", [None, 16, 7])
@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize("lazy", [False, True])
def test_what_is_written_is_what_is_predicted(
    globe, globe_bundle, tmp_path, name, tile, ascending, lazy
):
    ds = globe.isel(lat=slice(None, None, -1)) if ascending else globe
    expected = orbitlite.predict(ds, globe_bundle, tile=tile, halo=4, batch_size=2)
    source = ds.chunk(time=1, lat=11) if lazy else ds
    flow = orbitlite.downscale(
        source, tmp_path / name, globe_bundle, tile=tile, halo=4, batch_size=2
    )
    assert flow.sizes == {"time": 2, "lat": 80, "lon": 160}
    found = xr.open_zarr(tmp_path / name) if "zarr" in name else xr.open_dataset(tmp_path / name)
    np.testing.assert_array_equal(found[RAIN], expected[RAIN])
    assert bool(found["lat"][0] < found["lat"][-1]) is ascending
    for coordinate in ("time", "lat", "lon", "lat_bnds", "lon_bnds"):
        np.testing.assert_array_equal(found[coordinate], expected[coordinate])
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_tiles_compose_with_leaves_and_groups(globe, tmp_path):
    torch.manual_seed(2)
    config = DownscalerConfig(
        inputs=[RAIN, "2m_temperature"], statics=[], factor=2, embed_dim=16, depth=2,
        num_heads=2, patch_size=2, channel_groups=2, tokens=0.5, max_leaf=4,
    )  # fmt: skip
    net = Downscaler(config).eval()
    torch.nn.init.normal_(net.decoder.out.weight, std=0.3)
    options = {"tile": 16, "halo": 4, "batch_size": 2}
    found = {}
    for tokens in (None, 0.25, 1.0):
        path = tmp_path / f"{tokens}.zarr"
        orbitlite.downscale(globe, path, net, tokens=tokens, **options)
        found[tokens] = xr.open_zarr(path)[RAIN].values
        expected = orbitlite.predict(globe, net, tokens=tokens, **options)[RAIN]
        np.testing.assert_array_equal(found[tokens], expected)
    assert not np.allclose(found[None], found[0.25])
    assert not np.allclose(found[None], found[1.0])


@pytest.mark.parametrize("ascending", [False, True])
def test_chunks_are_the_cores(globe, globe_bundle, tmp_path, ascending):
    ds = globe.isel(lat=slice(None, None, -1)) if ascending else globe
    path = tmp_path / "fine.zarr"
    orbitlite.downscale(ds, path, globe_bundle, tile=12, halo=2, batch_size=1)
    assert zarr.open_group(path)[RAIN].chunks == (1, 24, 24)
    # no chunk was written twice: each is in one piece
    assert zarr.open_consolidated(path)[RAIN].nchunks_initialized == 2 * 4 * 7
    with xr.open_zarr(path) as found:
        assert found[RAIN].attrs["units"] == "mm"
        assert "coordinates" not in found[RAIN].encoding


def test_members_stay(globe, globe_bundle, tmp_path):
    members = xr.concat([globe, globe + 1, globe * 1.1], "number", combine_attrs="override")
    members = members.assign_coords(number=[3, 5, 7])
    for name in globe:
        members[name].attrs = globe[name].attrs
    expected = orbitlite.predict(members, globe_bundle, tile=20)
    orbitlite.downscale(members, tmp_path / "fine.zarr", globe_bundle, tile=20)
    found = orbitlite.open_source(tmp_path / "fine.zarr").transpose(*expected[RAIN].dims, ...)
    np.testing.assert_allclose(found[RAIN], expected[RAIN], rtol=1e-5, atol=1e-5)
    assert found.number.values.tolist() == [3, 5, 7]


def test_input_is_read_in_bounded_blocks(globe_bundle, globe, monkeypatch):
    from orbitlite.data.tiles import TilePlan

    plan = TilePlan(40, 80, 8, 2, True, 2)
    monkeypatch.setattr(cutting, "READ_BYTES", 4 * 2 * 80 * 30)
    found = work_items((3, 50), plan, 4, 2, 2)
    for block in read_blocks(found, 4 * 2 * 80):
        rows = block.rows.stop - block.rows.start
        steps = block.steps.stop - block.steps.start
        assert rows * steps <= 30
        assert {piece.member for piece in block.pieces} == {block.member}
    assert sum(len(block.pieces) for block in read_blocks(found, 640)) == len(found)
    # whatever the bytes, a row of tiles is read once
    monkeypatch.setattr(cutting, "READ_BYTES", 1)
    boxes = [(b.member, b.steps.start, b.rows.start) for b in read_blocks(found, 640)]
    assert len(boxes) == len(set(boxes))
    assert [piece.number for piece in found] == list(range(len(found)))
    cells = np.zeros((3, 50, 40, 80), int)
    for piece in found:
        for tile in piece.tiles:
            cells[*piece.member, piece.steps, *tile.core] += 1
    assert (cells == 1).all()


def test_an_existing_output_is_kept(globe, globe_bundle, tmp_path):
    path = tmp_path / "fine.zarr"
    orbitlite.downscale(globe, path, globe_bundle)
    with pytest.raises(InputError, match="exists"):
        orbitlite.downscale(globe, path, globe_bundle)
    orbitlite.downscale(globe + 1, path, globe_bundle, overwrite=True)
    with pytest.raises(InputError, match="was made of another input"):
        orbitlite.downscale(globe, path, globe_bundle, resume=True)


def test_queues_are_bounded_and_hand_errors_on():
    made = []

    def items():
        for number in range(100):
            made.append(number)
            yield number
        raise ValueError("after all")

    ahead = Prefetcher(items(), 3)
    found = iter(ahead)
    assert next(found) == 0
    ahead._thread.join(0.3)
    assert len(made) <= 6
    with pytest.raises(ValueError, match="after all"):
        list(found)

    gate, kept = threading.Event(), []

    def keep(item):
        gate.wait()
        if item == 5:
            raise OSError("full")
        kept.append(item)

    behind = BackgroundWriter(keep, 2)
    behind.put(1)
    gate.set()
    for item in (2, 3, 4, 5):
        behind.put(item)
    with pytest.raises(OSError, match="full"):
        behind.finish()
    assert kept == [1, 2, 3, 4]
