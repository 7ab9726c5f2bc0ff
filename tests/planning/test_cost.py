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
from orbitlite.model.channels import ChannelAttention, GroupAttention, LinearAggregation
from orbitlite.model.compression import Compression, unpool
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.cost import Pass
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.geometry import LatLon
from orbitlite.model.noise import Draw
from orbitlite.model.position import SpherePosition
from orbitlite.model.transformer import Block
from orbitlite.parallel.checkpointing import checkpoint_activations
from orbitlite.parallel.mesh import Layout
from orbitlite.planning.memory import activations, casts
from orbitlite.planning.network import count, units
from orbitlite.planning.workload import Workload
from orbitlite.training.module import DownscalingModule
from orbitlite.training.tuning import InitConfig, Tuning, adapt_blocks

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
    "noise": {"depth": 0, "noise": 4},
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
        statics=torch.rand(batch, len(config.statics), *fine),
        lat_edges=torch.linspace(60, -60, height + 1).repeat(batch, 1),
        lon_edges=torch.linspace(0, 90, width + 1).repeat(batch, 1),
    )


def kept(config, case, kind, half):
    """Measure the bytes that a forward pass with its loss leaves for the backward pass."""
    module = DownscalingModule(config, loss="crps" if config.noise else "mse")
    drawn = {"draw": module.objective.draw(0)} if config.noise else {}
    checkpoint_activations(module.network.blocks, kind)
    batch = batch_of(config, case["batch"], *case["grid"])
    fields = [field for field in vars(batch).values() if isinstance(field, torch.Tensor)]
    before = [*module.parameters(), *module.buffers(), *fields]
    with Storages(before) as storages, torch.autocast("cpu", torch.bfloat16, enabled=half):
        loss, _ = module._loss(module.network(batch, **drawn), batch)
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


def size_of(batch, patches, tokens=None, **more):
    own = tokens or patches
    return Pass(
        batch, 8, patches // 8, 4, patches, own, batch * patches, batch * own,
        counted=tokens is not None, device="cpu", **more,
    )  # fmt: skip


def alive(module, *inputs):
    """Measure the bytes that a pass through a module leaves beside its inputs and weights."""
    with Storages([*module.parameters(), *inputs]) as storages:
        total = module(*inputs).sum()
    assert total.requires_grad
    return storages.alive()


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("kind", ["none", "selective"])
@pytest.mark.parametrize(
    ("counted", "dropout", "distances"),
    [(False, 0.0, False), (True, 0.0, False), (False, 0.1, False), (True, 0.0, True)],
)
def test_what_a_block_keeps(counted, dropout, distances, kind, half):
    block = Block(96, 4, 3.0, dropout, distances)
    checkpoint_activations([block], kind)
    dtype = torch.bfloat16 if half else torch.float32  # as a CPU's residual stream
    x = torch.rand(2, 256, 96, dtype=dtype, requires_grad=True)
    counts = torch.randint(1, 5, (2, 256)) if counted else None
    size = size_of(2, 1024 if counted else 256, 256 if counted else None, half=half)
    cost = block.cost(size)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        more = [] if counts is None else [counts]
        found = alive(block, x, *more, *([torch.rand(2, 256, 8)] if distances else []))
    weights = sum(weight.numel() for weight in block.parameters()) * 2 if half else 0
    stated = cost.results if kind == "selective" else cost.saved - x.nbytes
    assert stated == pytest.approx(found - weights, rel=0.01)


@pytest.mark.parametrize("half", [False, True])
def test_what_the_mix_of_groups_keeps(half):
    dtype = torch.bfloat16 if half else torch.float32
    module = GroupAttention(96, 4)
    tokens = torch.rand(2, 512, 5, 96, dtype=dtype, requires_grad=True)
    present = torch.rand(2, 512, 5) > 0.2
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        found = alive(module, tokens, present)
    stated = module.cost(size_of(2, 512, half=half), 5).saved - tokens.nbytes
    assert stated == pytest.approx(found, rel=0.05)


@pytest.mark.parametrize("module", [ChannelAttention(7, 4, 96, 4), LinearAggregation(7, 4, 96)])
def test_what_the_channels_of_a_group_keep(module):
    patches, share = torch.rand(2, 2048, 7, 4), (torch.rand(2, 2048, 7) - 0.2).clamp_min(0)
    found = alive(module, patches, share)
    stated = module.cost(size_of(2, 2048)).saved
    assert stated == pytest.approx(found + patches.nbytes + share.nbytes, rel=0.03)


