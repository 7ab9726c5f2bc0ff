from __future__ import annotations

import logging
import tracemalloc

import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from orbitlite.data import statistics as module
from orbitlite.data.statistics import statistics
from orbitlite.errors import InputError
from orbitlite.grids.latlon import LatLonGrid

CHANNELS = ["2m_temperature", "total_precipitation_24hr", "orography"]
GRID = LatLonGrid.from_edges(90 - 15.0 * np.arange(13), 20.0 * np.arange(10))


def store(steps=23, members=2):
    generator = np.random.default_rng(5)
    warm = 280 + 15 * generator.normal(size=(members, steps, *GRID.shape))
    rain = generator.gamma(0.3, 8.0, (members, steps, *GRID.shape))
    rain[:, :, 4:7, 2:5] = np.nan
    warm[0, 3] = np.nan
    height = 800 * generator.random(GRID.shape)
    dims = ("number", "time", "lat", "lon")
    return xr.Dataset(
        {
            "2m_temperature": (dims, warm.astype(np.float32)),
            "total_precipitation_24hr": (dims, rain.astype(np.float32)),
            "orography": (dims[2:], height.astype(np.float32)),
        },
        {"time": np.arange(steps), **GRID.coordinates()},
    )


def oracle(ds, channel):
    """Of everything at once, through numpy's weighted average and covariance."""
    values = ds[channel].values.astype(np.float64)
    values = np.log1p(values) if "precipitation" in channel else values
    weights = np.broadcast_to(GRID.weights, values.shape)
    valid = np.isfinite(values)
    mean = np.average(values[valid], weights=weights[valid])
    variance = np.cov(values[valid], aweights=weights[valid], ddof=0)
    return mean, np.sqrt(variance)


def test_against_numpy():
    found = statistics(store(), CHANNELS, GRID, progress=False)
    expected = np.array([oracle(store(), channel) for channel in CHANNELS]).T
    np.testing.assert_allclose([found.mean, found.std], expected, rtol=1e-9)
    values = [store()[channel].values for channel in CHANNELS]
    np.testing.assert_array_equal(found.low, [np.nanmin(part) for part in values])
    np.testing.assert_array_equal(found.high, [np.nanmax(part) for part in values])
    for channel, share in zip(CHANNELS, found.valid, strict=True):
        valid = np.isfinite(store()[channel].values)
        assert share == pytest.approx(np.average(valid, weights=np.ones_like(valid) * GRID.weights))


@settings(max_examples=15, deadline=None)
@given(
    chunks=st.fixed_dictionaries(
        {"time": st.integers(1, 23), "lat": st.integers(1, 12), "lon": st.integers(1, 9)}
    ),
    others=st.integers(1, 23),
    block=st.sampled_from([1, 10_000, 2**26]),
)
def test_any_chunks_give_the_same(chunks, others, block):
    ds = store()
    expected = statistics(ds, CHANNELS, GRID, progress=False)
    ds["2m_temperature"] = ds["2m_temperature"].chunk(chunks)
    ds["total_precipitation_24hr"] = ds["total_precipitation_24hr"].chunk(time=others)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_BYTES", block)
        found = statistics(ds, CHANNELS, GRID, progress=False)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-9)
    np.testing.assert_allclose(found.std, expected.std, rtol=1e-9)
    np.testing.assert_array_equal([found.low, found.high], [expected.low, expected.high])


def test_every_chunk_is_read_once(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BYTES", 3000)
    read = []

    def chunk(block_info=None):
        place = block_info[None]["array-location"]
        read.append(place[0][0])
        return np.ones([stop - start for start, stop in place], np.float32)

    values = dask.array.map_blocks(chunk, chunks=((5, 5, 5, 4), (12,), (9,)), dtype=np.float32)
    ds = xr.Dataset({"2m_temperature": (("time", "lat", "lon"), values)}, GRID.coordinates())
    statistics(ds, ["2m_temperature"], GRID, progress=False)
    assert sorted(read) == [0, 5, 10, 15]


def test_memory_stays_below_the_block(monkeypatch):
    """128 MiB of values, read in blocks of 8 MiB."""
    monkeypatch.setattr(module, "BLOCK_BYTES", 2**23)
    grid = LatLonGrid.from_edges(np.linspace(90, -90, 65), np.linspace(0, 360, 129))
    values = dask.array.random.default_rng(0).normal(
        280, 10, size=(4096, *grid.shape), chunks=(32, -1, -1)
    )
    ds = xr.Dataset(
        {"2m_temperature": (("time", "lat", "lon"), values.astype(np.float32))},
        grid.coordinates(),
    )
    tracemalloc.start()
    found = statistics(ds, ["2m_temperature"], grid, progress=False)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.mean[0] == pytest.approx(280, abs=0.1)
    assert found.std[0] == pytest.approx(10, abs=0.1)
    assert ds.nbytes > 2**27
    assert peak < 2**26


def test_constant_channel_has_scale_one(caplog):
    caplog.set_level(logging.INFO)
    ds = store()
    ds["2m_temperature"][:] = 281.3
    found = statistics(ds, CHANNELS, GRID, progress=False)
    assert found.std[0] == 1.0
    assert found.mean[0] == pytest.approx(281.3)
    assert "2m_temperature is constant" in caplog.text


@pytest.mark.parametrize(("value", "words"), [(np.nan, "no valid value"), (np.inf, "not finite")])
def test_useless_values_are_named(value, words):
    ds = store()
    ds["total_precipitation_24hr"][1 if value == np.inf else slice(None)] = value
    with pytest.raises(InputError, match=f"total_precipitation_24hr.*{words}|{words}.*total_prec"):
        statistics(ds, CHANNELS, GRID, progress=False)
