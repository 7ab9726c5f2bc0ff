"""The decoder: what it sees, how far it sees, and that its body joins as identity."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from orbitlite.model.borders import Borders
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.decoder import FineDecoder, reach, stages_of
from orbitlite.model.products import Products

RAIN = "total_precipitation_24hr"
NOTHING = Borders(*(torch.tensor([False]) for _ in range(3)))


def config_of(**settings):
    plain = {"inputs": [RAIN], "statics": ["orography"], "embed_dim": 16, "num_heads": 2}
    return DownscalerConfig(**(plain | settings))


def decoder(**settings):
    torch.manual_seed(0)
    config = config_of(**settings)
    found = FineDecoder(config, 4 + len(config.statics)).eval()
    torch.nn.init.normal_(found.out.weight, std=0.3)
    return found


@given(st.integers(1, 200))
def test_stages_multiply_to_the_factor(factor):
    stages = stages_of(factor)
    product = 1
    for step in stages:
        product *= step
        assert factor == 1 or all(step % n for n in range(2, step))
    assert product == factor


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("patch", [1, 2])
def test_shape(factor, patch):
    part = decoder(factor=factor, patch_size=patch)
    context = torch.randn(1, 5, 5 * factor, 7 * factor)
    tokens = torch.randn(1, -(-5 // patch), -(-7 // patch), 16)
    assert part(tokens, context, NOTHING).shape == (1, 1, 2, 5 * factor, 7 * factor)


def test_cells_of_a_token_have_features_of_their_own():
    """Against a loop over tokens and their cells."""
    part = decoder(factor=2, patch_size=2, decoder_features=8)
    tokens = torch.randn(1, 2, 3, 16)
    found = part._on_cells(tokens, 4, 6)
    for row in range(4):
        for column in range(6):
            of_token = part.head(tokens[0, row // 2, column // 2]).view(2, 2, 8)
            expected = of_token[row % 2, column % 2]
            torch.testing.assert_close(found[0, :, row, column], expected)


@pytest.mark.parametrize("factor", [1, 2, 4, 6, 8])
@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_a_prediction_depends_on_so_many_cells_around(blocks, factor):
    part = decoder(factor=factor, patch_size=1, decoder_blocks=blocks)
    for block in [*part.body, *(stage.block for stage in part.stages)]:
        if block is not None:
            torch.nn.init.normal_(block.second.weight, std=0.3)
    tokens, context = torch.randn(1, 1, 41, 16), torch.randn(1, 5, factor, 41 * factor)
    other = tokens.clone()
    other[:, :, 20] += 1
    with torch.no_grad():
        change = (part(tokens, context, NOTHING) - part(other, context, NOTHING))[0, 0, 0].any(0)
    reached = change.nonzero().flatten() // factor
    most = (
        reach(config_of(factor=factor, decoder_blocks=blocks)) - 2
    )  # the interpolation is not of the decoder
    assert most - 1 <= 20 - int(reached.min()) <= most
    assert most - 1 <= int(reached.max()) - 20 <= most


def test_fine_statics_are_seen_before_the_body():
    """A change of a fine static reaches as far as the convolutions on the coarse grid do."""
    part = decoder(factor=4, patch_size=1, decoder_blocks=0)
    tokens, context = torch.randn(1, 1, 21, 16), torch.randn(1, 5, 4, 84)
    other = context.clone()
    other[:, 4, 1, 41] += 1
    with torch.no_grad():
        change = (part(tokens, context, NOTHING) - part(tokens, other, NOTHING))[0, 0, 0].any(dim=0)
    assert change.nonzero().flatten().min() < 41 - 4


def test_weather_meets_place_in_products():
    """Against the formula, cell by cell."""
    part = Products(2, 3).double()
    z, statics = torch.randn(2, 3, 4, 5).double(), torch.randn(2, 2, 4, 5).double()
    none = Borders(*(torch.tensor([False, False]) for _ in range(3)))
    place = F.conv2d(statics, part.place.weight, part.place.bias, padding=1)
    expected = z.clone()
    for to in range(3):
        expected[:, to] += part.mix.bias[to]
        for of in range(3):
            expected[:, to] += part.mix.weight[to, of] * z[:, of] * place[:, of]
    torch.testing.assert_close(part(z, statics, none), expected)


def test_the_same_weather_on_another_slope_gives_another_correction_in_every_fine_cell():
    """Statics enter on the fine grid too: not by way of the coarse one alone."""
    part = decoder(factor=2, patch_size=1, decoder_blocks=0)
    torch.nn.init.zeros_(part.join.weight[:, -4:])  # the coarse grid is blind to the statics
    tokens, context = torch.randn(1, 4, 5, 16), torch.randn(1, 5, 8, 10)
    other = context.clone()
    other[:, 4] += 1
    with torch.no_grad():
        change = part(tokens, context, NOTHING) - part(tokens, other, NOTHING)
    assert (change[0, 0].abs() > 0).all()
    assert all(stage.products is None for stage in decoder(statics=[]).stages)
