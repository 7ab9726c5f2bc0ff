"""Pairs, grids and statistics of the real data sets."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from orbitlite.data.datamodule import PairDataModule
from orbitlite.data.source import open_source

RAIN = "total_precipitation_24hr"


def test_iberia_nests(real_data):
    data = PairDataModule(
        str(real_data("iberia/fine_eobs.nc")),
        str(real_data("iberia/coarse_ncep.nc")),
        str(real_data("iberia/fine_static.nc")),
        inputs=[RAIN, "specific_humidity_850", "orography"],
        targets=[RAIN],
        static_names=["orography", "land_sea_mask"],
        factor=2,
        train=["1982-12", "1992-03"],
        validate=["1992-12", "1993-03"],
        test=["1993-12", "1996-02"],
    )
    data.setup("fit")
    assert data.grid.factor_to(data.fine_grid) == 2
    assert [len(data.times(split)) for split in ("train", "validate", "test")] == [903, 90, 271]
    raw = xr.open_dataset(real_data("iberia/coarse_ncep.nc"))["hus850"]
    sample = data.dataset("test")[9]
    moment = np.datetime64(int(sample.time.item()), "s")
    np.testing.assert_allclose(sample.coarse[0, 1], raw.sel(time=moment)[::-1], rtol=1e-6)
    truth = xr.open_dataset(real_data("iberia/fine_eobs.nc"))["pr"].sel(time=moment)[::-1]
    np.testing.assert_allclose(sample.fine[0, 0], truth, rtol=1e-6)
    assert np.isfinite(data.input_statistics.std).all()


def test_nrcan_is_coarsened_with_its_missing_cells(real_data):
    data = PairDataModule(
        str(real_data("nrcan/nrcan_daily_1990.nc")),
        inputs=[RAIN, "2m_temperature_max"],
        targets=[RAIN],
        static_names=["orography"],
        factor=4,
        train=["1990-01", "1990-09"],
        validate=["1990-10", "1990-10"],
        test=["1990-11", "1990-12"],
    )
    sample = data.dataset("test")[7]
    fine, coarse = sample.fine[0, 0].numpy(), sample.coarse[0, 0].numpy()
    area = data.fine_grid.weights * np.isfinite(fine)
    blocks = area.reshape(21, 4, 39, 4).sum((1, 3))
    mass = np.nansum(fine.astype(np.float64) * data.fine_grid.weights)
    assert np.nansum(coarse.astype(np.float64) * blocks) == pytest.approx(mass, rel=1e-6)
    np.testing.assert_array_equal(np.isnan(coarse), blocks == 0)
    assert 0.2 < np.isnan(fine).mean() < 0.4


@pytest.mark.parametrize("method", ["linear", "conservative"])
def test_meteonet_is_interpolated(real_data, method):
    folder = real_data("meteonet")
    data = PairDataModule(
        f"{folder}/arome_PRECIP*.grib",
        f"{folder}/arpege_*.grib",
        f"{folder}/NW_masks.grib",
        inputs=["total_precipitation", "2m_temperature"],
        targets=["total_precipitation"],
        static_names=["orography", "land_sea_mask"],
        factor=4,
        regrid=method,
    )
    data.setup()
    assert data.grid.shape == (56, 78)
    assert data.grid.factor_to(data.fine_grid) == 4
    sample = data.dataset("train")[11]
    assert np.isfinite(sample.coarse.numpy()).all()
    raw = open_source(f"{folder}/arpege_2m*.grib", ["2m_temperature"])["2m_temperature"]
    expected = raw.sel(time=data.times("train")[11]).interp(lat=data.grid.lat, lon=data.grid.lon)
    off = np.abs(sample.coarse[0, 1].numpy() - expected.values)
    assert off.max() < (1e-3 if method == "linear" else 2.0)
    assert off.mean() < 0.05
    assert data.grid.lat[0] == pytest.approx(float(raw["lat"][0]) - 0.0375, abs=1e-3)


def test_global_grid_with_poles(real_data):
    data = PairDataModule(
        str(real_data("era5_global/era5_sfc5_1deg_7hourly_2026.nc")),
        statics=str(real_data("era5_global/era5_orog_lsm_0p25.nc")),
        inputs=["2m_temperature", "mean_sea_level_pressure"],
        targets=["2m_temperature"],
        static_names=["orography", "land_sea_mask"],
        factor=2,
        regrid="conservative",
        accumulation_period="1h",
    )
    data.setup("fit")
    # both half rows at the poles and one more make no block
    assert data.fine_grid.shape == (178, 360)
    assert data.grid.wraps
    assert float(data.statics[0].max()) > 4000
    assert data.input_statistics.mean[1] == pytest.approx(101_000, rel=0.01)
