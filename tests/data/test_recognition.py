"""Which of the variables of a dataset is which channel, and what is said about it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orbitlite.data.coordinates import standardise
from orbitlite.data.recognition import recognise, wanted
from orbitlite.data.source import harmonise
from orbitlite.errors import InputError
from orbitlite.notice import OrbitliteWarning

RAIN = "total_precipitation_24hr"
FLUX = {"standard_name": "precipitation_flux"}
AMOUNT = {
    "standard_name": "lwe_thickness_of_precipitation_amount",
    "cell_methods": "time: sum (comment: over 24 hours)",
}
SIZES = {"time": 2, "level": 2, "lat": 3, "lon": 4}


def field(value, units=None, dims=("time", "lat", "lon"), **attrs):
    attrs |= {} if units is None else {"units": units}
    return dims, np.full([SIZES[dim] for dim in dims], value, np.float32), attrs


def dataset(variables, **coords):
    time = np.datetime64("2001-01-01", "ns") + np.arange(2) * np.timedelta64(1, "D")
    grid = {"time": time, "lat": [1.0, 2.0, 3.0], "lon": [1.0, 2.0, 3.0, 4.0]}
    return xr.Dataset(variables, {**grid, **coords})


def means(ds, channels=None, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OrbitliteWarning)
        result = harmonise(ds, channels, **options)
    return {name: float(data.mean()) for name, data in result.data_vars.items()}


@pytest.mark.parametrize("channels", [None, [RAIN]])
@pytest.mark.parametrize(
    "variables",
    [
        {"error": field(9, "mm", **AMOUNT), RAIN: field(5, "mm", **AMOUNT)},
        {"rest": field(9, "mm", **AMOUNT), RAIN: field(5, "mm", **AMOUNT)},
        {RAIN: field(5, "mm", **AMOUNT), "pr": field(9, "mm day-1", **FLUX)},
        {"pr": field(9, "mm day-1", **FLUX), RAIN: field(5, "mm", **AMOUNT)},
        {"pr_raw": field(9, "mm day-1", **FLUX), "pr": field(5, "mm day-1", **FLUX)},
        {"pr": field(5, "mm day-1", **FLUX), "pr_raw": field(9, "mm day-1", **FLUX)},
        {"tp": field(9, "K"), "pr": field(5, "mm day-1")},  # the unit decides
        {"tp": field(9, "W m-2", **FLUX), "rain": field(5, "mm day-1", **FLUX)},
    ],
)
def test_the_name_counts_before_the_attributes(variables, channels):
    assert means(dataset(variables), channels) == {RAIN: 5.0}


@pytest.mark.parametrize("channels", [None, [RAIN]])
@pytest.mark.parametrize("names", [("pr", "tp"), ("rain", "wet")])
def test_a_tie_names_both_and_the_way_out(names, channels):
    ds = dataset({name: field(1, "mm day-1", **FLUX) for name in names})
    with pytest.raises(InputError, match=f"'{names[0]}' and '{names[1]}' may each be .* rename"):
        harmonise(ds, channels)
    assert means(ds.drop_vars(names[0]), channels) == {RAIN: 1.0}
    assert means(ds.rename({names[1]: "total_precipitation"}), channels) == {RAIN: 1.0}


def test_a_tie_of_what_is_not_asked_for_is_no_error():
    ds = dataset({"pr": field(1, "mm/day"), "tp": field(1, "mm/day"), "tas": field(280, "K")})
    assert means(ds, ["2m_temperature"]) == {"2m_temperature": 280.0}


def test_two_channels_that_become_one_are_a_tie():
    ds = dataset({"pr": field(1, "mm day-1"), "tp24": field(2, "mm")})
    with pytest.raises(InputError, match=f"may each be {RAIN}"):
        harmonise(ds)
    assert means(ds, [RAIN]) == {RAIN: 2.0}  # the one of that very period


def test_two_amounts_of_other_periods_are_not_chosen_from():
    ds = dataset({"tp_3h": field(1, "mm"), "tp_6h": field(1, "mm")})
    with pytest.raises(InputError, match="'tp_3h' and 'tp_6h' could each make it"):
        harmonise(ds, [RAIN], rates=True)


def test_what_was_taken_is_told(caplog):
    levels = field(9, "m2 s-2", ("time", "level", "lat", "lon"))
    ds = dataset(
        {"pr": field(1, "mm day-1"), "2m_temperature": field(280, "K"), "z": levels},
        level=("level", [500, 850], {"units": "hPa"}),
    )
    with caplog.at_level("INFO"):
        harmonise(ds)
    told = [record.message for record in caplog.records if record.levelname == "INFO"]
    assert told == [f"{RAIN} is 'pr'.", "geopotential is 'z'."]


def test_a_thickness_of_snow_is_no_water_equivalent_whatever_it_is_called():
    ds = dataset({"sd": field(1, "m", standard_name="surface_snow_thickness")})
    assert list(harmonise(ds).data_vars) == ["snow_thickness"]
    with (
        pytest.warns(OrbitliteWarning),
        pytest.raises(InputError, match=r"snow_depth' is not in the source: 'sd'.*thickness"),
    ):
        harmonise(ds, ["snow_depth"])


@pytest.mark.parametrize(
    ("name", "variable", "channel", "reason"),
    [
        ("U10", field(1, "m s-1", standard_name="wind_speed"), "10m_u_component_of_wind", "wind_s"),
        ("Q2", field(1, "kg kg-1"), "2m_specific_humidity", "hPa or m"),
        ("cl", field(1, "%", standard_name="depth"), "lake_cover", "standard_name is 'depth'"),
        ("cl", field(1, "%", ("time", "level", "lat", "lon")), "lake_cover", "has levels"),
        ("error", field(1, "mm", **AMOUNT), RAIN, "speaks of error"),
    ],
)
def test_a_contradicted_name_is_an_error_where_it_is_asked_for(name, variable, channel, reason):
    ds = dataset({name: variable, "tas": field(280, "K")})
    with (
        pytest.warns(OrbitliteWarning),
        pytest.raises(InputError, match=f"{channel}' is not in the source: '{name}'.*{reason}"),
    ):
        harmonise(ds, [channel])
    with pytest.warns(OrbitliteWarning, match=reason):
        assert list(harmonise(ds).data_vars) == ["2m_temperature"]
    with pytest.warns(OrbitliteWarning, match=reason):
        both = harmonise(ds, [channel, "2m_temperature"], optional=[channel])
    assert list(both.data_vars) == ["2m_temperature"]
    with warnings.catch_warnings():  # nothing to say where it is not asked for
        warnings.simplefilter("error", OrbitliteWarning)
        harmonise(ds, ["2m_temperature"])


@pytest.mark.parametrize(
    ("coords", "kept"),
    [
        ({"height": 10.0}, True),
        ({"height": ((), 1000.0, {"units": "cm"})}, True),
        ({"height": 100.0}, False),
        ({"heightAboveGround": 100.0}, False),
        ({"level": ((), 850, {"units": "hPa"})}, False),
        ({"plev": ((), 85000.0, {"units": "Pa"})}, False),
        ({"isobaricInhPa": 850.0}, False),
        ({"level": ((), 10, {"units": "m"})}, True),
        ({"lev": ((), 1, {"units": "1"})}, True),  # a model level says no height
    ],
)
def test_the_place_of_a_variable_goes_before_its_name(coords, kept):
    ds = dataset({"u10": field(1, "m s-1"), "lsm": field(1, "1")}, **coords)
    assert ("10m_u_component_of_wind" in means(ds)) == kept


def test_a_name_may_be_another_channel_by_its_attributes():
    ds = dataset({"cl": field(50, "%", standard_name="cloud_area_fraction")})
    assert means(ds) == {"total_cloud_cover": 0.5}
    with pytest.warns(OrbitliteWarning, match="not taken as lake_cover"), pytest.raises(InputError):
        harmonise(ds, ["lake_cover"])


def test_a_scalar_coordinate_of_one_variable_says_nothing_about_the_others():
    merged = dataset({"tas": field(280, "K"), "uas": field(1, "m s-1")}, height=2.0)
    assert set(means(merged)) == {"2m_temperature", "10m_u_component_of_wind"}
    slice_of = dataset({"t2m": field(280, "K"), "z": field(9, "m2 s-2")}, level=850)
    assert set(means(slice_of)) == {"2m_temperature", "geopotential_850"}


def test_an_attribute_called_height_is_no_place():
    assert means(dataset({"tas": field(280, "K", height="2 m", levels="many")}))


def test_a_height_at_a_pressure_is_no_orography():
    ds = dataset({"hgt": field(5500, "m", long_name="500 hPa geopotential height")})
    with pytest.raises(InputError, match="No channel"):
        means(ds)


def test_what_is_not_recognised_is_a_warning_where_nothing_was_asked_for():
    ds = dataset({"tas": field(280, "K"), "mystery": field(1, "K")})
    ds["time"].attrs["bounds"] = "time_bounds_of"
    ds["time_bounds_of"] = (("time", "edge"), np.stack([ds["time"], ds["time"]], 1))
    ds["crs"] = 0
    with pytest.warns(OrbitliteWarning) as told:
        harmonise(ds)
    assert [str(one.message) for one in told] == ["Not recognised and left out: mystery."]
    with warnings.catch_warnings():
        warnings.simplefilter("error", OrbitliteWarning)
        harmonise(ds, ["2m_temperature"])


NAMES = ["pr", "tp", "error", "u10", "U10M", "q2", "t850", "t", "z", "cl", "sd", "x", "tas", "u100"]
STANDARD = ["", "precipitation_flux", "wind_speed", "air_temperature", "eastward_wind",
            "surface_snow_thickness", "unknown"]  # fmt: skip
ASKED = [None, [RAIN], ["2m_temperature", "orography"], ["u_component_of_wind_500"]]


@settings(deadline=None, max_examples=80)
@given(
    st.lists(
        st.tuples(st.sampled_from(NAMES), st.sampled_from(STANDARD), st.booleans()),
        min_size=1, max_size=4, unique_by=lambda item: item[0],
    ),
    st.sampled_from([{}, {"height": 2.0}, {"height": 100.0}, {"plev": ((), 5e4, {"units": "Pa"})}]),
    st.sampled_from(ASKED),
)  # fmt: skip
@example([("z", "", False)], {}, ASKED[2])  # the geopotential of the surface
def test_what_is_taken_is_read_lazily(items, coords, channels):
    """`wanted` decides before opening what `recognise` takes afterwards: it must not miss any."""
    variables = {
        name: field(1, "1", ("time", "level", "lat", "lon") if deep else ("time", "lat", "lon"),
                    standard_name=standard)
        for name, standard, deep in items
    }  # fmt: skip
    ds = dataset(variables, level=("level", [500, 850], {"units": "hPa"}), **coords)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OrbitliteWarning)
        found = recognise(standardise(ds), channels).found
        named = wanted(ds, channels)
    for channel, candidate in found.items():
        if channels is None or channel in channels:
            assert candidate.data.name in named
