"""Predictions for clusters: what fits, what is advised, what is written."""

import json
from pathlib import Path

import pytest
import yaml

from orbitlite.cli import main
from orbitlite.errors import InputError
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.decoder import FineDecoder
from orbitlite.parallel.mesh import Layout, check_network
from orbitlite.planning.advice import advice, flags, node, too_large
from orbitlite.planning.clusters import GPUS, link
from orbitlite.planning.curve import PUBLISHED, curve
from orbitlite.planning.estimate import estimates, layouts, memory_warning
from orbitlite.planning.memory import memory
from orbitlite.planning.network import costs
from orbitlite.planning.traffic import received
from orbitlite.planning.workload import Workload

CONFIGS = Path(__file__).parents[2] / "configs"
INPUTS = ["total_precipitation_24hr", *(f"temperature_{i}" for i in range(7))]


def config_of(**changes):
    sizes = {"embed_dim": 256, "depth": 4, "num_heads": 8, "channel_groups": 4}
    return DownscalerConfig(inputs=INPUTS, **sizes | changes)


def large(**changes):
    config = config_of(embed_dim=4096, depth=12, num_heads=16)
    return Workload(config, 180, 360, half=True, **changes)


def run(*words):
    return main(["plan", *map(str, words)])


# what crosses


def test_one_process_receives_nothing():
    assert sum(received(Workload(config_of(), 32, 64)).values()) == 0


@pytest.mark.parametrize(
    ("ranks", "stride", "expected"),
    [(8, 1, 450e9), (16, 1, 400e9), (2, 8, 50e9), (4, 4, 100e9)],
)
def test_links_of_a_node_are_shared(ranks, stride, expected):
    assert link(GPUS["h100"], ranks, stride) == expected


# what fits


def test_layouts_fill_the_gpus_and_suit_the_network():
    found = list(layouts(config_of(), 16, 8))
    assert len(found) == len(set(found))
    for sizes in found:
        assert sizes.world_size == 16
        check_network(config_of(), sizes)
    assert {sizes.tensor for sizes in found} == {1, 2, 4}
    assert Layout(16, 1, 1, 8) in found
    assert {sizes.tensor for sizes in layouts(config_of(ridge=[4, 6]), 16, 8)} == {1}


def test_the_fastest_that_fits_comes_first():
    found = estimates(large(), 16, GPUS["h100"])
    fitting = [estimate for estimate in found if estimate.fits]
    assert found[: len(fitting)] == fitting
    speeds = [estimate.per_sample for estimate in fitting]
    assert speeds == sorted(speeds)
    assert all(0 <= estimate.exchange_share < 1 for estimate in found)
    assert all(0 < estimate.useful < 16 * GPUS["h100"].half for estimate in found)
    assert "--" in advice(found) or "defaults" in advice(found)


def test_less_memory_asks_for_more_flags():
    small = estimates(Workload(config_of(), 32, 64), 8, GPUS["h100"])[0]
    assert flags(small) == ""
    wide = estimates(large(batch=2), 8, GPUS["a100-40"])[0]
    assert wide.fits
    assert "--parallel." in flags(wide)


def test_what_does_not_fit_is_told_with_what_would():
    work = Workload(config_of(embed_dim=4096, depth=24, num_heads=16), 180, 360, 4)
    found = estimates(work, 2, GPUS["a100-40"])
    assert not found[0].fits
    text = too_large(found, 2, halo=8)
    assert "Nothing fits 40 GiB" in text
    assert "What would fit: " in text
    assert "GPUs" in text


def test_a_warning_before_a_fit():
    work = large(batch=4)
    assert memory_warning(work, 1e15) is None
    text = memory_warning(work, 40e9)
    assert "orbitlite plan" in text
    total = sum(memory(work).values()) / 2**30
    assert f"{total:.1f} GiB" in text


def test_a_part_that_does_not_state_what_it_takes_is_named(monkeypatch, capsys):
    monkeypatch.delattr(FineDecoder, "cost")
    costs.cache_clear()
    told = "FineDecoder has no method `cost`"
    assert told in memory_warning(Workload(config_of(), 32, 64), 1e15)
    assert run("-c", CONFIGS / "9m.yaml", "--gpus", 8) == 2
    assert told in capsys.readouterr().err


def test_nodes_have_equally_many_gpus():
    assert node(GPUS["h100"], 16, 4).per_node == 4
    assert node(GPUS["h100"], 4, None).per_node == 4
    with pytest.raises(InputError, match="do not fill"):
        node(GPUS["h100"], 10, 4)


def test_the_curve_keeps_the_samples_of_a_step():
    rows = curve(large(), GPUS["mi250x-gcd"], 4096, counts=(64, 512, 4096, 65536))
    assert [row["samples"] for row in rows] == [4096] * len(rows)
    assert rows[0]["efficiency"] == 1
    assert rows[-1]["efficiency"] < rows[1]["efficiency"] <= 1.001
    assert all(row["seconds"] > 0 for row in rows)
    assert set(PUBLISHED) == {"9.5M", "126M", "1B", "10B"}


