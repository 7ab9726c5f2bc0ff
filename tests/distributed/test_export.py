"""Export of a checkpoint folder: the weights are read, and what is read is compared."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from orbitlite.errors import InputError
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.parallel.mesh import ParallelConfig, mesh_of_world
from orbitlite.parallel.reader import ShardReader
from orbitlite.parallel.sharding import parallelize
from orbitlite.parallel.writer import FolderWriter
from orbitlite.training.checkpoints import split
from orbitlite.training.provenance import export

pytestmark = [pytest.mark.dist, pytest.mark.slow]

CONFIG = DownscalerConfig(
    inputs=["total_precipitation_24hr", "2m_temperature"], factor=2, statics=[], embed_dim=128,
    depth=4, num_heads=4,
)  # fmt: skip


def built():
    torch.manual_seed(1)
    return Downscaler(CONFIG)


def write(rank, size, path):
    """Write what a fit writes: averages, and beside them what training goes on with."""
    model = parallelize(built(), mesh_of_world(ParallelConfig()), ParallelConfig())
    weights = {f"network.{name}": value for name, value in model.state_dict().items()}
    learned = {f"network.{name}": value.detach() for name, value in model.named_parameters()}
    state = {name: {key: 2 * value for key in ("exp_avg", "exp_avg_sq")}
             for name, value in learned.items()}  # fmt: skip
    tensors, rest = split({
        "state_dict": weights, "current": {name: 3 * value for name, value in learned.items()},
        "optimizer_states": [{"state": state, "options": {}}], "global_step": 1,
        "hyper_parameters": {"network": CONFIG.to_dict()},
        "provenance": {"metadata": {}, "statics": None},
    })  # fmt: skip
    writer = FolderWriter(background=False)
    writer.save(Path(path), tensors, rest, {"random": None})


@pytest.fixture
def folder(ranks, tmp_path):
    ranks(2, write, str(tmp_path / "last.ckpt"))
    return tmp_path / "last.ckpt"


def read_bytes():
    """Return the bytes that this process has asked files for."""
    return int(re.search(r"rchar: (\d+)", Path("/proc/self/io").read_text())[1])


def places(path, part):
    """Return where the tensors of a part lie: file, first byte, bytes."""
    stored = ShardReader(path).metadata.storage_data.items()
    return [(path / place.relative_path, place.offset, place.length)
            for index, place in stored if index.fqn.startswith(part)]  # fmt: skip


def damage(path, part):
    file, offset, length = max(places(path, part), key=lambda place: place[2])
    with file.open("r+b") as opened:
        opened.seek(offset + length // 2)
        byte = opened.read(1)
        opened.seek(offset + length // 2)
        opened.write(bytes([byte[0] ^ 4]))


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counts as Linux does")
def test_the_averages_are_all_that_is_read(folder, tmp_path):
    whole = sum(file.stat().st_size for file in folder.glob("*.distcp"))
    weights = sum(length for *_, length in places(folder, "state_dict/"))
    assert weights < whole / 3.5
    export(folder, tmp_path / "warm")
    before = read_bytes()
    export(folder, tmp_path / "bundle")
    # Once to compare, once to use, in pages; all that is there would be eight times as much.
    assert read_bytes() - before < 3 * weights + 2**18
    found = load_file(tmp_path / "bundle/model.safetensors")
    expected = built().state_dict()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def test_damage_is_found_where_it_is_read(folder, tmp_path):
    damage(folder, "optimizer/")
    damage(folder, "current/")
    export(folder, tmp_path / "bundle")
    damage(folder, "state_dict/network.blocks")
    with pytest.raises(InputError, match=r"last.ckpt is damaged: __\d_0.distcp is another"):
        export(folder, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_file_that_was_cut_is_refused(folder, tmp_path):
    file = next(folder.glob("*.distcp"))
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"its file __\d_0.distcp has \d+ bytes"):
        export(folder, tmp_path / "bundle")
