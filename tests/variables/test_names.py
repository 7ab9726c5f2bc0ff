from __future__ import annotations

import pytest

from orbitlite.errors import InputError
from orbitlite.suggest import nearest
from orbitlite.variables import (
    VARIABLES,
    cf_attributes,
    lookup,
    meanings,
    resolve,
    split_level,
)


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
        ("u_850", "u_component_of_wind_850"),
        ("z500hPa", "geopotential_500"),
        ("t_50mb", "temperature_50"),
        ("temperature_50", "temperature_50"),
        ("t2", "2m_temperature"),
        ("v100", "100m_v_component_of_wind"),
        # a height as likely as a pressure, or no pressure at all
        *((name, None) for name in ("q2", "Q2", "u80", "z2", "z10", "ta_50", "u_100", "ua100")),
        *((name, None) for name in ("t9999", "t0", "u1200", "ua100m", "z0hPa")),
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


# as the makers of these files write them: name, standard name, long name, cell methods
REAL = [
    ("t2m", "air_temperature", "2 metre temperature", ""),
    ("t2m", "unknown", "2 metre temperature", ""),
    ("u10", "eastward_wind", "10 metre U wind component", ""),
    ("v100", "unknown", "100 metre V wind component", ""),
    ("10fg", "unknown", "Maximum 10 metre wind gust since previous post-processing", ""),
    ("mx2t", "air_temperature", "Maximum temperature at 2 metres since previous...", ""),
    ("stl1", "surface_temperature", "Soil temperature level 1", ""),
    ("orog", "geopotential_height", "Orography", ""),
    ("tcwv", "lwe_thickness_of_atmosphere_mass_content_of_water_vapor", "Total column...", ""),
    ("sd", "lwe_thickness_of_surface_snow_amount", "Snow depth", ""),
    ("sdor", "unknown", "Standard deviation of sub-gridscale orography", ""),
    ("ssrd", "surface_downwelling_shortwave_flux_in_air", "Surface short-wave radiation", ""),
    ("gh", "geopotential_height", "Geopotential height", ""),
    ("w", "lagrangian_tendency_of_air_pressure", "Vertical velocity", ""),
    ("vo", "atmosphere_relative_vorticity", "Vorticity (relative)", ""),
    ("cc", "unknown", "Fraction of cloud cover", ""),
    ("tas", "air_temperature", "Near-Surface Air Temperature", "area: time: mean"),
    ("tasmax", "air_temperature", "Daily Maximum...", "area: mean time: maximum within days"),
    ("tasmin", "air_temperature", "", "time: minimum within days time: mean over days"),
    ("huss", "specific_humidity", "Near-Surface Specific Humidity", "area: time: mean"),
    ("psl", "air_pressure_at_sea_level", "Sea Level Pressure", ""),
    ("pr", "precipitation_flux", "Precipitation", "area: time: mean"),
    ("pr", "precipitation_flux", "Bias-Adjusted Precipitation", ""),
    ("prsn", "snowfall_flux", "Snowfall Flux", ""),
    ("sftlf", "land_area_fraction", "Land Area Fraction", "area: mean"),
    ("snw", "surface_snow_amount", "Surface Snow Amount", ""),
    ("wap", "lagrangian_tendency_of_air_pressure", "omega (=dp/dt)", ""),
    ("tg", "air_temperature", "mean temperature", ""),
    ("tx", "air_temperature", "maximum temperature", ""),
    ("prcp", "", "daily total precipitation", "area: mean time: sum"),
    ("tmin", "", "daily minimum temperature", "area: mean time: minimum"),
    ("T2M", "2-meter_air_temperature", "2-meter_air_temperature", ""),
    ("U10M", "10-meter_eastward_wind", "10-meter_eastward_wind", ""),
    ("SLP", "sea_level_pressure", "sea_level_pressure", ""),
    ("T2", "", "TEMP at 2 M", ""),
]


@pytest.mark.parametrize(("name", "standard", "long_name", "methods"), REAL)
def test_real_attributes_contradict_no_name(name, standard, long_name, methods):
    attrs = {"standard_name": standard, "long_name": long_name, "cell_methods": methods}
    assert [(meant.rank, meant.against) for meant in meanings(name, attrs)] == [(1, "")]


