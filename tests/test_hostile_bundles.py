"""Bundles that anyone may have written: refused in one line, before there is room made for them."""

import copy
import hashlib
import json
import os
import random
import resource
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

import orbitlite
from orbitlite.errors import InputError
from orbitlite.info import info
from orbitlite.model.bundle import load_bundle, save_bundle
from orbitlite.model.downscaler import Downscaler, DownscalerConfig
from orbitlite.model.record import sealed

RAIN = "total_precipitation_24hr"
VALUES = [
    None, True, False, 0, -1, 1, 3, 10**9, 10**30, 10**400, -(10**9), 0.5, 1.5, float("nan"),
    float("inf"), 1e308, "", "x", "1", "../../etc/passwd", "/dev/zero", "\x1b[31m", "[/]", "\u202e",
    "a" * 10_000, [], {}, [[]], [None], {"a": 1}, ["x"], [[RAIN], ["2m_temperature"]], [RAIN] * 2,
    RAIN, ["2m_temperature"], 2**20, 10_000, "attention", "conserve", "learned", "24h", "linear",
    ["a", ["b"]], {"units": "mm"}, "mm**9**9**9", [5, 1], [float("nan"), 1], {"x": {"y": {"z": 1}}},
]  # fmt: skip


@pytest.fixture
def little_memory():
    """Let this process have a GiB more than it has, and not more."""
    with open("/proc/self/statm") as file:
        held = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (held + 2**30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def record_of(path):
    record = json.loads((path / "config.json").read_text())
    del record["record_sha256"]
    return record


def write(path, record):
    """Write a record with its checksum, as a hostile author would."""
    (path / "config.json").write_text(json.dumps(sealed(record)))


def places(value, above=()):
    """List where the values of a record stand."""
    keys = value if isinstance(value, dict) else range(len(value))
    found = []
    for key in keys if isinstance(value, (dict, list)) else ():
        found += [(*above, key), *places_of(value[key], (*above, key))]
    return found


def places_of(value, above):
    return places(value, above) if isinstance(value, (dict, list)) else []


def mutated(record, chance):
    """Return a record with one to three of its values replaced, taken out or added."""
    record = copy.deepcopy(record)
    for _ in range(chance.choice([1, 1, 2, 3])):
        *above, key = chance.choice(places(record))
        holder = record
        for step in above:
            holder = holder[step]
        kind = chance.random()
        if kind < 0.8:
            holder[key] = copy.deepcopy(chance.choice(VALUES))
        elif kind < 0.9:
            del holder[key]
        elif isinstance(holder, dict):
            holder[chance.choice(["x", "variables", "tokens"])] = chance.choice(VALUES)
        else:
            holder.insert(0, chance.choice(VALUES))
    return record


@pytest.fixture
def full_bundle(bundle, tmp_path):
    """Return a bundle with everything that a record may hold."""
    own = {"units": "mm", "hours": 24, "transform": "log1p", "limits": [0, 5000]}
    config = DownscalerConfig(
        inputs=[RAIN, "2m_temperature", "my_runoff"], statics=["orography"], factor=2,
        embed_dim=8, depth=1, num_heads=2, variables={"my_runoff": own},
    )  # fmt: skip
    training = {
        "period": ["2001-01-01", "2001-02-01"], "times": 31,
        "sources": {"fine": "a", "coarse": None},
        "grid": {"lat": [44.5, 49.5], "lon": [5.5, 12.5], "shape": [6, 8], "spacing": 1.0},
        "accumulate": None, "interpolate": None,
        "ranges": {RAIN: [0.0, 20.0], "2m_temperature": [270.0, 290.0]},
    }  # fmt: skip
    save_bundle(
        tmp_path / "full", Downscaler(config), statics=bundle.statics,
        metadata={"orbitlite_version": "1", "parameters": 3, "training": training},
        scores={RAIN: {"orbitlite": {"rmse": 1.0}, "bilinear": {"rmse": None}}},
    )  # fmt: skip
    return tmp_path / "full"


def test_mutated_configs(full_bundle, coarse, forget, little_memory):
    """Each of 160 is refused in one line, or serves."""
    chance, record = random.Random(17), record_of(full_bundle)
    coarse["my_runoff"] = coarse[RAIN]
    said = []
    for number in range(160):
        forget()
        write(full_bundle, mutated(record, chance))
        if number % 10 == 0:
            data = bytearray((full_bundle / "config.json").read_bytes())
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            (full_bundle / "config.json").write_bytes(data[: chance.choice([None, len(data) // 2])])
        try:
            info(str(full_bundle))
            found = load_bundle(full_bundle)
            orbitlite.predict(
                coarse.isel(time=[0]), found, accumulation_period="24h", progress=False
            )
        except InputError as error:
            said.append(str(error))
    assert 100 < len(said) < 155
    assert [text for text in said if not text.isprintable() or len(text) > 3000] == []


def changed(**settings):
    def change(path):
        record = record_of(path)
        record["config"].update(settings)
        write(path, record)

    return change


def listed(name):
    def change(path):
        record = record_of(path)
        record["sha256"][name] = "0" * 64
        write(path, record)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed(embed_dim=10**9), "embed_dim: expected 1048576 or less, found 1000000000"),
        (changed(embed_dim=2**20), "does not fit"),
        (changed(depth=10**9), "depth: expected 10000 or less"),
        (changed(depth=10_000), "depth 10000 there, 1 in the file"),
        (changed(ridge=[40, 40]), "does not fit"),
        (changed(ridge=[10_000, 10_000]), "at most; it is for one region"),
        (changed(ridge=[0, 3]), "ridge: expected two whole numbers from 1"),
        (changed(ridge="ab"), "ridge: expected two whole numbers, found"),
        (changed(factor=1024, patch_size=1024), "does not fit"),
        (changed(mlp_ratio=1e300), "mlp_ratio: expected that of a hidden width"),
        (changed(mlp_ratio=-1), "mlp_ratio: expected that of a hidden width"),
        (changed(mlp_ratio=float("nan")), "mlp_ratio: expected a number, found nan"),
        (changed(dropout="0.1"), "dropout: expected a number, found '0.1'"),
        (changed(depth=True), "depth: expected a whole number, found True"),
        (changed(num_heads=2.0), "num_heads: expected a whole number, found 2.0"),
        (changed(factor="2"), "factor: expected a whole number, found '2'"),
        (changed(tokens=float("inf")), "tokens: expected a count"),
        (changed(inputs=RAIN), "inputs: expected a list of channel names, found the text"),
        (changed(inputs=[RAIN, 3]), "inputs: 3 is no name of a channel"),
        (changed(inputs=[f"i{n}" for n in range(20_000)]), "expected at most 10000 channel names"),
        (changed(variables="/etc/passwd"), "variables: expected declarations by name"),
        (changed(saliency=["learned"]), "saliency: expected gradient"),
        (changed(widths=[1]), "unknown network setting 'widths'"),
        *(
            (listed(name), "expected those of model.safetensors and statics.safetensors, found")
            for name in ("../model/x", "/etc/passwd", "/dev/zero", "http://127.0.0.1:1/x", "x")
        ),
    ],
)  # fmt: skip
def test_settings_out_of_range(bundle_path, little_memory, change, message):
    change(bundle_path)
    with pytest.raises(InputError, match=message):
        load_bundle(bundle_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged"),
        (b"[" * 10**6, "nested too deep"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "nested too deep"),
        (b'{"format": ' + b"9" * 5000 + b"}", "damaged"),
        (b'{"format": 1, "format": 2}', "the key 'format' stands twice"),
        (b" " * 2**25, "larger than that of any bundle"),
        ('{"a": 1}'.encode("utf-16"), "damaged"),
        (b"3", "holds 3"),
    ],
)
def test_texts_that_are_no_record(bundle_path, content, message):
    (bundle_path / "config.json").write_bytes(content)
    for read in (load_bundle, lambda path: info(str(path))):
        with pytest.raises(InputError, match=message):
            read(bundle_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record["config"]["inputs"].reverse(),
        lambda record: record["config"].update(
            targets=["2m_temperature"], constraint="none", nonnegative=[]
        ),
        lambda record: record["config"].update(log1p=[]),
        lambda record: record["metadata"].update(training={"accumulate": "6h"}),
        lambda record: record["scores"].update({RAIN: {"orbitlite": {"rmse": 0.0}}}),
    ],
)
def test_a_config_that_was_edited(bundle_path, bundle, change):
    """The weights are of the same shape and the file is valid."""
    record = json.loads((bundle_path / "config.json").read_text())
    (bundle_path / "config.json").write_text(json.dumps(record, indent=7, sort_keys=True))
    load_bundle(bundle_path)  # another layout is no change
    change(record)
    (bundle_path / "config.json").write_text(json.dumps(record))
    for read in (load_bundle, lambda path: info(str(path))):
        with pytest.raises(InputError, match="was changed after the bundle was written"):
            read(bundle_path)
    save_bundle(bundle_path, bundle.model, metadata=bundle.metadata)  # it may be replaced
    load_bundle(bundle_path)


