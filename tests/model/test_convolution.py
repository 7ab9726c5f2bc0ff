"""A convolution against torch's own on padded maps, forward and backward."""

import pytest
import torch
import torch.nn.functional as F

from orbitlite.model.borders import Borders
from orbitlite.model.convolution import Convolution, _Around

BORDERS = Borders(
    wraps=torch.tensor([True, False, True, False]),
    north=torch.tensor([True, False, False, True]),
    south=torch.tensor([False, False, True, True]),
)


def plain(layer, x, borders):
    """Each sample by itself, what lies around by torch's own padding."""
    rows = []
    for sample, wraps, north, south in zip(x, *borders, strict=True):
        wide = F.pad(sample[None], (1, 1, 0, 0), mode="circular" if wraps else "constant")
        wide = F.pad(wide, (0, 0, 1, 0), mode="replicate" if north else "constant")
        wide = F.pad(wide, (0, 0, 0, 1), mode="replicate" if south else "constant")
        rows.append(F.conv2d(wide, layer.weight, layer.bias))
    return torch.cat(rows)


@pytest.mark.parametrize("size", [(4, 5), (1, 2), (3, 1)])
@pytest.mark.parametrize("last", [False, True])
def test_known_answer_and_gradients(size, last):
    torch.manual_seed(0)
    layer = Convolution(3, 2).double()
    x = torch.randn(4, 3, *size, dtype=torch.double)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    found, expected = layer(x, BORDERS), plain(layer, x, BORDERS)
    torch.testing.assert_close(found, expected)
    way = torch.randn_like(found)
    back, other = (torch.autograd.grad(out, [x, layer.weight], way) for out in (found, expected))
    for one, two in zip(back, other, strict=True):
        torch.testing.assert_close(one, two)


def test_a_turned_globe_gives_a_turned_answer():
    torch.manual_seed(0)
    layer, x = Convolution(2, 3), torch.randn(1, 2, 4, 6)
    yes, no = torch.tensor([True]), torch.tensor([False])
    on_globe, regional = Borders(yes, no, no), Borders(no, no, no)
    turned = layer(x.roll(2, -1), on_globe)
    torch.testing.assert_close(turned, layer(x, on_globe).roll(2, -1))
    assert (layer(x.roll(2, -1), regional) - layer(x, regional).roll(2, -1)).abs().max() > 0.1


def test_the_gradient_that_comes_is_left_as_it_is():
    flag = torch.tensor([True])
    x = torch.randn(1, 1, 1, 1, requires_grad=True)
    out = _Around.apply(x, flag, flag, flag)
    way = torch.ones_like(out)
    out.backward(way)
    assert (way == 1).all()
    assert float(x.grad) == 9


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch has no oneDNN")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", [(4, 4), (20, 40), (110, 110)])
@pytest.mark.parametrize("maps", [1, 2, 8])
def test_bits_do_not_depend_on_the_batch(maps, size, threads):
    """Torch by itself has another kernel for small batches on one thread."""
    torch.manual_seed(0)
    layer, x = Convolution(maps, 8), torch.randn(4, maps, *size)
    x = x.contiguous(memory_format=torch.channels_last)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        with torch.no_grad():
            whole = layer(x, BORDERS)
            for number in range(4):
                borders = Borders(*(flag[number : number + 1] for flag in BORDERS))
                assert torch.equal(layer(x[number : number + 1], borders)[0], whole[number])
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(whole, layer(x, BORDERS), rtol=1e-4, atol=1e-5)
