"""What a step takes beside its computing, and what the samples of a step are to the data."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from torch.utils._python_dispatch import TorchDispatchMode

from orbitlite.batch import Batch
from orbitlite.cli import main
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.parallel.mesh import Layout
from orbitlite.planning.clusters import GPUS
from orbitlite.planning.curve import curve
from orbitlite.planning.estimate import Estimate
from orbitlite.planning.idle import way_on
from orbitlite.planning.upkeep import (
    COPY,
    LAUNCH,
    Upkeep,
    checkpoint_bytes,
    launching,
    sample_bytes,
)
from orbitlite.planning.workload import Workload

CONFIGS = Path(__file__).parents[2] / "configs"
INPUTS = ["total_precipitation_24hr", *(f"temperature_{i}" for i in range(7))]
CONFIG = DownscalerConfig(inputs=INPUTS, embed_dim=64, depth=2, num_heads=4, channel_groups=4)
PARAMETERS = sum(weight.numel() for weight in Downscaler(CONFIG).parameters())


def work_of(**changes):
    return Workload(CONFIG, 10, 20, 3, **changes)


def run(*words):
    return main(["plan", *map(str, words)])


# reading


def test_bytes_of_a_sample_are_those_of_its_fields():
    assert sample_bytes(work_of()) == 4 * (10 * 20 * 8 + 40 * 80 * 1)
    half = work_of(layout=Layout(tensor=2))
    assert sample_bytes(half) == 4 * (10 * 20 * 4 + 40 * 80)
    tile = work_of(core=(4, 6))
    assert sample_bytes(tile) == 4 * (10 * 20 * 8 + 16 * 24)


def test_what_is_read_ahead_waits_only_where_reading_takes_longer():
    work = work_of(layout=Layout(data=16, shard=16))
    seconds = 8 * 3 * sample_bytes(work) / 1e6  # eight ranks of a node, three samples each
    ahead = Upkeep(storage=1e6)
    assert ahead.waiting(work, 8, 0.25) == pytest.approx(seconds - 0.25)
    assert ahead.waiting(work, 8, 2 * seconds) == 0
    between = replace(ahead, ahead=False)
    assert between.waiting(work, 8, 2 * seconds) == pytest.approx(seconds)
    assert replace(between, in_memory=True).waiting(work, 8, 0.0) == 0


# checkpoints


def test_bytes_of_a_checkpoint_are_weights_averages_and_moments():
    assert checkpoint_bytes(work_of()) == 4 * 4 * PARAMETERS
    spread = checkpoint_bytes(work_of(layout=Layout(data=8, shard=8)))
    assert spread == pytest.approx(2 * PARAMETERS, rel=0.1)
    copies = checkpoint_bytes(work_of(layout=Layout(data=8, shard=2)))
    assert copies == pytest.approx(2 * PARAMETERS, rel=0.1)


def test_a_checkpoint_costs_the_copy_where_others_write_it():
    size = 16 * PARAMETERS
    alone = Upkeep(storage=1e6, data=300).saving(work_of(), 8, 1.0)  # 100 steps of three samples
    assert alone == pytest.approx((size / COPY + size / 1e6) / 100)
    several = work_of(layout=Layout(data=2, shard=2))
    own = checkpoint_bytes(several)
    seldom = Upkeep(storage=1e6, every=1000).saving(several, 8, 1.0)
    assert seldom == pytest.approx(own / COPY / 1000)
    often = Upkeep(storage=1e5, every=1).saving(several, 8, 1.0)
    assert often == pytest.approx(own / COPY + 2 * own / 1e5 - 1.0)


# launches


class Operations(TorchDispatchMode):
    """Counts what is computed; views and new memory are no kernels."""

    _FREE = ("empty", "detach", "view")

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if not (function.is_view or any(word in str(function) for word in self._FREE)):
            self.count += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "changes", [{}, {"depth": 6}, {"channel_groups": 4}, {"tokens": 0.5}, {"noise": 4}]
)
def test_operations_are_those_that_torch_dispatches(changes):
    sizes = {"embed_dim": 32, "depth": 1, "num_heads": 4, "channel_groups": 1} | changes
    config = DownscalerConfig(inputs=INPUTS, **sizes)
    statics = torch.rand(1, len(config.statics), 32, 64)
    batch = Batch(
        coarse=torch.rand(1, 8, 8, 16), statics=statics, time=torch.zeros(1),
        lat_edges=torch.linspace(40, 30, 9)[None], lon_edges=torch.linspace(0, 16, 17)[None],
    )  # fmt: skip
    network = Downscaler(config)
    with Operations() as found:
        network(batch).nan_to_num().square().mean().backward()
    assert launching(Workload(config, 8, 16)) / LAUNCH == pytest.approx(found.count, rel=0.15)


def test_small_networks_take_their_launches():
    small = Estimate(work_of(), GPUS["h100"]).seconds
    stages = small["channels"] + small["blocks"] + small["decoder"]
    assert stages + small["launches"] == pytest.approx(launching(work_of()))
    large = Workload(replace(CONFIG, embed_dim=4096), 180, 360, 4)
    assert Estimate(large, GPUS["h100"]).seconds["launches"] == 0
    assert Estimate(replace(work_of(), device="cpu"), GPUS["cpu"]).seconds["launches"] == 0


# the data


def test_samples_grow_or_stay():
    work = replace(work_of(), batch=1)
    growing = curve(work, GPUS["h100"], counts=(8, 64))
    assert [row["samples"] for row in growing] == [8, 64]
    assert [row["steps_per_epoch"] for row in growing] == [14610 / 8, 14610 / 64]
    fixed = curve(work, GPUS["h100"], 16, counts=(8, 64, 512), upkeep=Upkeep(data=160))
    assert [row["fits"] for row in fixed] == [True, True, False]  # 4 heads, 16 samples: 64 at most
    assert "seconds" not in fixed[2]
    assert {row["steps_per_epoch"] for row in fixed} == {10}
    rates = [row["samples_per_second"] / row["world_size"] for row in fixed[:2]]
    assert fixed[1]["efficiency"] == pytest.approx(rates[1] / rates[0])


def test_the_way_on_is_named_where_gpus_are_idle():
    work = Workload(CONFIG, 64, 64, 1)
    rows = curve(work, GPUS["h100"], 16, counts=(64, 256))
    text = way_on(work, GPUS["h100"], rows, 4, Upkeep())
    assert "No layout shares 16 samples over 256 GPUs" in text
    assert "--data.tile 32 makes 4 windows of a sample (halo 4)" in text  # 64 windows, 4 heads
    assert "ring attention" in text
    assert way_on(work, GPUS["h100"], rows[:1], 4, Upkeep()) == ""


def test_steps_are_compared_with_the_data(capsys, tmp_path):
    words = ("-c", CONFIGS / "9m.yaml", "--gpus", 8, "--grid", "45x90", "--curve", "--samples", 64)
    out = tmp_path / "plan.json"
    assert run(*words, "--data-samples", 1000, "--json", out) == 0
    text = " ".join(capsys.readouterr().out.split())
    # A step is 8 samples a GPU: 1,000 are fewer than those of 128, and ten steps' of 16.
    assert "A step of 1,024 samples on 128 GPUs and more is more than all 1,000 samples" in text
    assert "A step of 128 samples on 16 GPUs and more leaves an epoch of 1,000 samples" in text
    rows = json.loads(out.read_text())["rows"]
    assert {row["steps_per_epoch"] for row in rows if row["part"] == "fixed"} == {1000 / 64}
    assert run(*words) == 0
    assert "forty years of daily fields (assumed)" in capsys.readouterr().out


def test_samples_of_the_config_are_counted(capsys):
    assert run("-c", CONFIGS / "world.yaml", "--gpus", 1) == 0
    data = yaml.safe_load((CONFIGS / "world.yaml").read_text())["data"]
    days = len(pd.date_range(*data["train"]))
    assert f"a checkpoint every epoch of {days:,} samples" in capsys.readouterr().out


# fine-tuning


def tuned(tmp_path, **init):
    content = yaml.safe_load((CONFIGS / "9m.yaml").read_text())
    content["init"] = {"bundle": "somewhere", **init}
    path = tmp_path / "tuned.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_what_learns_alone_has_gradients_and_moments(tmp_path, capsys):
    memories = {}
    for tune in ("full", "head", "lora"):
        out = tmp_path / f"{tune}.json"
        words = ("--gpus", 1, "--grid", "32x64", "--json", out)
        assert run("-c", tuned(tmp_path, tune=tune), *words) == 0
        rows = json.loads(out.read_text())["rows"]
        memories[tune] = next(r["memory_mib"] for r in rows if r["recompute"] == "none")
        told = capsys.readouterr().out
        assert (f"init.tune {tune}" in told) == (tune != "full")
    network = Downscaler(DownscalerConfig.from_dict(
        yaml.safe_load((CONFIGS / "9m.yaml").read_text())["model"]["network"]
    ))  # fmt: skip
    head = sum(weight.numel() for weight in network.decoder.parameters())
    # Rank 4 of D to 3 D, D to D, D to 4 D and back, in each of six blocks of D = 256.
    adapters = 6 * 4 * ((1 + 3) + (1 + 1) + (1 + 4) + (4 + 1)) * 256
    assert memories["head"]["optimiser"] == pytest.approx(2 * 4 * head / 2**20)
    assert memories["lora"]["optimiser"] == pytest.approx(2 * 4 * (head + adapters) / 2**20)
    assert memories["head"]["weights"] == memories["full"]["weights"]
    assert memories["head"]["blocks"] == memories["head"]["channels"] == 0
    assert memories["lora"]["blocks"] > memories["full"]["blocks"]


def test_unknown_settings_of_init_are_named(tmp_path, capsys):
    assert run("-c", tuned(tmp_path, rang=3), "--gpus", 1) == 2
    assert "init has no key 'rang'" in capsys.readouterr().err
