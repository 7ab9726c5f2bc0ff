import argparse
import json
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest
import torch

from orbitlite.benchmark import channels, measure
from orbitlite.benchmark.channels import Case
from orbitlite.errors import InputError

TINY = Case(channels=6, embed_dim=16, depth=1, num_heads=2, patch_size=2, factor=2, batch=2)


@pytest.fixture
def without_processes(monkeypatch):
    """Peak memory made up: that of `reslim` twice ours."""

    def peak_memory(build, device):
        case = build.args[0]
        return 20.0 if case.variant == "reslim" else 10.0

    monkeypatch.setattr(measure, "peak_memory", peak_memory)


def test_rows_hold_every_grid_mode_and_variant(without_processes):
    before = torch.get_num_threads()
    result = channels.run(TINY, sizes=[(4, 8), (6, 6)], threads=1, repeats=2)
    assert torch.get_num_threads() == before
    assert result["benchmark"] == "channels"
    assert result["command"] == "orbitlite benchmark channels --device cpu --threads 1 --repeats 2"
    assert result["hardware"]["threads"] == 1
    json.dumps(result)
    rows = result["rows"]
    found = [(row["height"], row["mode"], row["variant"]) for row in rows]
    assert found == [
        (height, mode, variant)
        for height in (4, 6)
        for mode in ("forward", "forward+backward")
        for variant in ("reslim", "ours")
    ]
    for reference, ours in zip(rows[::2], rows[1::2], strict=True):
        assert reference["time_ratio"] == reference["memory_ratio"] == 1
        assert ours["time_ratio"] == reference["seconds"] / ours["seconds"]
        assert ours["memory_ratio"] == 2
        assert ours["seconds"] > 0
        assert ours["channels"] == 6
    assert rows[0]["tokens"] == 8
    assert rows[4]["tokens"] == 9


def test_memory_is_that_of_the_case_itself():
    case = Case(channels=8, embed_dim=64, depth=1, num_heads=2, height=32, width=64)
    build = partial(channels.prepare, replace(case, variant="reslim"), "cpu", 1)
    # tokens, their rows, keys and values: 4 arrays of (L, V, D)
    expected = 4 * 512 * 8 * 64 * 4 / measure.MIB
    assert measure.peak_memory(build, torch.device("cpu")) == pytest.approx(expected, rel=0.4)


@pytest.mark.parametrize("variant", channels.VARIANTS)
@pytest.mark.parametrize("mode", channels.MODES)
def test_a_call_leaves_no_gradients_behind(variant, mode):
    call = channels.prepare(replace(TINY, variant=variant, mode=mode), "cpu", 1)
    call()
    net = call.args[0]
    assert net.training == (mode != "forward")
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize(
    "wrong", [{"repeats": 0}, {"threads": 0}, {"device": "tpu"}, {"sizes": [(4, 7)]}]
)
def test_what_cannot_be_measured_is_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        channels.run(TINY, **wrong)


def test_the_command_writes_json_and_shows_a_table(
    without_processes, monkeypatch, tmp_path, capsys
):
    parser = argparse.ArgumentParser()
    channels.add_arguments(parser)
    path = tmp_path / "channels.json"
    options = parser.parse_args(["--json", str(path), "--threads", "1", "--repeats", "1"])
    options.quiet = True
    result = channels.run(TINY, sizes=[(4, 8)], threads=1, repeats=1)
    monkeypatch.setattr(channels, "run", lambda **options: options["repeats"] == 1 and result)
    assert channels.main(options) == 0
    assert json.loads(path.read_text()) == result
    shown = capsys.readouterr().out
    assert "forward+backward" in shown
    assert "reslim" in shown


def test_the_command_line_knows_it_without_torch():
    code = (
        "import sys; from orbitlite.cli import main\n"
        "try:\n    main(['benchmark', 'channels', '--help'])\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "--repeats" in done.stdout
