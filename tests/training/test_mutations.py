"""Configs that anyone may have written: a run or one plain line, and never a traceback."""

import copy
import random
import re

import pytest
import yaml

from orbitlite.cli import main
from orbitlite.configs import read_config
from orbitlite.training.cli import OrbitCLI

SEED = 15
COUNT = 24
ODD = (
    None, -1, 0, 1.5, "x", "", [], {}, True, [1, 2], {"a": 1}, 10**9, float("nan"), float("inf"),
    "../../etc", "[/red]", "null", ["x"], -0.5, "2000-13-45", 10**30, -(10**30), [[]], "\x1b[2J",
    "ü" * 300, {"class_path": "os.system"}, [None],
)  # fmt: skip
WHOLE = {
    "trainer": {"limit_val_batches": 1, "max_time": None, "precision": None, "devices": 1},
    "data": {"num_workers": 0, "cache": "auto", "tile": None, "halo": 4, "seed": 0},
    "checkpoint": {"save_top_k": 1, "monitor": "val_rmse", "mode": "min", "filename": "best"},
    "parallel": {"tensor": 1, "sequence": 1, "data": None, "activation_checkpointing": "none"},
    "ema": {"decay": 0.0},
    "recent": {"every": 0, "count": 2},
    "step_line": {"every": 50},
    "init": {"bundle": None, "tune": None, "rate": 0.3, "decay": 0.8, "rank": 4},
    "seed_everything": 0,
    "ckpt_path": None,
}


@pytest.fixture
def whole(write_config, tmp_path, monkeypatch):
    """Return a config that states most options; a run ends where its fit would begin."""
    monkeypatch.chdir(tmp_path)
    fit_alone = {"fit": OrbitCLI.subcommands()["fit"]}
    monkeypatch.setattr(OrbitCLI, "subcommands", staticmethod(lambda: fit_alone))
    monkeypatch.setattr(OrbitCLI, "_run_subcommand", lambda self, subcommand: None)
    write_config(tmp_path)
    content = yaml.safe_load((tmp_path / "config.yaml").read_text())
    for section, values in WHOLE.items():
        old = content.get(section, {})
        content[section] = {**old, **values} if isinstance(values, dict) else values
    content["model"] |= {"mixup": 0.0, "loss_space": "physical", "target_weights": None}
    content["model"]["optimisation"] |= {"weight_decay": 0.01, "warmup": 0.1, "betas": [0.9, 0.99]}
    return content


def ends(capsys):
    """Run the config; return its status and the line of complaint."""
    status = main(["fit", "-c", "config.yaml"])
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if line.startswith("orbitlite: ")]
    assert "Traceback" not in said
    assert status == (2 if lines else 0)
    return lines[0] if lines else ""


def places(value, path=()):
    """Yield the path of every key of a config."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, part in value.items():
            yield from places(part, (*path, key))


def mutated(content, path, how, value):
    """Return a config with one key dropped, misspelt or given another value."""
    content = copy.deepcopy(content)
    *parents, last = path
    section = content
    for parent in parents:
        section = section[parent]
    if how == "drop":
        del section[last]
    elif how == "misspell":
        section[f"{last}z"] = section.pop(last)
    else:
        section[last] = value
    return content


def test_mutated_configs(whole, tmp_path, capsys):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(whole))
    assert ends(capsys) == ""
    chosen = random.Random(SEED)
    for _ in range(COUNT):
        path = chosen.choice([*places(whole)])
        how = chosen.choice(["drop", "misspell", *["value"] * 8])
        text = yaml.safe_dump(mutated(whole, path, how, chosen.choice(ODD)))
        (tmp_path / "config.yaml").write_text(text)
        told = ends(capsys)
        assert how != "misspell" or "unknown key" in told or "expected" in told, (path, told)
        assert len(told) < 1000


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"- a\n- b\n", "expected keys and values in the config"),
        (b"5", "expected keys and values in the config"),
        (b"\xff\xfe\x00\x01", "not text in UTF-8"),
        (b"a: 1\x00", "not valid YAML"),
        (b"a:\n\tb: 1", "not valid YAML"),
        (b"a: [" + b"[" * 1200, "nested too deeply"),
        (b"a: " + b"[" * 40 + b"]" * 40, "nested more than 30 deep"),
        (b"model: &x {y: *x}", "alias of itself"),
        (BOMB.encode(), "expands to more than 100,000 values"),
        (b"data: {seed: 1, seed: 2}", "the key 'seed' twice in one section (line 1)"),
        (b"model: {}\nmodel: {}", "the key 'model' twice in one section (line 2)"),
        (b"1: 2", "the key 1, which is no text"),
        (b"a: {null: 2}", "the key None, which is no text"),
        (b"a: !!python/object/apply:os.system [ls]", "not valid YAML"),
        (b"#" * 2**20 + b"#", "has 1.0 MiB"),
    ],
)
def test_files_that_are_no_config(whole, tmp_path, capsys, content, expected):
    (tmp_path / "config.yaml").write_bytes(content)
    assert expected in ends(capsys)
    assert main(["plan", "-c", "config.yaml", "--gpus", "1"]) == 2
    assert re.search(r"^orbitlite: .*config", capsys.readouterr().err, re.MULTILINE)


def test_paths_that_are_no_config(whole, tmp_path, capsys):
    for words in (["-c", "."], ["-c", "absent.yaml"], ["--config=/dev/zero"], ["--trainer", "."],
                  ["-c", "config.yaml", "--model", "fine.nc"]):  # fmt: skip
        assert main(["fit", *words]) == 2
        assert capsys.readouterr().err.count("orbitlite: ") == 1


def test_what_a_config_may_hold(tmp_path):
    text = "a: &a {b: 2000-13-45, d: 2001-01-02}\nc: {<<: *a, b: 1}\n"
    (tmp_path / "config.yaml").write_text(text)
    found = read_config(tmp_path / "config.yaml")
    assert found["a"]["b"] == "2000-13-45"
    assert found["c"]["b"] == 1
    assert str(found["c"]["d"]) == "2001-01-02"
