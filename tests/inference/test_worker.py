"""Blocks of a lazy prediction in threads, processes and clusters: their cores and their GPUs."""

import importlib.util
import os
import sys
import threading

import dask
import numpy as np
import pytest
import torch
import xarray as xr
from dask.system import CPU_COUNT

from orbitlite.inference import engine
from orbitlite.inference.worker import Worker

PROBE = """
import os, time
from pathlib import Path
import numpy as np
import torch
from orbitlite.inference.arrays import _block
from orbitlite.inference.worker import Worker

class Probe:
    device, ranges, told = "cpu", {}, set()

    def at(self, device):
        return self

    def core(self, window, tile, times):
        here = Path(__file__).parent
        (here / f"{os.getpid()}.here").touch()
        for _ in range(300):  # so that no process takes both
            if len([*here.glob("*.here")]) > 1:
                break
            time.sleep(0.1)
        return np.array([os.getpid(), torch.get_num_threads(), Worker.here().number])

def block(_):
    return _block(None, np.zeros((1, 1, 1, 1)), Probe(), None)
"""


@pytest.fixture
def blocks(tmp_path, monkeypatch):
    """Return two blocks, as tasks; what they give is process, threads of torch, and number."""
    (tmp_path / "probe_of_workers.py").write_text(PROBE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.syspath_prepend(tmp_path)
    spec = importlib.util.find_spec("probe_of_workers")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "probe_of_workers", module)
    return [dask.delayed(module.block, pure=False)(number) for number in range(2)]


@pytest.mark.slow
def test_processes_share_the_cores(blocks, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    found = np.array(dask.compute(*blocks, scheduler="processes", num_workers=2, chunksize=1))
    assert len({*found[:, 0], os.getpid()}) == 3
    assert set(found[:, 1]) == {max(1, CPU_COUNT // 2)}
    assert len(set(found[:, 2])) == 2


@pytest.mark.slow
def test_threads_that_are_stated_are_used(blocks, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    found = np.array(dask.compute(*blocks, scheduler="processes", num_workers=2, chunksize=1))
    assert set(found[:, 1]) == {2}


@pytest.mark.slow
def test_workers_of_a_cluster_have_their_threads(blocks):
    distributed = pytest.importorskip("distributed")
    sizes = {"n_workers": 2, "threads_per_worker": 3, "dashboard_address": None}
    with distributed.LocalCluster(**sizes) as cluster, distributed.Client(cluster) as client:
        found = np.array(client.gather(client.compute(blocks)))
    assert set(found[:, 1]) == {3}
    assert set(found[:, 2]) == {0, 1}


def test_threads_of_a_process_take_turns_with_all_cores(bundle, coarse, monkeypatch):
    torch_threads, at_once, most = [], set(), []
    real = type(bundle.model).forward
    lock = threading.Lock()

    def forward(self, *args, **options):
        with lock:
            at_once.add(threading.get_ident())
            most.append(len(at_once))
        torch_threads.append(torch.get_num_threads())
        try:
            return real(self, *args, **options)
        finally:
            with lock:
                at_once.discard(threading.get_ident())

    monkeypatch.setattr(type(bundle.model), "forward", forward)
    lazy = coarse.chunk(time=1).orbitlite.predict(bundle)
    found = lazy.compute(scheduler="threads", num_workers=4)
    assert max(most) == 1
    assert set(torch_threads) == {torch.get_num_threads()}
    xr.testing.assert_allclose(found, coarse.orbitlite.predict(bundle), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_processes_give_the_same_fields(bundle, coarse):
    lazy = coarse.chunk(time=2).orbitlite.predict(bundle)
    found = lazy.compute(scheduler="processes", num_workers=2)
    xr.testing.assert_allclose(found, coarse.orbitlite.predict(bundle), rtol=1e-4, atol=1e-4)


def test_threads_of_torch_come_back():
    before = torch.get_num_threads()
    with Worker(0, before + 2).sharing():
        assert torch.get_num_threads() == before + 2
    assert torch.get_num_threads() == before
    with Worker().sharing():
        assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("number", "name", "count", "expected"),
    [
        (0, "cuda", 4, "cuda:0"), (5, "cuda", 4, "cuda:1"), (5, "cuda", 1, "cuda"),
        (5, "cuda:2", 4, "cuda:2"), (5, "cpu", 4, "cpu"),
    ],
)  # fmt: skip
def test_workers_take_gpus_in_turn(number, name, count, expected):
    assert Worker(number).device(name, count) == expected


def test_a_worker_copies_the_network_to_its_device_once(bundle, coarse, monkeypatch):
    placed = []
    real = engine.PlacedNetwork.at

    def at(self, device):
        placed.append(real(self, "meta"))  # stands for another device
        return self

    monkeypatch.setattr(engine.PlacedNetwork, "at", at)
    coarse.chunk(time=1).orbitlite.predict(bundle).compute(scheduler="synchronous")
    assert len(placed) > 1
    assert all(one is placed[0] for one in placed)
    assert placed[0].device == "meta"
    assert {weight.device.type for weight in placed[0].model.parameters()} == {"meta"}
