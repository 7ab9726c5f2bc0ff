from __future__ import annotations

import pickle

import numpy as np
import pytest
import xarray as xr
import yaml
from hypothesis import given
from hypothesis import strategies as st

import orbitlite
from orbitlite.data.pairing import Pairing
from orbitlite.data.source import harmonise
from orbitlite.errors import InputError
from orbitlite.listing import listing
from orbitlite.model.config import DownscalerConfig
from orbitlite.variables import (
    VARIABLES,
    cf_attributes,
    declare_variables,
    declared,
    log1p_channels,
    lookup,
    resolve,
)
from orbitlite.variables.declaration import fields_of, row_of

RUNOFF = {
    "units": "mm", "long_name": "Runoff of glaciers", "transform": "log1p", "limits": [0, 5000],
    "hours": 24, "aliases": ["GRO", "glof"], "standard_name": "runoff_of_ice",
}  # fmt: skip
OWN = {"glacier_runoff": RUNOFF, "ozone": {"units": "ppm", "on_levels": True}}


def grid(**fields):
    """One step of 2 x 2 cells; fields by name, as (values, attributes)."""
    return xr.Dataset(
        {name: (("lat", "lon"), np.full((2, 2), v), attrs) for name, (v, attrs) in fields.items()},
        {"lat": [1.0, 0.0], "lon": [5.0, 6.0], "time": np.datetime64("2001-01-01", "ns")},
    )


def test_it_is_a_row_like_others():
    orbitlite.declare_variables(OWN)
    row = lookup("glacier_runoff")
    assert (row.units, row.hours, row.limits, row.nonnegative) == ("mm", 24, (0.0, 5000.0), True)
    for name in ("glacier_runoff", "Glacier_Runoff", "gro", "GLOF"):
        assert resolve(name) == "glacier_runoff"
    assert resolve("x", {"standard_name": "runoff_of_ice"}) == "glacier_runoff"
    assert resolve("ozone850") == "ozone_850"
    assert lookup("ozone_850").long_name == "Ozone"
    assert cf_attributes("glacier_runoff") == {
        "units": "mm", "standard_name": "runoff_of_ice", "long_name": "Runoff of glaciers",
        "cell_methods": "time: sum (comment: over 24 hours)",
    }  # fmt: skip
    assert log1p_channels(["ozone_850", "glacier_runoff"]) == ("glacier_runoff",)


@pytest.mark.parametrize(
    ("value", "units", "expected"),
    [(2 / 86400, "kg m-2 s-1", 2), (0.002, "m", 2), (0.5, "mm h-1", 12), (3.0, "kg m-2", 3)],
)
def test_files_in_other_units_are_understood(value, units, expected):
    declare_variables(OWN)
    found = harmonise(
        grid(gro=(value, {"units": units})), ["glacier_runoff"], accumulation_period="24h"
    )
    assert found["glacier_runoff"].values.max() == pytest.approx(expected, rel=1e-6)


def test_another_unit_than_that_is_refused():
    declare_variables(OWN)
    with pytest.raises(InputError, match="has the unit 'K'; accepted are mm"):
        harmonise(grid(gro=(1.0, {"units": "K"})), ["glacier_runoff"])


def test_codes_need_no_unit():
    declare_variables({"crop": {"units": 1, "classes": True}})
    assert harmonise(grid(crop=(3.0, {})), ["crop"])["crop"].values.max() == 3
    with pytest.raises(InputError, match="crop holds codes of classes"):
        DownscalerConfig(inputs=["crop"], targets=["crop"])


def test_what_the_table_says_stays():
    """A longer period of its own and a standard name of the table's draw nothing to themselves."""
    rain = {"units": "mm", "hours": 48, "standard_name": "lwe_thickness_of_precipitation_amount"}
    declare_variables({"total_precipitation_48hr": rain, "gauge_rain": {**rain, "hours": 24}})
    rate = {"units": "mm day-1", "standard_name": "lwe_thickness_of_precipitation_amount"}
    assert list(harmonise(grid(pr=(1.0, rate)))) == ["total_precipitation_24hr"]
    assert list(harmonise(grid(var1=(1.0, rate)))) == ["total_precipitation_24hr"]
    assert harmonise(grid(pr=(1.0, rate)), ["total_precipitation_48hr"]).to_array().max() == 2


