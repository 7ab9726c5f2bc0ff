"""Mirrored batches: what turns over, what changes its sign, and that the two worlds agree."""

import pytest
import torch

from orbitlite.batch import Batch
from orbitlite.model.config import DownscalerConfig
from orbitlite.training.mirror import mirror
from orbitlite.training.module import DownscalingModule
from orbitlite.variables import VARIABLES, lookup

RAIN, EAST, NORTH = "total_precipitation_24hr", "u_component_of_wind_850", "10m_v_component_of_wind"


def batch(**others):
    return Batch(
        coarse=torch.arange(12.0).view(1, 3, 2, 2) + 1, fine=torch.arange(16.0).view(1, 1, 4, 4),
        statics=torch.arange(16.0).view(1, 1, 4, 4) * 2, lat_edges=torch.tensor([[9.0, 8, 6]]),
        lon_edges=torch.tensor([[10.0, 11, 14]]), **others,
    )  # fmt: skip


@pytest.fixture(params=[0.2, 0.7])
def drawn(request, monkeypatch):
    """What decides, in place of a random number."""
    monkeypatch.setattr(torch, "rand", lambda *shape: torch.tensor(request.param))
    return request.param


def test_known_answer(drawn):
    data = batch(time=torch.tensor([3.0]))
    found = mirror(data, [RAIN, EAST, NORTH])
    if drawn < 0.5:
        assert found is data
        return
    assert found.coarse.tolist() == [[[[2, 1], [4, 3]], [[-6, -5], [-8, -7]], [[10, 9], [12, 11]]]]
    assert found.lon_edges.tolist() == [[-14, -11, -10]]
    assert found.fine[0, 0, 0].tolist() == [3, 2, 1, 0]
    assert found.statics[0, 0, 1].tolist() == [14, 12, 10, 8]
    assert found.lat_edges is data.lat_edges
    assert found.time is data.time


def test_twice_is_as_it_was(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda *shape: torch.tensor(0.9))
    data, names = batch(), [RAIN, EAST, NORTH]
    data.statics = None
    data.coarse[0, 1, 0, 0] = torch.nan
    found = mirror(mirror(data, names), names)
    torch.testing.assert_close(found.coarse, data.coarse, equal_nan=True)
    torch.testing.assert_close(found.fine, data.fine)
    torch.testing.assert_close(found.lon_edges, data.lon_edges)
    assert found.statics is None


def test_half_of_the_batches():
    torch.manual_seed(0)
    data = batch()
    turned = sum(mirror(data, [RAIN, EAST, NORTH]) is not data for _ in range(400))
    assert 160 < turned < 240


def test_what_changes_its_sign():
    odd = {name for name, variable in VARIABLES.items() if variable.odd}
    expected = ("u_component_of_wind", "vorticity")
    assert odd
    for name in odd:
        assert any(part in name for part in expected), name
    for name in ("vorticity_500", "potential_vorticity_500", "100m_u_component_of_wind"):
        assert lookup(name).odd, name
    assert not lookup("v_component_of_wind_850").odd


def test_a_fit_sees_both(monkeypatch):
    config = DownscalerConfig(inputs=[RAIN, EAST, NORTH], factor=2, embed_dim=8, depth=0,
                              num_heads=2, statics=["orography"])  # fmt: skip
    data, seen = batch(), []
    for wanted in (False, True):
        module = DownscalingModule(config, mirror=wanted)
        assert module.hparams["mirror"] is wanted
        monkeypatch.setattr(torch, "rand", lambda *shape: torch.tensor(0.9))
        shown, _ = module.loss_of(module.network, data, torch.Tensor.detach)
        seen.append(shown.coarse)
    assert torch.equal(seen[0], data.coarse)
    assert torch.equal(seen[1][:, 0], data.coarse[:, 0].flip(-1))
