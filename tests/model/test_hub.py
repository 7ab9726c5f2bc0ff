"""Bundles of the Hub, against a local server that speaks the needed part of its protocol."""

import base64
import hashlib
import http.server
import json
import pickle
import re
import sys
import threading
from dataclasses import replace
from urllib.parse import unquote, urlsplit

import huggingface_hub.constants
import pytest
import torch
import yaml

import orbitlite
from orbitlite.cli import main
from orbitlite.errors import InputError
from orbitlite.model.bundle import Bundle, load_bundle, save_bundle, save_tasks
from orbitlite.model.downscaler import Downscaler, DownscalerConfig
from orbitlite.model.ensemble import Ensemble
from orbitlite.model.statics import Statics
from orbitlite.model.tasks import Tasks


class _Hub(http.server.BaseHTTPRequestHandler):
    """`server.repos`: {name: [(commit, {file: content}), ...]}, the newest last."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append((self.command, path))
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            commit = self._commit(found[1], found[2])
            name = {"id": found[1], "modelId": found[1], "siblings": [], "tags": []}
            return commit and self._json(name | {"sha": commit[0], "private": False})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+).*", path):
            commit = self._commit(found[1], found[2])
            return commit and self._json(
                [{"type": "file", "path": file, "size": len(data), "oid": _digest(data)}
                 for file, data in commit[1].items()]
            )  # fmt: skip
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            commit = self._commit(found[1], found[2])
            if commit and found[3] not in commit[1]:
                return self._answer(404, headers={"X-Error-Code": "EntryNotFound"})
            data = commit and commit[1][found[3]]
            return commit and self._answer(
                200, data, {"ETag": f'"{_digest(data)}"', "X-Repo-Commit": commit[0]}
            )
        return self._answer(404)

    do_HEAD = do_GET

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append((self.command, path))
        if path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if self.server.refuses:
            return self._answer(403)
        if path == "/api/repos/create":
            content = json.loads(body)
            name = f"{content['organization']}/{content['name']}"
            self.server.repos.setdefault(name, [("0" * 40, {})])
            return self._json({"url": f"{self.server.url}/{name}", "id": name})
        if path.endswith("/preupload/main"):
            return self._json(
                {"files": [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                           for file in json.loads(body)["files"]]}
            )  # fmt: skip
        name = path.removeprefix("/api/models/").removesuffix("/commit/main")
        files = dict(self.server.repos[name][-1][1])
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        commit = _digest(body)
        self.server.repos[name].append((commit, files))
        url = f"{self.server.url}/{name}/commit/{commit}"
        return self._json({"success": True, "commitOid": commit, "commitUrl": url})

    def _commit(self, name, revision):
        commits = self.server.repos.get(name)
        if commits is None:
            return self._answer(404, headers={"X-Error-Code": "RepoNotFound"})
        known = {"main": commits[-1], None: commits[-1]} | {one[0]: one for one in commits}
        if revision not in known:
            return self._answer(404, headers={"X-Error-Code": "RevisionNotFound"})
        return known[revision]

    def _json(self, content):
        return self._answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args):
        """Stay quiet."""


def _digest(data):
    return hashlib.sha1(data).hexdigest()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    server.repos, server.asked, server.refuses = {}, [], False
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE",
        server.url + "/{repo_id}/resolve/{revision}/{filename}",
    )  # fmt: skip
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("HF_TOKEN", "none")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def bundle(tmp_path):
    torch.manual_seed(0)
    config = DownscalerConfig(
        inputs=["total_precipitation_24hr"], factor=2, embed_dim=8, depth=1, num_heads=1,
        patch_size=2, decoder_features=4, decoder_blocks=0,
    )  # fmt: skip
    save_bundle(tmp_path / "bundle", Downscaler(config), metadata={"created": "today"}, scores={})
    return load_bundle(tmp_path / "bundle")


def equal(one, other):
    ours, theirs = one.model.state_dict(), other.model.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


def test_pushed_is_loaded(hub, bundle, tmp_path):
    path = bundle.push_to_hub("org/rain", license="cc-by-4.0")
    [_, (commit, files)] = hub.repos["org/rain"]
    assert path == f"hf://org/rain@{commit}"
    assert {*files} == {"config.json", "model.safetensors", "README.md"}
    matter = yaml.safe_load(files["README.md"].decode().split("---\n")[1])
    assert matter == {
        "license": "cc-by-4.0", "library_name": "orbitlite",
        "tags": ["climate", "downscaling", "total_precipitation_24hr"],
    }  # fmt: skip
    for found in (
        orbitlite.load(path), orbitlite.load("hf://org/rain"), orbitlite.load("hf://org/rain@main"),
        Bundle.from_pretrained("org/rain"), Bundle.from_pretrained("org/rain", commit),
    ):  # fmt: skip
        assert equal(found, bundle)
        assert found.path == path
        assert found.identity == bundle.identity
        assert found.metadata == {"created": "today", "license": "cc-by-4.0"}
    assert main(["info", "hf://org/rain"]) == 0


def test_a_revision_stays_what_it_is(hub, bundle):
    first = bundle.push_to_hub("org/rain", license="mit")
    changed = load_bundle(first)
    next(changed.model.parameters()).data += 1
    second = changed.push_to_hub("org/rain")  # with the licence that it has
    assert equal(orbitlite.load(first), bundle)
    assert equal(orbitlite.load("hf://org/rain"), changed)
    assert orbitlite.load("hf://org/rain").path == second != first


def test_files_of_no_bundle_are_neither_fetched_nor_pushed(hub, bundle, tmp_path):
    bundle.push_to_hub("org/rain", license="mit")
    files = hub.repos["org/rain"][-1][1]
    files |= {"pytorch_model.bin": pickle.dumps(print), "sub/config.json": b"{}"}
    files["statics.safetensors"] = b"of an earlier bundle"
    hub.asked.clear()
    orbitlite.load("hf://org/rain")
    asked = {path.rpartition("/")[2] for _, path in hub.asked if "/resolve/" in path}
    assert asked <= {"config.json", "model.safetensors", "statics.safetensors", "README.md"}
    assert not list((tmp_path / "cache").rglob("*.bin"))
    bundle.push_to_hub("org/rain", license="mit")
    assert "statics.safetensors" not in hub.repos["org/rain"][-1][1]
    assert "pytorch_model.bin" in hub.repos["org/rain"][-1][1]


def test_without_a_network_the_cache_is_taken_and_told(hub, bundle, monkeypatch, caplog):
    path = bundle.push_to_hub("org/rain", license="mit")
    orbitlite.load("hf://org/rain")
    bundle.push_to_hub("org/other", license="mit")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    caplog.set_level("INFO")
    assert orbitlite.load(path).path == path  # pinned: nothing to tell
    assert "cannot be reached" not in caplog.text
    assert orbitlite.load("hf://org/rain").path == path
    assert "the Hub cannot be reached; the copy of" in caplog.text
    with pytest.raises(InputError, match=r"hf://org/other cannot be fetched \(.*no copy"):
        orbitlite.load("hf://org/other")


def test_a_fetch_that_was_cut_short(hub, bundle, tmp_path, monkeypatch):
    """Offline it is said what is missing; with a network it is fetched."""
    fields = {"values": torch.zeros(2, 2, 2), "lat_edges": torch.tensor([2.0, 1, 0]).double(),
              "lon_edges": torch.tensor([0.0, 1, 2]).double()}  # fmt: skip
    bundle = replace(bundle, statics=Statics(**fields))
    path = bundle.push_to_hub("org/rain", license="mit")
    orbitlite.load("hf://org/rain")
    [cached] = (tmp_path / "cache").glob("models--org--rain/snapshots/*")
    for name in ("statics.safetensors", "model.safetensors", "config.json"):
        (cached / name).unlink()
        for stated in (path, "hf://org/rain"):
            with monkeypatch.context() as offline:
                offline.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
                with pytest.raises(InputError) as error:
                    orbitlite.load(stated)
            assert f"{path}: its copy in the cache of the Hub has no {name}" in str(error.value)
            assert "load it once with a network" in str(error.value)
    assert equal(orbitlite.load(path), bundle)


def test_nothing_of_this_machine_is_published(hub, bundle, caplog):
    """Names of files stay, and public addresses; folders, users and secrets do not."""
    metadata = {
        "training": {
            "sources": {
                "fine": "/home/me/private/fine.zarr",
                "coarse": ["data/of/me/a.nc", "https://me:word@a.org/b.nc?sig=s3cr3t"],
                "static": None,
                "other.fine": "gs://public/era5.zarr",
                "other.coarse": "opened in Python",
            },
            "init": {"path": "/home/me/runs/bundle", "identity": "0" * 12, "tune": "all"},
            "accumulate": "24h+9h",
        },
        "config": "~/me/config.yaml",
        "words": "rain / snow of https and /home",
    }
    full = replace(bundle, metadata=metadata)
    before = json.dumps(metadata)
    with caplog.at_level("INFO"):
        path = full.push_to_hub("org/rain", license="mit")
    files = hub.repos["org/rain"][-1][1]
    for data in files.values():
        for word in (b"/me", b"private", b"word@", b"s3cr3t", b"runs", b"data/of"):
            assert word not in data
    assert caplog.text.count("published without folders of this machine") == 1
    assert "fine.zarr, a.nc, https://a.org/b.nc, bundle, config.yaml." in caplog.text
    found = orbitlite.load(path).metadata
    assert found["training"]["sources"] == {
        "fine": "fine.zarr", "coarse": ["a.nc", "https://a.org/b.nc"], "static": None,
        "other.fine": "gs://public/era5.zarr", "other.coarse": "opened in Python",
    }  # fmt: skip
    assert found["training"]["init"]["path"] == "bundle"
    assert found["words"] == metadata["words"]
    assert json.dumps(full.metadata) == before


def test_what_is_damaged_or_no_bundle_is_refused(hub, bundle):
    bundle.push_to_hub("org/rain", license="mit")
    _, files = hub.repos["org/rain"][-1]
    weights = files["model.safetensors"]
    hub.repos["org/changed"] = [
        ("1" * 40, files | {"model.safetensors": weights[:-1] + bytes([weights[-1] ^ 1])})
    ]
    with pytest.raises(InputError, match=r"model\.safetensors"):
        orbitlite.load("hf://org/changed")
    hub.repos["org/words"] = [("2" * 40, {"config.json": b'{"model_type": "bert"}'})]
    with pytest.raises(InputError, match="is it a bundle"):
        orbitlite.load("hf://org/words")
    hub.repos["org/empty"] = [("3" * 40, {"train.py": b""})]
    with pytest.raises(InputError, match=r"no file config\.json"):
        orbitlite.load("hf://org/empty")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("hf://org/none", "there is no repository org/none on the Hub"),
        ("hf://org/rain@v9", "the repository org/rain has no revision v9"),
        ("hf://rain", "expected hf://org/name or hf://org/name@revision"),
        ("hf://org/rain@", "expected hf://org/name"),
        ("hf://org/rain@../x", "expected hf://org/name"),
    ],
)
def test_what_is_not_there(hub, bundle, path, message):
    bundle.push_to_hub("org/rain", license="mit")
    with pytest.raises(InputError, match=message):
        orbitlite.load(path)


def test_what_is_not_pushed(hub, bundle, monkeypatch):
    with pytest.raises(InputError, match="license: expected that of the weights"):
        bundle.push_to_hub("org/rain")
    with pytest.raises(InputError, match="license: expected"):
        bundle.push_to_hub("org/rain", license="mit\ntags: x")
    with pytest.raises(InputError, match="name of a repository such as org/name"):
        bundle.push_to_hub("rain", license="mit")
    with pytest.raises(InputError, match="a mean of several bundles"):
        Bundle(Ensemble([bundle.model, bundle.model])).push_to_hub("org/rain", license="mit")
    with pytest.raises(InputError, match="push it with push_to_hub"):
        save_bundle("hf://org/rain", bundle.model, metadata={})
    assert hub.asked == []
    hub.refuses = True
    with pytest.raises(InputError, match=r"cannot be pushed to hf://org/rain \(.*logged in"):
        bundle.push_to_hub("org/rain", license="mit")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"pip install 'orbitlite\[hub\]'"):
        orbitlite.load("hf://org/rain")


def test_of_several_tasks_one_is_fetched(hub, tmp_path):
    config = DownscalerConfig(
        inputs=["total_precipitation_24hr"], embed_dim=8, depth=1, num_heads=1, decoder_features=4,
        decoder_blocks=0, statics=[], tasks={"fine": {"factor": 4}, "rough": {"factor": 2}},
    )  # fmt: skip
    save_tasks(tmp_path / "tasks", Tasks(config), metadata={}, statics={})
    files = {entry.name: entry.read_bytes() for entry in (tmp_path / "tasks").iterdir()}
    hub.repos["org/tasks"] = [("a" * 40, files)]
    with pytest.raises(InputError, match=r"has 2 tasks \(fine, rough\): state task"):
        orbitlite.load("hf://org/tasks")
    found = Bundle.from_pretrained("org/tasks", task="rough")
    assert equal(found, load_bundle(tmp_path / "tasks", "rough"))
    assert found.path == f"hf://org/tasks@{'a' * 40}"
    asked = " ".join(path for _, path in hub.asked)
    assert "task_rough.safetensors" in asked
    assert "task_fine.safetensors" not in asked
