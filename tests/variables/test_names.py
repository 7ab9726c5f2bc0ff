from __future__ import annotations

import pytest

from orbitlite.errors import InputError
from orbitlite.variables import lookup, nearest, resolve, split_level


@pytest.mark.parametrize(
    ("name", "channel"),
    [
        ("2t", "2m_temperature"),
        ("tas", "2m_temperature"),
        ("tasmax", "2m_temperature_max"),
        ("tmin", "2m_temperature_min"),
        ("10u", "10m_u_component_of_wind"),
        ("u10", "10m_u_component_of_wind"),
        ("u100", "100m_u_component_of_wind"),
        ("uas", "10m_u_component_of_wind"),
        ("va", "v_component_of_wind"),
        ("psl", "mean_sea_level_pressure"),
        ("ppt", "total_precipitation"),
        ("prcp", "total_precipitation"),
        ("tp24", "total_precipitation_24hr"),
        ("lattitude", "latitude"),
        ("sftlf", "land_sea_mask"),
        ("geopotential_at_surface", "orography"),
        ("zg", "geopotential"),
        ("z500", "geopotential_500"),
        ("t850", "temperature_850"),
        ("ta_850", "temperature_850"),
        ("ta850hPa", "temperature_850"),
        ("hus@1000", "specific_humidity_1000"),
        ("u_component_of_wind_50", "u_component_of_wind_50"),
        ("swvl1", "volumetric_soil_water_layer_1"),
        ("sd", "snow_depth"),
        ("swe", "snow_depth"),
        ("snw", "snow_depth"),
        ("snd", "snow_thickness"),
        ("sde", "snow_thickness"),
        ("mrro", "runoff"),
        ("mrros", "surface_runoff"),
        ("ssro", "sub_surface_runoff"),
        ("evspsbl", "evapotranspiration"),
        ("evspsblpot", "potential_evapotranspiration"),
        ("dis24", "river_discharge"),
        ("sf24h", "snowfall_24hr"),
        # of ERA5, positive downward: the sign is in no attribute
        ("e", None),
        ("pev", None),
        ("evaporation", None),
        ("potential_evaporation", None),
        ("total_evaporation", None),
        ("2m_temperature_850", None),
        ("foo", None),
        ("temperature_0", None),
    ],
)
def test_names_of_all_dialects(name, channel):
    assert resolve(name) == channel


@pytest.mark.parametrize(
    ("attrs", "channel"),
    [
        ({"standard_name": "air_temperature"}, "temperature"),
        ({"standard_name": "air_temperature", "height": 2.0}, "2m_temperature"),
        (
            {"standard_name": "air_temperature", "height": 2, "cell_methods": "time: maximum"},
            "2m_temperature_max",
        ),
        ({"standard_name": "eastward_wind", "height": 10.0}, "10m_u_component_of_wind"),
        ({"standard_name": "eastward_wind", "height": 50.0}, None),
        ({"standard_name": "precipitation_flux"}, "total_precipitation"),
        ({"standard_name": "lwe_thickness_of_precipitation_amount"}, "total_precipitation"),
        ({"standard_name": "surface_altitude"}, "orography"),
        ({"standard_name": "soil_temperature"}, None),  # four layers share it
        ({"standard_name": "snowfall_flux"}, "snowfall"),
        ({"standard_name": "lwe_thickness_of_snowfall_amount"}, "snowfall"),
        ({"standard_name": "runoff_flux"}, "runoff"),
        ({"standard_name": "surface_snow_thickness"}, "snow_thickness"),
        ({"standard_name": "lwe_thickness_of_water_evaporation_amount"}, None),  # of ERA5 too
        ({"standard_name": "unknown"}, None),
        ({"long_name": "air_temperature"}, None),
    ],
)
def test_standard_names_where_the_name_says_nothing(attrs, channel):
    assert resolve("var1", attrs) == channel


def test_a_known_name_comes_before_the_standard_name():
    assert resolve("tasmin", {"standard_name": "air_temperature"}) == "2m_temperature_min"


def test_height_turns_grib_names_into_near_surface_variables():
    assert resolve("r", {"height": 2.0}) == "2m_relative_humidity"
    assert resolve("r") == "relative_humidity"


def test_split_level():
    assert split_level("u_component_of_wind_200") == ("u_component_of_wind", 200)
    assert split_level("2m_temperature") == ("2m_temperature", None)
    assert split_level("total_precipitation_24hr") == ("total_precipitation_24hr", None)


@pytest.mark.parametrize(
    ("channel", "hint"),
    [("t2m", "2m_temperature"), ("lattitude", "latitude"), ("orografy", "orography")],
)
def test_lookup_names_what_was_meant(channel, hint):
    with pytest.raises(InputError, match=hint):
        lookup(channel)


def test_lookup_of_nonsense_tells_where_the_names_are():
    with pytest.raises(InputError, match=r"variable table\. `orbitlite variables` lists") as error:
        lookup("qqqqqqqq")
    assert "declare" in str(error.value)


def test_nearest_is_ordered():
    assert nearest("total_precip", ["orography", "total_precipitation", "convective_precip"])[
        0
    ] == ("total_precipitation")
