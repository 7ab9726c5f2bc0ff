"""load, predict, evaluate from Python."""

import json
import logging

import dask
import numpy as np
import pytest
import torch
import xarray as xr

import orbitlite
from orbitlite.errors import InputError
from orbitlite.model.bundle import Bundle, save_bundle
from orbitlite.model.downscaler import Downscaler, DownscalerConfig

RAIN = "total_precipitation_24hr"


def test_public_names():
    for name in orbitlite.__all__:
        assert getattr(orbitlite, name) is not None
        assert name in dir(orbitlite)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = orbitlite.nonsense


@pytest.fixture
def other_path(bundle, tmp_path_factory):
    """Return the folder of a bundle like `bundle`, with other weights."""
    torch.manual_seed(5)
    model = Downscaler(bundle.model.config)
    torch.nn.init.normal_(model.decoder.out.weight, std=0.3)
    path = tmp_path_factory.mktemp("other") / "bundle"
    save_bundle(path, model, metadata=bundle.metadata, statics=bundle.statics)
    return path


@pytest.mark.parametrize("lazy", [False, True])
def test_the_mean_of_several_models(bundle_path, other_path, coarse, lazy):
    paths = [bundle_path, other_path, other_path.as_uri()]
    ds = coarse.chunk(time=2) if lazy else coarse
    fine = ds.orbitlite.predict(paths)
    with dask.config.set(scheduler="threads"):
        found = fine[RAIN].values
    one, two = (orbitlite.predict(coarse, path)[RAIN].values for path in paths[:2])
    np.testing.assert_allclose(found, (one + 2 * two) / 3, rtol=1e-4, atol=1e-5)
    assert float(np.abs(one - two).max()) > 0.1
    assert fine.attrs["orbitlite_model"] == " + ".join(map(str, paths))
    assert fine.attrs["orbitlite_model_id"].count("+") == 2


@pytest.mark.parametrize("as_url", [False, True])
def test_load_gives_the_model_back(bundle, bundle_path, coarse, as_url):
    found = orbitlite.load(bundle_path.as_uri() if as_url else bundle_path)
    digest = json.loads((bundle_path / "config.json").read_text())["sha256"]["model.safetensors"]
    fine = orbitlite.predict(coarse, found)
    np.testing.assert_array_equal(fine[RAIN], orbitlite.predict(coarse, bundle)[RAIN])
    assert digest.startswith(fine.attrs["orbitlite_model_id"])
    assert fine.attrs["orbitlite_model_id"]


def test_the_model_may_be_a_path_and_the_source_too(coarse, bundle, bundle_path, tmp_path):
    coarse.to_netcdf(tmp_path / "coarse.nc")
    fine = orbitlite.predict(tmp_path / "coarse.nc", bundle_path)
    assert fine.chunks
    np.testing.assert_allclose(
        fine[RAIN], orbitlite.predict(coarse, bundle)[RAIN], rtol=1e-5, atol=1e-5
    )


def test_a_bare_network_without_statics_is_enough(coarse):
    model = Downscaler(DownscalerConfig(inputs=[RAIN], statics=[], factor=3, embed_dim=8))
    assert orbitlite.predict(coarse, model)[RAIN].shape == (5, 18, 24)


def test_a_bare_network_with_statics_asks_for_them(coarse, bundle, tmp_path):
    with pytest.raises(InputError, match=r"orography on the fine grid.*pass statics"):
        orbitlite.predict(coarse, bundle.model)
    lat, lon = np.linspace(49.75, 44.25, 12)[::-1], np.linspace(5.25, 12.75, 16)
    values = bundle.statics.values.numpy()[0, ::-1] * 9.80665
    z = xr.DataArray(values, {"lat": lat, "lon": lon}, ("lat", "lon"), attrs={"units": "m2 s-2"})
    z.to_dataset(name="geopotential_at_surface").to_netcdf(tmp_path / "statics.nc")
    fine = orbitlite.predict(coarse, bundle.model, statics=tmp_path / "statics.nc")
    np.testing.assert_allclose(
        fine[RAIN], orbitlite.predict(coarse, bundle)[RAIN], rtol=1e-4, atol=1e-4
    )


def hourly(coarse):
    """Split daily rain into hours that add up to it, stamped at their end; temperatures alike."""
    shares = np.random.default_rng(3).dirichlet(np.ones(24), 5).astype("f4")
    rain = (shares[:, :, None, None] * coarse[RAIN].values[:, None]).reshape(120, 6, 8)
    times = coarse.time.values[0] + np.arange(1, 121) * np.timedelta64(1, "h")
    dims = ("time", "lat", "lon")
    return xr.Dataset(
        {"tp": (dims, rain / 1000, {"units": "m"})},
        {"time": times, "lat": coarse.lat, "lon": coarse.lon},
    )


