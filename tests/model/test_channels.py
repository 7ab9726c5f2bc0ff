"""The absorbed attention against tokens, keys and values formed one by one."""

import pytest
import torch
from torch import nn

from orbitlite.model.channels import ChannelAttention, to_patches


def published(ours: ChannelAttention, patches, present):
    """Patch embedding, variable embedding, torch's attention with one learned query."""
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
    tokens = torch.einsum("blcp,cdp->blcd", patches, embed) + bias
    rows = tokens.flatten(0, 1)
    mask = ~present.flatten(0, 1)
    out, _ = attention(query.expand(len(rows), 1, -1), rows, rows, key_padding_mask=mask)
    return out.view(*patches.shape[:2], dim), attention, embed, bias, query


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("missing", [False, True])
def test_equals_multihead_attention(dtype, tolerance, missing):
    torch.manual_seed(3)
    ours = ChannelAttention(5, 4, 24, 3).to(dtype)
    nn.init.normal_(ours.value_bias)
    patches = torch.randn(2, 7, 5, 4, dtype=dtype)
    present = torch.ones(2, 7, 5, dtype=torch.bool)
    if missing:
        present[0, :, 2] = False
        present[1, 3, 1:] = False
        patches = patches * present[..., None]
    expected, attention, embed, bias, query = published(ours, patches, present)
    found = ours(patches, present)
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


def test_absent_channels_do_not_matter_and_gradients_stay_finite():
    torch.manual_seed(0)
    ours = ChannelAttention(3, 4, 8, 2)
    nn.init.normal_(ours.empty_token)
    patches = torch.randn(1, 2, 3, 4, requires_grad=True)
    present = torch.tensor([[[True, True, False], [False, False, False]]])
    out = ours(patches, present)
    changed = patches.detach().clone()
    changed[0, 0, 2] += 100
    torch.testing.assert_close(ours(changed, present), out)
    torch.testing.assert_close(out[0, 1], ours.empty_token)
    out.square().sum().backward()
    assert torch.isfinite(patches.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in ours.parameters())


def test_patches_run_row_by_row():
    fields = torch.arange(24.0).view(1, 1, 4, 6)
    patches = to_patches(fields, 2)
    assert patches.shape == (1, 6, 1, 4)
    assert patches[0, 1, 0].tolist() == [2, 3, 8, 9]
    assert patches[0, 3, 0].tolist() == [12, 13, 18, 19]
