from __future__ import annotations

import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from orbitlite.data.conversion import convert, period_hours
from orbitlite.data.screening import Screen
from orbitlite.errors import InputError
from orbitlite.notice import OrbitliteWarning, one_call
from orbitlite.variables import VARIABLES, cf_attributes


def array(values, units=None, name="x", **attrs):
    if units is not None:
        attrs["units"] = units
    return xr.DataArray(np.asarray(values, np.float64), dims="x", name=name, attrs=attrs)


@pytest.mark.parametrize(
    ("channel", "units", "value", "expected", "period"),
    [
        ("2m_temperature", "degC", -3.5, 269.65, None),
        ("temperature_850", "K", 280.0, 280.0, None),
        ("mean_sea_level_pressure", "hPa", 1013.25, 101325.0, None),
        ("geopotential_500", "m", 5500.0, 5500 * 9.80665, None),
        ("geopotential_500", "m**2 s**-2", 53936.0, 53936.0, None),
        ("orography", "m2 s-2", 9806.65, 1000.0, None),
        ("orography", "m", 1000.0, 1000.0, None),
        ("specific_humidity_850", "g kg-1", 7.0, 0.007, None),
        ("land_sea_mask", "%", 60.0, 0.6, None),
        ("land_sea_mask", None, 0.6, 0.6, None),
        ("latitude", None, -12.5, -12.5, None),
        ("total_cloud_cover", "(0 - 1)", 0.3, 0.3, None),
        ("snow_depth", "kg m-2", 250.0, 0.25, None),
        ("total_precipitation_24hr", "m", 0.004, 4.0, "24h"),
        ("total_precipitation_24hr", "kg m-2", 4.0, 4.0, "1D"),
        ("total_precipitation_24hr", "mm", 4.0, 4.0, "24h"),
        ("total_precipitation_24hr", "kg m-2 s-1", 4 / 86400, 4.0, None),
        ("total_precipitation_24hr", "mm day-1", 4.0, 4.0, None),
        ("total_precipitation_24hr", "mm day-1 (monthly mean of daily total)", 4.0, 4.0, None),
        ("total_precipitation_6hr", "mm day-1", 4.0, 1.0, None),
        ("total_precipitation", "kg m-2 s-1", 1 / 3600, 1.0, None),
        ("total_precipitation", "m", 0.002, 2.0, "1h"),
        ("surface_solar_radiation_downwards", "W m-2", 100.0, 360000.0, None),
        ("surface_solar_radiation_downwards", "J m**-2", 360.0, 360.0, "1h"),
        ("snowfall_24hr", "kg m-2 s-1", 2 / 86400, 2.0, None),
        ("runoff_24hr", "kg m-2 s-1", 2 / 86400, 2.0, None),
        ("surface_runoff", "m", 0.002, 2.0, "1h"),
        ("evapotranspiration_24hr", "mm day-1", -0.5, -0.5, None),
        ("potential_evapotranspiration_24hr", "kg m-2", 4.0, 4.0, "24h"),
        ("river_discharge", "m3 s-1", 7.0, 7.0, None),
        ("snow_thickness", "cm", 30.0, 0.3, None),
        ("soil_moisture_content", "kg m-2", 900.0, 900.0, None),
    ],
)
def test_known_values(channel, units, value, expected, period):
    result = convert(array([value, np.nan], units), channel, period)
    np.testing.assert_allclose(result.values, [expected, np.nan], rtol=1e-6)
    assert result.dtype == np.float32
    assert result.name == channel
    assert result.attrs == cf_attributes(channel)


@settings(deadline=None)  # the first to need pint waits for it
@given(value=st.floats(1e-3, 500), hours=st.sampled_from([1, 3, 6, 12, 24]))
def test_every_spelling_of_an_amount_agrees(value, hours):
    channel = "total_precipitation" + (f"_{hours}hr" if hours > 1 else "")
    given_in = {
        "m": value / 1000,
        "mm": value,
        "kg m-2": value,
        "kg m-2 s-1": value / 3600 / hours,
        "mm/day": value * 24 / hours,
    }
    results = [
        float(convert(array([number], units), channel, f"{hours}h")[0])
        for units, number in given_in.items()
    ]
    np.testing.assert_allclose(results, value, rtol=1e-6)


def test_conversion_stays_lazy():
    def fail(block):
        raise AssertionError("computed")

    lazy = dask.array.ones((4,), chunks=2).map_blocks(fail, dtype=np.float64, meta=np.ones(0))
    result = convert(
        xr.DataArray(lazy, dims="x", name="t2m", attrs={"units": "degC"}), "2m_temperature"
    )
    assert result.chunks == ((2, 2),)
    with pytest.raises(AssertionError, match="computed"):
        result.compute()


def test_float32_in_the_right_unit_is_passed_through_untouched():
    values = np.full(3, 280, np.float32)
    data = xr.DataArray(values, dims="x", name="t2m", attrs={"units": "K"})
    assert convert(data, "2m_temperature").values is values


