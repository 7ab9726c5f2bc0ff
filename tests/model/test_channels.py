"""The absorbed attention against tokens, keys and values formed one by one."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from orbitlite.model.absorbed import absorbed_attention
from orbitlite.model.channels import (
    ChannelAttention,
    GroupAttention,
    HierarchicalChannels,
    LinearAggregation,
    to_patches,
)
from orbitlite.model.groups import channel_groups


def published(ours: ChannelAttention, patches, share):
    """Patch embedding, variable embedding, torch's attention with one learned query, a sum."""
    dim, heads = ours.query.shape[0], ours.num_heads
    attention = nn.MultiheadAttention(dim, heads, batch_first=True).to(patches.dtype)
    with torch.no_grad():
        eye = torch.eye(dim, dtype=patches.dtype)
        attention.in_proj_weight.copy_(torch.cat([eye, ours.key_weight, ours.value_weight]))
        attention.in_proj_bias.zero_()
        attention.in_proj_bias[2 * dim :] = ours.value_bias
        attention.out_proj.weight.copy_(ours.out.weight)
        attention.out_proj.bias.copy_(ours.out.bias)
    embed = ours.embed_weight.detach().clone().requires_grad_()
    bias = ours.embed_bias.detach().clone().requires_grad_()
    query = ours.query.detach().clone().requires_grad_()
    tokens = torch.einsum("blcp,cdp->blcd", patches, embed) + share.unsqueeze(-1) * bias
    rows = tokens.flatten(0, 1)
    mask = share.flatten(0, 1) == 0
    out, _ = attention(query.expand(len(rows), 1, -1), rows, rows, key_padding_mask=mask)
    total = torch.einsum("c,blcd->bld", ours.sum_weight.detach(), tokens)
    return out.view(*patches.shape[:2], dim) + total, attention, embed, bias, query


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("missing", [False, True])
def test_equals_multihead_attention(dtype, tolerance, missing):
    torch.manual_seed(3)
    ours = ChannelAttention(5, 4, 24, 3).to(dtype)
    nn.init.normal_(ours.value_bias)
    nn.init.normal_(ours.sum_weight)
    patches = torch.randn(2, 7, 5, 4, dtype=dtype)
    there = torch.ones_like(patches)
    if missing:
        there = (torch.rand_like(patches) > 0.3).to(dtype)
        there[0, :, 2] = there[1, 3, 1:] = 0
        patches = patches * there
    share = there.mean(-1)
    assert len(share.unique()) == (5 if missing else 1)
    expected, attention, embed, bias, query = published(ours, patches, share)
    found = ours(patches, share)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    target = torch.randn_like(expected)
    (expected * target).sum().backward()
    (found * target).sum().backward()
    dim = query.shape[0]
    pairs = {
        "embed_weight": embed.grad,
        "embed_bias": bias.grad,
        "query": query.grad,
        "key_weight": attention.in_proj_weight.grad[dim : 2 * dim],
        "value_weight": attention.in_proj_weight.grad[2 * dim :],
        "value_bias": attention.in_proj_bias.grad[2 * dim :],
        "out.weight": attention.out_proj.weight.grad,
        "out.bias": attention.out_proj.bias.grad,
    }
    for name, expected_gradient in pairs.items():
        found_gradient = ours.get_parameter(name).grad
        scale = expected_gradient.abs().max()
        error = (found_gradient - expected_gradient).abs().max() / scale
        assert error < tolerance, name


def channels(groups=((0, 1, 2),), **settings):
    torch.manual_seed(0)
    return HierarchicalChannels(groups, 4, 8, 2, **settings)


RAGGED = ((0, 3), (1,), (2, 4, 5))


def fields(channels=6, dtype=torch.float32):
    torch.manual_seed(1)
    patches = torch.randn(2, 5, channels, 4, dtype=dtype)
    present = torch.ones(2, 5, channels, dtype=torch.bool)
    present[0, 1, 1] = False  # a whole group of RAGGED
    present[1, :, 4] = False
    present[1, 3] = False
    return patches * present[..., None], present


