"""Pairs from made-up stores whose every value says where and when it is."""

from __future__ import annotations

import logging
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orbitlite.batch import Batch
from orbitlite.data.naming import give_back, notes, rows
from orbitlite.data.pairing import Pairing
from orbitlite.data.pairs import PairDataset
from orbitlite.errors import InputError
from orbitlite.grids.latlon import LatLonGrid

RAIN, WARM = "total_precipitation_24hr", "2m_temperature"
COARSE = LatLonGrid.from_edges(np.arange(48.0, 42.5, -1.0), np.arange(3.0, 10.5, 1.0))
FINE = COARSE.refine(2)


@pytest.fixture(autouse=True)
def messages(caplog):
    caplog.set_level(logging.INFO)
    return caplog


# What a value is coded as, so that the quantity can have it: the first, and the size of one.
CODE = {"K": (150.0, 2**-10), "Pa": (9e4, 2**-4), "mm day-1": (0.0, 2**-4), "1": (0.0, 2**-10)}


def fields(grid, times, members=None, **units):
    """Coded 1000 step + 10 row + column (+ 100,000 member), NaN at one cell."""
    rows, columns = np.ogrid[: grid.shape[0], : grid.shape[1]]
    values = 1000.0 * np.arange(len(times))[:, None, None] + 10.0 * rows + columns
    values[:, 1, 2] = np.nan
    dims = ("time", "lat", "lon")
    if members:
        values = values + 1e5 * np.arange(members)[:, None, None, None]
        dims = ("number", *dims)
    return xr.Dataset(
        {
            name: (dims, (CODE[u][0] + CODE[u][1] * values).astype(np.float32), {"units": u})
            for name, u in units.items()
        },
        {"time": times, "lat": grid.lat, "lon": grid.lon},
    )


DAYS = pd.date_range("2001-01-01", periods=6)


def coarse_store(times=DAYS, grid=COARSE, members=None):
    return fields(grid, times, members, t2m="K", msl="Pa")


def fine_store(times=DAYS, grid=FINE, members=None):
    ds = fields(grid, times, members, pr="mm day-1")
    height = 3.0 * np.arange(grid.shape[0])[:, None] + np.arange(grid.shape[1])
    return ds.assign(orography=(("lat", "lon"), height.astype(np.float32), {"units": "m"}))


def pairing(fine, coarse=None, static=None, **changes):
    names = {
        "inputs": (WARM, "mean_sea_level_pressure"), "targets": (RAIN,),
        "static_names": ("orography",), "factor": 2,
    }  # fmt: skip
    return Pairing(fine, coarse, static, **{**names, **changes})


def dataset(plan, cache=True, positions=None):
    pairs = plan.open()
    where = np.arange(len(pairs.times)) if positions is None else np.asarray(positions)
    return PairDataset(plan, where, pairs, cache=cache)


def same(one, other):
    for name, tensor in vars(one).items():
        torch.testing.assert_close(tensor, getattr(other, name), equal_nan=True, rtol=0, atol=0)


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("flip", [False, True])
def test_two_stores(cache, flip):
    coarse, fine = coarse_store(), fine_store()
    turned = {"lat": slice(None, None, -1)}
    stores = (fine.isel(turned), coarse.isel(turned)) if flip else (fine, coarse)
    samples = dataset(pairing(*stores), cache)
    assert len(samples) == 6
    batch = samples[4]
    assert batch.coarse.shape == (1, 2, *COARSE.shape)
    assert batch.fine.shape == (1, 1, *FINE.shape)
    np.testing.assert_array_equal(batch.coarse[0, 1], coarse["msl"][4])
    np.testing.assert_array_equal(batch.fine[0, 0], fine["pr"][4])
    np.testing.assert_array_equal(batch.statics[0, 0], fine["orography"])
    assert batch.fine[0, 0, 1, 2].isnan()
    np.testing.assert_array_equal(batch.lat_edges[0], COARSE.lat_edges)
    np.testing.assert_array_equal(batch.lon_edges[0], COARSE.lon_edges)
    assert pd.Timestamp(batch.time.item(), unit="s") == DAYS[4]
    assert bool(rows(samples.pairs.fine)) is flip
    back = give_back(samples.pairs.fine, notes(samples.pairs.fine))
    assert back["lat"].values.tolist() == (FINE.lat[::-1] if flip else FINE.lat).tolist()


