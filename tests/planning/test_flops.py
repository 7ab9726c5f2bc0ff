"""Counted operations against those of torch's counter on a real pass."""

import pytest
import torch
from torch.utils.flop_counter import (
    FlopCounterMode,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

from orbitlite.batch import Batch
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.parallel.mesh import Layout
from orbitlite.parallel.recompute import recompute
from orbitlite.planning.network import count, units
from orbitlite.planning.workload import Workload

INPUTS = ["total_precipitation_24hr", *(f"temperature_{i}" for i in range(8))]

CASES = {
    "flat": {},
    "groups": {"channel_groups": 3},
    "linear": {"channel_groups": 3, "group_aggregation": "linear"},
    "tokens": {"tokens": 0.25},
    "narrow": {"embed_dim": 32, "depth": 3, "patch_size": 1, "tokens": 0.5},
    "targets": {"targets": INPUTS[:3], "factor": 2, "mlp_ratio": 2.0},
    "local": {"depth": 0},
    "modes": {"modes": 24, "channel_groups": 2, "targets": INPUTS[:2], "fine_statics": ()},
}

# torch counts attention on GPUs only.
aten = torch.ops.aten
ON_CPU = {
    aten._scaled_dot_product_flash_attention_for_cpu: (
        lambda q, k, v, *_, out_shape=None, **__: sdpa_flop_count(q, k, v)
    ),
    aten._scaled_dot_product_flash_attention_for_cpu_backward: (
        lambda grad, q, k, v, *_, out_shape=None, **__: sdpa_backward_flop_count(grad, q, k, v)
    ),
}


def config_of(**changes):
    return DownscalerConfig(**{"inputs": INPUTS, "embed_dim": 64, "depth": 2} | changes)


def batch_of(config, batch, height, width):
    fine = height * config.factor, width * config.factor
    return Batch(
        coarse=torch.rand(batch, len(config.inputs), height, width),
        fine=torch.rand(batch, len(config.targets), *fine),
        fine_static=torch.rand(batch, len(config.fine_statics), *fine),
        lat_edges=torch.linspace(60, -60, height + 1).repeat(batch, 1),
        lon_edges=torch.linspace(0, 90, width + 1).repeat(batch, 1),
    )


@pytest.mark.parametrize("kind", ["none", "full"])
@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_operations_are_those_of_a_real_pass(changes, kind):
    config = config_of(**changes)
    model = Downscaler(config)
    recompute(model.blocks, kind)
    batch = batch_of(config, 2, 16, 22)
    with FlopCounterMode(display=False, custom_mapping=ON_CPU) as counter:
        model(batch).sum().backward()
    counted = sum(Workload(config, 16, 22, 2, recompute=kind).flops().values())
    assert counted == pytest.approx(counter.get_total_flops(), rel=1e-3)


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_weights_are_those_of_the_network(changes):
    config = config_of(**changes)
    assert count(config) == sum(p.numel() for p in Downscaler(config).parameters())
    names = [unit.name for unit in units(config)]
    assert sorted(names) == sorted(["channels", "decoder", "rest", *["blocks"] * config.depth])


def test_tensor_ranks_share_what_is_large():
    config = config_of(embed_dim=256, num_heads=8, depth=4, channel_groups=4)
    assert count(config, 4) < 0.4 * count(config)
    whole, part = (
        Workload(config, 32, 64, layout=Layout(tensor=tensor)).flops() for tensor in (1, 4)
    )
    for name in ("linear", "attention", "head"):
        assert part[name] == pytest.approx(whole[name] / 4)
    assert part["convolutions"] == whole["convolutions"]


def test_sequence_ranks_share_tokens():
    config = config_of(num_heads=4)
    whole, part = (Workload(config, 32, 64, layout=Layout(sequence=q)).flops() for q in (1, 4))
    for name in ("linear", "attention"):
        assert part[name] == pytest.approx(whole[name] / 4)
    assert part["head"] == whole["head"]
