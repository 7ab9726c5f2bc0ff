"""Members of a stochastic model: the same field however a prediction is cut, ordered or made."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

import orbitlite
from orbitlite.errors import InputError
from orbitlite.inference.engine import PlacedNetwork
from orbitlite.model.bundle import Bundle, save_bundle
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler

RAIN = "total_precipitation_24hr"
CUT = {"tile": 16, "halo": 16, "batch_size": 2}


def stochastic(bundle, seed=0):
    torch.manual_seed(seed)
    settings = bundle.model.config.to_dict() | {"noise": 3, "depth": 0, "decoder_blocks": 1}
    net = Downscaler(DownscalerConfig.from_dict(settings))
    state = bundle.model.state_dict()
    for name in ("input_mean", "input_std", "target_mean", "target_std"):
        net.get_buffer(name).copy_(state[name])
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.15)
    return Bundle(net.eval(), {"training": {}}, bundle.statics)


@pytest.fixture
def model(globe_bundle):
    return stochastic(globe_bundle)


@pytest.fixture
def whole(globe, model):
    found = orbitlite.predict(globe, model, members=6)[RAIN]
    assert found.dims == ("realization", "time", "lat", "lon")
    spread = found.std("realization").mean()
    assert spread > 0.05 * found.std()  # what follows compares something
    assert not np.array_equal(*(found.diff("time") - found.diff("time").mean())[:2])
    return found


def alike(found, expected):
    # convolutions of other shapes round otherwise, in parts of what they add up
    xr.testing.assert_equal(found.isnull(), expected.isnull())
    assert abs(found - expected).max() < 1e-4 * expected.std()


@pytest.mark.parametrize("way", ["tiles", "batches", "lazy", "nc", "zarr", "south"])
def test_members_do_not_depend_on_how_they_are_made(globe, model, whole, tmp_path, way):
    if way == "tiles":
        found = orbitlite.predict(globe, model, members=6, **CUT)[RAIN]
    elif way == "batches":
        found = orbitlite.predict(globe, model, members=6, batch_size=1)[RAIN]
    elif way == "lazy":
        found = orbitlite.predict(globe.chunk(time=1), model, members=6, batch_size=4)[RAIN]
        assert found.chunks
    elif way == "south":
        turned = globe.isel(lat=slice(None, None, -1))
        found = orbitlite.predict(turned, model, members=6)[RAIN].isel(lat=slice(None, None, -1))
    else:
        orbitlite.downscale(globe, tmp_path / f"out.{way}", model, members=6, **CUT)
        found = xr.open_dataset(tmp_path / f"out.{way}")[RAIN]
    alike(found, whole)


def test_a_part_of_the_times(globe, model, whole):
    one = orbitlite.predict(globe.isel(time=[1]), model, members=6)[RAIN]
    alike(one, whole.isel(time=[1]))
    scalar = orbitlite.predict(globe.isel(time=1), model, members=6)[RAIN]
    alike(scalar, whole.isel(time=1))


def test_a_part_of_the_region(globe, model, whole):
    """Away from the edges, where other cells are around."""
    f = model.model.config.factor
    part = globe.isel(lat=slice(2, 36), lon=slice(4, 60))
    found = orbitlite.predict(part, model, members=6)[RAIN]
    inner = found.isel(lat=slice(12 * f, 22 * f), lon=slice(12 * f, 44 * f))
    alike(inner, whole.sel(lat=inner["lat"], lon=inner["lon"]))


def test_a_member_is_the_same_beside_others(globe, model, whole):
    found = orbitlite.predict(globe, model, members=11)[RAIN]
    alike(found.isel(realization=slice(6)), whole)


def test_seeds(globe, model, whole):
    other = orbitlite.predict(globe, model, members=6, seed=1)[RAIN]
    assert abs(other - whole).mean() > 0.1 * whole.std("realization").mean()


def test_one_member_without_asking(globe, model, whole, caplog):
    with caplog.at_level("INFO"):
        found = orbitlite.predict(globe, model)[RAIN]
    assert "draws members of an ensemble; this is one of them" in caplog.text
    alike(found, whole.isel(realization=0, drop=True))
    one = orbitlite.predict(globe, model, members=1)[RAIN]
    assert one.sizes["realization"] == 1


def test_members_of_several_models(globe, globe_bundle, model, whole, tmp_path):
    other = stochastic(globe_bundle, seed=1)
    for number, bundle in enumerate((model, other)):
        save_bundle(tmp_path / str(number), bundle.model, metadata={}, statics=bundle.statics)
    both = orbitlite.load([tmp_path / "0", tmp_path / "1"])
    found = orbitlite.predict(globe, both, members=5)[RAIN]
    alike(found.isel(realization=[0, 2, 4]), whole.isel(realization=[0, 2, 4]))
    theirs = orbitlite.predict(globe, other, members=5)[RAIN]
    alike(found.isel(realization=[1, 3]), theirs.isel(realization=[1, 3]))
    save_bundle(tmp_path / "plain", globe_bundle.model, metadata={}, statics=globe_bundle.statics)
    with pytest.raises(InputError, match="noise"):
        orbitlite.load([tmp_path / "0", tmp_path / "plain"])


class Fault(BaseException):
    """Ends a job at once, as a kill does."""


def test_a_resumed_job_has_the_same_members(globe, model, whole, tmp_path, monkeypatch):
    cores, calls = PlacedNetwork.cores, []

    def broken(self, *arguments):
        calls.append(arguments)
        if len(calls) == 9:
            raise Fault
        return cores(self, *arguments)

    monkeypatch.setattr(PlacedNetwork, "cores", broken)
    with pytest.raises(Fault):
        orbitlite.downscale(globe, tmp_path / "out.zarr", model, members=6, **CUT)
    for changed in ({"seed": 1}, {"members": 7}):
        words = {"members": 6, "resume": True} | changed
        with pytest.raises(InputError, match=r"is another job: .*(seed|members)"):
            orbitlite.downscale(globe, tmp_path / "out.zarr", model, **words)
    orbitlite.downscale(globe, tmp_path / "out.zarr", model, members=6, resume=True)
    with xr.open_dataset(tmp_path / "out.zarr") as found:
        alike(found[RAIN], whole)


def test_memory_holds_a_few_members_at_a_time(globe, model, monkeypatch):
    predict, seen = PlacedNetwork._predict, []

    def watched(self, batch, draw):
        seen.append(len(batch) * len(draw))
        return predict(self, batch, draw)

    monkeypatch.setattr(PlacedNetwork, "_predict", watched)
    found = orbitlite.predict(globe, model, members=20, batch_size=6)[RAIN]
    assert found.sizes["realization"] == 20
    assert max(seen) <= 6


def test_inputs_beyond_the_training_are_counted_once(globe, model, caplog):
    """Not once for each group of members that is drawn of them."""
    top = float(globe[RAIN].max())
    ranges = {"training": {"ranges": {RAIN: [0.0, top / 3]}}}
    told = []
    for words in ({}, {"members": 7, "batch_size": 2}):
        caplog.clear()
        orbitlite.predict(globe, replace(model, metadata=ranges), **words)
        told.append([r.message for r in caplog.records if "beyond the training" in r.message])
    assert len(told[0]) == 1
    assert told[0] == told[1]


@pytest.mark.parametrize("members", [0, -1, 2.5, True, "3"])
def test_members_are_counted(globe, model, members):
    with pytest.raises(InputError, match="members: expected a whole number of 1 or more"):
        orbitlite.predict(globe, model, members=members)


@pytest.mark.parametrize("seed", [-1, 0.5, "a", None])
def test_seeds_are_whole_numbers(globe, model, seed):
    with pytest.raises(InputError, match="seed: expected a whole number of 0 or more"):
        orbitlite.predict(globe, model, members=2, seed=seed)


def test_a_deterministic_model_has_no_members(globe, globe_bundle):
    with pytest.raises(InputError, match=r"the model is deterministic.*model\.network\.noise"):
        orbitlite.predict(globe, globe_bundle, members=2)


def test_statistics_are_those_of_the_members(globe, model, whole):
    names = "mean,std,min,max,q05,q99.9,p_gt_5,p_lt_1"
    found = orbitlite.predict(globe, model, members=6, statistics=names, batch_size=4)
    members = whole.values
    there = np.isfinite(members).all(0)
    expected = {
        "mean": members.mean(0), "std": members.std(0, ddof=1), "min": members.min(0),
        "max": members.max(0), "q05": np.quantile(members, 0.05, axis=0),
        "q99.9": np.quantile(members, 0.999, axis=0),
        "p_gt_5": np.where(there, (members > 5).mean(0), np.nan),
        "p_lt_1": np.where(there, (members < 1).mean(0), np.nan),
    }  # fmt: skip
    assert list(found.data_vars) == [f"{RAIN}_{name}" for name in expected]
    for name, values in expected.items():
        assert found[f"{RAIN}_{name}"].dims == ("time", "lat", "lon")
        np.testing.assert_allclose(found[f"{RAIN}_{name}"], values, rtol=1e-4, atol=1e-4)
    high = found[f"{RAIN}_q99.9"].attrs
    assert high["units"] == "mm"
    assert "realization: quantile (comment: 99.9 %)" in high["cell_methods"]
    assert "99.9 % quantile of members" in high["long_name"]
    chance = found[f"{RAIN}_p_gt_5"].attrs
    assert chance["units"] == "1"
    assert "standard_name" not in chance
    assert chance["long_name"].endswith("probability above 5 mm")


@pytest.mark.parametrize("way", ["lazy", "nc", "zarr"])
def test_statistics_everywhere(globe, model, tmp_path, way):
    words = {"members": 5, "statistics": ["mean", "q90"], **CUT}
    whole = orbitlite.predict(globe, model, **words)
    if way == "lazy":
        found = orbitlite.predict(globe.chunk(time=1), model, **words)
        assert found[f"{RAIN}_q90"].chunks
    else:
        orbitlite.downscale(globe, tmp_path / f"out.{way}", model, **words)
        found = xr.open_dataset(tmp_path / f"out.{way}")
    for name in (f"{RAIN}_mean", f"{RAIN}_q90"):
        alike(found[name], whole[name])


def test_the_mean_alone_is_called_as_the_target(globe, model, caplog):
    with caplog.at_level("INFO"):
        found = orbitlite.predict(globe, model, statistics="mean")
    assert "The statistics are of 16 members" in caplog.text
    alike(found[RAIN], orbitlite.predict(globe, model, members=16)[RAIN].mean("realization"))
    assert found[RAIN].attrs["cell_methods"].endswith("realization: mean")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("mode", "'mode' is none"),
        ("q101", "'q101' is none"),
        ("mean,", "expected names"),
        ([], "expected names"),
        (3, "expected names"),
        ("mean,mean", "twice"),
    ],
)
def test_statistics_that_are_none(globe, model, names, said):
    with pytest.raises(InputError, match=f"statistics: .*{said}"):
        orbitlite.predict(globe, model, statistics=names)


def test_a_spread_needs_two(globe, globe_bundle, model):
    with pytest.raises(InputError, match="std needs 2 members or more, found 1"):
        orbitlite.predict(globe, model, members=1, statistics="std")
    with pytest.raises(InputError, match="the model is deterministic"):
        orbitlite.predict(globe, globe_bundle, statistics="mean")
