"""A bundle of many kinds of channels, and the same fields as Earth2Studio and as ERA5 have them."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
import xarray as xr

from orbitlite.grids.latlon import LatLonGrid
from orbitlite.model.bundle import Bundle
from orbitlite.model.downscaler import Downscaler, DownscalerConfig
from orbitlite.model.statics import Statics

RAIN = "total_precipitation_24hr"
INPUTS = (
    RAIN, "2m_temperature", "geopotential_500", "u_component_of_wind_100", "land_sea_mask",
    "orography", "latitude",
)  # fmt: skip


def _bundle(grid, inputs=INPUTS, targets=(RAIN, "2m_temperature"), statics=True, **network):
    """Return a small network of factor 2 that looks trained, with the statics of a grid."""
    torch.manual_seed(3)
    config = DownscalerConfig(
        inputs=list(inputs), targets=list(targets), statics=["orography"] if statics else [],
        factor=2, embed_dim=16, depth=1, num_heads=2, **network,
    )  # fmt: skip
    net = Downscaler(config)
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    fine = grid.refine(2)
    lines = {name: torch.from_numpy(line) for name, line in fine.lines.items()}
    own = Statics(torch.rand(1, *fine.shape), **lines) if statics else None
    return Bundle(net.eval(), {"training": {}}, own)


@pytest.fixture
def era5():
    """Return five days on 6 x 8 cells of 1 degree, with the names and units of ERA5."""
    random = np.random.default_rng(2)
    shape = (5, 6, 8)
    dims = ("time", "latitude", "longitude")
    amounts = {"units": "m", "accumulation_hours": 24}
    values = {
        "tp": (random.gamma(0.5, 8, shape) / 1000, amounts),
        "t2m": (random.normal(280, 5, shape), {"units": "K"}),
        "z500": (random.normal(54000, 500, shape), {"units": "m2 s-2"}),
        "u_component_of_wind_100": (random.normal(10, 5, shape), {"units": "m s-1"}),
    }
    ds = xr.Dataset({n: (dims, v.astype("f4"), attrs) for n, (v, attrs) in values.items()})
    ds["lsm"] = dims[1:], random.random(shape[1:]).astype("f4"), {"units": "1"}
    return ds.assign_coords(
        time=np.datetime64("2001-01-01", "ns") + np.arange(5) * np.timedelta64(1, "D"),
        latitude=49.5 - np.arange(6.0), longitude=5.5 + np.arange(8.0),
    )  # fmt: skip


@pytest.fixture
def grid(era5):
    """Return their grid."""
    return LatLonGrid.from_dataset(era5.rename(latitude="lat", longitude="lon"))


@pytest.fixture
def bundle_for():
    """Return a function from a grid and settings of a network to a bundle."""
    return _bundle


@pytest.fixture
def rich(grid):
    """Return a bundle that takes all of these fields."""
    return _bundle(grid)


def _tensor(ds):
    """Return fields as Earth2Studio has them: `(time, variable, lat, lon)` and coordinates."""
    names = {"tp": "tp24", "u_component_of_wind_100": "u100"}
    fields = [ds[name].broadcast_like(ds["t2m"]).transpose(*ds["t2m"].dims) for name in ds]
    x = torch.from_numpy(np.stack([field.values for field in fields], axis=1))
    variables = np.array([names.get(str(name), str(name)) for name in ds])
    return x, OrderedDict(
        time=ds["time"].values, variable=variables, lat=ds["latitude"].values,
        lon=ds["longitude"].values,
    )  # fmt: skip


@pytest.fixture
def tensor_of():
    """Return a function from fields of ERA5 to a tensor with coordinates."""
    return _tensor


@pytest.fixture
def sample(era5):
    """Return the same fields as a tensor with coordinates."""
    return _tensor(era5)
