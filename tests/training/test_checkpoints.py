"""Checkpoint files: as they were written, or told to be damaged; found again by their steps."""

import os
import random

import pytest
import torch

from orbitlite.errors import InputError
from orbitlite.notice import OrbitliteWarning
from orbitlite.parallel import checksums
from orbitlite.parallel.folder import tidy
from orbitlite.training.checkpoints import (
    CheckpointFiles,
    keep,
    last_checkpoint,
    named_state,
    numbered_state,
    read_checkpoint,
)
from orbitlite.training.optimisation import Optimisation, by_kind


def state(step=1, size=300):
    return {
        "global_step": step, "state_dict": {"a": torch.arange(float(size)), "b": torch.ones(3, 4)},
        "hyper_parameters": {"network": {"inputs": ["a"]}}, "provenance": {"metadata": {"x": 1}},
    }  # fmt: skip


def written(path, step=1):
    CheckpointFiles().save_checkpoint(state(step), path)
    return path


def flat(found):
    if isinstance(found, dict):
        return {k: flat(v) for k, v in found.items()}
    return found.tolist() if isinstance(found, torch.Tensor) else found


@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("sealed", [True, False])
def test_what_was_written_is_read(tmp_path, weights, sealed):
    path = tmp_path / "a.ckpt"
    written(path) if sealed else torch.save(state(), path)
    assert flat(read_checkpoint(path, weights)) == flat(state())
    assert [file.name for file in tmp_path.iterdir()] == ["a.ckpt"]


def flips(content, count=200):
    chosen = random.Random(5)
    # each bit of the last bytes too, where the checksum of the whole and the end of the zip stand
    tail = [(len(content) - 1 - i, chosen.randrange(8)) for i in range(110)]
    anywhere = [(chosen.randrange(len(content)), chosen.randrange(8)) for _ in range(count)]
    for place, bit in [*tail, *anywhere]:
        changed = bytearray(content)
        changed[place] ^= 1 << bit
        yield bytes(changed)


@pytest.mark.parametrize("weights", [True, False])
def test_a_changed_bit_is_told(tmp_path, weights):
    path = written(tmp_path / "a.ckpt")
    for changed in flips(path.read_bytes()):
        path.write_bytes(changed)
        checksums._digest.cache_clear()  # the clock of the file system is coarse
        with pytest.raises(InputError, match="damaged"):
            read_checkpoint(path, weights)


def test_a_changed_weight_of_an_old_checkpoint_is_told(tmp_path):
    path = tmp_path / "a.ckpt"
    torch.save(state(), path)
    content = path.read_bytes()
    place = content.index(torch.arange(300.0).numpy().tobytes())
    path.write_bytes(content[: place + 401] + b"\x07" + content[place + 402 :])
    with pytest.raises(InputError, match="is not what was written"):
        read_checkpoint(path)


@pytest.mark.parametrize("cut", [1, 90, 1000])
def test_a_cut_file_is_told(tmp_path, cut):
    path = written(tmp_path / "a.ckpt")
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(InputError, match="damaged"):
        read_checkpoint(path)


def test_a_full_disk_is_told_and_leaves_what_was_there(tmp_path, monkeypatch):
    path = written(tmp_path / "a.ckpt")

    def full(path):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("orbitlite.training.checkpoints.seal", full)
        with pytest.raises(InputError, match=r"a\.ckpt: No space left on device; the one before"):
            written(path, 2)
    assert read_checkpoint(path)["global_step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["a.ckpt"]


def test_a_damaged_last_is_named(tmp_path):
    written(tmp_path / "step=3.ckpt", 3)
    written(tmp_path / "best.ckpt", 2)
    last = written(tmp_path / "last.ckpt", 4)
    assert last_checkpoint(tmp_path) == last
    content = last.read_bytes()
    for damaged in (content[:-1], content[: len(content) // 2], b"", b"hello", content[:-1] + b"x"):
        last.write_bytes(damaged)
        checksums._digest.cache_clear()
        with pytest.warns(OrbitliteWarning, match=r"last\.ckpt .*undamaged checkpoint is .*step=3"):
            assert last_checkpoint(tmp_path) == tmp_path / "step=3.ckpt"


def test_all_damaged(tmp_path):
    for name in ("last", "best"):
        (tmp_path / f"{name}.ckpt").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"no checkpoint in .* can be used: .*best.*last.*start a"):
        last_checkpoint(tmp_path)
    assert last_checkpoint(tmp_path / "none") is None


def test_a_checkpoint_is_kept_as_another(tmp_path):
    best, last = written(tmp_path / "best.ckpt", 5), tmp_path / "last.ckpt"
    keep(best, last)
    assert read_checkpoint(last)["global_step"] == 5
    written(best, 4)
    keep(best, last)
    assert read_checkpoint(last)["global_step"] == 5
    last.write_bytes(b"damaged")
    keep(best, last)
    assert read_checkpoint(last)["global_step"] == 4
    assert sorted(os.listdir(tmp_path)) == ["best.ckpt", "last.ckpt"]


def folder(path, text, whole=True):
    path.mkdir()
    (path / "rest.pt").write_text(text)
    if whole:
        (path / ".metadata").write_text("")


def test_what_was_cut_short_is_cleared_away(tmp_path):
    """A whole folder gets its name where that is free, the newer one first; the rest goes."""
    folder(tmp_path / ".a.ckpt.partial", "new")
    folder(tmp_path / ".a.ckpt.old", "old")
    folder(tmp_path / ".b.ckpt.partial", "half", whole=False)
    folder(tmp_path / ".b.ckpt.old", "old")
    folder(tmp_path / ".c.ckpt.old", "old")
    folder(tmp_path / "c.ckpt", "new")
    (tmp_path / ".d.ckpt.partial17").write_text("half")
    (tmp_path / "notes.txt").write_text("mine")
    tidy(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["a.ckpt", "b.ckpt", "c.ckpt", "notes.txt"]
    texts = [(tmp_path / f"{name}.ckpt" / "rest.pt").read_text() for name in "abc"]
    assert texts == ["new", "old", "new"]


def test_an_optimiser_by_names_goes_on():
    layer = torch.nn.Linear(3, 2)
    optimizer = Optimisation().optimizer(layer.named_parameters())
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    saved = named_state(optimizer, {layer.weight: "weight", layer.bias: "bias"})
    groups = by_kind(layer.named_parameters())
    names = [list(members) for members in groups.values()]
    other = Optimisation().optimizer(layer.named_parameters())
    other.load_state_dict(numbered_state([kind for kind, *_ in groups], names, saved))
    assert [group["kind"] for group in other.param_groups] == ["decayed", "no_decay"]
    assert torch.equal(other.state[layer.bias]["exp_avg"], optimizer.state[layer.bias]["exp_avg"])
