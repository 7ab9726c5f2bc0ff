"""The network on a GPU: the numbers of the CPU, in half precision near them."""

from dataclasses import replace

import pytest
import torch

from orbitlite.batch import Batch
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler

pytestmark = pytest.mark.gpu

RAIN = "total_precipitation_24hr"
NAMES = [RAIN, "temperature_850", "temperature_500", "2m_temperature", "surface_pressure"]
CASES = {
    "plain": {},
    "groups": {"channel_groups": 3},
    "linear groups": {"channel_groups": 3, "group_aggregation": "linear"},
    "leaves": {"tokens": 0.5},
    "learned leaves": {"tokens": 0.5, "saliency": "learned"},
    "ridge": {"ridge": [16, 24]},
    "conserve": {"constraint": "conserve"},
}


def build(options):
    torch.manual_seed(4)
    model = Downscaler(
        DownscalerConfig(
            inputs=NAMES, statics=["orography"], factor=2, embed_dim=32, depth=2, num_heads=4,
            **options,
        )
    )  # fmt: skip
    torch.nn.init.normal_(model.decoder.out.weight, std=0.3)
    if model.ridge is not None:
        torch.nn.init.normal_(model.ridge.weight, std=0.01)
        for name, value in {"low": -9.0, "high": 9.0, "std": 1.0, "most": 99.0}.items():
            model.ridge.get_buffer(name).fill_(value)
    return model


def sample():
    generator = torch.Generator().manual_seed(7)
    coarse = 2 * torch.rand(3, len(NAMES), 16, 24, generator=generator)
    coarse[1, 2, :3] = torch.nan
    return Batch(
        coarse=coarse,
        statics=torch.rand(3, 1, 32, 48, generator=generator),
        lat_edges=torch.linspace(50, 42, 17, dtype=torch.float64).expand(3, -1),
        lon_edges=torch.linspace(5, 17, 25, dtype=torch.float64).expand(3, -1),
    )


def trained(model, batch):
    """Return prediction and gradients, on the CPU."""
    fine = model(batch)
    (fine * torch.linspace(0, 1, fine.shape[-1], device=fine.device)).mean().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return fine.detach().cpu(), {name: grad.cpu() for name, grad in gradients.items()}


@pytest.mark.parametrize("name", CASES)
def test_prediction_and_gradients_are_those_of_the_cpu(name, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    model, batch = build(CASES[name]), sample()
    expected, gradients = trained(model, batch)
    model.zero_grad(set_to_none=True)
    found, moved = trained(model.to("cuda"), batch.to("cuda"))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert set(moved) == set(gradients)
    for name, gradient in gradients.items():
        close = {"rtol": 1e-3, "atol": 1e-4 * float(gradient.abs().max()) + 1e-9}
        torch.testing.assert_close(moved[name], gradient, **close)


@pytest.mark.parametrize("compiled", [False, True])
def test_half_precision_is_near(compiled):
    model, batch = build({"channel_groups": 3}).to("cuda").eval(), sample().to("cuda")
    with torch.no_grad():
        expected = model(batch)
        run = torch.compile(model) if compiled else model
        with torch.autocast("cuda", torch.bfloat16):
            found = run(batch).float()
    spread = expected.std()
    assert float((found - expected).abs().max() / spread) < 0.1
    assert float((found - expected).abs().max()) > 0


def test_missing_channels_leave_finite_gradients():
    model, batch = build({"channel_groups": 3}).to("cuda"), sample()
    coarse = batch.coarse.clone()
    coarse[:, 1:3] = torch.nan
    _, gradients = trained(model, replace(batch, coarse=coarse).to("cuda"))
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values())
