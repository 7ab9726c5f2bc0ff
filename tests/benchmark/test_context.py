"""The benchmark of context: the region, what is around it, its rows, command and picture."""

import json

import numpy as np
import pytest
import torch

from orbitlite.benchmark.pictures import draw
from orbitlite.benchmark.surroundings import regional
from orbitlite.cli import main
from orbitlite.grids.context import Context
from orbitlite.training.sources import data_of_config

RAIN = "total_precipitation_24hr"
NETWORK = {
    "inputs": [RAIN, "2m_temperature"], "targets": [RAIN], "statics": ["orography"], "factor": 2,
    "patch_size": 1, "embed_dim": 8, "depth": 1, "num_heads": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def config(write_task):
    return write_task(model={"network": NETWORK})


def test_the_region_is_the_middle_and_its_context_what_is_around(config):
    whole = data_of_config(config).pairs
    height, width = whole.grid.shape
    task = regional(config, whole, 0.5, 1, torch.device("cpu"))
    pairs = task.data.pairs
    rows, columns = height // 2, width // 2
    assert pairs.grid.shape == (rows, columns)
    assert pairs.context == Context(1, 1, 1, 1)
    top, left = (height - rows) // 2, (width - columns) // 2
    expected = whole.coarse[RAIN].values[:, top - 1 : top + rows + 1, left - 1 : left + columns + 1]
    np.testing.assert_array_equal(pairs.coarse[RAIN], expected)
    cut = (slice(2 * top, 2 * (top + rows)), slice(2 * left, 2 * (left + columns)))
    np.testing.assert_array_equal(pairs.fine[RAIN], whole.fine[RAIN].values[:, *cut])
    np.testing.assert_array_equal(pairs.statics["orography"], whole.statics["orography"][cut])


@pytest.mark.slow
def test_rows_command_and_picture(config, tmp_path, capsys):
    path = tmp_path / "context.json"
    words = ["--config", str(config), "--cells", "0", "2", "--seconds", "0.2", "--members", "3"]
    report = tmp_path / "report"
    options = [*words, "--json", str(path), "--report", str(report)]
    assert main(["benchmark", "context", *options]) == 0
    rows = json.loads(path.read_text())["rows"]
    found = [(row["context"], row["variant"]) for row in rows]
    assert sorted(found) == [(n, name) for n in (0, 2) for name in ("deterministic", "ours")]
    assert all(row["rmse_mean"] > 0 and row["part"] == "context" for row in rows)
    assert (report / "context.png").stat().st_size > 10_000
    assert "coarse cells of inputs around it" in " ".join(capsys.readouterr().out.split())
    assert draw(rows, tmp_path / "again")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--cells", "-1"], "--cells: expected 0 or more, found -1"),
        (["--part", "1.5"], "--part: expected more than 0 and less than 1, found 1.5"),
        (["--members", "1"], "--members: expected 2 or more, found 1"),
    ],
)
def test_options_that_make_no_sense(config, words, text, capsys):
    assert main(["benchmark", "context", "--config", str(config), *words]) == 2
    assert text in " ".join(capsys.readouterr().err.split())