# the command


@pytest.mark.parametrize(
    ("name", "millions"), [("9m", 5), ("126m", 104), ("1b", 1048), ("10b", 9868)]
)
def test_shipped_configs_quote_their_plan(name, millions, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(CONFIGS.parent)
    lines = [line[1:] for line in Path(f"configs/{name}.yaml").read_text().splitlines()]
    start = next(i for i, line in enumerate(lines) if line.startswith(" Plan:"))
    command = lines[start].split()[3:]
    out = tmp_path / "plan.json"
    assert run(*command, "--json", out) == 0
    text = capsys.readouterr().out
    assert f"{millions:,}," in text
    assert "predicted, not measured" in text
    printed = [" ".join(line.split()) for line in text.splitlines()]
    for quoted in lines[start + 1 : start + 5]:
        assert " ".join(quoted.split()) in printed
    found = json.loads(out.read_text())
    assert found["benchmark"] == "plan"
    best = found["rows"][0]
    assert best["fits"]
    assert sum(best["memory_mib"].values()) == pytest.approx(best["peak_mib"])
    assert sum(best["seconds_of"].values()) == pytest.approx(best["seconds"])


def test_the_grid_is_that_of_the_data(capsys):
    assert run("-c", CONFIGS / "world_large.yaml", "--gpus", 1) == 0
    assert "64x128 coarse cells, 512 tokens" in capsys.readouterr().out
    assert run("-c", CONFIGS / "world.yaml", "--gpus", 1, "--gpu", "cpu") == 0
    assert "16x32 coarse cells, 512 tokens, 4 samples" in capsys.readouterr().out


def test_a_tile_is_what_a_rank_sees(tmp_path, capsys):
    content = yaml.safe_load((CONFIGS / "world_large.yaml").read_text())
    content["data"] |= {"tile": 16, "halo": 8}
    path = tmp_path / "tiles.yaml"
    path.write_text(yaml.safe_dump(content))
    assert run("-c", path, "--gpus", 2, "--batch-size", 3) == 0
    assert "32x32 coarse cells, 64 tokens, 3 samples" in capsys.readouterr().out


def test_nothing_that_fits_is_a_failure(capsys):
    words = ("--gpus", 1, "--gpu", "a100-40", "--grid", "180x360", "--precision", "32-true")
    assert run("-c", CONFIGS / "10b.yaml", *words) == 1
    assert "Nothing fits" in capsys.readouterr().out


def test_the_curve_is_drawn_and_marked(capsys, tmp_path):
    words = ("--gpus", 8, "--gpu", "mi250x-gcd", "--grid", "45x90", "--curve")
    out = tmp_path / "curve.json"
    assert run("-c", CONFIGS / "9m.yaml", *words, "--report", tmp_path, "--json", out) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "on paper: predicted, not measured" in text
    assert (tmp_path / "curve.png").stat().st_size > 1000
    rows = json.loads(out.read_text())["rows"]
    for part in ("growing", "fixed"):
        own = [row for row in rows if row["part"] == part]
        assert [row["world_size"] for row in own] == [2**k for k in range(3, 17)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--gpus", 8, "--grid", "180"), "--grid"),
        (("--gpus", 0), "gpus"),
        (("--gpus", 8, "--nodes", 3), "nodes"),
        (("--gpus", 8, "--batch-size", -1), "batch"),
        (("--gpus", 8, "--samples", 0), "samples"),
        (("--gpus", 8, "--storage", 0), "storage"),
        (("--gpus", 8, "--storage", "inf"), "storage"),
        (("--gpus", 8, "--grid", "\u00b3x4"), "expected rows x columns"),
        (("--gpus", 8, "--batch-size", 0), "--batch-size: expected 1 or more, found 0"),
        (("--gpus", 8, "--data-samples", 0), "--data-samples: expected 1 or more, found 0"),
        (("--gpus", 8, "--top", -2), "--top: expected 1 or more, found -2"),
        (("--gpus", 8, "--nodes", 0), "--nodes: expected 1 or more, found 0"),
        (("--gpus", 8, "--report", "here"), "--report draws the curve: add --curve"),
        (("--gpus", 8, "--samples", 64), "--samples is of the second curve: add --curve"),
    ],
)
def test_mistakes_are_named(words, expected, capsys):
    assert run("-c", CONFIGS / "9m.yaml", *words) == 2
    assert expected in capsys.readouterr().err


def test_a_config_that_is_not_there_is_named(capsys):
    assert run("-c", "absent.yaml", "--gpus", 8) == 2
    assert "absent.yaml" in capsys.readouterr().err