def test_a_bundle_without_a_checksum_of_its_own(bundle_path):
    (bundle_path / "config.json").write_text(json.dumps(record_of(bundle_path)))
    with pytest.raises(InputError, match="lacks record_sha256"):
        orbitlite.load(bundle_path)


def test_a_bundle_of_version_0_1_is_refused(bundle_path):
    write(bundle_path, record_of(bundle_path) | {"format": 1})
    for read in (load_bundle, lambda path: info(str(path))):
        with pytest.raises(
            InputError, match=r"of orbitlite 0\.1, whose network had another decoder"
        ):
            read(bundle_path)


def rehashed(path, name):
    record = record_of(path)
    record["sha256"][name] = hashlib.sha256((path / name).read_bytes()).hexdigest()
    write(path, record)


def header(entries, data=b"", length=None):
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no header"),
        (b"abc", "has no header"),
        (header(b"{}", length=2**63), "has no header"),
        (header([]), "has no header"),
        (header({}), "does not fit"),
        (header(b"[" * 10**5), "nested too deep"),
        (header({"blend": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}),
         "it has 97 bytes, its header says 4000000000097"),
        (header({"blend": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"0000"),
         "damaged at 'blend'"),
        (header({"blend": "x"}), "damaged at 'blend'"),
    ],
)  # fmt: skip
def test_weight_files_that_lie(bundle_path, little_memory, content, message):
    (bundle_path / "model.safetensors").write_bytes(content)
    rehashed(bundle_path, "model.safetensors")
    with pytest.raises(InputError, match=message):
        load_bundle(bundle_path)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("model", {"blend": lambda t: t * torch.nan}, "blend of the network is not finite"),
        ("model", {"input_std": lambda t: t * 0}, "input_std of the network should be positive"),
        ("model", {"target_std": lambda t: -t}, "target_std of the network should be positive"),
        ("model", {"static_mean": lambda t: t / 0}, "static_mean of the network is not finite"),
        ("model", {"blend": lambda t: t.long()}, "damaged at 'blend'"),
        ("model", {"blend": lambda t: t.repeat(2)}, "blend: expected shape"),
        ("model", {"blend": lambda t: None}, "'blend' absent"),
        ("statics", {"values": lambda t: t.repeat(2, 1, 1)}, "does not hold 1 fields"),
        ("statics", {"values": lambda t: t.mean()}, "does not hold 1 fields"),
        ("statics", {"lat_edges": lambda t: None}, "does not hold 1 fields"),
        ("statics", {"lat_edges": lambda t: t.flip(0)}, "are no latitudes"),
        ("statics", {"lon_edges": lambda t: t * torch.nan}, "are no latitudes"),
        ("statics", {"lat_edges": lambda t: t + 80}, "are no latitudes"),
    ],
)
def test_values_that_cannot_be(bundle_path, name, change, message):
    file = bundle_path / f"{name}.safetensors"
    tensors = load_file(file)
    for key, of in change.items():
        new = of(tensors.pop(key))
        tensors |= {} if new is None else {key: new.contiguous()}
    save_file(tensors, file)
    rehashed(bundle_path, file.name)
    with pytest.raises(InputError, match=message):
        load_bundle(bundle_path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "statics.safetensors"])
