"""What a pass is said to keep against what it leaves alive."""

import itertools

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from orbitlite.batch import Batch
from orbitlite.model.config import DownscalerConfig
from orbitlite.parallel.mesh import Layout
from orbitlite.parallel.recompute import recompute
from orbitlite.planning.memory import PARTS, activations, casts, memory
from orbitlite.planning.workload import Workload
from orbitlite.training.module import DownscalingModule

INPUTS = ["total_precipitation_24hr", *(f"temperature_{i}" for i in range(8))]
VARIED = (
    {"embed_dim": 64, "depth": 2, "tokens": None, "grid": (16, 32), "batch": 1},
    {"embed_dim": 128, "depth": 4, "tokens": 0.25, "grid": (32, 32), "batch": 2},
    {"embed_dim": 256, "depth": 3, "tokens": None, "grid": (16, 24), "batch": 2},
    {"embed_dim": 192, "depth": 2, "tokens": 0.25, "grid": (32, 64), "batch": 1},
)


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


def test_shards_hold_a_part_of_the_state_and_nothing_else_changes():
    config = DownscalerConfig(**settings(VARIED[0]))
    alone = memory(Workload(config, 32, 64))
    spread = memory(Workload(config, 32, 64, layout=Layout(data=8, shard=8)))
    assert tuple(alone) == PARTS
    for name in ("weights", "gradients", "optimiser", "average"):
        assert spread[name] == pytest.approx(alone[name] / 8, rel=0.05)
    for name in ("channels", "blocks", "decoder"):
        assert spread[name] == alone[name]
    assert alone["collectives"] == 0 < spread["collectives"]
    replicated = memory(Workload(config, 32, 64, layout=Layout(data=8, shard=1)))
    assert replicated["weights"] == alone["weights"]


def test_no_average_is_no_memory():
    config = DownscalerConfig(**settings(VARIED[0]))
    assert memory(Workload(config, 32, 64), average=False)["average"] == 0


def test_gradients_that_come_with_the_backward_pass_spare_room_for_activations():
    work = Workload(DownscalerConfig(**settings(VARIED[0])), 32, 64)
    lasting, coming = memory(work), memory(work, accumulated=False)
    assert lasting["gradients"] == lasting["weights"] > coming["gradients"]
    small = Workload(DownscalerConfig(**settings(VARIED[2])), 2, 2)
    assert memory(small, accumulated=False)["gradients"] == memory(small)["weights"]


@pytest.mark.parametrize("axis", ["tensor", "sequence"])
def test_blocks_share_activations(axis):
    config = DownscalerConfig(**settings(VARIED[0], channel_groups=4))
    whole, part = (
        activations(Workload(config, 32, 64, layout=Layout(**{axis: n}))) for n in (1, 4)
    )
    assert part["blocks"] < 0.6 * whole["blocks"]
    assert part["decoder"] == whole["decoder"]
