import json
from dataclasses import replace
from functools import partial

import pytest
import torch

from orbitlite.benchmark import measure, network
from orbitlite.benchmark.network import NetworkSetup
from orbitlite.benchmark.session import Session
from orbitlite.errors import InputError

TINY = NetworkSetup(channels=6, embed_dim=16, depth=1, num_heads=2, patch_size=2, factor=2, batch=2)


@pytest.fixture
def without_processes(monkeypatch):
    """Peak memory made up: that of `reslim` twice ours."""

    def peak_memory(build, device):
        case = build.args[0]
        return 20.0 if case.variant == "reslim" else 10.0

    monkeypatch.setattr(measure, "peak_memory", peak_memory)


def test_rows_hold_every_grid_mode_and_variant(without_processes):
    before = torch.get_num_threads()
    with Session("cpu", threads=1, repeats=2) as session:
        assert torch.get_num_threads() == 1
        rows = list(network.rows(TINY, [(4, 8), (6, 6)], session))
    assert torch.get_num_threads() == before
    json.dumps(rows)
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


def test_compressed_variants_are_compared_to_the_same_reference(without_processes):
    with Session("cpu", threads=1, repeats=1) as session:
        rows = list(network.rows(TINY, [(32, 32)], session, shares=(1.0, 0.25)))
    assert [row["tokens"] for row in rows] == 2 * [256, 256, 64]
    assert [row["token_share"] for row in rows] == 2 * [1, 1, 0.25]
    for row in rows[:3]:
        assert row["time_ratio"] == rows[0]["seconds"] / row["seconds"]


def test_memory_is_that_of_the_case_itself():
    case = NetworkSetup(channels=8, embed_dim=64, depth=1, num_heads=2, height=32, width=64)
    build = partial(network.prepare, replace(case, variant="reslim"), "cpu", 1)
    # tokens, their rows, keys and values: 4 arrays of (L, V, D)
    expected = 4 * 512 * 8 * 64 * 4 / measure.MIB
    assert measure.peak_memory(build, torch.device("cpu")) == pytest.approx(expected, rel=0.4)


@pytest.mark.parametrize("variant", ["reslim", "ours"])
@pytest.mark.parametrize("mode", measure.MODES)
def test_a_call_leaves_no_gradients_behind(variant, mode):
    call = network.prepare(replace(TINY, variant=variant, mode=mode), "cpu", 1)
    call()
    net = call.args[0]
    assert net.training == (mode != "forward")
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [({"repeats": 0}, "repeats"), ({"threads": 0}, "threads"), ({"device": "tpu"}, "device")],
)
def test_what_cannot_be_measured_is_refused(wrong, expected):
    with pytest.raises(InputError, match=expected):
        Session(**({"device": "cpu", "threads": 1, "repeats": 1} | wrong))


def test_the_published_network_needs_whole_patches():
    session = Session("cpu", threads=1, repeats=1)
    with pytest.raises(InputError, match="multiples of 2"):
        list(network.rows(TINY, [(4, 7)], session))
