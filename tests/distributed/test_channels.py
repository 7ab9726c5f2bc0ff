"""Channels over ranks compute what one process computes."""

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.utils._python_dispatch import TorchDispatchMode

from orbitlite.batch import Batch
from orbitlite.data.datamodule import PairDataModule
from orbitlite.data.world import generate
from orbitlite.errors import InputError
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.groups import of_one_group
from orbitlite.parallel.channels import build_sharded, full_state, groups_of_rank, load_part

RAIN = "total_precipitation_24hr"
NAMES = ["temperature_850", "temperature_500", RAIN, "2m_temperature", "surface_pressure",
         "specific_humidity_850", "specific_humidity_500", "10m_u_component_of_wind",
         "2m_dewpoint_temperature", "mean_sea_level_pressure", "skin_temperature"]  # fmt: skip
RAGGED = [NAMES[:2], [RAIN], NAMES[3:8], NAMES[8:9], NAMES[9:]]


def settings(**changes):
    plain = {
        "inputs": NAMES, "targets": [RAIN], "statics": ["orography"], "factor": 2,
        "embed_dim": 16, "depth": 1, "num_heads": 2, "channel_groups": 5,
    }  # fmt: skip
    return DownscalerConfig(**(plain | changes))


def build(config, group=None):
    torch.manual_seed(4)
    model = Downscaler(config) if group is None else build_sharded(config, group)
    torch.manual_seed(5)
    torch.nn.init.normal_(model.decoder.out.weight, std=0.3)
    generator = torch.Generator().manual_seed(6)
    c = len(config.inputs)
    model.set_statistics(
        input_mean=torch.randn(c, generator=generator), input_std=torch.rand(c, generator=generator)
        + 0.5,
    )  # fmt: skip
    return model


def batch(missing=False):
    generator = torch.Generator().manual_seed(7)
    coarse = 2 * torch.rand(2, len(NAMES), 6, 10, generator=generator)
    if missing:
        coarse[0, 1, :3] = torch.nan
        coarse[1, 3:8] = torch.nan  # a whole group
        coarse[1, :, 4:, 6:8] = torch.nan  # everything
        coarse[0, :8, :2, 4:6] = torch.nan  # everything of one rank of two
        coarse[0, 8:, 2:4, 8:] = torch.nan  # of the other
    return Batch(
        coarse=coarse, fine=torch.rand(2, 1, 12, 20, generator=generator),
        statics=torch.rand(2, 1, 12, 20, generator=generator),
        lat_edges=torch.linspace(50, 44, 7).expand(2, -1),
        lon_edges=torch.linspace(5, 15, 11).expand(2, -1),
    )  # fmt: skip


def held_part(model, whole):
    columns = [NAMES.index(name) for name in model.inputs]
    return Batch(**{**vars(whole), "coarse": whole.coarse[:, columns]})


def step(model, data):
    prediction = model(data, fill=True)
    loss = (prediction[:, 0] - data.fine).square().mean()
    loss.backward()
    prediction = torch.where(model.known(data)[:, None], prediction, torch.nan)
    return prediction.detach(), loss.detach(), {n: p.grad for n, p in model.named_parameters()}


def on_a_rank(rank, size, config, missing):
    group = init_device_mesh("cpu", (size,), mesh_dim_names=("tensor_parallel",)).get_group()
    model = build(config, group)
    found = step(model, held_part(model, batch(missing)))
    return (*found, full_state(model, group), model.inputs)


CASES = [
    (settings(), False, 1), (settings(), True, 2), (settings(), True, 4),
    (settings(channel_groups=RAGGED, group_aggregation="linear"), False, 2),
    (settings(channel_groups=RAGGED), True, 4),
    (settings(channel_groups=RAGGED, targets=["snow_depth"]), True, 2),
    (settings(channel_dropout=0.4, channel_groups=4), False, 2),
    (settings(channel_groups=1), False, 1),
    (settings(tokens=0.9, max_leaf=2), True, 2),
    (settings(tokens=0.9, max_leaf=2, saliency="learned"), False, 2),
    (settings(channel_groups=RAGGED, channel_dropout=0.4), True, 4),
]  # fmt: skip


@pytest.mark.dist
@pytest.mark.slow
@pytest.mark.parametrize(("config", "missing", "size"), CASES)
def test_equals_one_process(ranks, config, missing, size):
    whole = build(config)
    prediction, loss, gradients = step(whole, batch(missing))
    results = ranks(size, on_a_rank, config, missing)
    seen = set()
    # the norm behind it takes the scale of a lone channel away: its gradient is rounding
    floor = 1e-6 * max(float(gradient.abs().max()) for gradient in gradients.values())
    for found in results:
        torch.testing.assert_close(found[0], prediction, rtol=1e-5, atol=1e-6, equal_nan=True)
        torch.testing.assert_close(found[1], loss, rtol=1e-5, atol=0)
        for name, gradient in found[2].items():
            error = (gradient - gradients[name]).abs().max()
            assert error <= 1e-5 * gradients[name].abs().max() + floor, name
        seen |= set(found[2])
        own = {name for name in found[2] if of_one_group(name)}
        if size > 1:
            assert len(own) < sum(of_one_group(name) for name in gradients)
            assert len(found[4]) < len(NAMES)
    assert seen == set(gradients)
    state = results[0][3]
    assert list(state) == list(whole.state_dict())
    for name, value in whole.state_dict().items():
        assert torch.equal(state[name], value), name