@pytest.mark.parametrize("saliency", ["uniform", "learned"])
def test_what_compression_keeps(saliency):
    config = DownscalerConfig(inputs=INPUTS, embed_dim=96, tokens=0.25, saliency=saliency)
    module, position = Compression(config), SpherePosition(96)
    edges = torch.linspace(60, -60, 17).repeat(2, 1), torch.linspace(0, 90, 33).repeat(2, 1)
    patches, tokens = LatLon(*edges), torch.rand(2, 512, 96, requires_grad=True)
    with Storages([*module.parameters(), *position.parameters(), tokens, *edges]) as storages:
        wraps = torch.zeros(2, dtype=torch.bool)
        x, _, leaves = module(tokens, position, [], patches, wraps, 0.25)
        total = unpool(x, leaves).sum()
        del x, leaves
    assert total.requires_grad
    size = size_of(2, 512, 128)
    stated = module.cost(size).saved + position.cost(size, size.tokens).saved
    stated -= tokens.nbytes if saliency == "learned" else 0
    assert stated == pytest.approx(storages.alive(), rel=0.05)


def expected(config, case, kind="none", half=False):
    work = Workload(
        config, *case["grid"], case["batch"], activation_checkpointing=kind, half=half, device="cpu"
    )  # fmt: skip
    return sum(activations(work).values()) + casts(work)


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("case", VARIED)
def test_what_autograd_saves(case, groups):
    config = DownscalerConfig(**settings(case, channel_groups=groups))
    assert expected(config, case) == pytest.approx(saved(config, case), rel=0.04)


@pytest.mark.parametrize(
    ("kind", "half"), [*itertools.product(["none", "selective", "full"], [False, True])]
)
@pytest.mark.parametrize("case", VARIED)
def test_what_stays_alive(case, kind, half):
    config = DownscalerConfig(**settings(case))
    assert expected(config, case, kind, half) == pytest.approx(
        kept(config, case, kind, half), rel=0.04
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"group_aggregation": "linear", "channel_groups": 3},
        {"saliency": "learned"},
        {"constraint": "conserve", "targets": INPUTS[:3]},
        {"dropout": 0.1, "channel_dropout": 0.1},
        {"noise": 8},
    ],
    ids=["linear", "learned", "conserve", "dropout", "noise"],
)
def test_what_stays_alive_of_other_networks(changes):
    case = VARIED[1]
    config = DownscalerConfig(**settings(case, **changes))
    assert expected(config, case) == pytest.approx(kept(config, case, "none", False), rel=0.04)


# operations and weights


@pytest.mark.parametrize("kind", ["none", "full"])
@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_operations_are_those_of_a_real_pass(changes, kind):
    config = config_of(**changes)
    model = Downscaler(config)
    checkpoint_activations(model.blocks, kind)
    batch = batch_of(config, 2, 16, 22)
    with FlopCounterMode(display=False, custom_mapping=ON_CPU) as counter:
        drawn = {"draw": Draw.of(0, range(2))} if config.noise else {}
        model(batch, **drawn).sum().backward()
    work = Workload(config, 16, 22, 2, activation_checkpointing=kind, device="cpu")
    counted = sum(work.flops().values())
    assert counted == pytest.approx(counter.get_total_flops(), rel=1e-3)


def tuned(module, tune):
    """Freeze a network as a fit does that takes all of a bundle; return its work's settings."""
    options = InitConfig("somewhere", tune, rank=8)
    taken = dict.fromkeys([name for name, _ in module.named_parameters()])
    adapt_blocks(module, options)
    Tuning(options, {}, taken, module.config.depth).freeze(module)
    return {"tune": tune, "rank": 8 if tune == "lora" else 0}


@pytest.mark.parametrize("kind", ["none", "full"])
@pytest.mark.parametrize("tune", ["head", "lora"])
@pytest.mark.parametrize("changes", [{}, {"channel_groups": 3, "tokens": 0.25}])
def test_operations_of_frozen_networks(changes, tune, kind):
    config = config_of(**changes)
    model = Downscaler(config)
    own = tuned(model, tune)
    checkpoint_activations(model.blocks, kind)
    with FlopCounterMode(display=False, custom_mapping=ON_CPU) as counter:
        model(batch_of(config, 2, 16, 22)).sum().backward()
    work = Workload(config, 16, 22, 2, activation_checkpointing=kind, device="cpu", **own)
    counted = sum(work.flops().values())
    # Of the first block's input and the decoder's tokens the gradients are not needed.
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.03)


@pytest.mark.parametrize("kind", ["none", "selective", "full"])
@pytest.mark.parametrize("tune", ["head", "lora"])
def test_what_stays_alive_of_frozen_networks(tune, kind):
    case = VARIED[1]
    config = DownscalerConfig(**settings(case))
    module = DownscalingModule(config)
    own = tuned(module.network, tune)
    checkpoint_activations(module.network.blocks, kind)
    batch = batch_of(config, case["batch"], *case["grid"])
    fields = [field for field in vars(batch).values() if isinstance(field, torch.Tensor)]
    with Storages([*module.parameters(), *module.buffers(), *fields]) as storages:
        loss, _ = module._loss(module.network(batch), batch)
    assert loss.requires_grad
    work = Workload(
        config, *case["grid"], case["batch"], activation_checkpointing=kind, device="cpu", **own
    )  # fmt: skip
    assert sum(activations(work).values()) == pytest.approx(storages.alive(), rel=0.06)


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
