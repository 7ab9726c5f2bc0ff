"""Samples that the processes of a node share: each decoded once, the bits of one process."""

import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from orbitlite.data import held, sample_file
from orbitlite.data.datamodule import PairDataModule
from orbitlite.data.world import generate
from orbitlite.errors import SharedError
from orbitlite.model.config import DownscalerConfig
from orbitlite.parallel.channels import inputs_of_rank
from orbitlite.parallel.mesh import ParallelConfig, mesh_of_world
from orbitlite.training.normalisation import hold_samples

pytestmark = [pytest.mark.dist, pytest.mark.slow]

RAIN = "total_precipitation_24hr"
INPUTS = [RAIN, "2m_temperature", "temperature_850", "temperature_500", "specific_humidity_850"]
CONFIG = DownscalerConfig(
    inputs=INPUTS, targets=[RAIN], statics=["orography"], factor=4, embed_dim=8, depth=1,
    num_heads=2, channel_groups=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "world.zarr"
    generate(12, 16, 32).chunk(time=2).to_zarr(path)
    return str(path)


def opened(store, **more):
    return PairDataModule(
        store, inputs=INPUTS, targets=[RAIN], static_names=["orography"], factor=4, batch_size=2,
        train=["2000-01-01", "2000-01-08"], validate=["2000-01-09", "2000-01-12"], **more,
    )  # fmt: skip


def shared(ranks, store, **more):
    data = opened(store, **more)
    data.share(ranks.data_rank, ranks.sizes.data)
    if ranks.sizes.tensor > 1:
        data.restrict(inputs_of_rank(CONFIG, ranks.sizes.tensor, ranks.tensor_rank))
    data.setup("fit")
    return data


def on_a_rank(rank, size, store, layout, more, nodes=None):
    """Return of each split the arrays, the file, what was decoded and what was said."""
    held._BLOCK_BYTES = 1
    if nodes is not None:
        held.node = lambda: (nodes[rank],)
    said = []
    held.notice = held.warn = lambda logger, text: said.append(text)
    ranks = mesh_of_world(layout)
    data = shared(ranks, store, **more)
    read, load = [], xr.Dataset.load

    def counted(ds):
        read.append((*ds, *map(str, ds["time"].values)))
        return load(ds)

    xr.Dataset.load = counted
    hold_samples(data, ranks, True)
    xr.Dataset.load = load
    found = {}
    for split in ("train", "validate"):
        reader = data.dataset(split)._reader
        file = None if reader._file is None else os.fstat(reader._file._file.fileno())
        arrays = [np.array(array) for array in reader.arrays]
        found[split] = arrays, file and (file.st_dev, file.st_ino, file.st_nlink)
    batches = [batch.sample.tolist() for batch in data.train_dataloader()]
    return found, sorted(read), said, batches, data.pairing.inputs


@pytest.fixture(scope="module")
def alone(store):
    """Arrays of each split, and all that is read for them."""
    before, held._BLOCK_BYTES = held._BLOCK_BYTES, 1
    try:
        data = opened(store, cache=True)
        data.setup("fit")
    finally:
        held._BLOCK_BYTES = before
    return {split: data.dataset(split)._reader.arrays for split in ("train", "validate")}


@pytest.mark.parametrize(
    ("size", "layout", "scratch"),
    [
        (2, ParallelConfig(), False), (2, ParallelConfig(sequence=2), True),
        (4, ParallelConfig(), True), (4, ParallelConfig(tensor=2), False),
    ],
)  # fmt: skip
def test_one_copy_for_a_node(ranks, store, alone, tmp_path, size, layout, scratch):
    more = {"cache": False, "scratch": str(tmp_path)} if scratch else {"cache": True}
    results = ranks(size, on_a_rank, store, layout, more)
    assert not any(tmp_path.iterdir())
    for split, arrays in alone.items():
        files = {}
        for found, _, _, _, inputs in results:
            rows = [INPUTS.index(name) for name in inputs]
            np.testing.assert_array_equal(found[split][0][0], arrays[0][:, rows])
            np.testing.assert_array_equal(found[split][0][1], arrays[1])
            assert found[split][1][2] == 0  # it has no name
            files.setdefault(inputs, set()).add(found[split][1])
        assert all(len(same) == 1 for same in files.values())
        assert len(files) == layout.tensor
    for own in files:  # those who have the same channels
        read = [block for result in results if result[4] == own for block in result[1]]
        # 4 chunks of training, 2 of validation: each channel of each side once
        assert len(read) == len(set(read)) + 6 == 6 * (len(own) + 1)
        counts = [len(result[1]) for result in results if result[4] == own]
        assert max(counts) - min(counts) <= 2
    said = results[0][2]
    words = "decoded samples are held in" if scratch else f"{size // layout.tensor} processes share"
    assert len(said) == 2
    assert all(words in text for text in said)


def test_each_node_has_its_own(ranks, store, alone):
    """Two of three processes are on one node, and the third is by itself."""
    results = ranks(3, on_a_rank, store, ParallelConfig(), {"cache": True}, "aba")
    files = [found["train"][1] for found, *_ in results]
    assert files[0] == files[2] is not None
    assert files[1] is None
    for found, *_ in results:
        for one, other in zip(found["train"][0], alone["train"], strict=True):
            np.testing.assert_array_equal(one, other)
    read = results[0][1] + results[2][1]
    assert sorted(read) == results[1][1]


def refused_on_a_rank(rank, size, store, more):
    if rank == 1:

        def refuse(*arguments):
            raise OSError(13, "Permission denied")

        sample_file.SampleFile.opened = refuse
    found, _, said, *_ = on_a_rank(rank, size, store, ParallelConfig(), more)
    return {split: (arrays, file) for split, (arrays, file) in found.items()}, said


def test_where_processes_cannot_share_each_has_a_copy(ranks, store, alone):
    for found, said in ranks(2, refused_on_a_rank, store, {"cache": True}):
        for split, arrays in alone.items():
            assert found[split][1] is None
            for one, other in zip(found[split][0], arrays, strict=True):
                np.testing.assert_array_equal(one, other)
        assert all("Each of the 2 processes of this node holds" in text for text in said)
        assert all(text.endswith("Permission denied.") for text in said)


def broken_on_a_rank(rank, size, store, folder):
    ranks = mesh_of_world(ParallelConfig())
    held._BLOCK_BYTES = 1
    data = shared(ranks, store, cache=False, scratch=folder)
    # a chunk that the second process decodes
    for chunk in Path(store, "2m_temperature", "c").glob("0/*/*"):
        if rank == 1:
            chunk.write_bytes(b"damaged")
    try:
        hold_samples(data, ranks, True)
    except SharedError as error:
        return str(error)
    return ""


def test_a_damaged_chunk_ends_all_with_one_message(ranks, tmp_path):
    generate(12, 16, 32).chunk(time=2).to_zarr(tmp_path / "own.zarr")
    (tmp_path / "scratch").mkdir()
    told = ranks(2, broken_on_a_rank, str(tmp_path / "own.zarr"), str(tmp_path / "scratch"))
    assert told[0] == told[1]
    assert "the input cannot be read (2m_temperature of" in told[0]
    assert not any((tmp_path / "scratch").iterdir())


def test_fits_over_processes_are_one(fits, tmp_path):
    """From a scratch file of two processes and their workers, and from the store by one."""
    streamed = ["--trainer.max_epochs", 1, "--data.cache", "false"]
    fits.fit("streamed", *streamed)
    scratch = ["--data.scratch", tmp_path, "--data.num_workers", 1]
    said = fits.fit("scratch", *streamed, *scratch, *fits.spread(data=2))
    assert said.count("MiB of decoded samples are held in") == 2  # training and validation
    assert not any(tmp_path.iterdir())
    for name in ("train_loss", "val_rmse"):
        one, two = (fits.column(folder, name) for folder in ("streamed", "scratch"))
        assert two == pytest.approx(one, rel=1e-5)
        assert one
