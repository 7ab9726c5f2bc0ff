"""Bundles: whole, unchanged, self-describing."""

import json

import fsspec
import pytest
import torch

from orbitlite.errors import InputError
from orbitlite.model.bundle import load_bundle, save_bundle
from orbitlite.model.downscaler import Downscaler, DownscalerConfig
from orbitlite.model.statics import Statics


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Downscaler(
        DownscalerConfig(inputs=["2m_temperature", "total_precipitation_24hr"], embed_dim=16,
                         depth=1, statics=["orography"])
    )  # fmt: skip


def save(path, model, **options):
    statics = Statics(torch.rand(1, 4, 6), torch.linspace(4, 0, 5), torch.linspace(0, 6, 7))
    scores = {"total_precipitation_24hr": {"orbitlite": {"rmse": 1.25}, "bilinear": {"rmse": 2.5}}}
    save_bundle(path, model, metadata={"parameters": 3}, statics=statics, scores=scores)
    return statics


@pytest.mark.parametrize("remote", [False, True])
def test_round_trip(model, tmp_path, remote):
    path = f"memory://bundles/{tmp_path.name}" if remote else tmp_path / "bundle"
    model.set_statistics(input_mean=[3.0, 4.0])
    statics = save(path, model)
    found = load_bundle(path)
    assert found.model.config == model.config
    assert not found.model.training
    for name, value in model.state_dict().items():
        assert torch.equal(found.model.state_dict()[name], value)
    assert torch.equal(found.statics.values, statics.values)
    assert found.scores["total_precipitation_24hr"]["orbitlite"]["rmse"] == 1.25
    store, root = fsspec.core.url_to_fs(str(path))
    card = store.cat_file(f"{root}/README.md").decode()
    assert "total_precipitation_24hr" in card
    assert "| rmse | 1.25 | 2.5 |" in card


def test_saving_again_replaces(model, tmp_path):
    save(tmp_path / "b", model)
    save(tmp_path / "b", model)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b"]


def test_saving_again_leaves_hidden_files_and_no_old_statics(model, tmp_path):
    """A folder may be a clone of a repository."""
    path = tmp_path / "b"
    save(path, model)
    (path / ".gitattributes").write_text("*.safetensors filter=lfs")
    (tmp_path / ".b.partial").mkdir()  # of an export that was cut short
    save_bundle(path, model, metadata={"parameters": 4})
    assert sorted(p.name for p in path.iterdir()) == [
        ".gitattributes", "README.md", "config.json", "model.safetensors",
    ]  # fmt: skip
    assert load_bundle(path).statics is None
    assert load_bundle(path).metadata == {"parameters": 4}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b"]


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("thesis.txt", b"years of work", "holds thesis.txt, no part of a bundle"),
        ("config.json", b'{"model_type": "bert"}', "its config.json is not that of a bundle"),
        ("config.json", b"[1]", "its config.json is not that of a bundle"),
        ("config.json", b"\xff", "its config.json is not that of a bundle"),
    ],
)
def test_a_bundle_among_other_files_is_kept(model, tmp_path, remote, name, content, message):
    path = f"memory://kept/{tmp_path.name}" if remote else str(tmp_path / "b")
    save(path, model)
    store, root = fsspec.core.url_to_fs(path)
    store.pipe_file(f"{root}/{name}", content)
    before = {file: store.cat_file(file) for file in store.find(root)}
    with pytest.raises(InputError, match=message):
        save(path, model)
    assert {file: store.cat_file(file) for file in store.find(root)} == before


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_not_saved(model, tmp_path, value):
    with torch.no_grad():
        model.decoder.out.weight[0, 0] = value
    with pytest.raises(InputError, match=r"its weights decoder\.out\.weight are not finite"):
        save(tmp_path / "b", model)
    assert not list(tmp_path.iterdir())


def test_foreign_folder_is_kept(model, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="is no bundle"):
        save(tmp_path, model)
    assert (tmp_path / "thesis.txt").exists()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "statics.safetensors"])
def test_missing_file(model, tmp_path, name):
    save(tmp_path / "b", model)
    (tmp_path / "b" / name).unlink()
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        load_bundle(tmp_path / "b")


@pytest.mark.parametrize("name", ["model.safetensors", "statics.safetensors"])
def test_changed_file(model, tmp_path, name):
    save(tmp_path / "b", model)
    data = bytearray((tmp_path / "b" / name).read_bytes())
    data[-1] ^= 1
    (tmp_path / "b" / name).write_bytes(data)
    with pytest.raises(InputError, match="fetch it again"):
        load_bundle(tmp_path / "b")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: {**r, "format": 99}, "upgrade"),
        (lambda r: {"a": 1}, "lacks"),
        (lambda r: {**r, "config": {**r["config"], "embed_dimm": 1}}, "embed_dim"),
        (lambda r: {**r, "config": {**r["config"], "embed_dim": 32}}, "does not fit"),
    ],
)
def test_damaged_config(model, tmp_path, change, message):
    save(tmp_path / "b", model)
    path = tmp_path / "b" / "config.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(InputError, match=message):
        load_bundle(tmp_path / "b")
    path.write_text("{")
    with pytest.raises(InputError, match="damaged"):
        load_bundle(tmp_path / "b")


def test_no_bundle(tmp_path):
    with pytest.raises(InputError, match="expected a bundle"):
        load_bundle(tmp_path / "nowhere")
    with pytest.raises(InputError, match="cannot read"):
        load_bundle("nosuchprotocol://x/y")
