"""Attention that knows how far apart places are."""

import math

import pytest
import torch

from orbitlite.batch import Batch
from orbitlite.errors import InputError
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.distance import Distance, harmonics
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.transformer import Attention, _widened_attention

RAIN = "total_precipitation_24hr"


def unit(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    return points / points.norm(dim=-1, keepdim=True)


def legendre(weight, places):
    """What heads with these weights add for unit vectors (N, 3), by the polynomials themselves."""
    cosine = places @ places.T
    return weight[:, :1, None] * cosine + weight[:, 1:, None] * (3 * cosine**2 - 1) / 2


def test_harmonics_of_two_places_give_legendre_polynomials():
    found, cosine = harmonics(unit(20)), unit(20) @ unit(20).T
    first, second = found[:, :3], found[:, 3:]
    torch.testing.assert_close(first @ first.T, cosine)
    torch.testing.assert_close(second @ second.T, (3 * cosine**2 - 1) / 2)


@pytest.mark.parametrize("counted", [False, True])
def test_logits_hold_the_polynomials(counted):
    torch.manual_seed(0)
    attention, places = Attention(24, 3, distances=True), unit(7).float()
    torch.nn.init.normal_(attention.distance.weight, std=0.1)
    x = torch.randn(2, 7, 24)
    counts = torch.randint(1, 17, (2, 7)) if counted else None
    q, k, v = attention.qkv(x).view(2, 7, 3, 3, 8).permute(3, 0, 2, 1, 4)
    logits = q @ k.mT / math.sqrt(8) + legendre(30 * attention.distance.weight, places)
    if counts is not None:
        logits = logits + counts.log()[:, None, None]
    mixed = (logits.softmax(-1) @ v).transpose(1, 2).reshape(2, 7, 24)
    found = attention(x, counts, harmonics(places).expand(2, -1, -1))
    torch.testing.assert_close(found, attention.out(mixed), rtol=1e-5, atol=1e-5)
    if counts is not None:  # as on a GPU
        near = attention.distance(harmonics(places).expand(2, -1, -1))
        wide = _widened_attention(q, k, v, counts.float().log()[:, None, None], near)
        torch.testing.assert_close(wide, logits.softmax(-1) @ v, rtol=1e-5, atol=1e-5)


def test_a_head_can_look_at_what_is_opposite():
    places = torch.cat([torch.eye(3), -torch.eye(3)])
    attention = Attention(8, 1, distances=True)
    with torch.no_grad():
        attention.distance.weight[:] = torch.tensor([[-1.0, 0.0]])
        attention.qkv.weight[:16] = 0
        attention.qkv.bias[:16] = 0
    x = torch.randn(1, 6, 8)
    value = torch.nn.functional.linear(x, attention.qkv.weight[16:], attention.qkv.bias[16:])
    expected = attention.out(value.roll(3, 1))
    found = attention(x, None, harmonics(places)[None])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_at_first_it_changes_nothing_and_learns():
    torch.manual_seed(0)
    with_distances = Attention(16, 4, distances=True)
    plain = Attention(16, 4)
    plain.load_state_dict(with_distances.state_dict(), strict=False)
    x, places = torch.randn(2, 9, 16), harmonics(unit(9).float()).expand(2, -1, -1)
    found = with_distances(x, None, places)
    torch.testing.assert_close(found, plain(x))
    found.square().sum().backward()
    assert bool((with_distances.distance.weight.grad.abs() > 1e-4).all())


def test_turning_the_globe_changes_nothing():
    distance = Distance(2)
    torch.nn.init.normal_(distance.weight)
    turn, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    for places in (unit(8), unit(8) @ turn.T):
        near = distance.double()(harmonics(places)[None])
        logits = near.queries @ near.keys.mT
        torch.testing.assert_close(logits[0], legendre(30 * distance.weight, unit(8)))


def network(**changes):
    torch.manual_seed(0)
    made = Downscaler(
        DownscalerConfig(
            inputs=[RAIN, "temperature_850"], targets=[RAIN], statics=[], factor=2, patch_size=1,
            embed_dim=16, depth=2, distances=True, **changes,
        )
    ).eval()  # fmt: skip
    torch.nn.init.normal_(made.decoder.out.weight, std=0.3)
    for block in made.blocks:
        torch.nn.init.normal_(block.attention.distance.weight, std=0.2)
    return made


def globe(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Batch(
        coarse=5 * torch.rand(1, 2, 8, 16, generator=generator),
        lat_edges=torch.linspace(90, -90, 9)[None], lon_edges=torch.linspace(0, 360, 17)[None],
    )  # fmt: skip


@torch.no_grad()
def test_as_many_leaves_as_patches_change_nothing():
    model = network()
    torch.testing.assert_close(model(globe(), tokens=1.0), model(globe()), rtol=1e-5, atol=1e-5)
    assert float((model(globe(), tokens=0.25) - model(globe())).abs().max()) > 1e-3


@torch.no_grad()
def test_distances_are_those_of_leaves():
    """Turned about the axis of the globe, the same fields give the same, if position is silent."""
    model, first = network(tokens=0.25, saliency="uniform"), globe()
    torch.nn.init.zeros_(model.trunk.position.linear.weight)

    def moved(lon, lat):
        return model(Batch(coarse=first.coarse, lon_edges=lon, lat_edges=lat))

    lon, lat = first.lon_edges, first.lat_edges
    torch.testing.assert_close(moved(lon + 70, lat), model(first), rtol=1e-4, atol=1e-4)
    # closer together, places are seen otherwise
    assert float((moved(lon, lat / 2) - model(first)).abs().max()) > 1e-2


def test_a_config_without_distances_has_no_more_weights():
    usual = DownscalerConfig(inputs=[RAIN], embed_dim=16, depth=2)
    assert not [name for name in Downscaler(usual).state_dict() if "distance" in name]
    changed = DownscalerConfig(inputs=[RAIN], embed_dim=16, depth=2, distances=True)
    assert usual.conflicts(changed) == ["distances"]
    with pytest.raises(InputError, match="distances: expected true or false, found 1"):
        DownscalerConfig(inputs=[RAIN], distances=1)
