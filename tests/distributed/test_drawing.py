"""Weights that ranks draw block by block: those of one process, in the memory of a shard."""

import ctypes
import os
import re
import sys
from pathlib import Path

import pytest
import torch
from torch.distributed.tensor import DTensor

from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.groups import of_one_group
from orbitlite.model.outline import outline
from orbitlite.parallel.drawing import draw
from orbitlite.parallel.mesh import ParallelConfig, mesh_of_world
from orbitlite.parallel.sharding import parallelize
from orbitlite.training.sources import network_of_config

NAMES = ["total_precipitation_24hr", "temperature_850", "temperature_500", "2m_temperature",
         "surface_pressure", "specific_humidity_850", "10m_u_component_of_wind"]  # fmt: skip
SMALL = DownscalerConfig(
    inputs=NAMES, targets=NAMES[:1], statics=["orography"], factor=2, embed_dim=16, depth=3,
    num_heads=4, channel_groups=5, noise=2, tokens=0.9, saliency="learned",
)  # fmt: skip
LINEAR = DownscalerConfig(
    inputs=NAMES, factor=2, embed_dim=16, depth=1, num_heads=4, channel_groups=4,
    group_aggregation="linear", decoder_features=18,
)  # fmt: skip
CASES = {
    2: [(ParallelConfig(), SMALL), (ParallelConfig(tensor=2), LINEAR)],
    4: [
        (ParallelConfig(), SMALL),
        (ParallelConfig(shard=2), LINEAR),
        (ParallelConfig(tensor=2), SMALL),
        (ParallelConfig(tensor=2, sequence=2), SMALL),
        (ParallelConfig(shard=1), SMALL),
    ],
}


def whole(tensor):
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach().clone()


def on_a_rank(rank, size, cases):
    found = []
    for parallel, config in cases:
        ranks = mesh_of_world(parallel)
        torch.manual_seed(4)
        model = parallelize(outline(config), ranks, parallel)
        draw(model)
        follows = float(torch.rand(()))
        found.append(({n: whole(p) for n, p in model.state_dict().items()},
                      {n: b.clone() for n, b in model.named_buffers()}, follows))  # fmt: skip
    return found


@pytest.mark.dist
@pytest.mark.slow
@pytest.mark.parametrize("size", CASES)
def test_all_layouts_begin_with_the_weights_of_one_process(ranks, size):
    results = ranks(size, on_a_rank, CASES[size])
    for number, (_, config) in enumerate(CASES[size]):
        torch.manual_seed(4)
        model = Downscaler(config)
        expected, follows = model.state_dict(), float(torch.rand(()))
        seen = set()
        for state, buffers, after in (result[number] for result in results):
            assert after == follows  # as in one process, so that what is drawn later is the same
            seen |= set(state)
            assert {*expected} - {*state} <= {name for name in expected if of_one_group(name)}
            for name, value in state.items():
                assert torch.equal(value, expected[name]), name
            for name in ("log_target", "nonnegative_target"):
                assert torch.equal(buffers[name], model.get_buffer(name))
        assert seen == set(expected)


LARGE = DownscalerConfig(
    inputs=NAMES[:2], embed_dim=768, depth=8, num_heads=8, channel_groups=2, decoder_features=16
)
MIB = 2**20
_MMAP_THRESHOLD = -3  # of malloc.h


def resident(rank, size, parallel, config):
    """Return how far resident memory rises while a network is built and spread, in MiB.

    Matrices of more than 1 MiB go back to the system when they are freed, as those of large
    networks do: else glibc keeps them for what comes.
    """
    ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, MIB)
    torch.manual_seed(0)
    ranks = mesh_of_world(parallel)
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    draw(parallelize(outline(config), ranks, parallel))
    return memory("VmHWM") - before


def memory(key):
    """Return a number that the kernel keeps of this process, in MiB."""
    return int(re.search(rf"{key}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


@pytest.mark.dist
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and tells glibc")
@pytest.mark.parametrize("parallel", [ParallelConfig(), ParallelConfig(tensor=2)])
def test_a_rank_peaks_at_its_shard_and_a_block(ranks, parallel):
    total, block = sizes(LARGE)
    most = total / 4 + block + 32  # what stands outside of the blocks, a copy of query, key, value
    assert most < total / 1.9
    found = ranks(4, resident, parallel, LARGE)
    assert max(found) < most


@pytest.mark.dist
@pytest.mark.skipif(
    not os.environ.get("ORBITLITE_LARGE_TESTS"),
    reason="takes 7 GiB and minutes; set ORBITLITE_LARGE_TESTS=1 to run it",
)
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("parallel", [ParallelConfig(), ParallelConfig(tensor=4)])
def test_so_does_a_rank_of_a_billion_weights(ranks, parallel):
    config = network_of_config(Path(__file__).parents[2] / "configs/1b.yaml")
    total, block = sizes(config)
    assert total * MIB / 4 > 1e9
    assert max(ranks(4, resident, parallel, config)) < total / 4 + block * 1.5


def sizes(config):
    """Return the MiB of a network's weights in float32, and those of a block."""
    model = outline(config)
    return [
        sum(weight.numel() for weight in part.parameters()) * 4 / MIB
        for part in (model, model.blocks[0])
    ]
