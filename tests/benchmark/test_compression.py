"""The benchmark of the compression: its references, its rows, its command."""

import argparse
import json

import numpy as np
import pytest
import torch
import yaml

from orbitlite.benchmark import compression, leaf_budgets, measure, network, trees
from orbitlite.benchmark.session import Session
from orbitlite.errors import InputError
from orbitlite.model.quadtree import build_leaves


@pytest.mark.slow
def test_all_three_ways_build_the_same_tree():
    generator = torch.Generator().manual_seed(3)
    saliency = torch.rand(1, 128, 192, generator=generator).double() ** 8
    count = 6 + 3 * 700
    ours = build_leaves(saliency, count, trees.MAX_LEAF)
    expected = {
        (2 ** int(level), int(row), int(column))
        for level, row, column in zip(ours.level[0], ours.row[0], ours.column[0], strict=True)
    }
    for build in (trees.list_tree, trees.heap_tree):
        found = build(saliency[0].numpy(), count)
        assert len(found) == count
        assert {node[1:] for node in found} == expected


def test_rows_of_trees():
    with Session("cpu", threads=1, repeats=1) as session:
        rows = list(trees.rows(((64, 128, 14),), (1, 2), session))
    assert [row["variant"] for row in rows] == 2 * ["list_scan", "heap", "ours"]
    assert [row["batch"] for row in rows] == [1, 1, 1, 2, 2, 2]
    assert rows[2]["time_ratio"] == rows[0]["seconds"] / rows[2]["seconds"]


def test_long_scans_are_left_out(monkeypatch):
    monkeypatch.setattr(trees, "_LONGEST_SCAN", 10)
    with Session("cpu", threads=1, repeats=1) as session:
        rows = list(trees.rows(((64, 128, 14),), (1,), session))
    assert [row["variant"] for row in rows] == ["heap", "ours"]
    assert rows[0]["time_ratio"] == 1


@pytest.mark.slow
def test_skill_of_fits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = {
        "trainer": {"accelerator": "cpu"},
        "model": {"network": {
            "inputs": ["total_precipitation_24hr"], "targets": ["total_precipitation_24hr"],
            "statics": ["orography"], "factor": 4, "patch_size": 1, "embed_dim": 16,
            "depth": 1, "num_heads": 2,
        }},
        "data": {
            "fine": "world", "world": {"days": 12, "height": 64, "width": 128},
            "train": ["2000-01-01", "2000-01-06"], "validate": ["2000-01-07", "2000-01-08"],
            "test": ["2000-01-09", "2000-01-12"],
        },
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
    assert ("learned", 0.25, "learned") in leaf_budgets.CASES
    cases = leaf_budgets.CASES
    monkeypatch.setattr(leaf_budgets, "CASES", (cases[0], cases[3], cases[-1]))
    with Session("cpu", threads=1, repeats=1) as session:
        rows = list(leaf_budgets.rows("config.yaml", 1, session, str(tmp_path / "report")))
    drawn = sorted(path.name for path in (tmp_path / "report").iterdir())
    assert drawn == ["leaves_gradient_0.25.png", "leaves_learned_0.25.png"]
    assert [row["token_share"] for row in rows] == [1, 0.25, 0.25]
    assert rows[0]["token_share"] == 1
    assert all(np.isfinite([row["rmse"], row["p99_ratio"], row["minutes"]]).all() for row in rows)
    pictures = compression_pictures(rows, tmp_path)
    assert [path.name for path in pictures] == ["leaf_budgets.png"]
    with pytest.raises(InputError, match="epochs"):
        list(leaf_budgets.rows("config.yaml", 0, session))


def compression_pictures(rows, folder):
    from orbitlite.benchmark.pictures import draw

    return draw(rows, folder)


def test_the_command(monkeypatch, tmp_path, capsys):
    parser = argparse.ArgumentParser()
    compression.add_arguments(parser)
    words = ["--json", str(tmp_path / "c.json"), "--report", str(tmp_path), "--threads", "1"]
    options = parser.parse_args([*words, "--repeats", "1"])
    options.quiet = True
    monkeypatch.setattr(trees, "SIZES", ((64, 128, 14),))
    monkeypatch.setattr(compression, "_GRIDS", ((16, 32),))
    tiny = network.NetworkSetup(channels=6, embed_dim=16, depth=1, num_heads=2, factor=2)
    monkeypatch.setattr(network, "NetworkSetup", lambda: tiny)
    monkeypatch.setattr(measure, "peak_memory", lambda build, device: 5.0)
    assert compression.BENCHMARK.main(options) == 0
    result = json.loads((tmp_path / "c.json").read_text())
    assert result["benchmark"] == "compression"
    assert {row["part"] for row in result["rows"]} == {"trees", "network"}
    shown = capsys.readouterr().out
    assert "list_scan" in shown
    assert (tmp_path / "network.png").stat().st_size > 10_000
