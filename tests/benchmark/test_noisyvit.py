"""NoisyViT: shapes, the seam, noise that does nothing at first, and draws that can be repeated."""

import pytest
import torch
from torch import nn

from orbitlite.batch import Batch
from orbitlite.benchmark.peers.noisyvit import ConditionalNorm, NoisyPeer, NoisyViT
from orbitlite.benchmark.peers.size import Size
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.interpolation import upsample
from orbitlite.model.noise import Draw

RAIN = "total_precipitation_24hr"
SIZE = Size(inputs=2, statics=1, targets=1, factor=2, height=5, width=6)


def noise_of(body, samples=2, members=3, seed=0):
    count = body.tokens[0] * body.tokens[1]
    return torch.randn(samples, members, count, 2, generator=torch.Generator().manual_seed(seed))


def awake(body):
    """Give every weight that begins at zero a value."""
    torch.manual_seed(1)
    nn.init.normal_(body.tail.weight, std=0.1)
    return body


def noisy(body):
    for block in body.blocks:
        nn.init.normal_(block.norm.both.weight, std=0.3)
    return body


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return Batch(
        coarse=8 * torch.rand(2, 2, 5, 6, generator=generator),
        statics=torch.rand(2, 1, 10, 12, generator=generator),
        lat_edges=torch.linspace(46, 40, 6).expand(2, -1),
        lon_edges=torch.linspace(10, 16, 7).expand(2, -1),
        time=torch.tensor([0.0, 86400.0], dtype=torch.float64),
    )


@pytest.fixture
def frame():
    return Downscaler(DownscalerConfig(
        inputs=[RAIN, "2m_temperature"], statics=["orography"], factor=2, embed_dim=8, depth=1,
        num_heads=2))  # fmt: skip


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("patch", [1, 2])
@pytest.mark.parametrize("wraps", [False, True])
def test_shapes(factor, patch, wraps):
    size = Size(2, 1, 2, factor, 5, 6, wraps)
    body = NoisyViT(size, patch)
    x, statics = torch.rand(2, 2, 5, 6), torch.rand(2, 1, 5 * factor, 6 * factor)
    assert body(x, statics, noise_of(body)).shape == (2, 3, 2, 5 * factor, 6 * factor)
    bare = NoisyViT(Size(2, 0, 1, factor, 5, 6, wraps), patch)
    found = bare(x, statics[:, :0], noise_of(bare))
    assert found.shape == (2, 3, 1, 5 * factor, 6 * factor)


def test_size_is_about_that_of_ours():
    for size in (Size(15, 2, 1, 4, 16, 32, True), Size(5, 2, 1, 2, 9, 14)):
        assert 0.3e6 < sum(w.numel() for w in NoisyViT(size, 1).parameters()) < 1e6


def test_noise_does_nothing_at_first():
    body = awake(NoisyViT(SIZE, 1)).eval()
    x, statics = torch.rand(2, 2, 5, 6), torch.rand(2, 1, 10, 12)
    alone = body(x, statics, torch.zeros(2, 1, 30, 2))
    assert alone.std() > 0.01
    torch.testing.assert_close(body(x, statics, noise_of(body)), alone.expand(-1, 3, -1, -1, -1))


def test_noise_that_is_learned_makes_members_differ_at_its_patch_first_of_all():
    body = noisy(awake(NoisyViT(SIZE, 1))).eval()
    x, statics = torch.rand(1, 2, 5, 6), torch.rand(1, 1, 10, 12)
    noise = noise_of(body, 1, 1).repeat(1, 2, 1, 1)
    noise[0, 1, 0] += 3  # the patch in the north-west
    first, second = body(x, statics, noise)[0, :, 0]
    change = (first - second).abs()
    assert change[:2, :2].mean() > 2 * change[-4:, -4:].mean() > 0


def test_normalisation_by_hand():
    norm, x, e = ConditionalNorm(4, 3), torch.rand(2, 5, 4), torch.rand(2, 5, 3)
    standard = (x - x.mean(-1, keepdim=True)) / (
        x.var(-1, keepdim=True, correction=0) + 1e-5
    ).sqrt()
    torch.testing.assert_close(norm(x, e), standard)
    nn.init.normal_(norm.both.weight)
    gain, offset = e @ norm.both.weight[:4].T, e @ norm.both.weight[4:].T
    torch.testing.assert_close(norm(x, e), standard * (1 + gain) + offset)


@pytest.mark.parametrize("wraps", [False, True])
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_overlapping_squares_of_ones_are_a_field_of_ones(factor, wraps):
    body = NoisyViT(Size(2, 1, 1, factor, 5, 6, wraps), 1)
    squares = torch.ones(1, body.tail.out_channels, 5, 6)
    torch.testing.assert_close(body._joined(squares), torch.ones(1, 1, 5 * factor, 6 * factor))


def test_squares_overlap():
    body = NoisyViT(SIZE, 1)
    squares = torch.zeros(1, body.tail.out_channels, 5, 6)
    squares[..., 2, 3] = 1
    reached = body._joined(squares)[0, 0] > 0
    expected = torch.zeros(10, 12, dtype=torch.bool)
    expected[3:7, 5:9] = True  # of the patch at 4:6, 6:8
    assert torch.equal(reached, expected)


@pytest.mark.parametrize("wraps", [False, True])
def test_longitude_is_periodic_where_the_grid_wraps(wraps):
    body = noisy(awake(NoisyViT(Size(2, 1, 1, 2, 4, 8, wraps), 1))).eval().double()
    nn.init.zeros_(body.place)
    x, statics = torch.rand(1, 2, 4, 8).double(), torch.rand(1, 1, 8, 16).double()
    noise = noise_of(body, 1, 2).double()
    turned = noise.view(1, 2, 4, 8, 2).roll(4, 3).flatten(2, 3)
    found = body(x.roll(4, -1), statics.roll(8, -1), turned)
    assert torch.allclose(found, body(x, statics, noise).roll(8, -1), atol=1e-10) == wraps


def test_draws_are_those_of_seed_member_and_time(frame, batch):
    peer = NoisyPeer(frame, noisy(awake(NoisyViT(SIZE, 1)))).eval()
    with torch.no_grad():
        found = peer(batch, draw=Draw.of(0, range(4)))
        assert found.shape == (2, 4, 1, 10, 12)
        assert torch.equal(peer(batch, draw=Draw.of(0, [0, 1, 2, 3])), found)
        torch.testing.assert_close(peer(batch, draw=Draw.of(0, [2])), found[:, 2:3])
        torch.testing.assert_close(peer(batch), found[:, :1])
        other = peer(batch, draw=Draw.of(1, range(4)))
        batch.time = batch.time + 86400
        later = peer(batch, draw=Draw.of(0, range(4)))
    fields = torch.cat([found, other, later], dim=1)
    assert (fields[:, :, None] - fields[:, None]).abs().amax((-3, -2, -1))[
        :, *torch.triu_indices(12, 12, 1)
    ].min() > 1e-3
    assert (fields >= 0).all()


def test_it_begins_with_the_interpolated_field(batch):
    frame = Downscaler(DownscalerConfig(
        inputs=[RAIN, "2m_temperature"], statics=["orography"], factor=2, embed_dim=8, depth=1,
        num_heads=2, constraint="none"))  # fmt: skip
    body = NoisyViT(SIZE, 1)
    nn.init.zeros_(body.tail.bias)
    expected = upsample(batch.coarse[:, :1], 2, torch.zeros(2, dtype=torch.bool))
    torch.testing.assert_close(NoisyPeer(frame, body)(batch)[:, 0], expected)
