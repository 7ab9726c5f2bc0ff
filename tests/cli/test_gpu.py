"""The commands on a GPU."""

import numpy as np
import pytest
import xarray as xr

from orbitlite.cli import main

pytestmark = pytest.mark.gpu

RAIN = "total_precipitation_24hr"


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_fit_and_downscale(config, tmp_path, monkeypatch, precision):
    monkeypatch.chdir(tmp_path)
    words = ["--trainer.accelerator", "gpu", "--trainer.precision", precision]
    words += ["--trainer.devices", "1", "--model.network.channel_groups", "2"]
    assert main(["fit", "-c", "config.yaml", *words]) == 0
    fine = xr.open_dataset("fine.nc")
    blocks = fine[[RAIN, "2m_temperature"]].coarsen(lat=2, lon=2).mean()
    for name in (*blocks.data_vars, "lat", "lon"):
        blocks[name].attrs["units"] = fine[name].attrs["units"]
    blocks.to_netcdf("coarse.nc")
    for device in ("cpu", "cuda"):
        out = f"{device}.nc"
        words = ["--model", "run/bundle", "--accumulation-period", "24h", "--device", device]
        assert main(["downscale", "coarse.nc", out, *words]) == 0
    cpu, gpu = (xr.open_dataset(f"{device}.nc")[RAIN] for device in ("cpu", "cuda"))
    np.testing.assert_allclose(gpu, cpu, rtol=1e-2, atol=1e-2)
