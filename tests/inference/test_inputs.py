"""Channels into one array: order, gaps, members, blocks."""

import logging

import cloudpickle
import dask.array
import numpy as np
import pytest
import xarray as xr

from orbitlite.errors import InputError
from orbitlite.inference.inputs import say_if_joined, stack

RAIN, HEAT = "total_precipitation_24hr", "2m_temperature"


def test_channels_come_in_the_models_order(coarse):
    stacked = stack(coarse, [HEAT, RAIN], 4)
    assert stacked.dims == ("time", "channel", "lat", "lon")
    assert stacked.dtype == np.float32
    np.testing.assert_array_equal(stacked[:, 0], coarse[HEAT])
    np.testing.assert_array_equal(stacked[:, 1], coarse[RAIN])


def test_statics_are_repeated_and_absent_channels_are_missing(coarse, caplog):
    height = np.arange(48.0).reshape(6, 8)
    ds = coarse.assign(orography=(("lon", "lat"), height.T))
    with caplog.at_level(logging.WARNING, "orbitlite"):
        stacked = stack(ds, ["orography", RAIN, "temperature_850"], 4)
    for step in range(5):
        np.testing.assert_array_equal(stacked[step, 0], height)
    assert np.isnan(stacked[:, 2]).all()
    assert [record.getMessage() for record in caplog.records] == [
        "Not in the data, so the network does without: temperature_850."
    ]


def test_members_of_one_channel_are_met_by_the_other(coarse):
    members = xr.concat([coarse[RAIN] * k for k in (1, 2, 3)], "number")
    stacked = stack(coarse.drop_vars(RAIN).assign({RAIN: members}), [RAIN, HEAT], 4)
    assert stacked.dims == ("number", "time", "channel", "lat", "lon")
    np.testing.assert_array_equal(stacked[2, :, 0], coarse[RAIN] * 3)
    np.testing.assert_array_equal(stacked[1, :, 1], coarse[HEAT])


def test_two_extra_dims(coarse):
    rain = coarse[RAIN].expand_dims(number=2)
    heat = coarse[HEAT].expand_dims(realization=3)
    stacked = stack(xr.Dataset({RAIN: rain, HEAT: heat}), [RAIN, HEAT], 4)
    assert dict(zip(stacked.dims, stacked.shape, strict=True)) == {
        "number": 2, "realization": 3, "time": 5, "channel": 2, "lat": 6, "lon": 8,
    }  # fmt: skip
    np.testing.assert_array_equal(stacked[1, 2, :, 1], coarse[HEAT])


def test_statics_alone_are_not_enough(coarse):
    ds = coarse[[]].assign(orography=(("lat", "lon"), np.ones((6, 8))))
    with pytest.raises(InputError, match=r"expected some of orography, total.*found orography"):
        stack(ds, ["orography", RAIN], 4)


def lazy(steps, size, chunks):
    data = dask.array.zeros((steps, size, size), np.float32, chunks=chunks)
    return xr.Dataset({RAIN: (("time", "lat", "lon"), data)})


def test_a_block_holds_all_channels_of_the_whole_region(caplog):
    stacked = stack(lazy(300, 16, (300, 8, 4)), [RAIN, HEAT], 4)
    assert stacked.chunks[1:] == ((2,), (8, 8), (4, 4, 4, 4))
    with caplog.at_level(logging.INFO, "orbitlite"):
        say_if_joined(stacked)
    assert "The 2 x 4 chunks of the region are joined" in caplog.text


@pytest.mark.parametrize("steps", [(1,) * 6, (2, 2, 2), (4, 2), (6,)])
def test_chunks_of_steps_and_members_stay(steps, caplog):
    number = (1, 1, 1)
    data = dask.array.zeros((3, 6, 8, 8), np.float32, chunks=(number, steps, 4, 8))
    ds = xr.Dataset({RAIN: (("number", "time", "lat", "lon"), data)})
    with caplog.at_level(logging.INFO, "orbitlite"):
        stacked = stack(ds, [RAIN], 4)
    assert stacked.chunks[:2] == (number, steps)
    assert not caplog.records


@pytest.mark.parametrize("size", [400, 2000])
def test_blocks_of_large_regions_are_split_and_that_is_said(size, caplog):
    with caplog.at_level(logging.INFO, "orbitlite"):
        stacked = stack(lazy(50, size, (50, size, size)), [RAIN], 16)
    steps = max(1, 2**27 // (4 * 17 * size * size))
    assert stacked.chunks[0][0] == steps
    assert f"in chunks of {steps} along time" in caplog.text


def test_uneven_chunks_become_even(caplog):
    # months as chunks: a Zarr store could not be written of these
    with caplog.at_level(logging.INFO, "orbitlite"):
        stacked = stack(lazy(150, 4, ((31, 28, 31, 30, 30), (4,), (4,))), [RAIN], 4)
    assert stacked.chunks[0] == (31, 31, 31, 31, 26)
    assert "in chunks of 31 along time" in caplog.text


def test_fields_without_time_are_one_step(coarse):
    stacked = stack(coarse.isel(time=2, drop=True), [RAIN, HEAT], 4)
    assert stacked.sizes == {"time": 1, "channel": 2, "lat": 6, "lon": 8}
    np.testing.assert_array_equal(stacked[0, 1], coarse[HEAT][2])


def test_what_is_repeated_or_missing_is_not_in_the_graph():
    ds = lazy(6400, 64, (64, 64, 64)).assign(orography=(("lat", "lon"), np.ones((64, 64))))
    stacked = stack(ds, [RAIN, "orography", "temperature_850"], 4)
    assert len(cloudpickle.dumps(dict(stacked.data.dask))) < 64 * 64 * 4 * 200
