"""What a training step is said to need on a rank against the tensors that are alive in it."""

import pytest
import torch

from orbitlite.benchmark.live import live_peak
from orbitlite.benchmark.step import TrainingSetup, training_step
from orbitlite.model.config import DownscalerConfig
from orbitlite.parallel.mesh import ParallelConfig, Ranks, layout, mesh_of_world
from orbitlite.planning.memory import memory
from orbitlite.planning.workload import Workload

INPUTS = ["total_precipitation_24hr", *(f"temperature_{i}" for i in range(8))]
MIB = 2**20
# Most memory for weights, with about as much for what is kept; most for activations.
WIDE = {"embed_dim": 256, "depth": 4}, (16, 32)
LONG = {"embed_dim": 64, "depth": 6}, (48, 64)
FEWER = LONG[0] | {"tokens": 0.5}, LONG[1]
CASES = {
    1: [
        (ParallelConfig(), WIDE, False),
        (ParallelConfig(), LONG, False),
        (ParallelConfig(), WIDE, True),
        (ParallelConfig(activation_checkpointing="selective"), LONG, False),
        (ParallelConfig(activation_checkpointing="full"), FEWER, False),
    ],
    2: [
        (ParallelConfig(), WIDE, False),
        (ParallelConfig(shard=1), WIDE, False),
        (ParallelConfig(), LONG, True),
        (ParallelConfig(tensor=2), WIDE, False),
        (ParallelConfig(tensor=2, activation_checkpointing="selective"), LONG, False),
        (ParallelConfig(sequence=2), LONG, False),
        (ParallelConfig(sequence=2, activation_checkpointing="full"), FEWER, True),
    ],
    4: [
        (ParallelConfig(shard=2), WIDE, False),
        (ParallelConfig(tensor=2), WIDE, True),
        (ParallelConfig(sequence=2), WIDE, False),
        (ParallelConfig(tensor=2, sequence=2), LONG, False),
        (ParallelConfig(tensor=2, sequence=2, activation_checkpointing="selective"), LONG, False),
        (ParallelConfig(sequence=2, activation_checkpointing="full"), FEWER, False),
    ],
}


def work_of(case, size):
    parallel, (sizes, grid), half = case
    config = DownscalerConfig(inputs=INPUTS, num_heads=4, channel_groups=4, **sizes)
    sizes = layout(parallel, size)
    return Workload(config, *grid, 1, sizes, parallel.activation_checkpointing, half, device="cpu")


def on_a_rank(rank, size, cases):
    return [measured(case, size) for case in cases]


def measured(case, size):
    ranks = mesh_of_world(case[0]) if size > 1 else Ranks()
    step = TrainingSetup(work_of(case, size), case[0])
    return live_peak(lambda: training_step(step, ranks, torch.device("cpu"))) / MIB


def predicted(case, size):
    parts = memory(work_of(case, size), average=False, accumulated=False)
    return sum(parts.values()) / MIB


@pytest.mark.slow
@pytest.mark.dist
@pytest.mark.parametrize("size", CASES)
def test_a_step_needs_what_is_predicted(size, ranks):
    cases = CASES[size]
    found = [max(peaks) for peaks in zip(*ranks(size, on_a_rank, cases), strict=True)]
    for case, peak in zip(cases, found, strict=True):
        assert predicted(case, size) == pytest.approx(peak, rel=0.15), case