def test_one_store_is_coarsened(messages):
    fine = fine_store()
    samples = dataset(pairing(fine, inputs=(RAIN, "orography", WARM)))
    batch = samples[2]
    weights = np.broadcast_to(FINE.row_weights[:, None], FINE.shape)
    values = fine["pr"][2].values.astype(np.float64)
    valid = np.isfinite(values)

    def blocks(x):
        return x.reshape(5, 2, 7, 2).sum((1, 3))

    expected = blocks(np.where(valid, values, 0) * weights) / blocks(valid * weights)
    np.testing.assert_allclose(batch.coarse[0, 0], expected, rtol=1e-6)
    height = blocks(fine["orography"].values * weights) / blocks(weights)
    np.testing.assert_allclose(batch.coarse[0, 1], height, rtol=1e-6)
    assert batch.coarse[0, 2].isnan().all()
    np.testing.assert_array_equal(batch.fine[0, 0], fine["pr"][2])
    assert "no source has are missing values: 2m_temperature" in messages.text


def test_static_inputs_come_from_the_coarse_store_first():
    height = xr.DataArray(np.full(COARSE.shape, 7.0), dims=("lat", "lon"), attrs={"units": "m"})
    coarse = coarse_store().assign(orography=height)
    inputs = (WARM, "orography", "latitude")
    batch = dataset(pairing(fine_store(), coarse, inputs=inputs))[0]
    assert (batch.coarse[0, 1] == 7).all()
    np.testing.assert_allclose(batch.coarse[0, 2, :, 3], COARSE.lat)


def test_statics_from_their_own_source_of_a_larger_region():
    larger = LatLonGrid.from_edges(np.arange(50, 41, -0.5), np.arange(2.0, 12.5, 0.5))
    static = fields(larger, DAYS[:1], lsm="1").isel(time=0, drop=True)
    plan = pairing(fine_store(), coarse_store(), static, static_names=("land_sea_mask", "latitude"))
    batch = dataset(plan)[0]
    np.testing.assert_array_equal(batch.statics[0, 0], static["lsm"][4:14, 2:16])
    np.testing.assert_allclose(batch.statics[0, 1, :, 0], FINE.lat)


def test_static_of_another_grid():
    other = LatLonGrid.from_edges(np.arange(50, 41, -0.4), np.arange(2.0, 12.5, 0.5))
    static = fields(other, DAYS[:1], lsm="1").isel(time=0, drop=True)
    plan = pairing(fine_store(), coarse_store(), static, static_names=("land_sea_mask",))
    with pytest.raises(InputError, match=r"static source .* is not on the fine grid"):
        plan.open()
    nowhere = pairing(fine_store(), coarse_store(), static_names=("land_sea_mask",))
    with pytest.raises(InputError, match="'land_sea_mask' is in neither"):
        nowhere.open()


@pytest.mark.parametrize("method", ["linear", "conservative"])
def test_grids_that_share_a_corner_point_are_interpolated(method):
    points = {"lat": 47.75 - np.arange(5), "lon": 3.25 + np.arange(7)}
    coarse = coarse_store(grid=LatLonGrid.from_dataset(xr.Dataset(coords=points)))
    plan = pairing(fine_store(), coarse)
    with pytest.raises(InputError, match="regrid to linear or conservative"):
        plan.open()
    batch = dataset(pairing(fine_store(), coarse, regrid=method))[3]
    # a quarter of a cell to the south-east of the points, in a plane that rises by 10 and by 1
    one = CODE["K"][1]
    np.testing.assert_allclose(
        batch.coarse[0, 0, 3:-1, 4:-1],
        coarse["t2m"][3, 3:-1, 4:-1] + 2.75 * one,
        rtol=0,
        atol=0.05 * one,
    )
    np.testing.assert_array_equal(batch.lat_edges[0], COARSE.lat_edges)


def globe_from(west):
    """Return a coarse globe of 10 degrees that begins at a meridian, and fine statics like it."""
    lat, lon = np.arange(55.0, 20, -10), west + 10.0 * np.arange(36) + 5
    wave = 250 + lat[:, None] + 20 * np.cos(np.radians(lon))
    coarse = xr.Dataset(
        {"t2m": (("time", "lat", "lon"), np.tile(wave, (2, 1, 1)), {"units": "K"})},
        {"time": DAYS[:2], "lat": lat, "lon": lon},
    )
    lon = west + 2.0 * np.arange(180) + 1
    lat = np.arange(59.0, 20, -2)
    height = np.broadcast_to(100 + 50 * np.sin(np.radians(lon)), (lat.size, lon.size))
    attrs = {"units": "m"}
    static = xr.Dataset({"orography": (("lat", "lon"), height, attrs)}, {"lat": lat, "lon": lon})
    return coarse, static


