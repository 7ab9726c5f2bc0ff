"""Fixtures shared by all tests."""

from __future__ import annotations

import logging
import multiprocessing
import os
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from orbitlite.data.reader import READERS
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.model.bundle import Bundle, save_bundle
from orbitlite.model.decoder import DECODERS
from orbitlite.model.downscaler import Downscaler, DownscalerConfig
from orbitlite.model.saliency import SALIENCIES
from orbitlite.model.statics import Statics
from orbitlite.model.trunk import TRUNKS
from orbitlite.training.losses import LOSSES
from orbitlite.variables import VARIABLES, names, table
from orbitlite.verification.baselines import BASELINES
from orbitlite.verification.score import SCORES

DATA = Path(os.environ.get("ORBITLITE_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
if os.environ.get("PYTEST_XDIST_WORKER"):  # the workers share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
# Processes that tests start are forks of one that has imported what takes longer than their work.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(__file__).parent / "preloaded"), *filter(None, [os.environ.get("PYTHONPATH")])]
)
multiprocessing.set_forkserver_preload(["preloaded"])


def pytest_collection_modifyitems(items):
    """Skip what needs a GPU where there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no GPU is to be had here"))


@pytest.fixture
def forget():
    """Return a function that takes out of the table what was declared, as in a new process."""

    def run():
        for name in [name for name, row in VARIABLES.items() if row.group == "declared"]:
            del table._rows[name]
        names.renew()

    return run


@pytest.fixture(autouse=True)
def _same_environment():
    """Take back what code under test has set for all that follows; clusters of dask do."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys() - {"PYTEST_CURRENT_TEST"}:
        del os.environ[name]
    os.environ |= {name: value for name, value in before.items() if name != "PYTEST_CURRENT_TEST"}


@pytest.fixture(autouse=True)
def _nothing_declared(forget):
    yield
    forget()


@pytest.fixture
def registries(monkeypatch):
    """Forget after a test what it has registered beside the parts of the package."""
    for name in ("data.store", "model.downscaler", "training.losses", "verification.catalogue"):
        import_module(f"orbitlite.{name}")
    for registry in (BASELINES, DECODERS, LOSSES, READERS, SALIENCIES, SCORES, TRUNKS):
        monkeypatch.setattr(registry, "_parts", dict(registry._parts))


@pytest.fixture(autouse=True)
def _own_handlers():
    """Let every test begin without handlers that write to the streams of an earlier one."""
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).handlers = []
    yield
    log = logging.getLogger("orbitlite")
    log.handlers, log.propagate = [], True
    log.setLevel(logging.NOTSET)


@pytest.fixture
def real_data():
    """Return a function from a name like `iberia/fine_eobs.nc` to its path; skips where absent."""

    def locate(name: str) -> Path:
        path = DATA / name
        if not path.exists():
            pytest.skip(f"real data set {name} not found under {DATA} (set ORBITLITE_TEST_DATA)")
        return path

    return locate


@pytest.fixture
def coarse():
    """Return coarse rain (mm over 24 h) and temperature of five days, 6 x 8 cells of 1 degree."""
    random = np.random.default_rng(2)
    dims, shape = ("time", "lat", "lon"), (5, 6, 8)
    rain, temperature = random.gamma(0.5, 8, shape), random.normal(280, 5, shape)
    return xr.Dataset(
        {
            "total_precipitation_24hr": (dims, rain.astype("f4"), {"units": "mm"}),
            "2m_temperature": (dims, temperature.astype("f4"), {"units": "K"}),
        },
        coords={
            "time": np.datetime64("2001-01-01", "ns") + np.arange(5) * np.timedelta64(1, "D"),
            "lat": ("lat", np.linspace(49.5, 44.5, 6), {"units": "degrees_north"}),
            "lon": ("lon", np.linspace(5.5, 12.5, 8), {"units": "degrees_east"}),
        },
        attrs={"institution": "nobody", "history": "made up"},
    )


@pytest.fixture
def bundle(coarse):
    """Return a tiny model of factor 2 that looks trained, with the statics of `coarse`."""
    torch.manual_seed(0)
    config = DownscalerConfig(
        inputs=[*coarse.data_vars], statics=["orography"], factor=2, embed_dim=16, depth=1,
        num_heads=2,
    )  # fmt: skip
    model = Downscaler(config)
    torch.nn.init.normal_(model.decoder.out.weight, std=0.3)
    model.set_statistics(input_mean=[1.0, 280.0], input_std=[1.0, 5.0])
    fine = LatLonGrid.from_dataset(coarse).refine(2)
    edges = (torch.from_numpy(edges) for edges in (fine.lat_edges, fine.lon_edges))
    return Bundle(model.eval(), {"training": {}}, Statics(torch.rand(1, 12, 16), *edges))


@pytest.fixture
def bundle_path(bundle, tmp_path_factory):
    """Return the folder of `bundle`, saved."""
    path = tmp_path_factory.mktemp("model") / "bundle"
    save_bundle(path, bundle.model, metadata=bundle.metadata, statics=bundle.statics)
    return path
