"""The mean of several networks."""

from dataclasses import replace

import pytest
import torch

from orbitlite.batch import Batch
from orbitlite.errors import InputError
from orbitlite.model.bundle import load_mean, save_bundle
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.ensemble import Ensemble, networks_of

RAIN = "total_precipitation_24hr"


def network(seed, **changes):
    torch.manual_seed(seed)
    config = DownscalerConfig(
        **{"inputs": [RAIN, "2m_temperature"], "statics": ["orography"], "factor": 2,
           "embed_dim": 16, "depth": 1, "num_heads": 2} | changes
    )  # fmt: skip
    model = Downscaler(config).eval()
    torch.nn.init.normal_(model.decoder.out.weight, std=0.3)
    return model


def batch():
    torch.manual_seed(9)
    return Batch(
        coarse=3 * torch.rand(2, 2, 6, 8), statics=torch.rand(2, 1, 12, 16),
        lat_edges=torch.linspace(50, 44, 7).expand(2, -1),
        lon_edges=torch.linspace(5, 13, 9).expand(2, -1),
    )  # fmt: skip


def test_is_the_mean_of_its_members():
    members = [network(seed, depth=seed) for seed in (0, 1, 2)]
    found = Ensemble(members)(batch(), 0.5)
    expected = torch.cat([member(batch(), 0.5) for member in members], dim=1)
    assert found.shape == (2, 1, 1, 12, 16)
    torch.testing.assert_close(found, expected.mean(1, keepdim=True))
    assert float((expected.std(1) / expected.mean(1)).mean().detach()) > 0.01
    assert networks_of(Ensemble(members)) == members
    assert networks_of(members[1]) == [members[1]]


def test_error_of_the_mean():
    """Krogh and Vedelsby 1995, equation 6."""
    members = [network(seed) for seed in range(4)]
    truth = torch.rand(2, 1, 1, 12, 16)
    mean = Ensemble(members)(batch())
    own = [member(batch()) for member in members]
    errors = torch.stack([(one - truth).square().mean() for one in own]).mean()
    spread = torch.stack([(one - mean).square().mean() for one in own]).mean()
    torch.testing.assert_close((mean - truth).square().mean(), errors - spread)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"inputs": ["2m_temperature", RAIN]}, "inputs is .* in model 1 and .* in model 2"),
        ({"targets": ["2m_temperature"]}, "targets is"),
        ({"factor": 3}, "factor is 2 in model 1 and 3 in model 2"),
        ({"patch_size": 1}, "patch_size is 2 in model 1 and 1"),
        ({"ridge": [3, 4]}, "ridge is None"),
    ],
)
def test_members_are_of_one_task(changes, said):
    with pytest.raises(InputError, match=said):
        Ensemble([network(0), network(1, **changes)])


def test_no_member():
    with pytest.raises(InputError, match="expected at least one model, found none"):
        Ensemble([])
    with pytest.raises(InputError, match="expected at least one model, found none"):
        load_mean([])


@pytest.fixture
def saved(bundle, tmp_path):
    """Return a function that saves a bundle with changes under a name."""

    def save(name, seed, statics=bundle.statics, **training):
        path = tmp_path / name
        config = bundle.model.config.to_dict()
        save_bundle(path, network(seed, **config), metadata={"training": training}, statics=statics)
        return str(path)

    return save


def test_bundles_of_one_region(bundle, saved):
    holes = replace(bundle.statics, values=bundle.statics.values.clone())
    holes.values[0, 2, 3] = torch.nan
    one, two = (saved(name, seed, holes) for seed, name in enumerate("ab"))
    found = load_mean([one, two])
    assert found.path == f"{one} + {two}"
    assert len(set(found.identity.split("+"))) == 2
    assert not found.model.training
    other = saved("c", 2, replace(bundle.statics, values=bundle.statics.values + 1))
    with pytest.raises(InputError, match=r"same fine statics; those of .*c are not those of .*a"):
        load_mean([one, other])
    daily = saved("d", 3, holes, accumulate="24h")
    with pytest.raises(InputError, match=r"accumulate is None for .*a and 24h for .*d"):
        load_mean([one, daily])
