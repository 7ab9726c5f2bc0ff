"""Held samples: the bits of the store, decoded once, in pages that processes share."""

import logging
import multiprocessing
import os
import pickle
import signal
import tempfile

import numpy as np
import pytest
import torch
import xarray as xr

from orbitlite.data import held
from orbitlite.data.blocks import spans
from orbitlite.data.datamodule import PairDataModule
from orbitlite.data.sample_file import SampleFile, scratch_folder
from orbitlite.data.world import generate
from orbitlite.errors import InputError

RAIN = "total_precipitation_24hr"
NAMES = {
    "inputs": [RAIN, "2m_temperature", "orography", "specific_humidity_50"], "targets": [RAIN],
    "static_names": ["orography"], "factor": 4,
}  # fmt: skip
SPLITS = {"train": ["2000-01-01", "2000-01-13"], "validate": ["2000-01-14", "2000-01-16"]}
SHAPES = [(3, 2, 4), (3, 0, 4), (3, 5)]


@pytest.fixture
def store(tmp_path):
    """17 days in chunks of 5, with a hole."""
    path = tmp_path / "store.zarr"
    world = generate(17, 16, 32)
    world[RAIN][3, 4:8] = np.nan
    world.chunk(time=5).to_zarr(path)
    return str(path)


def module(store, **more):
    return PairDataModule(store, **NAMES, **SPLITS, batch_size=3, **more)


def batches(data, split="train"):
    loader = data.train_dataloader() if split == "train" else data.val_dataloader()
    return list(loader)


def same(one, other):
    for name, tensor in vars(one).items():
        torch.testing.assert_close(tensor, getattr(other, name), equal_nan=True, rtol=0, atol=0)


@pytest.mark.parametrize("more", [{}, {"tile": 2, "halo": 1}])
def test_scratch_holds_the_bits_of_the_store(store, tmp_path, caplog, more):
    caplog.set_level(logging.INFO)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    data = module(store, cache=False, scratch=str(scratch), **more)
    data.setup("fit")
    assert "0 MiB of decoded samples are held in" in caplog.text
    assert not any(scratch.iterdir())  # it has no name
    plain = module(store, cache=False, **more)
    plain.setup("fit")
    for split in ("train", "validate"):
        assert data.dataset(split).cached
        assert not plain.dataset(split).cached
        for one, other in zip(batches(data, split), batches(plain, split), strict=True):
            same(one, other)
            assert one.coarse.isnan().any()  # of the level that the store lacks


def test_the_store_is_read_once(store, tmp_path, monkeypatch):
    """Neither statistics nor epochs read it again, and its pages cannot be changed."""
    data = module(store, cache=False, scratch=str(tmp_path))
    data.setup("fit")
    os.rename(store, f"{store}.gone")
    assert len(batches(data)) == len(batches(data)) == 5
    assert data.input_statistics.valid[0] < 1
    for array in data.dataset("train")._reader.arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0


def test_statistics_are_those_of_memory(store, tmp_path):
    found = []
    for more in ({"cache": True}, {"cache": False, "scratch": str(tmp_path)}):
        data = module(store, **more)
        data.setup("fit")
        found.append(data.input_statistics)
    for name in ("mean", "std", "low", "high"):
        np.testing.assert_array_equal(*(getattr(one, name) for one in found))


