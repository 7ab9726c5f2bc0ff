"""Compression: nothing changes at N = L, every parameter learns at every N."""

import pytest
import torch

from orbitlite.batch import Batch
from orbitlite.errors import InputError
from orbitlite.model.compression import leaf_sum, pool, unpool
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.geometry import LatLon
from orbitlite.model.quadtree import build_leaves
from orbitlite.model.saliency import SALIENCIES, MaskedFields
from orbitlite.model.transformer import Attention, FusedAttention, _widened_attention

RAIN = "total_precipitation_24hr"
KINDS = ("gradient", "variance", "learned")


def field_saliency(kind, values, valid, cells, wraps):
    area = torch.ones(len(values), *(size // cells for size in values.shape[-2:]))
    return SALIENCIES[kind](None)(torch.empty(0), [MaskedFields(values, valid, cells)], area, wraps)


def network(**settings):
    torch.manual_seed(1)
    plain = {
        "inputs": [RAIN, "specific_humidity_850", "2m_temperature"], "factor": 2, "embed_dim": 16,
        "depth": 2, "num_heads": 2, "max_leaf": 4,
    }  # fmt: skip
    model = Downscaler(DownscalerConfig(**(plain | settings)))
    torch.nn.init.normal_(model.decoder.out.weight, std=0.3)
    for block in model.decoder.body:
        torch.nn.init.normal_(block.second.weight, std=0.1)
    return model


def batch(height=16, width=24, world=False):
    generator = torch.Generator().manual_seed(2)
    coarse = 3 * torch.rand(2, 3, height, width, generator=generator) ** 3
    coarse[0, 1, :5] = torch.nan
    north, east = (90, 360) if world else (48, 20)
    return Batch(
        coarse=coarse, statics=torch.rand(2, 2, 2 * height, 2 * width, generator=generator),
        lat_edges=torch.linspace(north, -90 if world else 40, height + 1).expand(2, -1),
        lon_edges=torch.linspace(0, east, width + 1).expand(2, -1),
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(16, 24), (13, 22)])
def test_as_many_leaves_as_patches_change_nothing(kind, size):
    data = batch(*size)
    model = network(saliency=kind)
    found, plain = model(data, tokens=1.0), model(data)
    torch.testing.assert_close(found, plain, rtol=1e-5, atol=1e-5)
    for output in (found, plain):
        output.square().sum().backward()
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        model.zero_grad(set_to_none=True)
        if output is found:
            compressed = gradients
    for name, expected in gradients.items():
        if name.startswith("compression"):
            continue  # idle without compression
        error = (compressed[name] - expected).abs().max() / expected.abs().max().clamp_min(1e-6)
        assert error < 1e-4, name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tokens", [1.0, 0.5, 0.25, 6])
def test_every_parameter_learns(kind, tokens):
    model = network(saliency=kind, tokens=tokens).train()
    data = batch()
    # without a missing patch the token for it has nothing to learn from
    data.coarse[1, :, :2, :2] = torch.nan
    (model(data) - 1).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


def test_budgets_may_change_with_the_same_weights():
    model = network().eval()
    data = batch()
    found = [model(data, tokens) for tokens in (None, 96, 0.5, 24, 6)]
    distances = [float((one - found[0]).abs().mean()) for one in found]
    assert distances[0] == 0
    assert distances[1] < 1e-6
    assert 0 < distances[2] < distances[4]


def test_compression_and_channel_groups_compose():
    data = batch()
    model = network(channel_groups=2, tokens=0.5).eval()
    assert model(data).shape == (2, 1, 1, 32, 48)
    torch.testing.assert_close(model(data, tokens=1.0), network(channel_groups=2).eval()(data))


def test_pool_is_the_weighted_mean_and_unpool_gives_it_back():
    saliency = torch.rand(2, 6, 8)
    leaves = build_leaves(saliency, 18, 4)
    tokens, weights = torch.randn(2, 48, 5), torch.rand(2, 48) + 0.1
    pooled = pool(tokens, leaves, weights)
    for sample in range(2):
        for leaf in range(18):
            members = leaves.index[sample] == leaf
            w = weights[sample, members, None]
            expected = (w * tokens[sample, members]).sum(0) / w.sum()
            torch.testing.assert_close(pooled[sample, leaf], expected)
    torch.testing.assert_close(leaf_sum(torch.ones(2, 48), leaves), (4.0**leaves.level))
    again = unpool(pooled, leaves)
    torch.testing.assert_close(pool(again, leaves, weights), pooled)
    assert again.shape == tokens.shape


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pooling_sums_in_float32(dtype):
    """The mean of equal tokens is the token; of others, as in float64 up to the last rounding."""
    leaves = build_leaves(torch.rand(2, 16, 24), 2 * 3 + 9, 8)
    weights = torch.rand(2, 16 * 24) + 0.1
    tokens = torch.randn(2, 16 * 24, 5).to(dtype).requires_grad_()
    found, precision = pool(tokens, leaves, weights), torch.finfo(dtype).eps
    expected = pool(tokens.double(), leaves, weights.double())
    assert ((found - expected).abs() <= precision * expected.abs() + 1e-6).all()
    (gradient,) = torch.autograd.grad(found.float().sum(), tokens)
    share = weights / leaf_sum(weights, leaves).gather(1, leaves.index)
    torch.testing.assert_close(gradient, share.to(dtype)[..., None].expand_as(gradient))
    same = torch.full_like(tokens, 1.7)
    torch.testing.assert_close(pool(same, leaves, weights), same[:, :15], rtol=1e-6, atol=0)


def test_pooling_and_its_reversal_are_each_others_gradient():
    leaves = build_leaves(torch.rand(2, 6, 8), 18, 4)
    patches, pooled = torch.randn(2, 48, 3, requires_grad=True), torch.randn(2, 18, 3)
    (gradient,) = torch.autograd.grad((leaf_sum(patches, leaves) * pooled).sum(), patches)
    assert torch.equal(gradient, unpool(pooled, leaves))
    pooled.requires_grad_()
    (gradient,) = torch.autograd.grad((unpool(pooled, leaves) * patches).sum(), pooled)
    torch.testing.assert_close(gradient, leaf_sum(patches, leaves))


@pytest.mark.parametrize("width", [16, 24, 31])
def test_kernels_with_and_without_a_mask_count_alike(width):
    q, k, v = torch.randn(3, 2, 3, 7, width, requires_grad=True)
    logs = torch.randint(1, 17, (2, 7)).float().log()[:, None, None]
    weights = (q @ k.mT / width**0.5 + logs).softmax(-1)
    expected = weights @ v
    for found in (
        _widened_attention(q, k, v, logs),
        FusedAttention()(q, k, v, logs.exp()[:, 0, 0]),
    ):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_leaf_of_n_patches_counts_n_times():
    torch.manual_seed(0)
    attention = Attention(24, 3)
    x, counts = torch.randn(2, 5, 24), torch.tensor([[1, 4, 16, 1, 4], [4, 4, 1, 1, 16]])
    found = attention(x, counts)
    for sample in range(2):
        repeated = x[sample].repeat_interleave(counts[sample], 0)[None]
        expected = attention(repeated)[0]
        first = counts[sample].cumsum(0) - counts[sample]
        torch.testing.assert_close(found[sample], expected[first], rtol=1e-5, atol=1e-5)


def test_features_of_leaves_are_those_of_their_cells():
    leaves = build_leaves(torch.ones(1, 4, 4), 4, 2)
    lat, lon = torch.linspace(8, 0, 5)[None], torch.linspace(10, 18, 5)[None]
    found = LatLon(lat, lon).features_of_leaves(leaves)
    whole = LatLon(lat[:, ::2], lon[:, ::2]).features()
    torch.testing.assert_close(found.view(1, 2, 2, -1), whole)


def fields(h=8, w=12):
    values = torch.zeros(1, 1, h, w)
    return values, torch.ones(1, 1, h, w, dtype=torch.bool)


@pytest.mark.parametrize("kind", ["gradient", "variance"])
def test_saliency_finds_the_edge_across_the_seam(kind):
    values, valid = fields()
    values[..., :, 4:] = 1
    inner = field_saliency(kind, values, valid, 2, torch.tensor([False]))
    assert inner[0, :, 1:3].min() > 0
    assert inner[0, :, [0, 3, 4, 5]].abs().max() == 0
    around = field_saliency(kind, values, valid, 2, torch.tensor([True]))
    assert around[0, :, 0].min() > 0
    assert around[0, :, 5].min() > 0


REGIONAL = torch.tensor([False])


def test_a_ramp_is_alike_at_borders_and_inside():
    values, valid = fields()
    values += torch.arange(12.0) + 2 * torch.arange(8.0)[:, None]
    found = field_saliency("gradient", values, valid, 2, REGIONAL)
    torch.testing.assert_close(found, torch.ones(1, 4, 6))


@pytest.mark.parametrize("kind", ["gradient", "variance"])
def test_missing_cells_are_no_edges(kind):
    values, valid = fields()
    values += 5.1
    valid[..., 2:5, 3:7] = False
    found = field_saliency(kind, values, valid, 2, torch.tensor([False]))
    assert not found.any()
    torch.testing.assert_close(found, field_saliency(kind, values - 9.9, valid, 2, REGIONAL))
    nothing = field_saliency(kind, 0 * values, valid & False, 2, torch.tensor([False]))
    assert not nothing.any()


def test_channels_weigh_alike_whatever_their_size():
    torch.manual_seed(0)
    values = torch.rand(1, 2, 8, 8)
    _, valid = fields(8, 8)
    valid = valid.expand(-1, 2, -1, -1)
    scaled = values * torch.tensor([1.0, 1000])[:, None, None]
    regional = torch.tensor([False])
    torch.testing.assert_close(
        field_saliency("gradient", values, valid, 2, regional),
        field_saliency("gradient", scaled, valid, 2, regional),
    )


def test_small_cells_near_the_pole_weigh_little():
    model = network(saliency_channels=["2m_temperature"]).eval()
    data = batch(world=True)
    data.coarse[:] = torch.rand(24)
    leaves, _ = model.leaves(data, 0.5)
    size = 2 ** leaves.level.gather(1, leaves.index).view(2, 8, 12)
    assert size[:, [0, 7]].float().mean() > size[:, 3:5].float().mean()


def test_all_missing_gives_the_uniform_tree():
    model = network(saliency_channels=[RAIN]).eval()
    data = batch()
    data.coarse[:, 0] = torch.nan
    leaves, score = model.leaves(data, 24)
    assert not score.any()
    assert (leaves.level == 1).all()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"tokens": 0}, "tokens: expected a count"),
        ({"tokens": 1.5}, "tokens: expected a count"),
        ({"tokens": float("nan")}, "tokens: expected a count"),
        ({"tokens": "0.5"}, "tokens: expected a count"),
        ({"tokens": True}, "tokens: expected a count"),
        ({"max_leaf": 6}, "power of two"),
        ({"saliency": "edges"}, "expected gradient, variance, learned or uniform"),
        ({"saliency_channels": ["orografy"]}, "did you mean 'orography'"),
    ],
)
def test_bad_settings(settings, expected):
    with pytest.raises(InputError, match=expected):
        network(**settings)


