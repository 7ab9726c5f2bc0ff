from __future__ import annotations

import math

import pytest

from orbitlite.variables import VARIABLES
from orbitlite.variables.limits import limits_of
from orbitlite.variables.units import conversion


@pytest.mark.parametrize("variable", VARIABLES.values(), ids=lambda variable: variable.name)
def test_every_row_has_limits(variable):
    low, high = variable.limits
    assert -math.inf < low < high < math.inf
    for fill in (-9999.0, 1e20, 9.969209968386869e36, 2147483647.0):
        assert variable.units == "J m-2" or not low <= fill <= high


# Extremes that were measured, or that models make; they are no mistake.
@pytest.mark.parametrize(
    ("name", "value", "units"),
    [
        ("2m_temperature", -89.2, "degC"),
        ("2m_temperature_max", 56.7, "degC"),
        ("skin_temperature", 80.8, "degC"),
        ("temperature", 130.0, "K"),
        ("mean_sea_level_pressure", 870.0, "hPa"),
        ("mean_sea_level_pressure", 1083.8, "hPa"),
        ("surface_pressure", 310.0, "hPa"),
        ("10m_wind_gust", 113.2, "m s-1"),
        ("u_component_of_wind", -210.0, "m s-1"),
        ("geopotential", -700.0, "m"),
        ("geopotential", 80000.0, "m"),
        ("relative_humidity", 160.0, "%"),
        ("specific_humidity", 0.04, "kg kg-1"),
        ("specific_humidity", -5e-4, "kg kg-1"),
        ("total_cloud_cover", 1.0001, "1"),
        ("total_precipitation", 305.0, "mm"),
        ("total_precipitation_24hr", 1825.0, "mm"),
        ("orography", 8848.0, "m"),
        ("orography", -430.0, "m"),
    ],
)
def test_extremes_are_within(name, value, units):
    variable = VARIABLES[name]
    change = conversion(units, variable.units, gravity=True)
    low, high = variable.limits
    assert low <= value * change.scale + change.offset <= high


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("2m_temperature", 25.0),  # degC
        ("mean_sea_level_pressure", 1013.25),  # hPa
        ("specific_humidity", 7.0),  # g/kg
        ("total_cloud_cover", 60.0),  # %
        ("total_precipitation_24hr", -9999.0),
        ("orography", 25000.0),  # geopotential
    ],
)
def test_other_units_and_fill_values_are_beyond(name, value):
    low, high = VARIABLES[name].limits
    assert not low <= value <= high


def test_units_that_nothing_is_known_of():
    assert limits_of("sunshine", "furlong") == (-math.inf, math.inf)


def test_longer_sums_have_room_for_the_records():
    """305 mm in 42 min, 1825 mm in 24 h, 9300 mm in a month of 31 days: WMO."""
    for hours, record in ((1, 305), (24, 1825), (744, 9300)):
        assert limits_of("rain", "mm", nonnegative=True, hours=hours)[1] > record
