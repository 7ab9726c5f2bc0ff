"""The scaling benchmark: which layouts it takes, what a row holds, that it runs."""

import json
import os
import subprocess
import sys
from argparse import ArgumentParser

import pytest
import torch
import yaml

from orbitlite.benchmark import scaling
from orbitlite.benchmark.pictures import draw

CONFIG = {
    "model": {
        "network": {
            "inputs": ["total_precipitation_24hr", "2m_temperature", "temperature_850"],
            "embed_dim": 16, "depth": 1, "num_heads": 4, "factor": 2, "channel_groups": 2,
        }
    }
}  # fmt: skip


def options(*words):
    parser = ArgumentParser()
    scaling.add_arguments(parser)
    parser.set_defaults(quiet=True)
    return parser.parse_args(list(map(str, words)))


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    return str(path)


def test_layouts_that_fit(config):
    given = options("--config", config, "--batch-size", 4, "--grid", 8, 16)
    found = [(key, case.work.batch) for key, case in scaling._cases(given, 4)]
    # two channel groups for at most two tensor ranks, four heads for at most four of both
    assert [layout for (part, layout), _ in found if part == "strong"] == [
        "4x1x1", "2x1x2", "1x1x4", "2x2x1", "1x2x2"
    ]  # fmt: skip
    assert dict(found)[("strong", "2x2x1")] == 2
    assert dict(found)[("weak", "2x2x1")] == 8


@pytest.mark.dist
@pytest.mark.slow
def test_command_and_pictures(config, tmp_path):
    given = [
        "--config",
        config,
        "--batch-size",
        2,
        "--grid",
        8,
        16,
        "--worlds",
        1,
        2,
        "--repeats",
        1,
    ]
    target = tmp_path / "scaling.json"
    assert scaling.main(options(*given, "--json", target, "--report", tmp_path)) == 0
    result = json.loads(target.read_text())
    assert {"hardware", "versions", "command"} < set(result)
    rows = result["rows"]
    sizes = [(r["part"], r["world_size"], r["data"], r["tensor"], r["sequence"]) for r in rows]
    per_part = [(1, 1, 1, 1), (2, 2, 1, 1), (2, 1, 1, 2), (2, 1, 2, 1)]
    for part in ("strong", "weak"):
        assert sorted(size[1:] for size in sizes if size[0] == part) == sorted(per_part)
    for row in rows:
        base = next(r for r in rows if r["part"] == row["part"] and r["world_size"] == 1)
        faster = base["seconds"] / row["seconds"]
        expected = faster / row["world_size"] if row["part"] == "strong" else faster
        assert row["efficiency"] == pytest.approx(expected)
        assert row["samples_per_second"] == pytest.approx(row["batch"] / row["seconds"])
        assert 0 <= row["comm_share"] <= 1
        assert (row["comm_share"] > 0) == (row["world_size"] > 1)
        assert row["peak_mib"] > 0
        assert row["batch"] == 2 * (row["world_size"] if row["part"] == "weak" else 1)
        if row["tensor"] > 1:
            assert row["received_mib"]["tensor"] > 0
    assert {path.name for path in draw(rows, tmp_path / "again")} == {"strong.png", "weak.png"}
    assert (tmp_path / "strong.png").stat().st_size > 10_000


@pytest.mark.dist
@pytest.mark.slow
def test_inside_a_launcher(config, tmp_path):
    """Under torchrun its processes are measured, and the first one writes the result."""
    target = tmp_path / "out.json"
    words = ["benchmark", "scaling", "--config", config, "--batch-size", "2", "--grid", "8", "16",
             "--repeats", "1", "--parts", "strong", "--json", str(target)]  # fmt: skip
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2",
                "--master-port", "29643", "-m", "orbitlite.cli"]  # fmt: skip
    done = subprocess.run(
        [*launcher, *words], capture_output=True, text=True, timeout=200,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = json.loads(target.read_text())["rows"]
    assert {row["world_size"] for row in rows} == {2}
    assert len(rows) == 3


@pytest.mark.slow
def test_sizes_of_one_device(config, monkeypatch):
    """Traced, but not made into code of the processor, which other tests do and takes a minute."""
    compiled, whole = [], torch.nn.Module.compile

    def traced(module, **how):
        compiled.append(module)
        whole(module, backend="eager", **how)

    monkeypatch.setattr(torch.nn.Module, "compile", traced)
    given = [
        "--parts",
        "sizes",
        "--sizes",
        config,
        "--grid",
        8,
        16,
        "--batch-size",
        1,
        "--repeats",
        1,
    ]
    rows = scaling.BENCHMARK.run(options(*given))["rows"]
    assert [row["variant"] for row in rows][:2] == ["float32", "bf16"]
    for row in rows:
        assert row["samples_per_second"] > 0
        assert row["predict_seconds"] > 0
        assert row["mfu"] is None  # the peak of this processor is not known
    assert rows[-1]["tokens"] < rows[0]["tokens"]
    assert len(compiled) == 2  # in training and in prediction
