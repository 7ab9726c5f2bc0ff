"""Every layout trains like one process."""

import shutil
from dataclasses import replace

import pytest
import torch
from torch.distributed.tensor import DTensor

from orbitlite.batch import Batch
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.groups import of_one_group
from orbitlite.parallel.clipping import clip_gradients
from orbitlite.parallel.mesh import ParallelConfig, Ranks, mesh_of_world
from orbitlite.parallel.sharding import parallelize

RAIN = "total_precipitation_24hr"
NAMES = [RAIN, "temperature_850", "temperature_500", "2m_temperature", "surface_pressure",
         "specific_humidity_850", "10m_u_component_of_wind"]  # fmt: skip
STEPS, BATCH = 5, 4


def settings(**changes):
    plain = {
        "inputs": NAMES, "targets": [RAIN], "statics": ["orography"], "factor": 2,
        "embed_dim": 16, "depth": 2, "num_heads": 4, "channel_groups": 5,
    }  # fmt: skip
    return DownscalerConfig(**(plain | changes))


def build(config):
    torch.manual_seed(4)
    model = Downscaler(config)
    torch.nn.init.normal_(model.decoder.out.weight, std=0.3)
    if config.distances:
        for block in model.blocks:
            torch.nn.init.normal_(block.attention.distance.weight, std=0.1)
    return model


def batch(step):
    """Four samples; the truth is missing unevenly, so that means of means are wrong."""
    generator = torch.Generator().manual_seed(7 + step)
    coarse = 2 * torch.rand(BATCH, len(NAMES), 6, 10, generator=generator)
    coarse[1, 2, :3] = torch.nan
    fine = torch.rand(BATCH, 1, 12, 20, generator=generator)
    fine[0, 0, :7] = torch.nan
    fine[3, 0, :, 5:] = torch.nan
    return Batch(
        coarse=coarse, fine=fine, statics=torch.rand(BATCH, 1, 12, 20, generator=generator),
        lat_edges=torch.linspace(60, -50, 7).expand(BATCH, -1),
        lon_edges=torch.linspace(5, 175, 11).expand(BATCH, -1),
    )  # fmt: skip


def own(whole, ranks, inputs):
    """Cut the samples and the channels of this rank."""
    step = BATCH // ranks.sizes.data
    rows = slice(ranks.data_rank * step, (ranks.data_rank + 1) * step)
    columns = [NAMES.index(name) for name in inputs]
    parts = {name: value[rows] for name, value in vars(whole).items() if value is not None}
    return Batch(**{**parts, "coarse": parts["coarse"][:, columns]})


def train(model, ranks):
    """Return losses of five steps, the gradients of the first and its norm, the last weights."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, foreach=False)
    losses, gradients, norm = [], None, None
    for number in range(STEPS):
        torch.manual_seed(100 + number)
        data = own(batch(number), ranks, model.inputs)
        valid = torch.isfinite(data.fine)
        total = ranks.sum_over_data(valid.sum().float()) / ranks.sizes.data
        error = torch.where(valid, model(data)[:, 0] - torch.nan_to_num(data.fine), 0.0)
        loss = error.square().sum() / total
        optimiser.zero_grad()
        loss.backward()
        if gradients is None:
            gradients = {n: whole(p.grad) for n, p in model.named_parameters()}
        length = clip_gradients(model.named_parameters(), 0.5, ranks)
        norm = length if norm is None else norm
        optimiser.step()
        losses.append(float(ranks.sum_over_data(loss)) / ranks.sizes.data)
    return losses, gradients, float(norm), {n: whole(p) for n, p in model.named_parameters()}


def whole(tensor):
    tensor = tensor.detach()
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).clone()


def on_a_rank(rank, size, cases):
    found = []
    for parallel, config in cases:
        ranks = mesh_of_world(parallel)
        model = parallelize(build(config), ranks, parallel)
        if rank == 0:
            found.append(train(model, ranks))
        else:
            losses, gradients, _, _ = train(model, ranks)
            kept = {n: g for n, g in gradients.items() if of_one_group(n)}
            found.append((losses, kept, None, {}))
    return found


def agree(found, expected):
    losses, gradients, norm, weights = expected
    floor = 1e-6 * max(float(gradient.abs().max()) for gradient in gradients.values())
    seen = set()
    for part in found:
        assert part[0] == pytest.approx(losses, rel=1e-5)
        for name, gradient in part[1].items():
            error = float((gradient - gradients[name]).abs().max())
            assert error <= 1e-5 * float(gradients[name].abs().max()) + floor, name
        seen |= set(part[1])
    assert seen == set(gradients)
    assert found[0][2] == pytest.approx(norm, rel=1e-5)
    assert set(found[0][3]) <= set(weights)


def compare(ranks, size, cases):
    results = ranks(size, on_a_rank, cases)
    for number, (parallel, config) in enumerate(cases):
        expected = train(build(config), Ranks())
        try:
            agree([result[number] for result in results], expected)
        except AssertionError as error:
            raise AssertionError(f"{parallel} {config}: {error}") from error


def layouts(*sizes, **more):
    return [ParallelConfig(*size, **more) for size in sizes]


PLAIN = settings()
SMALL = settings(tokens=0.9, max_leaf=2, distances=True)
CASES = {
    2: [(p, c) for c in (PLAIN, SMALL) for p in layouts((2, 1, 1), (1, 2, 1), (1, 1, 2))],
    4: [
        *((p, PLAIN) for p in layouts((4, 1, 1), (1, 4, 1), (1, 1, 4), (2, 2, 1), (2, 1, 2),
                                      (1, 2, 2))),
        *((p, SMALL) for p in layouts((2, 2, 1), (2, 1, 2), (1, 2, 2))),
        (ParallelConfig(4, shard=2), PLAIN),
        (ParallelConfig(2, 2, shard=1), SMALL),
        (ParallelConfig(1, 2, 2, activation_checkpointing="full"), SMALL),
        (ParallelConfig(1, 2, 2), settings(channel_dropout=0.3)),
        (ParallelConfig(2, 1, 2, activation_checkpointing="selective"), PLAIN),
        (ParallelConfig(1, 2, 2), settings(dropout=0.3, channel_dropout=0.3, tokens=0.9)),
        (
            ParallelConfig(1, 2, 2, activation_checkpointing="full"),
            settings(dropout=0.3, channel_dropout=0.3),
        ),
    ],
    8: [
        *((ParallelConfig(2, 2, 2), config) for config in (PLAIN, SMALL)),
        (ParallelConfig(4, 1, 2, shard=2, activation_checkpointing="full"), SMALL),
        (ParallelConfig(4, 2, 1, shard=2), replace(PLAIN, saliency="learned", tokens=0.9)),
    ],
}  # fmt: skip


@pytest.mark.dist
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_blocks_equal_one_process(ranks):
    compare(
        ranks,
        2,
        [(ParallelConfig(1, 2, 1, activation_checkpointing="selective", compile=True), SMALL)],
    )


@pytest.mark.dist
@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4, 8])
def test_equals_one_process(ranks, size):
    compare(ranks, size, CASES[size])
