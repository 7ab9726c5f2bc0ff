"""The regression beside a network: its formula, its bounds, and where it joins."""

import pytest
import torch

from orbitlite.batch import Batch
from orbitlite.errors import InputError
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.ridge import Ridge

RAIN, WARM = "total_precipitation_24hr", "2m_temperature"


def ridge():
    torch.manual_seed(0)
    found = Ridge(6, 4)
    found.weight.normal_()
    for name, value in {"mean": 2.0, "std": 0.5, "low": 1.0, "high": 3.0, "centre": 5.0,
                        "least": -20.0, "most": 30.0}.items():  # fmt: skip
        found.get_buffer(name).fill_(value)
    return found


def test_known_answer():
    found, x = ridge(), 1.5 + torch.rand(3, 2, 1, 3)
    x[1, 0, 0, 2] = torch.nan
    for sample, out in zip(x.flatten(1), found(x), strict=True):
        expected = [5.0] * 4
        for i, value in enumerate(sample.tolist()):
            if value == value:
                for j in range(4):
                    expected[j] += (value - 2.0) / 0.5 * float(found.weight[i, j])
        torch.testing.assert_close(out, torch.tensor(expected))


def test_it_does_not_go_beyond_what_it_has_seen():
    found = ridge()
    far, end = torch.full((1, 1, 2, 3), 1e6), torch.full((1, 1, 2, 3), 3.0)
    assert torch.equal(found(far), found(end))
    found.weight.mul_(1e3)
    out = found(end)
    assert set(out.unique().tolist()) <= {-20.0, 30.0}


def network(**settings):
    torch.manual_seed(1)
    config = DownscalerConfig(
        inputs=[RAIN, WARM], targets=[WARM, RAIN], statics=[], factor=2, embed_dim=16,
        num_heads=2, depth=1, ridge=[3, 4], **settings,
    )  # fmt: skip
    found = Downscaler(config).eval()
    torch.nn.init.normal_(found.decoder.out.weight, std=0.3)
    for name, value in {"low": -1e3, "high": 1e3, "std": 1.0, "least": -9.0, "most": 9.0}.items():
        found.ridge.get_buffer(name).fill_(value)
    found.ridge.weight.normal_()
    return found


def batch():
    return Batch(
        coarse=torch.rand(2, 2, 3, 4) * 5,
        lat_edges=torch.linspace(46, 40, 4).expand(2, -1),
        lon_edges=torch.linspace(3, 11, 5).expand(2, -1),
    )


def test_a_prediction_is_the_mean_and_the_network_learns_by_itself():
    model, sample = network(), batch()
    both, alone = model(sample), model.train()(sample)
    model.ridge = None
    torch.testing.assert_close(model.eval()(sample), alone)
    solved = 2 * both - alone
    assert (solved[:, :, 1] >= 0).all()  # rain
    assert (solved[:, :, 0] < 0).any()  # temperature
    assert ((both - alone).abs() > 1e-3).any()


def test_a_conserved_mean_is_conserved():
    model, sample = network(constraint="conserve"), batch()
    rows = torch.sin(torch.deg2rad(torch.linspace(46, 40, 7))).diff().abs().view(3, 2)
    shares = (rows / rows.sum(1, keepdim=True))[:, :, None, None]
    blocks = (model(sample)[:, 0].view(2, 2, 3, 2, 4, 2) * shares).sum(3).mean(-1)
    torch.testing.assert_close(blocks, sample.coarse[:, [1, 0]], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("ridge", "said"),
    [
        ([3], "two whole numbers from 1 to"),
        ([3, 0], "two whole numbers from 1 to"),
        ([3, 4, 5], "two whole numbers from 1 to"),
        ([3.5, 4], "two whole numbers from 1 to"),
        ([True, 4], "two whole numbers from 1 to"),
        (3, "two whole numbers, found 3"),
        ("34", "two whole numbers, found '34'"),
        ([200, 200], "at most; it is for one region"),
    ],
)
def test_bad_shapes(ridge, said):
    with pytest.raises(InputError, match=rf"ridge: .*{said}"):
        DownscalerConfig(inputs=[RAIN], ridge=ridge)
