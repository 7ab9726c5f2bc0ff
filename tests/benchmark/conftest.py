"""A config of a fit of seconds, with a few days of two channels and some truth missing."""

import numpy as np
import pytest
import xarray as xr
import yaml

RAIN = "total_precipitation_24hr"


@pytest.fixture(scope="session")
def write_task(tmp_path_factory):
    """Return a function: write data and a config into a new folder; return its path."""

    def write(holes=True, **sections):
        folder = tmp_path_factory.mktemp("task")
        random = np.random.default_rng(5)
        shape, dims = (30, 16, 24), ("time", "lat", "lon")
        height = 500 * random.random(shape[1:]).astype("f4")
        rain = random.gamma(0.6, 4.0, (shape[0], 4, 6)).astype("f4").repeat(4, 1).repeat(4, 2)
        rain = (rain * (1 + height / 500)).astype("f4")
        if holes:
            rain[:, 3, 5:8] = np.nan
        warm = (280 + 5 * random.standard_normal(shape)).astype("f4")
        xr.Dataset(
            {
                RAIN: (dims, rain, {"units": "mm"}),
                "2m_temperature": (dims, warm, {"units": "K"}),
                "orography": (dims[1:], height, {"units": "m"}),
            },
            {
                "time": np.datetime64("2001-01-01", "ns") + np.arange(30) * np.timedelta64(1, "D"),
                "lat": ("lat", np.linspace(49.75, 42.25, 16), {"units": "degrees_north"}),
                "lon": ("lon", np.linspace(5.25, 16.75, 24), {"units": "degrees_east"}),
            },
        ).to_netcdf(folder / "fine.nc")
        own = {
            "inputs": [RAIN, "2m_temperature"], "targets": [RAIN], "statics": ["orography"],
            "factor": 2, "patch_size": 2, "embed_dim": 8, "depth": 1, "num_heads": 2,
        }  # fmt: skip
        content = {
            "model": {"optimisation": {"lr": 0.01}, "network": own} | sections.pop("model", {}),
            "data": {
                "fine": str(folder / "fine.nc"), "batch_size": 4,
                "train": ["2001-01-01", "2001-01-20"], "validate": ["2001-01-21", "2001-01-24"],
                "test": ["2001-01-25", "2001-01-30"],
            } | sections.pop("data", {}),
        }  # fmt: skip
        path = folder / "config.yaml"
        path.write_text(yaml.safe_dump(content | sections))
        return path

    return write