@settings(max_examples=12, deadline=None)
@given(
    seam=st.sampled_from([0.0, -180.0, 20.0, -8.0]),
    west=st.integers(-90, 170).map(lambda west: 2.0 * west),
    blocks=st.integers(2, 80),
    method=st.sampled_from(["linear", "conservative"]),
)
@example(seam=0.0, west=-20.0, blocks=15, method="linear")
@example(seam=-180.0, west=150.0, blocks=15, method="conservative")
def test_a_fine_region_may_lie_across_the_seam_of_the_others(seam, west, blocks, method):
    """Pairs are those of stores whose seam is far from the region."""
    east = west + 2.0 * np.arange(2 * blocks + 1)
    grid = LatLonGrid.from_edges(np.arange(50.0, 29, -2), east)
    fine = fields(grid, DAYS[:2], pr="mm day-1")
    far = seam + 10 * np.round((east.mean() - 180 - seam) / 10)
    changes = {"inputs": (WARM,), "regrid": method}
    across, away = (pairing(fine, *globe_from(start), **changes).open() for start in (seam, far))
    np.testing.assert_allclose(across.fine_grid.lon, grid.lon)
    np.testing.assert_allclose(across.coarse[WARM], away.coarse[WARM], rtol=1e-6)
    wave = across.coarse[WARM].values[0] - across.grid.lat[:, None] - 250
    near = 20 * np.cos(np.radians(across.grid.lon))
    if method == "linear":
        np.testing.assert_allclose(wave, np.broadcast_to(near, wave.shape), atol=0.1)
    height = 100 + 50 * np.sin(np.radians(across.fine_grid.lon))
    np.testing.assert_allclose(across.statics["orography"][0], height, rtol=1e-5)


def test_coarse_store_may_cover_less_or_more(messages):
    less = coarse_store().isel(lat=slice(1, None), lon=slice(2, 6))
    batch = dataset(pairing(fine_store(), less))[1]
    there = torch.isfinite(batch.coarse[0, 0])
    assert not there[0].any()
    assert not there[:, [0, 1, 6]].any()
    np.testing.assert_array_equal(batch.coarse[0, 0, 1:, 2:6], less["t2m"][1])
    assert "covers 16 of the 35" in messages.text
    part = fine_store().isel(lat=slice(3, 10), lon=slice(5, 14))
    batch = dataset(pairing(part, coarse_store()))[1]
    np.testing.assert_array_equal(batch.coarse[0, 0], coarse_store()["t2m"][1, 2:, 3:])
    np.testing.assert_array_equal(batch.fine[0, 0], fine_store()["pr"][1, 4:, 6:])


def test_nothing_in_common():
    grid = LatLonGrid.from_edges(np.arange(30.0, 20, -1), np.arange(3.0, 9.0))
    with pytest.raises(InputError, match="does not nest"):
        pairing(fine_store(), coarse_store(grid=grid)).open()
    with pytest.raises(InputError, match="no cell in common"):
        pairing(fine_store(), coarse_store(grid=grid), regrid="linear").open()


def test_times_are_matched_and_counted(messages):
    coarse = coarse_store(DAYS[1:])
    fine = fine_store(DAYS[[0, 2, 3, 5]])
    samples = dataset(pairing(fine, coarse))
    assert list(samples.times) == list(DAYS[[2, 3, 5]])
    np.testing.assert_array_equal(samples[1].coarse[0, 0], coarse["t2m"][2])
    np.testing.assert_array_equal(samples[1].fine[0, 0], fine["pr"][2])
    assert "2 of the coarse and 1 of the fine store have no partner" in messages.text


def test_no_time_in_common_names_the_window():
    noon = fine_store(DAYS + pd.Timedelta("12h"))
    with pytest.raises(InputError, match="resample"):
        pairing(noon, coarse_store()).open()
    samples = dataset(pairing(noon, coarse_store(), resample="24h"))
    assert list(samples.times) == list(DAYS)


