"""Half precision: in the matrix products alone, by every way to predict."""

import dataclasses

import numpy as np
import pytest
import torch
import xarray as xr

import orbitlite
from orbitlite.cli import main
from orbitlite.errors import InputError
from orbitlite.inference.engine import PlacedNetwork
from orbitlite.model.downscaler import Downscaler

RAIN = "total_precipitation_24hr"
TILES = {"tile": 20, "halo": 2}


@pytest.fixture
def rain(globe):
    """Return the globe without gaps."""
    return globe.fillna({RAIN: 3.0, "2m_temperature": 275.0})


@pytest.fixture
def conserving(globe_bundle):
    """Return the model, made to keep coarse means."""
    config = dataclasses.replace(globe_bundle.model.config, constraint="conserve")
    model = Downscaler(config)
    model.load_state_dict(globe_bundle.model.state_dict())
    return dataclasses.replace(globe_bundle, model=model.eval())


@pytest.mark.parametrize("cut", [{}, TILES, {"batch_size": 1}])
def test_is_near_and_not_the_same(rain, globe_bundle, cut):
    single, half = (
        orbitlite.predict(rain, globe_bundle, precision=precision, **cut)[RAIN].values
        for precision in ("float32", "bf16")
    )
    assert half.dtype == single.dtype == np.float32
    apart = np.sqrt(np.mean((half - single) ** 2)) / single.std()
    assert 1e-4 < apart < 1e-2
    assert np.array_equal(orbitlite.predict(rain, globe_bundle, **cut)[RAIN].values, single)


def test_dask_accessor_and_command_take_it(rain, globe_bundle, globe_bundle_path, tmp_path):
    expected = orbitlite.predict(rain, globe_bundle, precision="bf16", **TILES)[RAIN].values
    lazy = rain.chunk(time=1).orbitlite.predict(globe_bundle, precision="bf16", **TILES)
    assert np.array_equal(lazy[RAIN].values, expected)
    rain.to_netcdf(tmp_path / "rain.nc")
    words = ["downscale", "rain.nc", "fine.nc", "--model", globe_bundle_path, "--precision", "bf16"]
    words[1:3] = [str(tmp_path / name) for name in words[1:3]]
    assert main([*words, "--tile", "20", "--halo", "2"]) == 0
    with xr.open_dataset(tmp_path / "fine.nc") as found:
        assert np.array_equal(found[RAIN].values, expected)


def test_what_surrounds_the_products_is_in_single_precision(rain, conserving, monkeypatch):
    seen, whole = [], Downscaler._seen

    def look(self, *inputs):
        seen.append(whole(self, *inputs))
        return seen[-1]

    monkeypatch.setattr(Downscaler, "_seen", look)
    fine = [
        orbitlite.predict(rain, conserving, precision=precision)[RAIN].values
        for precision in ("float32", "bf16")
    ]
    assert torch.equal(seen[0].shown.values, seen[1].shown.values)
    assert not np.array_equal(*fine)
    edges = np.deg2rad(np.linspace(90, -90, 81))
    shares = np.diff(np.sin(edges)).reshape(40, 2)
    shares /= shares.sum(1, keepdims=True)
    blocks = fine[1].astype("f8").reshape(2, 40, 2, 80, 2).mean(-1)
    means = (blocks * shares[None, :, :, None]).sum(2)
    np.testing.assert_allclose(means, rain[RAIN], rtol=1e-5, atol=1e-5)


def test_a_job_goes_on_in_its_own_precision(rain, globe_bundle, tmp_path, monkeypatch):
    calls, whole = [], PlacedNetwork.cores

    def fail_late(self, windows, tiles, *more):
        calls.append(1)
        if len(calls) > 3:
            raise InputError("enough")
        return whole(self, windows, tiles, *more)

    options = {**TILES, "batch_size": 1, "precision": "bf16"}
    with monkeypatch.context() as patch:
        patch.setattr(PlacedNetwork, "cores", fail_late)
        with pytest.raises(InputError, match="enough"):
            orbitlite.downscale(rain, tmp_path / "fine.nc", globe_bundle, **options)
    with pytest.raises(InputError, match="precision was bf16, is float32"):
        orbitlite.downscale(rain, tmp_path / "fine.nc", globe_bundle, **TILES, resume=True)
    orbitlite.downscale(rain, tmp_path / "fine.nc", globe_bundle, **options, resume=True)
    with xr.open_dataset(tmp_path / "fine.nc") as found:
        expected = orbitlite.predict(rain, globe_bundle, **options)[RAIN]
        assert np.array_equal(found[RAIN].values, expected.values)


def test_tensor_cores_serve_while_a_network_is_at_work(rain, globe_bundle, monkeypatch):
    found, whole = [], Downscaler.forward

    def look(self, *inputs):
        found.append(torch.get_float32_matmul_precision())
        return whole(self, *inputs)

    monkeypatch.setattr(Downscaler, "forward", look)
    before = torch.get_float32_matmul_precision()
    orbitlite.predict(rain, globe_bundle)
    assert found == ["high"]
    assert torch.get_float32_matmul_precision() == before


def test_another_word_is_refused(rain, globe_bundle):
    with pytest.raises(InputError, match="precision: expected one of float32, bf16, found 'half'"):
        orbitlite.predict(rain, globe_bundle, precision="half")
