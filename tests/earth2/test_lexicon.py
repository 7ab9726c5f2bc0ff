"""Names and units of Earth2Studio, against what is written here by hand."""

import pytest

from orbitlite.earth2.field import given_as, read_as
from orbitlite.earth2.lexicon import LEVELS, TERMS, name_of, term_of
from orbitlite.errors import InputError
from orbitlite.variables import VARIABLES, lookup

# channel, variable, unit there, hours, what one of it is in the unit of the channel
KNOWN = [
    ("2m_temperature", "t2m", "K", None, 1),
    ("10m_u_component_of_wind", "u10m", "m s-1", None, 1),
    ("100m_u_component_of_wind", "u100m", "m s-1", None, 1),
    ("u_component_of_wind_100", "u100", "m s-1", None, 1),
    ("geopotential_500", "z500", "m2 s-2", None, 1),
    ("vertical_velocity_850", "w850", "Pa s-1", None, 1),
    ("relative_humidity_1000", "r1000", "%", None, 1),
    ("mean_sea_level_pressure", "msl", "Pa", None, 1),
    ("total_cloud_cover", "tcc", "1", None, 1),
    ("total_precipitation", "tp01", "m", 1, 1000),
    ("total_precipitation_6hr", "tp06", "m", 6, 1000),
    ("total_precipitation_24hr", "tp24", "m", 24, 1000),
    ("snowfall_6hr", "sf06", "m", 6, 1000),
    ("snow_depth", "sd", "m", None, 1),
    ("surface_solar_radiation_downwards", "ssrd1h", "J m-2", 1, 1),
    ("orography", "z", "m2 s-2", None, 1 / 9.80665),
    ("land_sea_mask", "lsm", "1", None, 1),
]


@pytest.mark.parametrize(("channel", "variable", "unit", "hours", "one"), KNOWN)
def test_channels_have_their_names_units_and_periods(channel, variable, unit, hours, one):
    field = read_as(channel, {}, {}, None)
    assert (field.variable, field.units, field.hours) == (variable, unit, hours)
    assert field.scale == pytest.approx(one, rel=1e-12)
    assert field.offset == 0
    back = given_as(channel, {}, {})
    assert (back.variable, back.units, back.scale) == (variable, unit, field.scale)


def test_names_that_mean_something_else_here_are_not_taken():
    assert term_of("u100").channel == "u_component_of_wind_100"  # of 100 m in the table's aliases
    assert term_of("z").channel == "orography"
    for name in ("vo", "sf", "ro", "tprate", "t0", "u80m", "T500", "nothing"):
        assert term_of(name) is None, name


@pytest.mark.parametrize("name", TERMS)
def test_every_term_is_a_channel_in_a_unit_that_converts(name):
    field = read_as(TERMS[name].channel, {TERMS[name].channel: name}, {}, "1h")
    assert field.scale > 0
    assert name_of(TERMS[name].channel) in (None, *TERMS)


def test_levels_are_of_variables_on_levels_in_their_own_units():
    for term in LEVELS.values():
        assert VARIABLES[term.channel].on_levels
        assert term.units == lookup(term.channel).units


@pytest.mark.parametrize(
    ("channel", "names", "units", "words"),
    [
        ("river_discharge", {}, {}, r"no name for the input river_discharge\. State the variable"),
        ("total_precipitation_3hr", {}, {}, "of other periods, or of none, it has tp01, tp1h"),
        ("total_precipitation", {"total_precipitation": "tp"}, {}, "accumulation_period='1h'"),
        ("2m_temperature", {"2m_temperature": "t850"}, {}, "'t850' is temperature_850 in"),
        ("river_discharge", {"river_discharge": "dis"}, {}, r"units=\{'dis': 'm3 s-1'\}"),
        ("2m_temperature", {}, {"t2m": "m"}, "'t2m' .2m_temperature. in 'm': expected"),
    ],
)
def test_what_cannot_be_told_is_one_error_with_a_way_out(channel, names, units, words):
    with pytest.raises(InputError, match=words):
        read_as(channel, names, units, None)


def test_ways_out():
    rain = read_as("total_precipitation_24hr", {"total_precipitation_24hr": "tp"}, {}, "24h")
    assert (rain.variable, rain.hours, rain.scale) == ("tp", 24, 1000)
    rate = read_as("total_precipitation_24hr", {"total_precipitation_24hr": "tpf"}, {}, None)
    assert (rate.hours, rate.scale) == (None, 86400)
    own = read_as("river_discharge", {"river_discharge": "dis"}, {"dis": "m3 s-1"}, None)
    assert (own.variable, own.units, own.scale) == ("dis", "m3 s-1", 1)
    snow = read_as("snow_depth", {}, {"sd": "kg m-2"}, None)
    assert snow.scale == 0.001
    cold = read_as("2m_temperature", {}, {"t2m": "degC"}, None)
    assert (cold.scale, cold.offset) == (1, 273.15)


def test_a_target_keeps_the_name_of_its_period():
    # an hour's amounts make those of a day, and these are not called as the hour's
    target = given_as("total_precipitation_24hr", {"total_precipitation_24hr": "tp01"}, {})
    assert target.variable == "tp24"