def test_the_source_is_not_changed():
    data = array([1.0], "degC", "tas")
    convert(data, "2m_temperature")
    assert data.attrs == {"units": "degC"}
    assert data.name == "tas"


@pytest.mark.parametrize(
    ("channel", "units", "message"),
    [
        ("2m_temperature", None, "'x' .2m_temperature. has no units.*K, degC"),
        ("2m_temperature", "Pa", "'x' .2m_temperature. has the unit 'Pa'; accepted are K, degC"),
        ("2m_temperature", "gibberish", "has the unit 'gibberish'"),
        ("specific_humidity_850", None, "has no units"),
        ("total_cloud_cover", None, "has no units"),
        ("total_precipitation_24hr", None, "mm day-1, kg m-2 s-1"),
        ("total_precipitation_24hr", "K", "accepted are mm, m or kg m-2"),
        ("geopotential_500", "K", "geopotential height"),
        ("land_sea_mask", "m", "accepted are 1, %"),
    ],
)
def test_missing_and_wrong_units_name_the_variable_and_what_is_accepted(channel, units, message):
    with pytest.raises(InputError, match=message):
        convert(array([1.0], units), channel, "24h")


@pytest.mark.parametrize("units", ["m", "mm", "kg m-2"])
def test_an_amount_without_period_is_an_error(units):
    with pytest.raises(InputError, match=r"'tp' holds amounts in .*accumulation_period='1h'"):
        convert(array([1.0], units, "tp"), "total_precipitation_24hr")


def test_an_amount_of_another_period_is_an_error():
    with pytest.raises(InputError, match=r"amounts over 1 h, but total_precipitation_24hr .* 24 h"):
        convert(array([1.0], "mm", "tp"), "total_precipitation_24hr", "1h")


@pytest.mark.parametrize(
    ("name", "attrs"),
    [
        ("total_precipitation_24hr", {}),
        ("tp24", {}),
        ("rain", {"accumulation_hours": 24}),
        ("rain", {"cell_methods": "time: sum within days"}),
        ("rain", {"cell_methods": "time: sum (comment: over 24 hours)"}),
    ],
)
def test_periods_that_the_file_states(name, attrs, caplog):
    data = array([0.003], "m", name, **attrs)
    assert float(convert(data, "total_precipitation_24hr")[0]) == pytest.approx(3)
    with caplog.at_level("INFO"):  # the file is right, the argument is not, and both are said
        assert float(convert(data, "total_precipitation_24hr", "7h")[0]) == pytest.approx(3)


def test_the_interval_of_the_original_data_is_no_period():
    """CF: `interval` is the spacing of the data that were summed, not how long they were summed."""
    data = array([3.0], "mm", "rain", cell_methods="time: sum (interval: 1 hour)")
    with pytest.raises(InputError, match="does not say over which time"):
        convert(data, "total_precipitation")


def test_rates_average_to_the_sum():
    hourly = array(np.arange(24.0), "mm", "tp")
    rates = convert(hourly, "total_precipitation_24hr", "1h", rates=True)
    assert float(rates.mean()) == pytest.approx(np.arange(24).sum(), rel=1e-6)
    assert rates.attrs["source_hours"] == 1.0
    assert "source_hours" not in convert(hourly, "total_precipitation", "1h").attrs
    flux = hourly.assign_attrs(units="mm/day")
    assert "source_hours" not in convert(flux, "total_precipitation", rates=True).attrs


def test_the_canonical_form_converts_to_itself():
    for channel in ("total_precipitation", "total_precipitation_24hr", "2m_temperature"):
        once = convert(array([1.0], cf_attributes(channel)["units"], channel), channel, "1h")
        xr.testing.assert_identical(convert(once, channel), once)


@pytest.mark.parametrize("period", ["soon", "-1h", "0h", "", "24", "1.5"])
def test_bad_periods(period):
    with pytest.raises(InputError, match="length of time"):
        period_hours(period)


def test_period_hours():
    assert (period_hours("24h"), period_hours("1D"), period_hours("30min")) == (24, 24, 0.5)


def test_cf_attributes():
    assert cf_attributes("total_precipitation_24hr") == {
        "units": "mm",
        "standard_name": "lwe_thickness_of_precipitation_amount",
        "long_name": "Total precipitation in 24 hours",
        "cell_methods": "time: sum (comment: over 24 hours)",
    }
    assert cf_attributes("2m_temperature_max")["cell_methods"] == "time: maximum"
    assert "cell_methods" not in cf_attributes("orography")


