"""A convolution against torch's own on padded maps, forward and backward."""

import pytest
import torch
import torch.nn.functional as F

from orbitlite.model.convolution import Convolution


def plain(layer, x, wraps):
    """Each sample by itself, longitude by torch's circular padding."""
    rows = []
    for sample, around in zip(x, wraps, strict=True):
        wide = F.pad(sample[None], (1, 1, 0, 0), mode="circular" if around else "constant")
        rows.append(F.conv2d(wide, layer.weight, layer.bias, padding=(1, 0)))
    return torch.cat(rows)


@pytest.mark.parametrize("size", [(4, 5), (1, 2), (3, 1)])
@pytest.mark.parametrize("last", [False, True])
def test_known_answer_and_gradients(size, last):
    torch.manual_seed(0)
    layer = Convolution(3, 2).double()
    x = torch.randn(2, 3, *size, dtype=torch.double)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    wraps = torch.tensor([True, False])
    found, expected = layer(x, wraps), plain(layer, x, wraps)
    torch.testing.assert_close(found, expected)
    way = torch.randn_like(found)
    back, other = (torch.autograd.grad(out, [x, layer.weight], way) for out in (found, expected))
    for one, two in zip(back, other, strict=True):
        torch.testing.assert_close(one, two)


def test_a_turned_globe_gives_a_turned_answer():
    torch.manual_seed(0)
    layer, x = Convolution(2, 3), torch.randn(1, 2, 4, 6)
    on_globe, regional = torch.tensor([True]), torch.tensor([False])
    turned = layer(x.roll(2, -1), on_globe)
    torch.testing.assert_close(turned, layer(x, on_globe).roll(2, -1))
    assert (layer(x.roll(2, -1), regional) - layer(x, regional).roll(2, -1)).abs().max() > 0.1