@pytest.mark.parametrize("groups", [((0, 1, 2, 3, 4, 5),), RAGGED])
@pytest.mark.parametrize("aggregation", ["attention", "linear"])
def test_absent_channels_do_not_matter_and_gradients_stay_finite(groups, aggregation):
    ours = channels(groups, aggregation=aggregation)
    nn.init.normal_(ours.empty_token)
    patches, present = fields()
    patches.requires_grad_()
    if aggregation == "attention":
        for group in ours.groups.values():  # the sum relies on zeros where a channel is absent
            nn.init.zeros_(group.sum_weight)
        changed = patches.detach() + 100 * ~present[..., None]
        torch.testing.assert_close(ours(changed, present), ours(patches, present))
        for group in ours.groups.values():
            nn.init.ones_(group.sum_weight)
    out = ours(patches, present)
    torch.testing.assert_close(out[1, 3], ours.empty_token)
    out.square().sum().backward()
    assert torch.isfinite(patches.grad).all()
    for name, parameter in ours.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        # one channel has no choice to make
        lone = name in ("groups.1.query", "groups.1.key_weight")
        assert lone or parameter.grad.any(), name


@pytest.mark.parametrize("groups", [((0, 1, 2, 3, 4, 5),), RAGGED])
@pytest.mark.parametrize("aggregation", ["attention", "linear"])
def test_every_channel_matters(groups, aggregation):
    ours = channels(groups, aggregation=aggregation)
    patches, present = fields()
    patches.requires_grad_()
    ours(patches, present).square().sum().backward()
    reached = patches.grad.abs().amax((0, 1, 3)) > 1e-6
    assert reached.all()


def test_linear_aggregation_is_the_weighted_sum_of_tokens():
    ours = LinearAggregation(6, 4, 8)
    nn.init.normal_(ours.channel_weight)
    nn.init.normal_(ours.bias)
    patches, present = fields()
    tokens = torch.einsum("blcp,cdp->blcd", patches, ours.embed_weight) + ours.embed_bias
    share = torch.where(present, 0.25 + 0.75 * torch.rand(present.shape).round(), 0.0)
    tokens -= ours.embed_bias * (1 - share).unsqueeze(-1)
    weights = ours.channel_weight * present
    expected = torch.einsum("blc,blcd->bld", weights, tokens) + ours.bias
    torch.testing.assert_close(ours(patches, share), expected)


@pytest.mark.parametrize("aggregation", ["attention", "linear"])
@pytest.mark.parametrize("groups", [((0, 1, 2, 3, 4, 5),), RAGGED])
def test_missing_cells_are_no_cells_at_the_mean(groups, aggregation):
    ours = channels(groups, aggregation=aggregation)
    patches, present = fields()
    patches[0, 0, 3, 2:] = 0
    share = present.float()
    whole = ours(patches, share)
    assert torch.equal(whole, ours(patches, present))
    share[0, 0, 3] = 0.5
    apart = (ours(patches, share) - whole).abs().amax(-1)
    assert apart[0, 0] > 1e-3
    assert apart.count_nonzero() == 1


def test_second_level_equals_multihead_attention():
    torch.manual_seed(3)
    ours = GroupAttention(24, 3).double()
    nn.init.normal_(ours.value_bias)
    nn.init.normal_(ours.norm.weight)
    tokens = torch.randn(2, 7, 5, 24, dtype=torch.float64, requires_grad=True)
    present = torch.rand(2, 7, 5) > 0.3
    present[..., 0] = True
    attention = nn.MultiheadAttention(24, 3, batch_first=True).double()
    with torch.no_grad():
        eye = torch.eye(24, dtype=torch.float64)
        attention.in_proj_weight.copy_(torch.cat([eye, ours.key_weight, ours.value_weight]))
        attention.in_proj_bias.zero_()
        attention.in_proj_bias[48:] = ours.value_bias
        attention.out_proj.load_state_dict(ours.out.state_dict())
    rows = ours.norm(tokens).flatten(0, 1)
    expected, _ = attention(
        ours.query.expand(14, 1, -1), rows, rows, key_padding_mask=~present.flatten(0, 1)
    )
    expected = expected.view_as(tokens[:, :, 0]) + (tokens * present[..., None]).sum(2) / 5**0.5
    torch.testing.assert_close(ours(tokens, present), expected, rtol=1e-6, atol=1e-6)


def test_fresh_weights_do_not_depend_on_the_held_groups():
    whole = channels(RAGGED).state_dict()
    part = channels(RAGGED, held=[2])
    assert part.columns == [2, 4, 5]
    assert not [name for name in part.state_dict() if name.startswith(("groups.0", "groups.1"))]
    for name, value in part.state_dict().items():
        torch.testing.assert_close(value, whole[name], rtol=0, atol=0)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("workspace", [1, 700, 2**25])