# What 5 of each text are in the unit of the table, by hand; what is not listed is to be refused.
# Rates make amounts over one hour.
FRACTION = {
    **dict.fromkeys(["0-1", "[0-1]", "(0 - 1)", "1", "~", "kg/kg", "kg kg**-1"], 5.0),
    **dict.fromkeys(["% (0-100)", "Percent", "%"], 0.05),
    **dict.fromkeys(["g/kg", "G/KG"], 0.005),
}
HEIGHT = {"m": 5.0, "gpm": 5.0, "inches": 0.127, "in.": 0.127}
GEOPOTENTIAL = dict.fromkeys(["m2/s2", "m**2 s**-2", "J/kg"], 5.0)
AMOUNTS = {
    **{text: 1000 * value for text, value in HEIGHT.items()},
    **dict.fromkeys(["kg m**-2", "kg/m^2", "mm w.e.", "mm of water equivalent"], 5.0),
}
RATES = {
    **dict.fromkeys(["m/s", "ms-1", "m s**-1"], 5000 * 3600.0),
    **dict.fromkeys(["mm/3h", "mm 3h-1", "mm (3h)-1"], 5 / 3),
    **dict.fromkeys(["kg/m2/s", "kgm-2s-1"], 5 * 3600.0),
    **dict.fromkeys(["Wm-2", "W/m2"], 5 * 3600.0),
    "kg m-2 6h-1": 5 / 6,
}
KNOWN = {
    "K": {
        **dict.fromkeys(["deg. C", "degrees C", "C", "°C", "Celsius"], 278.15),
        **dict.fromkeys(["F", "degrees fahrenheit"], 258.15),
        **dict.fromkeys(["Kelvin", "degrees K", "k"], 5.0),
    },
    "Pa": {"hpa": 500.0, "mb": 500.0, "millibars": 500.0, "pa": 5.0, "Pascals": 5.0},
    **dict.fromkeys(["1", "kg kg-1", "m3 m-3"], FRACTION),
    "%": {text: 100 * value for text, value in FRACTION.items()},
    "m s-1": {text: RATES[text] / 3600e3 for text in [*RATES][:6]},
    "mm": {**AMOUNTS, **{text: RATES[text] for text in RATES if "W" not in text}},
    "J m-2": {"J m**-2": 5.0, "J/m2": 5.0, "Wm-2": 18000.0, "W/m2": 18000.0},
    "kg m-2": {"kg m**-2": 5.0, "kg/m^2": 5.0},
    "m": HEIGHT,
    "snow_depth": {text: value / 1000 for text, value in AMOUNTS.items()},
    "orography": HEIGHT | {text: value / 9.80665 for text, value in GEOPOTENTIAL.items()},
    "geopotential": GEOPOTENTIAL | {text: value * 9.80665 for text, value in HEIGHT.items()},
    "J kg-1": GEOPOTENTIAL,
    "Pa s-1": {"Pa s**-1": 5.0, "Pas-1": 5.0},
    "s-1": {"s**-1": 5.0, "1/s": 5.0},
    "degrees_north": {"degrees_north": 5.0, "deg": 5.0, "degrees": 5.0},
    "K m2 kg-1 s-1": {},
    "m3 s-1": {},
}
NO_UNITS = (
    "gr/kg", "0", "-1", "nan", "inf", "2", "0-100", "K (anomaly)", "delta_degC", "mm/24", "mm 24",
    "Mm", "mpa", "10 K", "1e-3", "unknown", "% (0-1)", "degC degC", "degrees K-1",
)  # fmt: skip
TEXTS = sorted({text for known in KNOWN.values() for text in known} | set(NO_UNITS))


@pytest.mark.parametrize("name", VARIABLES)
def test_every_channel_takes_every_spelling_for_what_it_is_or_refuses_it(name, monkeypatch):
    # Five of any unit is beyond the limits of most channels.
    monkeypatch.setattr(Screen, "apply", lambda self, values, positions: values)
    variable = VARIABLES[name]
    known = KNOWN[name if name in KNOWN else variable.units]
    channel = f"{name}_500" if variable.on_levels else name
    hours = variable.hours or 1
    for text in TEXTS:
        data = array([5.0], text)
        if text in known:
            expected = known[text] * (hours if variable.hours and text in RATES else 1)
            result = float(convert(data, channel, f"{hours}h")[0])
            assert result == pytest.approx(expected, rel=1e-5), text
        else:
            with pytest.raises(InputError, match="accepted are"):
                convert(data, channel, f"{hours}h")


def test_the_reading_of_a_unit_is_told_once(caplog):
    ds = xr.Dataset({"t2m": array([1.0], "deg. C"), "d2m": array([1.0], "deg. C")})
    with caplog.at_level("INFO"), one_call():
        for name in ds:
            convert(ds[name], "2m_temperature")
        convert(array([280.0], "K"), "2m_temperature")
    assert [record.message for record in caplog.records] == ["The unit 'deg. C' is read as degC."]


def test_a_month_of_no_certain_length_is_a_warning():
    with pytest.warns(OrbitliteWarning, match="month is taken as 30.4375 days"):
        convert(array([1.0], "mm/month", "pr"), "total_precipitation_24hr")
