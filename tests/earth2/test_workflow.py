"""Bundles in the workflows of Earth2Studio itself, where that is installed."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
import xarray as xr

from orbitlite.earth2 import Earth2Downscaler

REASON = "earth2studio is not installed (pip install 'orbitlite[earth2studio]')"
pytest.importorskip("earth2studio", reason=REASON)

from earth2studio.io import KVBackend, ZarrBackend  # noqa: E402
from earth2studio.models.dx import DiagnosticModel  # noqa: E402
from earth2studio.models.px import Persistence  # noqa: E402
from earth2studio.run import diagnostic  # noqa: E402

STARTS = np.array(["2001-01-02", "2001-01-04"], "datetime64[ns]")


class Fields:
    """A source of data: the fields of a dataset, in metres and kelvins."""

    def __init__(self, ds):
        self.array = xr.concat(
            [ds["total_precipitation_24hr"] / np.float32(1000), ds["2m_temperature"]], "variable"
        ).assign_coords(variable=["tp24", "t2m"]).drop_attrs()  # fmt: skip

    def __call__(self, time, variable):
        found = self.array.sel(time=np.atleast_1d(time), variable=np.atleast_1d(variable))
        return found.transpose("time", "variable", "lat", "lon")


def as_dataset(source, times, valid):
    """Return the fields of some times, as of other times."""
    found = source.array.sel(time=times).assign_coords(time=valid)
    names = {"tp24": {"units": "m", "accumulation_hours": 24}, "t2m": {"units": "K"}}
    ds = xr.Dataset({n: found.sel(variable=n, drop=True).assign_attrs(a) for n, a in names.items()})
    return ds.rename(tp24="total_precipitation_24hr")


def persistence(source, ds):
    space = OrderedDict(lat=ds["lat"].values, lon=ds["lon"].values)
    return Persistence(["tp24", "t2m"], space, dt=np.timedelta64(24, "h"))


@pytest.mark.parametrize("backend", [KVBackend, ZarrBackend])
def test_diagnostic_workflow(bundle_path, bundle, coarse, backend):
    source = Fields(coarse)
    model = Earth2Downscaler.load(bundle_path)
    assert isinstance(model, DiagnosticModel)
    io = diagnostic(STARTS, 2, persistence(source, coarse), model, source, backend(), verbose=False,
                    device=torch.device("cpu"))  # fmt: skip
    for step in range(3):
        valid = STARTS + np.timedelta64(24 * step, "h")
        expected = as_dataset(source, STARTS, valid).orbitlite.predict(bundle)
        found = np.asarray(io["tp24"])[:, step]
        amounts = expected["total_precipitation_24hr"].values
        assert np.array_equal(found, (amounts / np.float64(1000)).astype("f4"))
    for axis in ("lat", "lon"):
        assert np.array_equal(np.asarray(io[axis]), expected[axis])
