"""Checkpoint folders: any layout reads what another wrote; a save cut short changes nothing."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.parallel import folder
from orbitlite.parallel.mesh import ParallelConfig, mesh_of_world
from orbitlite.parallel.sharding import parallelize
from orbitlite.parallel.writer import FolderWriter

CONFIG = DownscalerConfig(
    inputs=["total_precipitation_24hr", "temperature_850", "2m_temperature", "surface_pressure",
            "specific_humidity_850"],
    factor=2, embed_dim=12, depth=2, num_heads=4, channel_groups=4,
)  # fmt: skip
LAYOUTS = [ParallelConfig(2, 2), ParallelConfig(4), ParallelConfig(1, 4), ParallelConfig(1, 2, 2),
           ParallelConfig(4, shard=2)]  # fmt: skip


def built(seed, parallel=None):
    torch.manual_seed(seed)
    model = Downscaler(CONFIG)
    if parallel is None:
        return model
    return parallelize(model, mesh_of_world(parallel), parallel)


def whole(tensor):
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def same(model, expected):
    found = {name: whole(value.detach()) for name, value in model.state_dict().items()}
    return all(torch.equal(value, expected[name]) for name, value in found.items())


def move_about(rank, size, path):
    """Every layout writes; every layout reads what each of the others wrote, and a whole file."""
    expected = built(1).state_dict()
    wrong = []
    for number, source in enumerate(LAYOUTS):
        target = Path(path, f"{number}.ckpt")
        writer = FolderWriter(background=number % 2 == 0)
        writer.save(target, built(1, source).state_dict(), {"a": 1}, {"rank": rank})
        writer.finish()
    for parallel in LAYOUTS:
        for number in range(len(LAYOUTS)):
            model = built(2, parallel)
            folder.load_folder(Path(path, f"{number}.ckpt"), model.state_dict())
            if not same(model, expected):
                wrong.append((parallel, number))
        model = built(2, parallel)
        state = model.state_dict()
        model.load_state_dict({n: folder.part_of(expected[n], like) for n, like in state.items()})
        if not same(model, expected):
            wrong.append((parallel, "file"))
    own = folder.read_own(Path(path, "0.ckpt"), rank)
    return wrong, own


@pytest.mark.dist
@pytest.mark.slow
def test_any_layout_reads_what_another_wrote(ranks, tmp_path):
    results = ranks(4, move_about, str(tmp_path))
    assert [wrong for wrong, _ in results] == [[]] * 4
    assert [own["rank"] for _, own in results] == [0, 1, 2, 3]
    expected = built(1).state_dict()
    for number in range(len(LAYOUTS)):
        path = tmp_path / f"{number}.ckpt"
        assert folder.is_whole(path)
        found = folder.read_whole(path)
        assert set(found) == set(expected)
        assert all(torch.equal(found[name], value) for name, value in expected.items())
        assert folder.read_rest(path) == {"a": 1}
    assert not list(tmp_path.glob(".*"))


def save_for_ever(rank, size, path):
    tensors = built(1, ParallelConfig()).state_dict()
    Path(path, f"pid{rank}").write_text(str(os.getpid()))
    writer = FolderWriter()
    for number in range(10**6):
        writer.save(Path(path, "last.ckpt"), tensors, {"number": number}, {})
        if number % 2:
            writer.finish()
            dist.barrier()


@pytest.mark.dist
@pytest.mark.slow
def test_a_save_that_is_cut_short_leaves_a_whole_checkpoint(ranks, tmp_path):
    """Killed at random moments of one save after another, a whole checkpoint is always there."""
    expected = built(1).state_dict()
    generator = torch.Generator().manual_seed(0)
    for number in range(4):
        marks = [tmp_path / f"pid{rank}" for rank in range(2)]
        for mark in marks:
            mark.unlink(missing_ok=True)

        def kill(wait, marks=marks):
            while not all(mark.exists() and mark.read_text() for mark in marks):
                time.sleep(0.005)
            while not (tmp_path / "last.ckpt").exists():
                time.sleep(0.005)
            time.sleep(wait)
            for mark in marks:
                os.kill(int(mark.read_text()), signal.SIGKILL)

        wait = float(torch.rand((), generator=generator)) * 0.4
        thread = threading.Thread(target=kill, args=(wait,))
        thread.start()
        with pytest.raises(Exception, match=r"SIGKILL|exit code|terminated"):
            ranks(2, save_for_ever, str(tmp_path))
        thread.join()
        found = [path for path in tmp_path.glob("*.ckpt*") if folder.is_whole(path)]
        assert found, number
        for path in found:
            tensors = folder.read_whole(path)
            assert all(torch.equal(tensors[name], value) for name, value in expected.items())


def save_and_change(rank, size, path):
    """What is written in the background is what was there when the save began."""
    writer = FolderWriter()
    tensors = {"a": torch.zeros(1000, 1000), "b": torch.ones(3)}
    for number in range(4):
        tensors["a"].fill_(number)
        writer.save(Path(path, f"{number}.ckpt"), tensors, {"number": number}, {})
        tensors["a"].fill_(-1)
        if number:
            writer.remove(Path(path, f"{number - 1}.ckpt"))
    writer.finish()


@pytest.mark.dist
@pytest.mark.slow
def test_written_in_the_background(ranks, tmp_path):
    ranks(2, save_and_change, str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["3.ckpt"]
    assert folder.read_whole(tmp_path / "3.ckpt")["a"].unique().tolist() == [3]
    assert folder.read_rest(tmp_path / "3.ckpt") == {"number": 3}