def load_on_a_rank(rank, size, config, state):
    group = dist.group.WORLD
    torch.manual_seed(99 + 7 * rank)
    model = build_sharded(config, group)
    load_part(model, state)
    again = full_state(model, group)
    return model(held_part(model, batch())).detach(), again


@pytest.mark.dist
@pytest.mark.slow
def test_a_checkpoint_moves_between_world_sizes(ranks):
    config = settings()
    state = build(config).state_dict()
    expected = build(config)(batch()).detach()
    for size in (2, 4, 1):
        results = ranks(size, load_on_a_rank, config, state)
        for found, _ in results:
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
        after = results[0][1]
        assert all(torch.equal(after[name], state[name]) for name in state)
        state = after


def sensitivities(rank, size, config):
    model = build(config, dist.group.WORLD).eval()
    whole = batch()
    found = []
    with torch.no_grad():
        before = model(held_part(model, whole))
        for channel in range(len(NAMES)):
            changed = whole.coarse.clone()
            changed[:, channel] += 1
            data = Batch(**{**vars(whole), "coarse": changed})
            found.append(float((model(held_part(model, data)) - before).abs().max()))
    return found


@pytest.mark.dist
@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2, 4])
def test_every_channel_changes_the_prediction(ranks, size):
    for found in ranks(size, sensitivities, settings()):
        assert min(found) > 1e-5


class Allocations(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.shapes = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self.shapes.append(tuple(out.shape))
        return out


def test_no_rank_allocates_the_channels_of_another():
    config = settings(channel_groups=RAGGED)
    with Allocations() as seen:
        Downscaler(config, groups=[0, 1])
    first = {shape[0] for shape in seen.shapes if shape[1:] == (16, 4)}
    assert first == {2, 1}


def read_on_a_rank(rank, size, path):
    group = dist.group.WORLD
    model = build_sharded(settings(inputs=WORLD, channel_groups=4, factor=4), group)
    data = PairDataModule(
        path, inputs=WORLD, targets=[RAIN], static_names=["orography"], factor=4, batch_size=2,
        train=["2000-01-01", "2000-01-04"], validate=["2000-01-05", "2000-01-06"],
    )  # fmt: skip
    data.restrict(model.inputs)
    data.setup("fit")
    model.set_statistics(input_mean=data.input_statistics.mean, input_std=data.input_statistics.std)
    one = next(iter(data.train_dataloader()))
    state = full_state(model, group)
    return list(data.pairs.coarse.data_vars), tuple(one.coarse.shape), model.inputs, state


WORLD = [RAIN, "2m_temperature", "temperature_850", "temperature_500", "specific_humidity_850",
         "specific_humidity_500", "geopotential_850", "geopotential_500"]  # fmt: skip


@pytest.mark.dist
@pytest.mark.slow
def test_a_rank_reads_only_its_channels(ranks, tmp_path):
    path = str(tmp_path / "world.nc")
    generate(6, 32, 64).to_netcdf(path)
    results = ranks(4, read_on_a_rank, path)
    for read, shape, inputs, _ in results:
        assert len(inputs) == 3 if RAIN not in inputs[:2] else 2 <= len(inputs) <= 3
        assert sorted(read) == sorted(inputs)
        assert shape[1] == len(inputs)
    own = [set(inputs) - {RAIN} for _, _, inputs, _ in results]
    assert set().union(*own) == set(WORLD) - {RAIN}
    assert sum(map(len, own)) == len(WORLD) - 1
    whole = PairDataModule(
        path, inputs=WORLD, targets=[RAIN], static_names=[], factor=4,
        train=["2000-01-01", "2000-01-04"],
    )  # fmt: skip
    whole.setup("fit")
    expected = torch.tensor(whole.input_statistics.mean, dtype=torch.float32)
    torch.testing.assert_close(results[0][3]["input_mean"], expected)


def test_more_ranks_than_groups():
    with pytest.raises(InputError, match="channels over 4 ranks need at least 4 groups"):
        groups_of_rank(3, 4, 0)


@pytest.mark.parametrize(("groups", "size"), [(5, 2), (7, 3), (4, 4), (9, 1)])
def test_whole_groups_in_order(groups, size):
    owned = [groups_of_rank(groups, size, rank) for rank in range(size)]
    assert [g for part in owned for g in part] == list(range(groups))
    assert max(map(len, owned)) - min(map(len, owned)) <= 1