def test_hourly_inputs_and_daily_truth():
    hours = pd.date_range("2001-01-01", periods=96, freq="1h")
    coarse = coarse_store(hours)
    samples = dataset(pairing(fine_store(), coarse, resample="24h"), cache=False)
    assert list(samples.times) == list(DAYS[:4])
    expected = coarse["t2m"][24:48].mean("time", skipna=False)
    np.testing.assert_allclose(samples[1].coarse[0, 0], expected, rtol=1e-6)


@pytest.mark.parametrize("cache", [True, False])
def test_members_are_samples(cache):
    samples = dataset(pairing(fine_store(), coarse_store(members=3)), cache)
    assert len(samples) == 18
    batch = Batch.collate(samples.__getitems__([7, 14]))
    expected = coarse_store(members=3)["t2m"].values
    np.testing.assert_array_equal(batch.coarse[0, 0], expected[1, 2])
    np.testing.assert_array_equal(batch.coarse[1, 0], expected[2, 4])
    np.testing.assert_array_equal(batch.fine[:, 0], fine_store()["pr"][[2, 4]])


def test_members_of_both_belong_together():
    samples = dataset(pairing(fine_store(members=2), coarse_store(members=2)))
    assert len(samples) == 12
    assert samples[5].fine[0, 0, 0, 0] - samples[4].fine[0, 0, 0, 0] == 1e5 * CODE["mm day-1"][1]
    with pytest.raises(InputError, match="'number' has 3 values"):
        dataset(pairing(fine_store(members=2), coarse_store(members=3)))


@pytest.mark.parametrize("cache", [True, False])
def test_members_of_both_are_paired_by_their_labels(cache):
    fine, coarse = (
        ds.assign_coords(number=[10, 11]) for ds in (fine_store(members=2), coarse_store(members=2))
    )
    turned = dataset(pairing(fine.isel(number=[1, 0]), coarse), cache)
    for found, expected in zip(turned, dataset(pairing(fine, coarse), cache), strict=True):
        np.testing.assert_array_equal(found.fine, expected.fine)
        np.testing.assert_array_equal(found.coarse, expected.coarse)
    with pytest.raises(
        InputError, match=r"'number' differ: the fine store has \[0, 10\], the coarse"
    ):
        dataset(pairing(fine.assign_coords(number=[0, 10]), coarse), cache)


def test_memory_stream_pickle_and_batches_agree(tmp_path):
    coarse_store(members=2).to_netcdf(tmp_path / "coarse.nc")
    fine_store().to_netcdf(tmp_path / "fine.nc")
    plan = pairing(str(tmp_path / "fine.nc"), str(tmp_path / "coarse.nc"))
    memory, stream = (dataset(plan, cache, positions=[1, 2, 4]) for cache in (True, False))
    copies = [pickle.loads(pickle.dumps(samples)) for samples in (memory, stream)]
    assert len(pickle.dumps(stream)) < 20_000
    for samples in (stream, *copies):
        assert list(samples.times) == list(DAYS[[1, 2, 4]])
        for index in range(len(memory)):
            same(samples[index], memory[index])
        whole = Batch.collate(samples.__getitems__([5, 0, 3]))
        same(whole, Batch.collate([memory[5], memory[0], memory[3]]))
    with pytest.raises(IndexError):
        memory[6]


def test_nothing_is_read_before_a_sample_is_asked_for():
    """A store that fails when a step is read."""

    def broken(block):
        raise RuntimeError("read")

    def spoil(ds):
        return ds.chunk(time=1).map(lambda x: x.copy(data=x.data.map_blocks(broken, meta=x.data)))

    fine = fine_store()
    rain = spoil(fine[["pr"]]).assign(orography=fine["orography"])
    hours = pd.date_range("2001-01-01", periods=96, freq="1h")
    plan = pairing(rain, spoil(coarse_store(hours)), resample="24h", regrid="conservative")
    samples = dataset(plan, cache=False)
    with pytest.raises(RuntimeError, match="read"):
        samples[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"targets": ("orography",)}, "cannot be a target"),
        ({"inputs": ("2m_temprature",)}, "2m_temperature"),
        ({"targets": ("snowfall",)}, "snowfall"),
    ],
)
def test_mistaken_channels(changes, words):
    with pytest.raises(InputError, match=words):
        pairing(fine_store(), coarse_store(), **changes).open()
