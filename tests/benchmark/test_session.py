"""Progress of a benchmark: all that is to be done is known before, and all of it is done."""

import logging
from argparse import ArgumentParser
from contextlib import contextmanager
from itertools import chain

import pytest

from orbitlite.benchmark import (
    aggregation,
    channels,
    compression,
    measure,
    network,
    ranks,
    scaling,
    session,
    sizes,
    tiles,
    tiling,
    trees,
)  # fmt: skip
from orbitlite.benchmark.session import Session
from orbitlite.model.config import DownscalerConfig

CONFIG = DownscalerConfig(inputs=["2m_temperature"], embed_dim=8, depth=1, num_heads=2)
TINY = network.NetworkSetup(channels=6, embed_dim=32, depth=1, num_heads=2)
PARTS = {
    "aggregation": lambda s: aggregation.rows([2, 3], [64], s),
    "network": lambda s: network.rows(TINY, [(4, 8), (6, 6)], s),
    "trees": lambda s: trees.rows(((64, 64, 14), (64, 64, 20_001)), (1, 2), s),
    "ranks": lambda s: ranks.rows(8, 8, s),
    "cost": lambda s: tiling.cost_rows(((64, 128), (512, 1024)), s),
    "seams": lambda s: tiling.seam_rows(tiling.small_network(), (0, 4), s, (32, 64)),
    "sizes": lambda s: sizes.size_rows({"one": CONFIG, "two": CONFIG}, (4, 8), 1, s),
}


@pytest.fixture
def moves(monkeypatch):
    """List what the bar is told: how many more, and the total; measure nothing that is long."""
    found = []

    @contextmanager
    def bar(text, total, show=True, keep=True):
        yield lambda count, total=None, text=None: found.append((count, total, text))

    one = {"seconds": 1.0, "peak_mib": 1.0, "waiting_share": 0.0}
    monkeypatch.setattr(session, "bar", bar)
    monkeypatch.setattr(measure, "peak_memory", lambda build, device: 1.0)
    monkeypatch.setattr(tiling, "_fresh", lambda run: one)
    monkeypatch.setattr(ranks, "_row", lambda *sizes: {"part": "ranks"})
    monkeypatch.setattr(trees, "one_by_one", lambda *given: [])
    monkeypatch.setattr(trees, "build_leaves", lambda *given: [])
    monkeypatch.setattr(sizes, "_measure", lambda case, s: s.medians({"a": list}))
    return found


@pytest.mark.parametrize("name", PARTS)
def test_the_steps_of_a_part_are_its_total(name, moves):
    with Session("cpu", threads=1, repeats=2) as shown:
        rows = PARTS[name](shown)
        assert moves == []
        assert list(rows)
    [total] = {total for _, total, _ in moves if total is not None}  # from the first case on
    assert sum(count for count, *_ in moves) == total
    assert min(count for count, *_ in moves) >= 0
    assert all(text for count, total, text in moves if total is not None)


def test_parts_that_follow_count_from_the_first_on(moves):
    with Session("cpu", threads=1, repeats=2) as shown:
        list(chain.from_iterable([PARTS[name](shown) for name in ("network", "ranks", "cost")]))
    [total] = {total for _, total, _ in moves if total is not None}
    assert sum(count for count, *_ in moves) == total == 4 * 2 * 5 + 3 + 3 * 2


def test_slow_calls_that_are_left_out_are_done_as_well(moves, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(measure, "perf_counter", lambda: now[0])

    def measured(case, shown):
        return [shown.medians({"slow": lambda: now.__setitem__(0, now[0] + 30)})]

    with Session("cpu", threads=1, repeats=3) as shown:
        list(shown.over("ab", str, lambda case: shown.timed, lambda case: measured(case, shown)))
    assert [count for count, *_ in moves if count] == [1, 1, 3, 1, 1, 3]


def test_a_log_shows_what_is_measured_now_and_then(moves, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    now = [0.0]
    monkeypatch.setattr(session, "perf_counter", lambda: now[0])

    def measured(case):
        now[0] += 6
        return [{}]

    for progress in (False, True):
        with Session("cpu", 1, 1, progress=progress) as shown:
            list(shown.over("abcd", "case {}".format, lambda case: 1, measured))
    assert [record.message for record in caplog.records] == [
        "case a (0 % in 0 s)", "case c (50 % in 12 s, about 12 s left)",
    ]  # fmt: skip


@pytest.mark.parametrize("full", [False, True])
def test_what_is_measured_by_default_and_in_full(full, monkeypatch):
    asked = {}

    def noted(module, name):
        monkeypatch.setattr(
            module,
            name,
            lambda *given: asked.setdefault(module.__name__.rpartition(".")[2], given) and iter(()),
        )

    noted(aggregation, "rows")
    noted(ranks, "rows")
    noted(network, "rows")
    noted(trees, "rows")
    noted(tiling, "cost_rows")
    noted(tiling, "seam_rows")

    def run(module, *words):
        parser = ArgumentParser()
        module.add_arguments(parser)
        parser.set_defaults(quiet=True)
        options = parser.parse_args([*words, *(["--full"] if full else [])])
        module.BENCHMARK.run(options)
        return options

    assert run(channels).full is full
    assert asked["aggregation"][:2] == (
        ([23, 80, 256, 512, 1024], [256, 1024]) if full else ([23, 256], [256])
    )
    assert asked["network"][1] == ((32, 64), (64, 128))
    asked.clear()
    assert run(channels, "--channels", "7", "--widths", "9").channels == [7]
    assert asked["aggregation"][:2] == ([7], [9])
    asked.clear()
    run(compression)
    assert len(asked["trees"][0]) == (3 if full else 2)
    grids = ((32, 64), (64, 128), (128, 256), (256, 512))
    assert asked["network"][1] == (grids if full else grids[:2])
    run(tiles, "--parts", "cost")
    assert asked["tiling"][0][-1] == ((1024, 2048) if full else (256, 512))
    monkeypatch.setattr(scaling, "_cases", lambda options, size: [])
    monkeypatch.setattr("orbitlite.parallel.launch.run_ranks", lambda *given, device: [])
    monkeypatch.setattr(scaling, "_network", lambda path: CONFIG)
    assert run(scaling).worlds == ((1, 2, 4) if full else (1, 2))
