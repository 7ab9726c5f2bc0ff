"""The commands and the code of the README are run, on a short demo."""

import re
import shlex
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from orbitlite.cli import main
from orbitlite.data.world import generate
from orbitlite.demo import run
from orbitlite.model.bundle import load_bundle
from orbitlite.training.tuning import InitConfig

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language, section):
    part = README.split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(rf"```{language}\n(.*?)```", part, flags=re.S)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run("runs/demo", days=350, epochs=1) == 0
    return folder


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_demo_leaves_what_the_readme_says(demo):
    out = demo / "runs/demo"
    for name in ("prediction.nc", "bundle/config.json", "bundle/README.md", "report/scores.json"):
        assert (out / name).stat().st_size > 0
    pictures = list((out / "report").glob("*.png"))
    assert len(pictures) >= 4
    assert "quantile_mapped" in (out / "bundle/README.md").read_text()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_use_it_in_python(demo):
    [code] = blocks("python", "Use it")
    subprocess.run([sys.executable, "-c", code + "\nassert fine.sizes['lat'] == 64"],
                   cwd=demo, check=True)  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_use_it_from_the_shell(demo, monkeypatch):
    monkeypatch.chdir(demo)
    [block] = blocks("bash", "Use it")
    for line in block.strip().splitlines():
        words = shlex.split(line)
        assert words[0] == "orbitlite"
        assert main(words[1:]) == 0, line
    assert (demo / "report" / "scores.json").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_fine_tune_its_bundle(demo, monkeypatch):
    monkeypatch.chdir(demo)
    world = generate(days=30, height=32, width=64, seed=1, levels=(500, 700, 850))
    world.isel(latitude=slice(4, 20), longitude=slice(8, 40)).to_netcdf("YOUR_FINE.nc")
    [block] = blocks("bash", "Fine-tune")
    words = shlex.split(block.replace("\\\n", ""))
    assert main([*words[1:], "--trainer.max_epochs", "1"]) == 0
    bundle = load_bundle("runs/own_data/bundle")
    assert bundle.metadata["training"]["init"]["path"] == "runs/demo/bundle"
    assert len(bundle.model.config.inputs) == 16
    [stated] = blocks("yaml", "Fine-tune")
    assert asdict(InitConfig(**yaml.safe_load(stated)["init"])) == asdict(
        InitConfig("runs/demo/bundle", tune="full")
    )


def test_the_two_first_commands():
    [demo_command] = re.findall(r"<!-- demo -->\n```bash\n(.*?)\n```", README)
    assert demo_command == "python -m pip install -e . && orbitlite demo"
    [test_command] = re.findall(r"<!-- test -->\n```bash\n(.*?)\n```", README)
    assert test_command == "python -m pip install -e '.[dev]' && python -m pytest -n 2"


def test_configs_named_in_the_readme_exist():
    named = set(re.findall(r"configs/\w+\.yaml", README))
    assert named == {f"configs/{path.name}" for path in (ROOT / "configs").glob("*.yaml")}
