"""Linear layers on a CPU: the numbers of a plain product, by the kernels of convolutions."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from orbitlite.benchmark.measure import threads
from orbitlite.model.linear import Linear, linear
from orbitlite.model.transformer import Mlp

aten = torch.ops.aten
fast = pytest.mark.skipif(
    not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()),
    reason="torch has no MKL to be faster than",
)


class Computed(TorchDispatchMode):
    """Remembers which operations ran, and the size of the largest result."""

    def __init__(self):
        super().__init__()
        self.names, self.largest = set(), 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        self.names.add(function)
        if isinstance(out, torch.Tensor):
            self.largest = max(self.largest, out.numel())
        return out


def written_out(x, weight, bias):
    total = (x.double().unsqueeze(-2) * weight.double()).sum(-1)
    return total if bias is None else total + bias.double()


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize(
    "shape", [(2, 300, 80), (2, 3, 70, 20, 5), (1, 21000, 1), (10, 80), (0, 10, 80)], ids=str
)
def test_is_the_product_written_out_with_its_gradients(shape, biased):
    torch.manual_seed(0)
    for outputs in (1, 9):
        whole = [
            torch.randn(shape), torch.randn(outputs, shape[-1]),
            torch.randn(outputs) if biased else None,
        ]  # fmt: skip
        upstream, found = torch.randn(*shape[:-1], outputs), []
        for product in (linear, written_out):
            own = [None if x is None else x.clone().requires_grad_() for x in whole]
            out = product(*own)
            (out * upstream).sum().backward()
            found.append([out.float(), *(x.grad for x in own if x is not None)])
        for ours, expected in zip(*found, strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-4)


def test_takes_features_of_any_layout():
    weight, bias = torch.randn(9, 80), torch.randn(9)
    across = torch.randn(80, 300, 2).permute(2, 1, 0)
    torch.testing.assert_close(
        linear(across, weight, bias), written_out(across, weight, bias).float()
    )


@fast
def test_is_a_convolution_where_that_is_faster():
    layer, many = Linear(80, 9), torch.randn(1, 300, 80)
    cases = {
        "float32": (layer, many),
        "few": (layer, many[:, :10]),
        "double": (layer.double(), many),
    }
    for name, (module, x) in cases.items():
        module.to(torch.float64 if name == "double" else torch.float32)
        with Computed() as seen:
            module(x.to(module.weight.dtype))
        assert (aten.convolution.default in seen.names) == (name == "float32")
    with Computed() as seen, torch.autocast("cpu", torch.bfloat16):
        assert layer.float()(many).dtype == torch.bfloat16
    assert aten.convolution.default not in seen.names


@fast
def test_one_thread_takes_the_same_kernels_as_many():
    layer, x = Linear(80, 9), torch.randn(1, 300, 80)
    with threads(1), torch.profiler.profile() as seen:
        layer(x)
    assert "aten::mkldnn_convolution" in {event.name for event in seen.events()}


@pytest.mark.slow
def test_a_compiler_sees_a_product():
    layer, x = Linear(80, 9), torch.randn(1, 300, 80)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x))


@pytest.mark.parametrize("tokens", [150, 600])
def test_bits_do_not_depend_on_the_batch(tokens):
    torch.manual_seed(0)
    x, parts = torch.randn(4, tokens, 96), (Linear(96, 40), Mlp(96, 12.0))
    with torch.no_grad():
        for part in parts:
            alone = torch.cat([part(x[number : number + 1]) for number in range(4)])
            assert torch.equal(part(x), alone)


def test_predictions_hold_a_part_of_what_is_inside_an_mlp():
    mlp, x = Mlp(64, 32.0), torch.randn(2, 1500, 64)  # 2048 wide
    expected = mlp(x)
    with torch.no_grad(), Computed() as seen:
        found = mlp(x)
    torch.testing.assert_close(found, expected)
    assert seen.largest * 4 <= 2 * 2 * 2**20  # of each sample
