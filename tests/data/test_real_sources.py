"""Every real data set opens, takes the canonical form and has values in a sane range."""

from __future__ import annotations

import eccodes
import numpy as np
import pytest

from orbitlite.data.source import open_source

# the smallest and largest value that the Earth allows, with a little room for packing
RANGES = {
    "2m_temperature": (180, 335),
    "2m_temperature_max": (190, 335),
    "2m_temperature_min": (180, 325),
    "2m_dewpoint_temperature": (170, 310),
    "2m_relative_humidity": (0, 105),
    "10m_u_component_of_wind": (-60, 60),
    "10m_v_component_of_wind": (-60, 60),
    "mean_sea_level_pressure": (87000, 109000),
    "surface_pressure": (45000, 109000),
    "total_precipitation": (-1e-6, 150),
    "total_precipitation_24hr": (-1e-6, 400),
    "specific_humidity": (-1e-6, 0.03),
    "relative_humidity": (-1, 160),
    "temperature": (180, 325),
    "u_component_of_wind": (-110, 110),
    "v_component_of_wind": (-110, 110),
    "geopotential": (-5000, 110000),
    "orography": (-450, 8900),
    "land_sea_mask": (0, 1.0001),
    "surface_solar_radiation_downwards": (-1, 5e6),
    "surface_thermal_radiation_downwards": (1e5, 2e6),
    "toa_incident_solar_radiation": (-1, 5.1e6),
}
LEVELS = ("temperature", "u_component_of_wind", "v_component_of_wind", "geopotential",
          "specific_humidity", "relative_humidity")  # fmt: skip
SETS = {
    "iberia/coarse_ncep.nc": (
        (1264, 9, 14), None,
        {"specific_humidity_850", "temperature_850", "mean_sea_level_pressure", "2m_temperature",
         "total_precipitation_24hr"},
    ),
    "iberia/fine_eobs.nc": ((1264, 18, 28), None, {"total_precipitation_24hr", "2m_temperature"}),
    "iberia/fine_static.nc": ((None, 18, 28), None, {"orography", "land_sea_mask"}),
    "nrcan/nrcan_daily_1990.nc": (
        (365, 84, 156), None,
        {"total_precipitation_24hr", "2m_temperature_max", "2m_temperature_min", "orography",
         "land_sea_mask"},
    ),
    "era5_global/era5_sfc5_1deg_7hourly_2026.nc": (
        (24, 181, 360), "1h",
        {"2m_temperature", "10m_u_component_of_wind", "10m_v_component_of_wind",
         "mean_sea_level_pressure", "total_precipitation"},
    ),
    "era5_global/era5_orog_lsm_0p25.nc": ((None, 721, 1440), None, {"orography", "land_sea_mask"}),
    "era5_tp_monthly/era5_tp_monthly_2020.nc": (
        (12, 721, 1440), None, {"total_precipitation_24hr"},
    ),
    "era5_davos/ex3_switzerland_davos_SURF_202001.nc": (
        (744, 4, 5), "1h",
        {"2m_temperature", "2m_dewpoint_temperature", "surface_pressure", "total_precipitation",
         "orography", "surface_solar_radiation_downwards", "surface_thermal_radiation_downwards",
         "toa_incident_solar_radiation"},
    ),
    "era5_davos/ex3_switzerland_davos_PLEV_202001.nc": (
        (744, 4, 5), None,
        {f"{name}_{level}" for name in LEVELS for level in (300, 400, 500, 600, 700, 1000)},
    ),
    "meteonet/NW_masks.grib": ((None, 227, 315), None, {"orography", "land_sea_mask"}),
    "meteonet/arome_PRECIP_NW_20180501000000.grib": (
        (24, 227, 315), None, {"total_precipitation"},
    ),
}  # fmt: skip


def in_range(ds):
    for channel, data in ds.data_vars.items():
        name = channel if channel in RANGES else channel.rpartition("_")[0]
        low, high = RANGES[name]
        assert float(data.min()) >= low, channel
        assert float(data.max()) <= high, channel
        assert float(data.isnull().mean()) < 0.5, channel


@pytest.mark.parametrize("name", SETS)
def test_every_file(name, real_data):
    shape, period, channels = SETS[name]
    path = real_data(name)
    before = set(path.parent.iterdir())
    ds = open_source(path, accumulation_period=period)
    assert set(ds.data_vars) == channels
    assert (ds.sizes.get("time"), ds.sizes["lat"], ds.sizes["lon"]) == shape
    in_range(ds)
    assert set(path.parent.iterdir()) == before


def test_davos_surface_and_levels_together(real_data):
    folder = real_data("era5_davos")
    channels = ["orography", "geopotential_700", "2m_temperature", "total_precipitation"]
    ds = open_source(f"{folder}/*.nc", channels, accumulation_period="1h")
    in_range(ds)
    assert 1000 < float(ds["orography"].min()) < float(ds["orography"].max()) < 2500


def test_arpege_is_merged_and_differenced(real_data):
    """Against the messages themselves, decoded one by one."""
    folder = real_data("meteonet")
    ds = open_source(f"{folder}/arpege*.grib")
    in_range(ds)
    assert {"2m_temperature", "2m_relative_humidity", "10m_u_component_of_wind"} < set(ds.data_vars)
    assert ds.sizes == {"time": 24, "lat": 58, "lon": 80}
    sums = []
    with open(folder / "arpege_PRECIP_NW_20180501000000.grib", "rb") as file:
        while (message := eccodes.codes_grib_new_from_file(file)) is not None:
            sums.append(eccodes.codes_get_values(message).reshape(58, 80))
            eccodes.codes_release(message)
    amounts = np.diff(np.array(sums), axis=0, prepend=0)
    np.testing.assert_allclose(ds["total_precipitation"], np.maximum(amounts, 0), atol=1e-5)


def test_global_coordinates_are_as_found(real_data):
    ds = open_source(real_data("era5_global/era5_sfc5_1deg_7hourly_2026.nc"), ["2m_temperature"])
    np.testing.assert_array_equal(ds["lat"], np.arange(90, -91, -1))
    np.testing.assert_array_equal(ds["lon"], np.arange(360))
    assert float(ds["2m_temperature"].sel(lat=0).mean()) > 290
    assert float(ds["2m_temperature"].sel(lat=-90).mean()) < 240
