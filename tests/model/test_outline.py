"""Networks without memory."""

import subprocess
import sys

import torch

from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.outline import outline

CONFIG = DownscalerConfig(
    inputs=["total_precipitation_24hr", *(f"temperature_{i}" for i in range(8))], embed_dim=32,
    depth=2, num_heads=2, channel_groups=3, ridge=[4, 6], tokens=0.5, saliency="learned",
)  # fmt: skip


def test_it_has_the_weights_of_the_network():
    for groups in (None, [1, 2]):
        expected = Downscaler(CONFIG, groups)
        found = outline(CONFIG, groups)
        assert found.inputs == expected.inputs
        assert {value.device.type for value in found.parameters()} == {"meta"}
        shapes = {name: value.shape for name, value in expected.state_dict().items()}
        assert {name: value.shape for name, value in found.state_dict().items()} == shapes


def test_no_number_is_drawn():
    before = torch.get_rng_state()
    outline(CONFIG)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_compiler_stays_away():
    code = (
        "import sys; from orbitlite.model.config import DownscalerConfig\n"
        "from orbitlite.model.outline import outline\n"
        "outline(DownscalerConfig(inputs=['total_precipitation_24hr'], embed_dim=32))\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