def test_kernel_is_right_in_any_chunks(workspace, missing):
    torch.manual_seed(0)
    args = [
        torch.randn(11, 3, 4), torch.randn(2, 3, 4), torch.randn(2, 3), torch.randn(2, 15, 6)
    ]  # fmt: skip
    patches, score_weight, score_bias, values = (a.double().requires_grad_() for a in args)
    share = (torch.rand(11, 3) - 0.3).clamp_min(0) if missing else torch.ones(11, 3)
    share[:, 0] = 0.5
    share = share.double()

    def kernel(*tensors):
        return absorbed_attention(tensors[0], share, *tensors[1:], workspace)

    assert torch.autograd.gradcheck(kernel, (patches, score_weight, score_bias, values))
    scores = torch.einsum("ncp,acp->nac", patches, score_weight) + score_bias * share[:, None]
    alpha = scores.masked_fill(share[:, None] == 0, -torch.inf).softmax(-1)
    extended = torch.cat([patches, share[..., None]], -1)
    expected = torch.einsum("nac,nce,aced->nad", alpha, extended, values.view(2, 3, 5, 6))
    found = kernel(patches, score_weight, score_bias, values)
    torch.testing.assert_close(found, expected)


def test_memory_is_bounded_by_the_workspace():
    """The largest intermediate of forward and backward, whatever C and the positions."""
    largest = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                largest.append(out.untyped_storage().nbytes())
            return out

    n, c, p, heads, width = 4096, 64, 4, 4, 8
    args = [
        torch.randn(n, c, p), torch.ones(n, c, dtype=torch.bool), torch.randn(heads, c, p),
        torch.randn(heads, c), torch.randn(heads, c * (p + 1), width),
    ]  # fmt: skip
    for i in (2, 3, 4):
        args[i].requires_grad_()
    kept = max(a.untyped_storage().nbytes() for a in args)
    workspace = 2**19
    with Watch():
        absorbed_attention(*args, workspace).square().sum().backward()
    assert heads * n * c * (p + 1) * 4 > 4 * kept  # what would be stored otherwise
    assert max(largest) <= max(kept, workspace)


def test_scores_stay_in_float32_under_autocast():
    ours = channels(RAGGED)
    for group in ours.groups.values():  # the sum of tokens is no matter of scores
        nn.init.zeros_(group.sum_weight)
    patches, present = fields()
    exact = ours(patches, present)
    with torch.autocast("cpu", torch.bfloat16):
        found = ours(30 * patches, present)
        found.float().sum().backward()
    assert found.dtype == torch.bfloat16
    expected = ours(30 * patches, present)
    # The sum over groups is rounded: to half a unit of bfloat16 of each summand and of the result.
    tokens, _ = ours.level_one(30 * patches, present)
    rounding = 2**-8 * tokens.abs().sum(2) / tokens.shape[2] ** 0.5
    assert ((found - expected).abs() <= 0.1 + 0.1 * expected.abs() + rounding).all()
    assert exact.dtype == torch.float32


@pytest.mark.slow
@pytest.mark.parametrize("groups", [((0, 1, 2, 3, 4, 5),), RAGGED])
def test_compiles_without_graph_breaks(groups):
    ours = channels(groups)
    patches, present = fields()
    compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
    out = compiled(patches, present)
    torch.testing.assert_close(out, ours(patches, present))
    out.square().sum().backward()
    found = {name: p.grad for name, p in ours.named_parameters()}
    ours.zero_grad(set_to_none=True)
    ours(patches, present).square().sum().backward()
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, msg=name)


def test_a_thousand_channels():
    groups = channel_groups([f"channel{i}" for i in range(1000)], 7)
    assert sorted(map(len, groups)) == [142, 143, 143, 143, 143, 143, 143]
    ours = HierarchicalChannels(groups, 4, 8, 2)
    out = ours(torch.randn(1, 3, 1000, 4), torch.ones(1, 3, 1000, dtype=torch.bool))
    assert out.shape == (1, 3, 8)
    assert torch.isfinite(out).all()


def test_patches_run_row_by_row():
    fields = torch.arange(24.0).view(1, 1, 4, 6)
    patches = to_patches(fields, 2)
    assert patches.shape == (1, 6, 1, 4)
    assert patches[0, 1, 0].tolist() == [2, 3, 8, 9]
    assert patches[0, 3, 0].tolist() == [12, 13, 18, 19]