def test_no_stored_chunk_is_divided(store, monkeypatch):
    monkeypatch.setattr(held, "_BLOCK_BYTES", 1)  # one step of one channel at a time, if it could
    data = module(store, cache=False)
    pairs = data.first.dataset("train").pairs
    read = []
    load = xr.Dataset.load
    monkeypatch.setattr(
        xr.Dataset, "load", lambda ds: read.append((ds.sizes.get("time"), [*ds])) or load(ds)
    )
    assert [(one.start, one.stop) for one in spans(pairs.coarse, 1)] == [(0, 5), (5, 10), (10, 13)]
    assert [(one.start, one.stop) for one in spans(pairs.coarse, 6)] == [(0, 10), (10, 13)]
    own = held.Held(pairs, data.pairing)
    there = [[RAIN], ["2m_temperature"], ["orography"], []]
    assert read[:4] == [(5, there[0]), (5, there[1]), (None, there[2]), (None, [])]
    assert [names for _, names in read] == there * 3 + [[RAIN]] * 3
    assert {steps for steps, _ in read} == {5, 3, None}
    monkeypatch.setattr(held, "_BLOCK_BYTES", 2**26)
    for one, other in zip(own.arrays, held.Held(pairs, data.pairing).arrays, strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_room_the_stores_are_read(store, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("", (), {"free": 1000}))
    data = module(store, cache=False, scratch=str(tmp_path))
    with pytest.warns(
        UserWarning, match=r"read from the stores in each epoch: .* has 0.0 GiB free"
    ):
        data.setup("fit")
    assert not data.dataset("train").cached
    assert len(batches(data)) == 5


def test_samples_in_memory_need_no_scratch(store, tmp_path, monkeypatch):
    monkeypatch.setattr(SampleFile, "new", None)
    data = module(store, scratch=str(tmp_path))
    data.setup("fit")
    assert data.dataset("train").cached


def test_a_single_pass_holds_nothing(store, tmp_path, monkeypatch):
    monkeypatch.setattr(SampleFile, "new", None)
    data = module(store, cache=False, scratch=str(tmp_path))
    data.setup("validate")
    assert not data.dataset("validate").cached


def test_workers_map_the_same_pages(store, tmp_path):
    """Pickled, the data set is small; what is changed in the file is seen."""
    data = module(store, cache=False, scratch=str(tmp_path))
    data.setup("fit")
    dataset = data.dataset("train")
    nbytes = sum(array.nbytes for array in dataset._reader.arrays)
    words = pickle.dumps(dataset._reader)
    assert len(words) < 2000 < nbytes
    again = pickle.loads(words)
    dataset._reader._file.arrays(writable=True)[0][:] = 7
    assert (again.arrays[0] == 7).all()


def test_a_file_that_another_process_opens(tmp_path):
    for folder in (None, str(tmp_path)):
        own = SampleFile.new(SHAPES, folder)
        for array in own.arrays(writable=True):
            array[...] = np.arange(array.size).reshape(array.shape)
        with multiprocessing.get_context("forkserver").Pool(1) as pool:
            assert pool.apply(total, (own.address,)) == [276.0, 0.0, 105.0]
        with pytest.raises(OSError, match="not the file"):
            SampleFile.opened(own.address, SHAPES[:2])
    assert not any(tmp_path.iterdir())


def total(address):
    return [float(array.sum()) for array in SampleFile.opened(address, SHAPES).arrays()]


def test_a_killed_process_leaves_nothing(tmp_path, monkeypatch):
    """Where the file system cannot make files without a name too: it is taken away at once."""
    monkeypatch.delattr(tempfile, "_O_TMPFILE_WORKS", raising=False)
    for works in (True, False):
        monkeypatch.setattr(tempfile, "_O_TMPFILE_WORKS", works, raising=False)
        child = os.fork()
        if child == 0:
            own = SampleFile.new(SHAPES, str(tmp_path))
            own.arrays(writable=True)[0][:] = 1
            os.kill(os.getpid(), signal.SIGKILL)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        assert not any(tmp_path.iterdir())


def test_it_is_told_what_chunks_cost(store, tmp_path, caplog):
    """13 days in chunks of 5, 5 and 3, and 8 tiles in each chunk."""
    caplog.set_level(logging.INFO)
    days = (5 * 5 + 5 * 5 + 3 * 3) / 13
    for more, times in (({}, days), ({"tile": 2, "halo": 0}, 8 * days)):
        data = module(store, cache=False, **more)
        data.setup("fit")
        assert data.dataset("train").amplification == pytest.approx(times)
        assert f"hold about {times:.0f} times what a sample needs" in caplog.text
        caplog.clear()
    scratched = module(store, cache=False, scratch=str(tmp_path))
    scratched.setup("fit")
    daily = str(tmp_path / "daily.zarr")
    generate(17, 16, 32).chunk(time=1).to_zarr(daily)
    one = module(daily, cache=False)
    one.setup("fit")
    assert one.dataset("train").amplification == 1
    assert "times what a sample needs" not in caplog.text


def test_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("OWN_SCRATCH", str(tmp_path))
    assert scratch_folder("$OWN_SCRATCH") == str(tmp_path)
    for text, found in (
        ("$OWN_SCRATCH/no", rf"\$OWN_SCRATCH/no \({tmp_path}/no\)"),
        ("/no", "/no;"),
    ):
        with pytest.raises(InputError, match=f"data.scratch: expected a folder .* found {found}"):
            scratch_folder(text)
