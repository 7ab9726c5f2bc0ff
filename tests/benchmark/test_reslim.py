import pytest
import torch
from torch import nn

from orbitlite.benchmark.reslim import (
    ResidualPath,
    ReslimReference,
    VariableAggregation,
    VariableTokens,
    sine_cosine_table,
)
from orbitlite.model.channels import ChannelAttention, to_patches


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.fixture
def small():
    torch.manual_seed(0)
    return ReslimReference(7, 2, embed_dim=16, depth=2, num_heads=2, height=8, width=16)


@pytest.mark.parametrize(
    ("height", "width", "published"),
    [(32, 64, 5_451_247), (64, 128, 5_844_463), (128, 256, 7_417_327)],
)
def test_it_has_the_published_number_of_parameters_with_one_output(height, width, published):
    with torch.device("meta"):
        assert count(ReslimReference(height=height, width=width)) == published


@pytest.mark.parametrize(
    ("embed_dim", "depth", "num_heads", "published"),
    [(256, 6, 4, 5_354_371), (1024, 8, 16, 109_511_043), (3072, 8, 24, 982_835_587)],
)
def test_it_has_the_published_number_of_parameters_with_three_outputs(
    embed_dim, depth, num_heads, published
):
    with torch.device("meta"):
        model = ReslimReference(23, 3, embed_dim, depth, num_heads)
    assert count(model) - model.position.numel() == published


def test_aggregation_equals_multihead_attention_on_formed_tokens():
    torch.manual_seed(1)
    dim, heads, variables = 16, 4, 5
    tokens, aggregation = VariableTokens(variables, 2, dim), VariableAggregation(dim, heads)
    for parameter in (*tokens.parameters(), *aggregation.parameters()):
        nn.init.normal_(parameter)
    x = torch.randn(3, variables, 4, 6)
    formed = tokens(x)
    assert formed.shape == (3, variables, 6, dim)
    oracle = nn.MultiheadAttention(dim, heads, bias=False, batch_first=True)
    with torch.no_grad():
        oracle.in_proj_weight.copy_(torch.cat([aggregation.q.weight, aggregation.kv.weight]))
        oracle.out_proj.weight.copy_(aggregation.out.weight)
    rows = formed.transpose(1, 2).flatten(0, 1)
    expected, _ = oracle(aggregation.query.expand(len(rows), 1, dim), rows, rows)
    expected = expected.view(3, 6, dim) + aggregation.out.bias
    torch.testing.assert_close(aggregation(formed), expected, rtol=1e-4, atol=1e-4)


def test_our_absorbed_channels_compute_the_same():
    torch.manual_seed(2)
    dim, heads, variables, patch = 16, 4, 5, 2
    tokens, aggregation = VariableTokens(variables, patch, dim), VariableAggregation(dim, heads)
    for parameter in (*tokens.parameters(), *aggregation.parameters()):
        nn.init.normal_(parameter)
    ours = ChannelAttention(variables, patch**2, dim, heads)
    with torch.no_grad():
        weights = [patch.weight.flatten(1) for patch in tokens.patches]
        ours.embed_weight.copy_(torch.stack(weights))
        biases = torch.stack([patch.bias for patch in tokens.patches])
        ours.embed_bias.copy_(biases + tokens.embedding[0, :, 0])
        ours.query.copy_(aggregation.q(aggregation.query).flatten())
        key, value = aggregation.kv.weight.chunk(2)
        ours.key_weight.copy_(key)
        ours.value_weight.copy_(value)
        ours.value_bias.zero_()
        ours.sum_weight.zero_()  # ours alone
        ours.out.load_state_dict(aggregation.out.state_dict())
    x = torch.randn(2, variables, 4, 6)
    patches = to_patches(x, patch)
    present = torch.ones(patches.shape[:-1], dtype=torch.bool)
    torch.testing.assert_close(ours(patches, present), aggregation(tokens(x)), rtol=1e-4, atol=1e-4)


def test_the_position_table_encodes_columns_then_rows():
    table = sine_cosine_table(3, 5, 8).view(3, 5, 8)
    assert torch.equal(table[0, :, :4], table[2, :, :4])
    assert torch.equal(table[:, 0, 4:], table[:, 4, 4:])
    one, slow = torch.tensor(1.0), torch.tensor(0.01)
    expected = torch.stack([(2 * one).sin(), (2 * slow).sin(), (2 * one).cos(), (2 * slow).cos()])
    torch.testing.assert_close(table[1, 2, :4], expected)


def test_other_grids_interpolate_the_position_table(small):
    assert small(torch.rand(1, 7, 8, 16)).shape == (1, 2, 32, 64)
    assert small(torch.rand(1, 7, 6, 10)).shape == (1, 2, 24, 40)
    same = small._position(4, 8)
    assert same is small.position
    with torch.no_grad():
        small.position.fill_(3.0)
    torch.testing.assert_close(small._position(3, 5), torch.full((1, 15, 16), 3.0))


def test_dropout_acts_in_training_only(small):
    x = torch.rand(2, 7, 8, 16)
    assert not torch.equal(small(x), small(x))
    small.eval()
    assert torch.equal(small(x), small(x))


def test_gradients_reach_every_parameter(small):
    # the query and the output of the aggregation start at zero, where some gradients vanish
    for parameter in small.parameters():
        nn.init.normal_(parameter, std=0.3)
    small.eval()(torch.rand(2, 7, 8, 16)).square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in small.parameters())


def test_the_residual_path_reads_targets_and_statics_alone(small):
    seen = []
    small.residual.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    x = torch.rand(1, 7, 8, 16)
    small(x)
    assert isinstance(small.residual, ResidualPath)
    assert torch.equal(seen[0], x[:, :6])


def test_too_few_inputs_are_refused():
    with pytest.raises(ValueError, match="at least 6"):
        ReslimReference(5, 2)
