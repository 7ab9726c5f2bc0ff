"""Modes: linear in the fields, of the rank asked for, of the whole grid and of every channel."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orbitlite.batch import Batch
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.modes import Modes
from orbitlite.model.position import sphere_features

RAIN = "total_precipitation_24hr"
EDGES = torch.linspace(58.0, 40.0, 7)[None], torch.linspace(3.0, 31.0, 8)[None]


def modes(rank=3, groups=((0, 2), (1,)), statics=2, targets=2, **more):
    torch.manual_seed(1)
    found = Modes(groups, statics, targets, rank, **more).double()
    torch.nn.init.normal_(found.scale)
    return found


def fields(batch=1, channels=3):
    torch.manual_seed(2)
    return torch.randn(batch, channels, 6, 7).double(), torch.randn(1, 2, 12, 14).double()


def test_is_the_sum_that_is_documented():
    """Written out with loops over modes, channels and patterns."""
    model, (x, statics) = modes(), fields()
    coarse = torch.nn.functional.gelu(model.coarse(sphere_features(*EDGES).double()))[0]
    lat = torch.deg2rad(EDGES[0][0].double()).sin().diff().abs()
    area = (lat / lat.sum() / 7)[:, None].expand(6, 7)
    amplitude = torch.zeros(3).double()
    for unit, members in ((model.groups["0"], (0, 2)), (model.groups["1"], (1,))):
        for row, channel in enumerate(members):
            weighted = area * x[0, channel]
            for r in range(3):
                for k in range(3):
                    amplitude[r] += unit.weight[r, row, k] * (weighted * coarse[..., k]).sum() * 30
                amplitude[r] += unit.weight[r, row, 3] * weighted.sum() * 30
    lines = [torch.linspace(float(e[0, 0]), float(e[0, -1]), 2 * e.shape[1] - 1) for e in EDGES]
    places = torch.cat([sphere_features(*(e[None] for e in lines)).double()[0],
                        statics[0].permute(1, 2, 0)], dim=-1)  # fmt: skip
    psi = model.mix(torch.nn.functional.gelu(model.fine(places)))
    expected = torch.stack([(psi * model.scale[t] * amplitude * 20).sum(-1) for t in range(2)])
    torch.testing.assert_close(model(x, EDGES, statics, 2)[0], expected, rtol=1e-5, atol=1e-7)


@settings(max_examples=20, deadline=None)
@given(a=st.floats(-5, 5), b=st.floats(-5, 5))
def test_is_linear(a, b):
    model, (x, statics) = modes(), fields(2)
    one, two, both = (
        model(part[None], EDGES, statics, 2) for part in (x[0], x[1], a * x[0] + b * x[1])
    )
    torch.testing.assert_close(both, a * one + b * two, rtol=1e-9, atol=1e-9)


def test_has_the_rank_asked_for():
    model, (x, statics) = modes(rank=3, targets=1), fields(30)
    edges = tuple(e.expand(30, -1) for e in EDGES)
    fine = model(x, edges, statics.expand(30, -1, -1, -1), 2).flatten(1)
    assert int(torch.linalg.matrix_rank(fine, rtol=1e-9)) == 3


def network(**changes):
    torch.manual_seed(3)
    config = DownscalerConfig(
        inputs=["2m_temperature", RAIN, "specific_humidity_850"], statics=["orography"],
        **{"factor": 2, "embed_dim": 16, "depth": 1, "num_heads": 2} | changes,
    )  # fmt: skip
    model = Downscaler(config)
    model.set_statistics(input_mean=[280.0, 0.8, 0.004], input_std=[9.0, 0.7, 0.002])
    return model.eval()


def batch(samples=2):
    generator = torch.Generator().manual_seed(4)
    coarse = torch.rand(samples, 3, 6, 7, generator=generator)
    coarse = coarse * torch.tensor([20.0, 12, 0.01])[:, None, None] + torch.tensor(
        [270.0, 0, 0])[:, None, None]  # fmt: skip
    return Batch(
        coarse=coarse, statics=torch.rand(samples, 1, 12, 14, generator=generator),
        lat_edges=EDGES[0].expand(samples, -1), lon_edges=EDGES[1].expand(samples, -1),
    )  # fmt: skip


def test_the_first_prediction_is_that_without():
    with_modes, without = network(modes=5), network()
    torch.testing.assert_close(with_modes(batch()), without(batch()), rtol=0, atol=0)


def test_rain_acts_by_its_amount():
    """Twice the anomaly of an amount is twice the response, far beyond the training period."""
    model = network(modes=5, constraint="none")
    data = batch(3)
    data.coarse[0, 1] = 0
    for row, millimetres in ((1, 100.0), (2, 200.0)):
        data.coarse[row] = data.coarse[0]
        data.coarse[row, 1, 2, 3] = millimetres
    data.statics[:] = data.statics[:1].clone()
    before = model(data)
    torch.nn.init.normal_(model.modes.scale)
    dry, once, twice = model(data) - before
    assert float((once - dry).detach().abs().max()) > 1e-2
    torch.testing.assert_close(twice - dry, 2 * (once - dry), rtol=1e-3, atol=1e-3)


def test_each_cell_of_each_channel_acts_everywhere_and_missing_ones_do_not():
    model = network(modes=5, depth=0, constraint="none")
    torch.nn.init.normal_(model.modes.scale)
    data = batch(1)
    data.coarse.requires_grad_()
    gradient = torch.autograd.grad(model(data)[0, 0, 0, 11, 13], data.coarse)[0]
    assert bool((gradient != 0).all())
    holes = dataclasses.replace(data, coarse=data.coarse.detach().clone())
    holes.coarse[:, 0] = torch.nan
    found = model(holes)
    assert bool(torch.isfinite(found).all())
    mean = dataclasses.replace(holes, coarse=holes.coarse.clone())
    mean.coarse[:, 0] = 280.0  # no anomaly
    shown = [model._seen(b, None).shown for b in (holes, mean)]
    responses = [model._respond(b, s, torch.zeros(1, 1, 12, 14))
                 for b, s in zip((holes, mean), shown, strict=True)]  # fmt: skip
    torch.testing.assert_close(*responses, rtol=1e-6, atol=1e-6)


def test_hidden_channels_are_hidden_from_the_modes():
    model = network(modes=5, channel_dropout=0.9, constraint="none").train()
    torch.nn.init.normal_(model.modes.scale)
    data = batch(1)
    data.coarse.requires_grad_()
    torch.manual_seed(0)
    kept = torch.rand(1, 3, 1, 1)[0, :, 0, 0] >= 0.9
    assert not bool(kept.all())
    torch.manual_seed(0)
    gradient = torch.autograd.grad(model(data)[0, 0, 0, 11, 13], data.coarse)[0][0]
    # far away nothing but the modes acts, and rain through its own interpolation nearby
    assert [bool((gradient[c, :2, :3] != 0).any()) for c in (0, 2)] == [
        bool(kept[0]),
        bool(kept[2]),
    ]


@pytest.mark.parametrize("held", [[0], [1]])
def test_a_part_holds_the_weights_of_its_groups(held):
    whole, part = modes(), modes(held=held)
    assert list(part.groups) == [str(g) for g in held]
    for name, value in part.state_dict().items():
        if name.startswith("groups."):
            assert torch.equal(value, whole.state_dict()[name])
