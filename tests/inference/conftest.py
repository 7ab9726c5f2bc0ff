"""A tiny trained-looking model and coarse data for it."""

import numpy as np
import pytest
import torch
import xarray as xr

from orbitlite.data.grid import LatLonGrid
from orbitlite.model.bundle import Bundle, Statics
from orbitlite.model.downscaler import Downscaler, DownscalerConfig

INPUTS = ("total_precipitation_24hr", "2m_temperature")


def make_coarse(times=5, ascending=False):
    random = np.random.default_rng(2)
    lat, lon = np.linspace(49.5, 44.5, 6), np.linspace(5.5, 12.5, 8)
    dims = ("time", "lat", "lon")
    ds = xr.Dataset(
        {
            INPUTS[0]: (dims, random.gamma(0.5, 8, (times, 6, 8)).astype("f4"), {"units": "mm"}),
            INPUTS[1]: (dims, random.normal(280, 5, (times, 6, 8)).astype("f4"), {"units": "K"}),
        },
        coords={
            "time": np.datetime64("2001-01-01", "ns") + np.arange(times) * np.timedelta64(1, "D"),
            "lat": ("lat", lat, {"units": "degrees_north"}),
            "lon": ("lon", lon, {"units": "degrees_east"}),
        },
        attrs={"institution": "nobody", "history": "made up"},
    )
    return ds.isel(lat=slice(None, None, -1)) if ascending else ds


@pytest.fixture
def coarse():
    return make_coarse()


@pytest.fixture
def bundle():
    torch.manual_seed(0)
    config = DownscalerConfig(
        inputs=INPUTS, fine_statics=["orography"], factor=2, embed_dim=16, depth=1, num_heads=2
    )
    model = Downscaler(config)
    torch.nn.init.normal_(model.decoder.out.weight, std=0.3)
    model.set_statistics(input_mean=[1.0, 280.0], input_std=[1.0, 5.0])
    fine = LatLonGrid.from_dataset(make_coarse()).refine(2)
    statics = Statics(
        torch.rand(1, 12, 16), torch.from_numpy(fine.lat_edges), torch.from_numpy(fine.lon_edges)
    )
    return Bundle(model.eval(), {"training": {}}, statics)
