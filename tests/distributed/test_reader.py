"""What lies in a checkpoint folder is read, never run; what has changed since is told."""

import json
import os
import pickle
import random
import shutil

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.metadata import BytesStorageMetadata

from orbitlite.errors import InputError
from orbitlite.notice import OrbitliteWarning
from orbitlite.parallel import checksums, folder
from orbitlite.parallel.launch import run_ranks
from orbitlite.parallel.reader import ShardReader
from orbitlite.parallel.writer import FolderWriter
from orbitlite.training.checkpoints import last_checkpoint, read_checkpoint

TENSORS = {"state_dict/a": torch.arange(600.0).reshape(20, 30), "state_dict/b": torch.tensor(3.0)}
REST = {"global_step": 4, "provenance": {}, "hyper_parameters": {"network": {}}}


def plain_folder(path):
    """Write a folder as a version without checksums did."""
    dcp.save(dict(TENSORS), checkpoint_id=path, no_dist=True)
    torch.save(REST, path / "rest.pt")
    return path


def save(rank, size, path):
    for background in (False, True):
        writer = FolderWriter(background)
        writer.save(path / f"{background}.ckpt", TENSORS, REST, {"rank": rank})
        writer.finish()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Folders that two processes have written."""
    path = tmp_path_factory.mktemp("written")
    run_ranks(2, save, path)
    return path


def test_what_torch_writes_is_read(tmp_path):
    path = plain_folder(tmp_path / "a.ckpt")
    found = ShardReader(path).metadata
    with (path / ".metadata").open("rb") as file:
        expected = pickle.load(file)
    assert found.state_dict_metadata == expected.state_dict_metadata
    assert found.storage_data == expected.storage_data
    whole = folder.read_whole(path)
    assert all(torch.equal(whole[name], value) for name, value in TENSORS.items())


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *words):
        self.words = function, words

    def __reduce__(self):
        return self.words


class Persistent(pickle.Pickler):
    def persistent_id(self, thing):
        return "elsewhere" if thing == 1 else None


def hostile(kind, mark, metadata):
    """Return a pickle that touches `mark`, or changes what others use, if it is believed."""
    if kind == "system":
        return pickle.dumps(Call(os.system, f"touch {mark}"))
    if kind == "old protocol":
        return pickle.dumps(Call(os.system, f"touch {mark}"), 0)
    if kind == "open":
        return pickle.dumps(Call(open, str(mark), "w"))
    if kind == "within":
        metadata.planner_data = Call(os.mkdir, str(mark))
        return pickle.dumps(metadata)
    if kind == "attribute of a module":  # torch.os.mkdir, by a dotted name
        return (
            b"\x80\x04\x8c\x05torch\x8c\x08os.mkdir\x93\x8c" + bytes([len(str(mark))])
            + str(mark).encode() + b"\x85R."
        )  # fmt: skip
    if kind == "class":  # sets an attribute of torch's class
        head = b"\x80\x04ctorch.distributed.checkpoint.metadata\nMetadata\n"
        return head + b"N}\x8c\x05ownedK\x01s\x86b."
    if kind == "function":
        head = b"\x80\x04ctorch.serialization\n_get_layout\n"
        return head + b"}\x8c\x05ownedK\x01sb."
    if kind == "persistent":
        import io

        file = io.BytesIO()
        Persistent(file).dump(1)
        return file.getvalue()
    if kind == "bytes":
        metadata.state_dict_metadata["c"] = BytesStorageMetadata()
    elif kind == "elsewhere":
        place = next(iter(metadata.storage_data.values()))
        place.relative_path = "../other.distcp"
    elif kind == "transformed":
        place = next(iter(metadata.storage_data.values()))
        place.transform_descriptors = ["zstd"]
    elif kind == "vast":
        metadata.state_dict_metadata["state_dict/a"].size = torch.Size([20, 10**12])
    elif kind == "negative":
        metadata.state_dict_metadata["state_dict/a"].size = torch.Size([-20, -30])
    elif kind == "another thing":
        return pickle.dumps({"a": 1})
    return pickle.dumps(metadata)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("system", r"posix\.system"), ("old protocol", r"posix\.system"), ("open", r"io\.open"),
        ("within", r"posix\.mkdir"), ("attribute of a module", r"torch\.os\.mkdir"),
        ("class", "a change of"), ("function", "a change of"), ("persistent", "persistent id"),
        ("bytes", "BytesStorageMetadata"), ("elsewhere", r"outside of the folder, '\.\./other"),
        ("transformed", "is to be transformed"), ("another thing", "a dict in place of"),
        ("vast", "80,000,000,000,004 bytes of tensors, and its files have"),
        ("negative", r"'state_dict/a' of the shape \(-20, -30\)"),
    ],
)  # fmt: skip
def test_what_could_run_is_refused(tmp_path, kind, told):
    path, mark = plain_folder(tmp_path / "a.ckpt"), tmp_path / "mark"
    content = hostile(kind, mark, ShardReader(path).metadata)
    (path / ".metadata").write_bytes(content)
    before = dict(vars(dcp.metadata.Metadata))
    ways = [folder.shapes, folder.read_whole, read_checkpoint,
            lambda path: folder.load_folder(path, dict(TENSORS)),
            lambda path: last_checkpoint(path.parent)]  # fmt: skip
    for way in ways:
        with pytest.raises(InputError, match=told):
            way(path)
    assert not mark.exists()
    assert dict(vars(dcp.metadata.Metadata)) == before
    assert not hasattr(torch.serialization._get_layout, "owned")


@pytest.mark.dist
@pytest.mark.parametrize("name", ["False.ckpt", "True.ckpt"])
def test_a_changed_bit_is_told(written, tmp_path, name):
    path = tmp_path / name
    shutil.copytree(written / name, path)
    listed = json.loads((path / "checksums.json").read_text())
    assert set(listed) == {file.name for file in path.iterdir()} - {"checksums.json"}
    assert {"rank0.pt", "rank1.pt", "rest.pt", ".metadata", "__0_0.distcp"} <= set(listed)
    folder.load_folder(path, {name: torch.empty_like(value) for name, value in TENSORS.items()})
    chosen = random.Random(3)
    for file in sorted(path.iterdir()):
        content = file.read_bytes()
        for _ in range(6):
            changed = bytearray(content)
            changed[chosen.randrange(len(changed))] ^= 1 << chosen.randrange(8)
            file.write_bytes(changed)
            checksums._digest.cache_clear()  # the clock of the file system is coarse
            with pytest.raises(InputError, match=r"damaged|checkpoint"):
                folder.load_folder(path, TENSORS)
            with pytest.raises(InputError, match=r"damaged|checkpoint"):
                read_checkpoint(path)
        file.write_bytes(content)
        checksums._digest.cache_clear()
    read_checkpoint(path)


@pytest.mark.dist
@pytest.mark.parametrize("name", ["__0_0.distcp", "rest.pt", "rank1.pt"])
def test_a_file_that_is_cut_or_gone(written, tmp_path, name):
    path = tmp_path / "a.ckpt"
    shutil.copytree(written / "True.ckpt", path)
    content = (path / name).read_bytes()
    (path / name).write_bytes(content[:-1])
    with pytest.raises(InputError, match=f"{name} has {len(content) - 1} bytes, {len(content)}"):
        read_checkpoint(path)
    with pytest.raises(InputError, match=r"no checkpoint in .* can be used"):
        last_checkpoint(tmp_path)
    (path / name).unlink()
    with pytest.raises(InputError, match=r"is gone|not whole"):
        read_checkpoint(path)


@pytest.mark.dist
def test_a_checksum_of_another_file_is_refused(written, tmp_path):
    path = tmp_path / "a.ckpt"
    shutil.copytree(written / "True.ckpt", path)
    listed = json.loads((path / "checksums.json").read_text())
    (path / "checksums.json").write_text(json.dumps(listed | {"../b": {"bytes": 1, "sha256": "x"}}))
    with pytest.raises(InputError, match=r"has a file outside of the folder, '\.\./b'"):
        read_checkpoint(path)


@pytest.mark.dist
def test_a_damaged_last_folder_is_named(written, tmp_path):
    for number, name in enumerate(["last.ckpt", "step=2.ckpt"]):
        shutil.copytree(written / "True.ckpt", tmp_path / name)
        os.utime(tmp_path / name, (9 - number, 9 - number))
    assert last_checkpoint(tmp_path) == tmp_path / "last.ckpt"
    with (tmp_path / "last.ckpt" / "__1_0.distcp").open("ab") as file:
        file.write(b"x")
    with pytest.warns(OrbitliteWarning, match=r"last\.ckpt is damaged: .*undamaged .* is .*step=2"):
        assert last_checkpoint(tmp_path) == tmp_path / "step=2.ckpt"


def test_a_folder_without_checksums_is_read(tmp_path, caplog):
    path = plain_folder(tmp_path / "a.ckpt")
    with caplog.at_level("INFO", "orbitlite"):
        assert torch.equal(read_checkpoint(path)["state_dict"]["b"], TENSORS["state_dict/b"])
    assert "has no checksums" in caplog.text
    shard = path / "__0_0.distcp"
    content = shard.read_bytes()
    place = content.index(TENSORS["state_dict/a"].numpy().tobytes())
    shard.write_bytes(content[: place + 9] + b"x" + content[place + 10 :])
    with pytest.raises(InputError, match=r"is damaged: __0_0\.distcp is another"):
        read_checkpoint(path)
    with pytest.raises(InputError, match=r"is damaged: __0_0\.distcp is another"):
        folder.load_folder(path, dict(TENSORS))
    shard.write_bytes(content)
    rest = (path / "rest.pt").read_bytes()
    (path / "rest.pt").write_bytes(rest.replace(b"global_step", b"global_stop"))
    with pytest.raises(InputError, match=r"is damaged: rest\.pt is another"):
        read_checkpoint(path, weights=False)


def refuse(rank, size, path):
    """The second process cannot write what it keeps; then a shard cannot be read by one."""
    told = []
    writer = FolderWriter(background=False)
    writer.save(path / "a.ckpt", TENSORS, REST, {})
    real, folder_of_writer = folder.store, __import__("orbitlite.parallel.writer", fromlist=["x"])

    def store(content, where):
        if rank == 1:
            raise OSError(28, "No space left on device")
        real(content, where)

    folder_of_writer.store = store
    for background in (False, True):
        try:
            FolderWriter(background).save(path / "a.ckpt", TENSORS, REST, {})
        except InputError as error:
            told.append((type(error).__name__, str(error)))
    if rank == 0:
        (path / "a.ckpt" / "rank1.pt").write_bytes(b"nothing")
    torch.distributed.barrier()
    try:
        folder.load_folder(path / "a.ckpt", {n: torch.empty_like(t) for n, t in TENSORS.items()})
    except InputError as error:
        told.append((type(error).__name__, str(error)))
    return told


@pytest.mark.dist
def test_what_fails_on_one_process_fails_on_all(ranks, tmp_path):
    first, second = ranks(2, refuse, tmp_path)
    assert first == second
    assert [kind for kind, _ in first] == ["SharedError"] * 3
    for _, text in first[:2]:
        assert "No space left on device; the one before it is untouched" in text
    assert "rank1.pt has 7 bytes" in first[2][1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ckpt"]