@pytest.mark.parametrize(
    ("name", "fields", "words"),
    [
        ("Glacier", {"units": "mm"}, "lower-case"),
        ("my runoff", {"units": "mm"}, "lower-case"),
        ("850", {"units": "mm"}, "lower-case"),
        (7, {"units": "mm"}, "lower-case"),
        ("x1", None, "expected fields"),
        ("x1", {}, "units are missing"),
        ("x1", {"units": "bananas"}, "units: .*bananas"),
        ("x1", {"unit": "mm"}, "unknown field 'unit'; did you mean 'units'"),
        ("x1", {"units": "mm", "colour": "red"}, "unknown field 'colour'; known are"),
        ("x1", {"units": "mm", "transform": "sqrt"}, "expected identity or log1p"),
        ("x1", {"units": "mm", "transform": "log1p"}, "state `nonnegative: true`"),
        ("x1", {"units": "mm", "limits": [5, 0]}, "limits: expected the smallest"),
        ("x1", {"units": "mm", "limits": [0, 1, 2]}, "limits: expected the smallest"),
        ("x1", {"units": "mm", "limits": 3}, "limits: expected the smallest"),
        ("x1", {"units": "mm", "limits": [0, float("nan")]}, "limits: expected the smallest"),
        ("x1", {"units": "mm", "limits": [False, True]}, "limits: expected the smallest"),
        ("x1", {"units": "mm", "hours": 0}, "hours: expected a whole number"),
        ("x1", {"units": "mm", "hours": 1.5}, "hours: expected a whole number"),
        ("x1", {"units": "mm", "hours": "24h"}, "hours: expected a whole number"),
        ("x1_6hr", {"units": "mm"}, "the name says 6 hours"),
        ("x1_6hr", {"units": "mm", "hours": 24}, "the name says 6 hours"),
        ("x1", {"units": "mm day-1", "hours": 24}, "is a rate"),
        ("x1", {"units": "mm", "static": "yes"}, "static: expected true or false"),
        ("x1", {"units": "mm", "static": True, "hours": 1}, "static and have hours"),
        ("x1", {"units": "1", "classes": True, "on_levels": True}, "classes and have on_levels"),
        ("x1", {"units": "mm", "aliases": [3]}, "aliases: expected a list of names"),
        ("total_precipitation", {"units": "m"}, "the table has it already, in mm"),
        ("temperature_850", {"units": "K"}, "stands for temperature_850 already"),
        ("x1", {"units": "mm", "aliases": ["tp"]}, "'tp' stands for total_precipitation already"),
        ("t2m", {"units": "K"}, "'t2m' stands for 2m_temperature already"),
        ("volumetric_soil_water_layer", {"units": "m3 m-3", "on_levels": True}, "with a level"),
        ("gro", {"units": "mm"}, "'gro' stands for glacier_runoff already"),
        ("glacier_runoff", {**RUNOFF, "limits": [0, 6000]}, r"limits \[0.0, 5000.0\] then"),
    ],
)
def test_what_is_wrong_is_named(name, fields, words):
    declare_variables(OWN)
    before = dict(VARIABLES)
    with pytest.raises(InputError, match=words):
        declare_variables({"another": {"units": "K"}, name: fields})
    assert dict(VARIABLES) == before  # all or nothing


def test_two_of_one_declaration_do_not_meet():
    with pytest.raises(InputError, match="'a1' stands for one already"):
        declare_variables({"one": {"units": "K", "aliases": ["a1"]}, "a1": {"units": "K"}})
    with pytest.raises(InputError, match="with a level"):
        declare_variables({"one": {"units": "K", "on_levels": True}, "one_5": {"units": "K"}})


def test_the_same_again_is_nothing_new():
    declare_variables(OWN)
    declare_variables(OWN)
    declare_variables(declared(["glacier_runoff", "ozone_500"]))
    assert list(declared(["ozone_850", "2m_temperature", "unheard_of"])) == ["ozone"]