def test_uniform_leaves_do_not_depend_on_latitude():
    leaves, _ = network(saliency="uniform").eval().leaves(batch(world=True), 0.25)
    assert (leaves.level == 1).all()


def test_uniform_scores_are_equal_whatever_the_areas():
    area = torch.rand(1, 50, 60) + 1e-3
    score = SALIENCIES["uniform"](None)(torch.empty(0), [], area, REGIONAL)
    assert ((score * area).float() == 1).all()


@pytest.mark.parametrize("share", [0.125, 0.5, 0.7])
def test_uniform_leaves_lie_evenly_where_two_sizes_are_needed(share):
    """To north and south, east and west, as many patches in leaves of each size."""
    model = network(saliency="uniform", max_leaf=8).eval()
    leaves, _ = model.leaves(batch(64, 64, world=True), share)
    level = leaves.level.gather(1, leaves.index).view(2, 32, 32).float()
    assert level.max() == level.min() + 1
    for axis in (1, 2):
        half = level.mean(3 - axis).view(2, 2, 16).mean(2)
        assert (half[:, 0] - half[:, 1]).abs().max() < 0.05


def test_default_saliency_channels():
    assert network().config.saliency_channels == (RAIN, "specific_humidity_850", "orography")
    bare = DownscalerConfig(inputs=["a", "b"], targets=["a"], statics=[])
    assert bare.saliency_channels == ("a", "b")


@pytest.mark.slow
def test_compiles_without_graph_breaks():
    model = network(tokens=0.5).eval()
    data = batch()
    compiled = torch.compile(model.encode, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(data), model.encode(data), rtol=1e-5, atol=1e-5)
