"""What modules state of a pass against what it leaves alive, and what torch counts."""

import itertools

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
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
from orbitlite.planning.memory import activations, casts
from orbitlite.planning.network import count, units
from orbitlite.planning.workload import Workload
from orbitlite.training.module import DownscalingModule

INPUTS = ["total_precipitation_24hr", *(f"temperature_{i}" for i in range(8))]
VARIED = (
    {"embed_dim": 64, "depth": 2, "tokens": None, "grid": (16, 32), "batch": 1},
    {"embed_dim": 128, "depth": 4, "tokens": 0.25, "grid": (32, 32), "batch": 2},
    {"embed_dim": 256, "depth": 3, "tokens": None, "grid": (16, 24), "batch": 2},
    {"embed_dim": 192, "depth": 2, "tokens": 0.25, "grid": (32, 64), "batch": 1},
)
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


class Storages(TorchDispatchMode):
    """Remembers the storage of everything that is computed, not of what was there before."""

    def __init__(self, before):
        super().__init__()
        self.seen = {}
        self.before = {tensor.untyped_storage()._cdata for tensor in before}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.before:
                    self.seen[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        return out

    def alive(self):
        return sum(size for reference, size in self.seen.values() if not reference.expired())


def settings(case, **more):
    names = ("embed_dim", "depth", "tokens")
    return {"inputs": INPUTS, "num_heads": 4} | {name: case[name] for name in names} | more


def batch_of(config, batch, height, width):
    fine = height * config.factor, width * config.factor
    return Batch(
        coarse=torch.rand(batch, len(config.inputs), height, width),
        fine=torch.rand(batch, len(config.targets), *fine),
        fine_static=torch.rand(batch, len(config.fine_statics), *fine),
        lat_edges=torch.linspace(60, -60, height + 1).repeat(batch, 1),
        lon_edges=torch.linspace(0, 90, width + 1).repeat(batch, 1),
    )


def kept(config, case, kind, half):
    """Measure the bytes that a forward pass with its loss leaves for the backward pass."""
    module = DownscalingModule(config)
    recompute(module.network.blocks, kind)
    batch = batch_of(config, case["batch"], *case["grid"])
    fields = [field for field in vars(batch).values() if isinstance(field, torch.Tensor)]
    before = [*module.parameters(), *module.buffers(), *fields]
    with Storages(before) as storages, torch.autocast("cpu", torch.bfloat16, enabled=half):
        loss, _ = module._loss(module(batch), batch)
    assert loss.requires_grad
    return storages.alive()


def saved(config, case):
    """Measure the same by what autograd asks to keep."""
    module = DownscalingModule(config)
    batch = batch_of(config, case["batch"], *case["grid"])
    own = {t.untyped_storage().data_ptr() for t in [*module.parameters(), *module.buffers()]}
    found = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss, _ = module._loss(module(batch), batch)
    assert loss.requires_grad
    return sum(storage.nbytes() for storage in found.values())


def expected(config, case, kind="none", half=False):
    work = Workload(
        config, *case["grid"], case["batch"], recompute=kind, half=half, device="cpu"
    )  # fmt: skip
    return sum(activations(work).values()) + casts(work)


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("case", VARIED)
def test_what_autograd_saves(case, groups):
    config = DownscalerConfig(**settings(case, channel_groups=groups))
    assert expected(config, case) == pytest.approx(saved(config, case), rel=0.1)


@pytest.mark.parametrize(
    ("kind", "half"), [*itertools.product(["none", "selective", "full"], [False, True])]
)
@pytest.mark.parametrize("case", VARIED)
def test_what_stays_alive(case, kind, half):
    config = DownscalerConfig(**settings(case))
    assert expected(config, case, kind, half) == pytest.approx(
        kept(config, case, kind, half), rel=0.15
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"group_aggregation": "linear", "channel_groups": 3},
        {"saliency": "learned"},
        {"constraint": "conserve", "targets": INPUTS[:3]},
        {"dropout": 0.1, "channel_dropout": 0.1},
        {"modes": 48, "channel_groups": 3},
    ],
    ids=["linear", "learned", "conserve", "dropout", "modes"],
)
def test_what_stays_alive_of_other_networks(changes):
    case = VARIED[1]
    config = DownscalerConfig(**settings(case, **changes))
    assert expected(config, case) == pytest.approx(kept(config, case, "none", False), rel=0.15)


# operations and weights


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
