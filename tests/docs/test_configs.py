"""Every shipped config is loaded and run for a step."""

import json
from pathlib import Path

import pytest
import yaml

from orbitlite.cli import main

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


def sources(config):
    data = config["data"]
    for part in (data, *data.get("sources", {}).values()):
        for key in ("coarse", "fine", "statics"):
            value = part.get(key)
            yield from value if isinstance(value, list) else [value] if value else []


@pytest.mark.slow
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    config = yaml.safe_load(path.read_text())
    for source in sources(config):
        if source != "world" and not Path(source).exists():
            pytest.skip(f"the data of {path.name} are not here: {source}")
    arguments = [
        "fit", "-c", str(path), "--trainer.fast_dev_run", "true",
        "--trainer.default_root_dir", str(tmp_path), "--trainer.enable_progress_bar", "false",
    ]  # fmt: skip
    world = config["data"].get("world", {})
    if {"height", "levels"} & {*world}:  # minutes, not what is tested here
        small = {**world, "height": 32, "width": 64}
        arguments += ["--data.world", json.dumps(small)]
    if config["model"]["network"]["embed_dim"] > 1024:  # more than a laptop holds: its wiring alone
        sizes = {"embed_dim": 64, "depth": 1, "num_heads": 4}
        arguments += [f"--model.network.{name}={value}" for name, value in sizes.items()]
    assert main(arguments) == 0


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_says_what_it_is_for(path):
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# Purpose: ")
    head = "\n".join(line for line in lines if line.startswith("#"))
    assert "# Cost: " in head
    assert f"# Command: orbitlite fit -c configs/{path.name}" in head


def test_there_are_configs():
    assert len(CONFIGS) >= 4
