"""The benchmark of the channels: its rows, its reference, its command."""

import argparse
import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from orbitlite.benchmark import aggregation, channels, measure, ranks
from orbitlite.benchmark.session import Session
from orbitlite.errors import InputError


def options(*words):
    parser = argparse.ArgumentParser()
    channels.add_arguments(parser)
    found = parser.parse_args(list(words))
    found.quiet = True
    return found


@pytest.fixture
def without_processes(monkeypatch):
    """Peak memory made up: that of the reference twice ours."""

    def peak_memory(build, device):
        return 20.0 if build.args[0].variant == "published" else 10.0

    monkeypatch.setattr(measure, "peak_memory", peak_memory)


def test_rows_hold_every_case(without_processes):
    with Session("cpu", threads=1, repeats=1) as session:
        rows = list(aggregation.rows([2, 5], [64, 128], session))
    found = [(row["channels"], row["embed_dim"], row["mode"], row["variant"]) for row in rows]
    assert found == [
        (count, dim, mode, variant)
        for dim in (64, 128)
        for count in (2, 5)
        for mode in ("forward", "forward+backward")
        for variant in ("published", "ours")
    ]
    for reference, ours in zip(rows[::2], rows[1::2], strict=True):
        assert ours["time_ratio"] == reference["seconds"] / ours["seconds"]
        assert ours["memory_ratio"] == 2


@pytest.mark.parametrize(("room", "batch", "variants"), [(0.6, 1, 2), (0.4, 1, 1), (1.1, 2, 2)])
def test_what_does_not_fit_is_made_smaller_or_left_out(
    without_processes, monkeypatch, room, batch, variants
):
    whole = aggregation._published_bytes(aggregation.AggregationSetup(3, 64, 1))
    monkeypatch.setattr(aggregation, "free_bytes", lambda device: room * whole)
    with Session("cpu", threads=1, repeats=1) as session:
        rows = list(aggregation.rows([3], [64], session))
    assert len(rows) == 2 * variants
    assert {row["batch"] for row in rows} == {batch}
    assert ("time_ratio" in rows[0]) == (variants == 2)


def test_the_reference_equals_multihead_attention():
    torch.manual_seed(0)
    ours = aggregation.PublishedChannels(5, 4, 16, 2)
    attention = nn.MultiheadAttention(16, 2, batch_first=True)
    with torch.no_grad():
        attention.in_proj_weight.copy_(torch.cat([ours.to_query.weight, ours.to_key_value.weight]))
        attention.in_proj_bias.copy_(torch.cat([ours.to_query.bias, ours.to_key_value.bias]))
        attention.out_proj.load_state_dict(ours.out.state_dict())
    patches = torch.randn(2, 3, 5, 4)
    tokens = torch.einsum("blcp,cdp->blcd", patches, ours.embed_weight) + ours.embed_bias
    rows = tokens.flatten(0, 1)
    expected, _ = attention(ours.query.expand(6, -1, -1), rows, rows)
    present = torch.ones(2, 3, 5, dtype=torch.bool)
    torch.testing.assert_close(ours(patches, present), expected.view(2, 3, 16))


def test_the_reference_needs_the_memory_that_is_foreseen():
    case = aggregation.AggregationSetup(64, 128, 2, mode="forward+backward", variant="published")
    call = aggregation.prepare(case, "cpu", 1)
    call()
    tokens = 4 * case.batch * case.tokens * case.channels * case.embed_dim
    assert aggregation._published_bytes(case) == pytest.approx(9 * tokens)


@pytest.mark.dist
@pytest.mark.slow
def test_bytes_are_those_of_the_groups_of_other_ranks():
    received, raw = ranks.crossing(32, 16, 2)
    assert received == ranks.GROUPS / 2 * (16 + 1) * 4
    assert raw == 32 / 2 * (16 + 1) * 4


@pytest.mark.dist
@pytest.mark.slow
def test_a_rank_holds_its_share():
    with Session("cpu", threads=1, repeats=1) as session:
        rows = list(ranks.rows(256, 64, session))
    assert [row["world_size"] for row in rows] == [1, 2, 4]
    assert rows[0]["peak_mib"] > 1.6 * rows[1]["peak_mib"] > 1.6 * 1.6 * rows[2]["peak_mib"]
    assert rows[0]["bytes_per_position"] == 0


def test_the_command_writes_json_tables_and_pictures(without_processes, tmp_path, capsys):
    path, report = tmp_path / "channels.json", tmp_path / "report"
    found = options(
        "--json", str(path), "--report", str(report), "--threads", "1", "--repeats", "1",
        "--channels", "3", "4", "--widths", "64", "--parts", "aggregation",
    )  # fmt: skip
    assert channels.BENCHMARK.main(found) == 0
    result = json.loads(path.read_text())
    assert result["benchmark"] == "channels"
    assert result["hardware"]["threads"] == 1
    assert result["command"] == (
        "orbitlite benchmark channels --device cpu --threads 1 --repeats 1 --channels 3 4 "
        "--widths 64 --parts aggregation"
    )
    assert len(result["rows"]) == 8
    assert "published" in capsys.readouterr().out
    assert (report / "aggregation.png").stat().st_size > 10_000


@pytest.mark.parametrize("name", ["channels", "widths"])
def test_numbers_below_one_are_refused(name):
    with pytest.raises(InputError, match=name):
        channels.BENCHMARK.run(options(f"--{name}", "0"))


def test_the_command_line_knows_it_without_torch():
    code = (
        "import sys; from orbitlite.cli import main\n"
        "try:\n    main(['benchmark', 'channels', '--help'])\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "--repeats" in done.stdout
