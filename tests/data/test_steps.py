"""Steps of lazy datasets: the values that xarray selects, whatever their chunks."""

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from orbitlite.data import steps
from orbitlite.data.steps import StepReader, Wanted

TIMES = pd.date_range("2001-01-01", periods=11)


def dataset(chunks):
    values = np.arange(11 * 2 * 5 * 7, dtype=np.float32).reshape(11, 2, 5, 7)
    dims = ("time", "number", "lat", "lon")
    ds = xr.Dataset(
        {
            "plain": (dims, values),
            "turned": (dims[::-1], -values.transpose(3, 2, 1, 0)),
            "one": (("time", "lat", "lon"), values[:, 0] + 0.5),
        },
        {"time": TIMES, "lat": np.arange(5.0, 0, -1), "lon": np.arange(7.0)},
    ).chunk(chunks)
    return ds.assign(still=(("lat", "lon"), values[0, 0] * 10))


CELLS = [
    {"lat": slice(0, 5), "lon": slice(0, 7), "number": 1},
    {"lat": slice(1, 4), "lon": np.array([5, 6, 0, 1, 2, 3, 4, 5]), "number": 0},
    {"lat": slice(2, 3), "lon": slice(3, 4), "number": 1},
]


@pytest.mark.parametrize("window", [1, 4, 128])
@pytest.mark.parametrize(
    "chunks", [{}, {"time": 1}, {"time": 3, "lat": 2, "lon": 3}, {"number": 1, "lon": 4}]
)
def test_values_are_those_of_xarray(monkeypatch, window, chunks):
    monkeypatch.setattr(steps, "_WINDOW", window)
    ds = dataset(chunks)
    channels = ["one", "nowhere", "turned", "still", "plain"]
    other = xr.Dataset({"plain": ds["plain"].isel(number=0, drop=True) * 3})
    reader = StepReader([ds, other], [channels, ["plain"]])
    order = [10, 0, 4, 10, 3, 7]
    wanted = [Wanted(0, step, CELLS[step % 3]) for step in order]
    cells = {dim: CELLS[1][dim] for dim in ("lat", "lon")}
    found = reader.read([*wanted, Wanted(1, 6, cells)])
    np.testing.assert_array_equal(found.pop()[0], other["plain"][6].isel(cells))
    for step, own in zip(order, found, strict=True):
        assert own.dtype == np.float32
        assert np.isnan(own[1]).all()
        for name, values in zip(channels, own, strict=True):
            if name in ds:
                there = {"time": step, **CELLS[step % 3]}
                field = ds[name].isel({dim: there[dim] for dim in ds[name].dims})
                np.testing.assert_array_equal(values, field.transpose("lat", "lon"), name)


def test_only_blocks_that_are_asked_for_are_computed_once_for_a_read():
    ds, read = dataset({"time": 3, "lat": 2}), []

    def block(values, block_info):
        read.append(tuple(block_info[0]["chunk-location"]))
        return values

    field = ds["plain"].copy(
        data=ds["plain"].data.map_blocks(
            block, dtype=np.float32, meta=np.empty((0,) * 4, np.float32)
        )
    )
    reader = StepReader([xr.Dataset({"plain": field})], [["plain"]])
    rows = {"lat": slice(3, 5), "lon": slice(0, 7), "number": 0}
    with dask.config.set(scheduler="synchronous"):
        reader.read([Wanted(0, step, rows) for step in (4, 0, 5)])
    assert sorted(read) == [(0, 0, 1, 0), (0, 0, 2, 0), (1, 0, 1, 0), (1, 0, 2, 0)]


def test_what_is_read_holds_no_block():
    """A view would keep all steps of a chunk in memory."""
    block = np.zeros((1000, 3, 4), np.float32)
    cut = steps._cut(block, (slice(5, 6), slice(0, 3), slice(0, 4)), (0,))
    assert cut.shape == (3, 4)
    assert cut.base is None