def test_files_that_are_something_else(bundle_path, tmp_path, name):
    file = bundle_path / name
    whole = file.read_bytes()
    for make, message in (
        (lambda: file.mkdir(), "is a folder, expected a file"),
        (lambda: os.mkfifo(file), "is a device, expected a file"),
        (lambda: file.symlink_to("/dev/zero"), "is a device, expected a file"),
        (lambda: file.symlink_to(file), "loop"),
        (lambda: file.symlink_to(tmp_path / "nowhere"), "no file"),
    ):
        file.unlink()
        make()
        with pytest.raises(InputError, match=f"{name}.* {message}|{message} {name}"):
            load_bundle(bundle_path)
        file.rmdir() if file.is_dir() else file.unlink()
        file.write_bytes(whole)
    load_bundle(bundle_path)


def test_links(bundle_path, tmp_path):
    """Out of the bundle none leads; a bundle of links into a cache is where its config is."""
    weights = bundle_path / "model.safetensors"
    (tmp_path / "elsewhere").mkdir()
    weights.rename(tmp_path / "elsewhere" / "x")
    weights.symlink_to(tmp_path / "elsewhere" / "x")
    with pytest.raises(InputError, match=r"model\.safetensors is a link to .* outside"):
        load_bundle(bundle_path)
    for name in ("config.json", "statics.safetensors"):
        (bundle_path / name).rename(tmp_path / "elsewhere" / name)
        (bundle_path / name).symlink_to(tmp_path / "elsewhere" / name)
    load_bundle(bundle_path)
