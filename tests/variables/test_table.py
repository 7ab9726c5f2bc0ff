from __future__ import annotations

from collections import Counter

import matplotlib
import pytest

from orbitlite.variables import VARIABLES, cf_attributes, lookup, resolve, units

ORBIT_2 = [
    "land_sea_mask", "orography", "latitude", "landcover", "2m_temperature", "2m_temperature_max",
    "2m_temperature_min", "10m_u_component_of_wind", "10m_v_component_of_wind",
    "total_precipitation_24hr", "volumetric_soil_water_layer_1",
    *(f"{name}_{level}" for level in (200, 500, 850)
      for name in ("temperature", "u_component_of_wind", "v_component_of_wind",
                   "specific_humidity")),
]  # fmt: skip

FAMILIES = [
    "total_precipitation", "convective_precipitation", "large_scale_precipitation", "snowfall",
    "runoff", "surface_runoff", "sub_surface_runoff", "evapotranspiration",
    "potential_evapotranspiration",
]  # fmt: skip


def test_the_table_is_large_enough_and_holds_the_channels_of_orbit_2():
    assert len(VARIABLES) >= 45
    assert {variable.group for variable in VARIABLES.values()} == {
        "surface", "accumulated", "soil", "pressure level", "static"
    }  # fmt: skip
    assert len(ORBIT_2) == 23
    for channel in ORBIT_2:
        assert resolve(channel) == channel


def test_no_name_stands_for_two_variables():
    names = Counter(
        name for variable in VARIABLES.values() for name in (variable.name, *variable.aliases)
    )
    assert not [name for name, count in names.items() if count > 1]


@pytest.mark.parametrize("name", VARIABLES)
def test_every_row(name):
    variable = VARIABLES[name]
    assert variable.name == name == name.lower()
    channel = f"{name}_850" if variable.on_levels else name
    assert lookup(channel) is variable
    for alias in (name, *variable.aliases):
        assert alias == alias.lower()
        assert resolve(alias) == name, alias
        assert resolve(alias.upper()) == name
        if variable.on_levels:
            assert resolve(f"{alias}_850") in (channel, resolve(f"{alias}850"))
    assert units.conversion(variable.units, variable.units) == units.Conversion(1.0, 0.0, False)
    assert variable.transform in ("identity", "log1p")
    assert variable.transform == "identity" or variable.nonnegative
    assert variable.on_levels == (variable.group == "pressure level")
    assert not (variable.classes and variable.units != "1")
    assert variable.static == (variable.group == "static")
    assert (variable.hours is not None) == (variable.group == "accumulated")
    assert variable.cmap in matplotlib.colormaps
    attributes = cf_attributes(channel)
    assert attributes["units"] == variable.units
    assert attributes["long_name"].startswith(variable.long_name)
    assert attributes.get("standard_name") == variable.standard_name
    if variable.standard_name:
        assert variable.standard_name == variable.standard_name.lower().replace(" ", "_")


def test_rows_that_hold_codes():
    codes = {name for name, variable in VARIABLES.items() if variable.classes}
    assert codes == {
        "landcover", "soil_type", "type_of_high_vegetation", "type_of_low_vegetation"
    }  # fmt: skip


@pytest.mark.parametrize("hours", [3, 6, 12, 24])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_period_in_a_name_is_the_period_of_the_row(name, hours):
    whole, part = VARIABLES[name], VARIABLES[f"{name}_{hours}hr"]
    assert (whole.hours, part.hours) == (1, hours)
    assert part.water
    for field in ("units", "standard_name", "transform", "nonnegative"):
        assert getattr(whole, field) == getattr(part, field)


def test_mass_per_area_is_depth_for_what_is_water():
    for name, water in (
        ("runoff", True),
        ("snow_depth", True),
        ("surface_pressure", False),
        ("snow_thickness", False),
        ("surface_solar_radiation_downwards", False),
    ):
        assert VARIABLES[name].water == water