LIMITS = st.tuples(st.none() | st.floats(-1e9, 0), st.none() | st.floats(1, 1e9)).map(list)


@given(
    st.fixed_dictionaries(
        {"units": st.sampled_from(["mm", "K", "1", "m3 s-1", "kg m-2"])},
        optional={
            "long_name": st.text(max_size=9), "standard_name": st.sampled_from(["a_b", "c"]),
            "aliases": st.lists(st.sampled_from(["q1", "q2"])), "limits": LIMITS,
            "nonnegative": st.booleans(), "static": st.booleans(),
        },
    )
)  # fmt: skip
def test_what_is_written_of_a_row_makes_the_same_row(fields):
    row = row_of("x1", fields)
    again = yaml.safe_load(yaml.safe_dump(fields_of(row)))
    assert row_of("x1", again) == row


def test_a_file_or_the_config_of_a_fit(tmp_path, forget):
    own, config = tmp_path / "own.yaml", tmp_path / "config.yaml"
    own.write_text(yaml.safe_dump(OWN))
    for variables in (OWN, str(own)):
        config.write_text(yaml.safe_dump({"model": {"network": {"variables": variables}}}))
        for path in (config, own):
            declare_variables(path)
            assert list(declared(["glacier_runoff", "ozone_850"])) == list(OWN)
            forget()
    config.write_text(yaml.safe_dump({"model": {"network": {}}}))
    declare_variables(config)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no such file"),
        ("- a\n- b", "expected variables by name"),
        ("{", "not valid YAML"),
        ("a: {units: mm}\na: {units: m}", "has the key 'a' twice"),
    ],
)
def test_files_that_cannot_be_read(content, words, tmp_path):
    path = tmp_path / "own.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=f"own.yaml.*{words}"):
        declare_variables(str(path))


def test_a_config_knows_its_own_channels_however_they_were_declared(forget):
    channels = {"inputs": ["glacier_runoff", "ozone_850"], "targets": ["glacier_runoff"]}
    told = DownscalerConfig(**channels, variables={**OWN, "unused": {"units": "K"}})
    assert list(told.variables) == ["glacier_runoff", "ozone"]
    assert told.log1p == ("glacier_runoff",)
    assert DownscalerConfig(**channels) == told
    values, stored = told.to_dict(), pickle.dumps(told)
    assert hash(told) == hash(DownscalerConfig(**channels))
    forget()
    assert pickle.loads(stored).variables == told.variables
    assert lookup("ozone_850").units == "ppm"
    forget()
    assert DownscalerConfig.from_dict(values) == told
    assert lookup("glacier_runoff").hours == 24


def test_samples_tell_the_process_that_reads_them(forget):
    declare_variables(OWN)
    pairing = Pairing("a", None, None, ("ozone_850",), ("glacier_runoff",), (), 2)
    stored = pickle.dumps(pairing)
    forget()
    again = pickle.loads(stored)
    assert again.__dict__ == pairing.__dict__
    assert (lookup("ozone_850").units, lookup("glacier_runoff").units) == ("ppm", "mm")


def test_networks_of_variables_that_differ_conflict(forget):
    channels = {"inputs": ["glacier_runoff"], "targets": ["glacier_runoff"]}
    ours = DownscalerConfig(**channels, variables=OWN)
    forget()
    theirs = DownscalerConfig(**channels, variables={"glacier_runoff": {**RUNOFF, "units": "m"}})
    assert ours.conflicts(theirs) == ["variables"]


def test_the_listing_has_them():
    declare_variables(OWN)
    assert listing("gro").row_count == 1
    assert listing().row_count == len(VARIABLES)
    with pytest.raises(InputError, match="nearest: glacier_runoff"):
        listing("glacier_runof_")


def test_precipitation_of_ones_own_is_told_by_its_name():
    fields = {"units": "mm", "hours": 24}
    assert row_of("gauge_precipitation", fields).precipitation
    assert not row_of("glacier_melt", fields).precipitation