@pytest.mark.parametrize("name", VARIABLES)
def test_our_own_attributes_contradict_no_name_of_ours(name):
    channel = f"{name}_500" if VARIABLES[name].on_levels else name
    (only,) = meanings(channel, cf_attributes(channel))
    assert (only.channel, only.rank, only.against) == (channel, 0, "")


@pytest.mark.parametrize(
    ("name", "attrs", "reason"),
    [
        ("U10", {"standard_name": "wind_speed"}, "standard_name is 'wind_speed'"),
        ("10m_u_component_of_wind", {"standard_name": "wind_speed"}, "wind_speed"),
        ("u10", {"standard_name": "northward_wind"}, "northward_wind"),
        ("uas", {"standard_name": "x_wind"}, "x_wind"),
        ("u10", {"height": 100.0}, "at 100 m"),
        ("u10", {"pressure": 850.0}, "at 850 hPa"),
        ("u10", {"long_name": "100 metre U wind component"}, "at 100 m"),
        ("u10", {"long_name": "U wind at 850 hPa"}, "at 850 hPa"),
        ("u100", {"GRIB_typeOfLevel": "heightAboveGround", "GRIB_level": 10}, "at 10 m"),
        ("u10", {"GRIB_typeOfLevel": "isobaricInhPa"}, "isobaricInhPa"),
        ("t2m", {"height": 10.0}, "at 10 m"),
        ("t850", {"pressure": 500.0}, "at 500 hPa"),
        ("t850", {"long_name": "Temperature at 2 m"}, "at 2 m"),
        ("ua", {"height": 50.0}, "at 50 m"),
        ("cl", {"standard_name": "cloud_area_fraction_in_atmosphere_layer"}, "cloud_area"),
        ("cl", {"levels": "lev"}, "has levels"),
        ("sd", {"standard_name": "surface_snow_thickness"}, "surface_snow_thickness"),
        ("lsm", {"standard_name": "sea_binary_mask"}, "sea_binary_mask"),
        ("t2m", {"standard_name": "dew_point_temperature"}, "dew_point"),
        ("t2m", {"standard_name": "air_temperature status_flag"}, "status_flag"),
        ("pr", {"standard_name": "convective_precipitation_flux"}, "convective"),
        ("d2m", {"cell_methods": "time: maximum"}, "time: maximum"),
        ("tasmax", {"cell_methods": "time: minimum"}, "time: minimum"),
        ("tas", {"cell_methods": "realization: standard_deviation"}, "standard_deviation"),
        ("t2m", {"long_name": "2 metre temperature anomaly"}, "anomaly"),
        ("pr", {"long_name": "Error of precipitation"}, "Error"),
        ("q2", {}, "hPa or m"),
    ],
)
def test_what_contradicts_a_name_is_said(name, attrs, reason):
    first = meanings(name, attrs)[0]
    assert reason in first.against
    assert resolve(name, attrs) != first.channel


def test_attributes_serve_where_a_name_is_contradicted():
    attrs = {"standard_name": "northward_wind", "pressure": 100.0}
    named, stated = meanings("v100", attrs)
    assert (named.channel, named.against) == ("100m_v_component_of_wind", "it is at 100 hPa")
    assert (stated.channel, stated.rank, stated.against) == ("v_component_of_wind", 2, "")
    attrs = {"standard_name": "specific_humidity", "long_name": "2 m specific humidity"}
    assert resolve("q2", attrs) == "2m_specific_humidity"


def test_attributes_alone_must_say_the_height():
    assert resolve("x", {"standard_name": "wind_speed"}) is None
    assert resolve("x", {"standard_name": "wind_speed", "height": 10.0}) == "10m_wind_speed"
    assert resolve("x", {"standard_name": "wind_speed", "height": 80.0}) is None


def test_what_is_called_an_error_of_a_quantity_is_not_the_quantity():
    attrs = {"standard_name": "lwe_thickness_of_precipitation_amount"}
    assert resolve("rain", attrs) == "total_precipitation"
    for name in ("error", "rain_anomaly", "std", "max_rain"):
        assert resolve(name, attrs) is None


@pytest.mark.parametrize("height", [1.25, 1.5, 2.0])
def test_the_heights_of_screens(height):
    assert resolve("tas", {"height": height}) == "2m_temperature"
    assert resolve("ta", {"height": height}) == "2m_temperature"
