"""What a rank is said to receive against what it receives."""

import pytest
import torch

from orbitlite.batch import Batch
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.parallel.mesh import ParallelConfig, layout, mesh_of_world
from orbitlite.parallel.received import Received
from orbitlite.parallel.sharding import parallelize
from orbitlite.planning.traffic import received
from orbitlite.planning.workload import Workload

INPUTS = ["total_precipitation_24hr", *(f"temperature_{i}" for i in range(4))]
GRID = (18, 22)  # 99 patches, which no number of ranks divides
CASES = [
    (ParallelConfig(), {}, False),
    (ParallelConfig(), {}, True),
    (ParallelConfig(shard=2), {}, False),
    (ParallelConfig(shard=2), {}, True),
    (ParallelConfig(tensor=2), {}, False),
    (ParallelConfig(tensor=2), {}, True),
    (ParallelConfig(tensor=2), {"targets": ["2m_temperature"]}, False),
    (ParallelConfig(tensor=2, sequence=2), {}, True),
    (ParallelConfig(sequence=2), {}, True),
    (ParallelConfig(sequence=2), {"tokens": 0.5}, False),
    *(
        (ParallelConfig(tensor=2, sequence=2, activation_checkpointing=kind), {}, False)
        for kind in ("none", "selective", "full")
    ),
]


def config_of(changes):
    sizes = {"embed_dim": 64, "depth": 2, "num_heads": 4, "channel_groups": 3}
    return DownscalerConfig(inputs=INPUTS, **sizes | changes)


def on_a_rank(rank, size):
    return [received_bytes(*case) for case in CASES]


def received_bytes(parallel, changes, half):
    torch.manual_seed(0)
    config, ranks = config_of(changes), mesh_of_world(parallel)
    model = parallelize(Downscaler(config), ranks, parallel, half)
    height, width = GRID
    batch = Batch(
        coarse=torch.rand(1, len(model.inputs), height, width),
        statics=torch.rand(1, 2, 4 * height, 4 * width),
        lat_edges=torch.linspace(60, -60, height + 1)[None],
        lon_edges=torch.linspace(0, 90, width + 1)[None],
    )
    with Received(ranks) as found:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            prediction = model(batch)
        prediction.sum().backward()
    return dict(found.bytes)


@pytest.mark.dist
def test_bytes_are_those_that_cross(ranks):
    counted = ranks(4, on_a_rank)[0]
    for (parallel, changes, half), found in zip(CASES, counted, strict=True):
        sizes = layout(parallel, 4)
        work = Workload(
            config_of(changes), *GRID, 1, sizes, parallel.activation_checkpointing, half,
            device="cpu",
        )  # fmt: skip
        expected = {axis: value for axis, value in received(work).items() if value}
        assert found == pytest.approx(expected), (parallel, changes, half)