def test_windows_add_up_hours(coarse, bundle):
    days = coarse.drop_vars("2m_temperature")
    with pytest.raises(InputError, match=r"over 1 h.*over 24 h"):
        orbitlite.predict(hourly(coarse), bundle, accumulation_period="1h")
    found = orbitlite.predict(hourly(coarse), bundle, accumulation_period="1h", resample="24h")
    expected = orbitlite.predict(days, bundle)
    assert found.time.values.tolist() == coarse.time.values.tolist()
    np.testing.assert_allclose(found[RAIN], expected[RAIN], rtol=1e-4, atol=1e-4)


def test_windows_are_those_of_the_training_unless_stated(coarse, bundle, caplog):
    trained = Bundle(bundle.model, {"training": {"accumulate": "24h"}}, bundle.statics)
    with caplog.at_level(logging.INFO, "orbitlite"):
        found = orbitlite.predict(hourly(coarse), trained, accumulation_period="1h")
    assert found.sizes["time"] == 5
    assert "windows of 24h" in caplog.text


def test_windows_that_begin_at_nine(coarse, bundle, tmp_path):
    """From training metadata through prediction and file to the scores against daily gauges."""
    trained = Bundle(bundle.model, {"training": {"accumulate": "24h+9h"}}, bundle.statics)
    source = hourly(coarse).shift(time=9, fill_value=0.0)
    source["tp"].attrs["units"] = "m"
    expected = orbitlite.predict(hourly(coarse), bundle, accumulation_period="1h", resample="24h")[
        RAIN
    ][:4]
    orbitlite.downscale(
        source, tmp_path / "fine.nc", trained, accumulation_period="1h", progress=False
    )
    with xr.open_dataset(tmp_path / "fine.nc") as found:
        np.testing.assert_allclose(found[RAIN], expected, rtol=1e-4, atol=1e-4)
        begin, end = found["time_bnds"].values.T
    assert [str(time)[:13] for time in begin] == [f"2001-01-0{day}T09" for day in range(1, 5)]
    assert (end - begin == np.timedelta64(1, "D")).all()
    gauges = expected.to_dataset()
    with pytest.raises(InputError, match="No time"):
        orbitlite.evaluate(tmp_path / "fine.nc", gauges, progress=False)
    scores = orbitlite.evaluate(
        tmp_path / "fine.nc", gauges, coarse=source, accumulation_period="1h", resample="24h+9h",
        progress=False,
    ).scores[RAIN]  # fmt: skip
    assert scores["orbitlite"]["rmse"] == pytest.approx(0, abs=1e-3)
    assert scores["bilinear"]["rmse"] > 0.1


def test_grids_are_interpolated_as_in_training_unless_they_fit(coarse, bundle):
    trained = Bundle(bundle.model, {"training": {"interpolate": "linear"}}, bundle.statics)
    expected = orbitlite.predict(coarse, bundle)
    xr.testing.assert_equal(orbitlite.predict(coarse, trained)[RAIN], expected[RAIN])
    shifted = coarse.interp(lat=coarse.lat.values[:-1] - 0.3, lon=coarse.lon.values[:-1] + 0.3)
    for name in shifted:
        shifted[name].attrs = coarse[name].attrs
    assert orbitlite.predict(shifted, trained)[RAIN].dims == ("time", "lat", "lon")
    with pytest.raises(InputError, match="do not cover this region"):
        orbitlite.predict(shifted, bundle)


def test_evaluate_takes_files_of_any_dialect(coarse, bundle, tmp_path):
    fine = orbitlite.predict(coarse, bundle)
    truth = (fine[RAIN] / 86400).rename("pr").assign_attrs(units="kg m-2 s-1").to_dataset()
    truth = truth.assign_coords(fine[RAIN].coords).isel(lat=slice(None, None, -1)) * 1.0
    truth["pr"].attrs["units"] = "kg m-2 s-1"
    truth.to_netcdf(tmp_path / "pr.nc")
    coarse.to_netcdf(tmp_path / "coarse.nc")
    found = orbitlite.evaluate(
        fine + 1.5, tmp_path / "pr.nc", coarse=tmp_path / "coarse.nc",
        training=(coarse, tmp_path / "pr.nc"), progress=False,
    )  # fmt: skip
    assert set(found.scores) == {RAIN}
    assert set(found.scores[RAIN]) == {
        "orbitlite", "nearest", "bilinear", "bicubic", "quantile_mapped"
    }  # fmt: skip
    assert found.scores[RAIN]["orbitlite"]["bias"] == pytest.approx(1.5, rel=1e-4)
    assert found.scores[RAIN]["orbitlite"]["rmse"] == pytest.approx(1.5, rel=1e-4)
