"""A job of many small pieces, and ways to disturb it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from orbitlite.grids.latlon import LatLonGrid
from orbitlite.model.bundle import Bundle, save_bundle
from orbitlite.model.downscaler import Downscaler, DownscalerConfig
from orbitlite.model.statics import Statics

RAIN = "total_precipitation_24hr"


@pytest.fixture
def globe():
    """Return two days of rain and temperature on a globe of 40 x 80 cells."""
    random = np.random.default_rng(4)
    dims, shape = ("time", "lat", "lon"), (2, 40, 80)
    rain = random.gamma(0.5, 8, shape).astype("f4")
    rain[1, 3:9, 70:] = np.nan
    return xr.Dataset(
        {
            RAIN: (dims, rain, {"units": "mm"}),
            "2m_temperature": (dims, rain[::-1] + 270, {"units": "K"}),
        },
        {
            "time": np.datetime64("2001-01-01", "ns") + np.arange(2) * np.timedelta64(1, "D"),
            "lat": ("lat", 87.75 - 4.5 * np.arange(40), {"units": "degrees_north"}),
            "lon": ("lon", 4.5 * np.arange(80), {"units": "degrees_east"}),
        },
    )


@pytest.fixture
def globe_bundle(globe):
    """Return a small model of factor 2 with the statics of the globe."""
    torch.manual_seed(1)
    config = DownscalerConfig(
        inputs=[RAIN, "2m_temperature"], statics=["orography"], factor=2, embed_dim=16,
        depth=1, num_heads=2, patch_size=2,
    )  # fmt: skip
    net = Downscaler(config)
    torch.nn.init.normal_(net.decoder.out.weight, std=0.3)
    net.set_statistics(input_mean=[1.0, 280.0], input_std=[1.0, 5.0])
    fine = LatLonGrid.from_dataset(globe).refine(2)
    edges = (torch.from_numpy(edges.copy()) for edges in (fine.lat_edges, fine.lon_edges))
    return Bundle(net.eval(), {"training": {}}, Statics(torch.rand(1, 80, 160), *edges))


@pytest.fixture
def globe_bundle_path(globe_bundle, tmp_path):
    """Return the folder of `globe_bundle`, saved."""
    path = tmp_path / "globe_bundle"
    save_bundle(path, globe_bundle.model, metadata=globe_bundle.metadata,
                statics=globe_bundle.statics)  # fmt: skip
    return str(path)
