"""Zarr stores that ask for code to be run, or for more memory than there is."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest

from orbitlite.data.codecs import check_metadata
from orbitlite.data.source import open_source
from orbitlite.errors import InputError

NAME = "2m_temperature"


def rewrite(path: Path, change) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def store(coarse, tmp_path):
    """Return a function that writes a store whose temperatures are a pickle."""

    def make(version, consolidated):
        path = tmp_path / "x.zarr"
        coarse.to_zarr(path, zarr_format=version, consolidated=consolidated)
        for chunk in (file for file in (path / NAME).rglob("*0") if file.is_file()):
            chunk.write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
        return path

    return make


@pytest.mark.parametrize("consolidated", [True, False])
@pytest.mark.parametrize("place", ["filters", "compressor"])
def test_a_pickle_is_refused_before_it_is_read(store, tmp_path, consolidated, place):
    path, codec = store(2, consolidated), {"id": "pickle", "protocol": 5}
    value = [codec] if place == "filters" else codec
    rewrite(path / NAME / ".zarray", lambda array: array.update({place: value}))
    if consolidated:
        rewrite(
            path / ".zmetadata",
            lambda whole: whole["metadata"][f"{NAME}/.zarray"].update({place: value}),
        )
    for url in (path, f"simplecache::file://{path}"):
        with pytest.raises(InputError, match=r"x\.zarr: .*codec 'pickle'"):
            open_source(url)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "codec",
    [
        {"name": "numcodecs.pickle"},
        {"name": "bytes", "configuration": {"id": "pickle"}},
        {"name": "sharding_indexed", "configuration": {"codecs": ["bytes", {"name": "evil"}]}},
        {"name": "sharding_indexed", "configuration": {"index_codecs": [{"name": "evil"}]}},
        "evil",
    ],
)
@pytest.mark.parametrize("consolidated", [True, False])
def test_codecs_of_version_3(store, codec, consolidated):
    path = store(3, False)
    rewrite(path / NAME / "zarr.json", lambda array: array.update(codecs=[codec]))
    if consolidated:
        array = json.loads((path / NAME / "zarr.json").read_text())
        part = {"kind": "inline", "must_understand": False, "metadata": {NAME: array}}
        rewrite(path / "zarr.json", lambda group: group.update(consolidated_metadata=part))
    with pytest.raises(InputError, match=r"codec '(numcodecs\.pickle|pickle|evil)'"):
        open_source(path)


def test_names_of_arrays_hide_no_codec():
    array = {"zarr_format": 3, "node_type": "array", "codecs": [{"name": "evil"}]}
    for name in ("attributes", "codecs", "metadata", "consolidated_metadata"):
        group = {"consolidated_metadata": {"metadata": {"a": {}, name: array}}}
        with pytest.raises(InputError, match="evil"):
            check_metadata("zarr.json", json.dumps(group).encode())


def test_attributes_are_no_codecs():
    text = {"codecs": [{"name": "bytes"}], "attributes": {"codecs": ["evil"], "filters": "mine"}}
    check_metadata("zarr.json", json.dumps(text).encode())


@pytest.mark.parametrize("text", [b"", b"{", b"[" * 100_000, b"\xff", b"3", b"null"])
def test_what_is_no_json_is_left_to_the_library(text):
    check_metadata("zarr.json", text)


@pytest.mark.parametrize("version", [2, 3])
def test_a_series_of_any_length_is_refused(store, version):
    path = store(version, False)
    name = ".zarray" if version == 2 else "zarr.json"
    rewrite(path / "time" / name, lambda array: array.update(shape=[10**11]))
    with pytest.raises(InputError, match=r"100,000,000,000 values in one dimension"):
        open_source(path)


def test_references_are_not_followed(tmp_path):
    (tmp_path / "x.json").write_text('{"version": 1, "refs": {}}')
    for url in (f"reference::{tmp_path}/x.json", f"reference://{tmp_path}/x.json"):
        with pytest.raises(InputError, match="list of references"):
            open_source(url)


def test_chunks_of_no_size(store):
    path = store(3, False)
    rewrite(
        path / NAME / "zarr.json",
        lambda array: array["chunk_grid"]["configuration"].update(chunk_shape=[1, 0, 1]),
    )
    with pytest.raises(InputError):
        open_source(path, [NAME]).load()
