from __future__ import annotations

import math

import pint
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orbitlite.variables.units import Conversion, UnitError, conversion, parse


@pytest.mark.parametrize(
    ("text", "target", "scale", "offset"),
    [
        ("degC", "K", 1, 273.15),
        ("C", "K", 1, 273.15),
        ("deg C", "K", 1, 273.15),
        ("degrees_C", "K", 1, 273.15),
        ("degF", "K", 5 / 9, 459.67 * 5 / 9),
        ("K", "K", 1, 0),
        ("hPa", "Pa", 100, 0),
        ("mb", "Pa", 100, 0),
        ("millibars", "Pa", 100, 0),
        ("Pa", "hPa", 0.01, 0),
        ("m**2 s**-2", "m2 s-2", 1, 0),
        ("%", "1", 0.01, 0),
        ("1", "%", 100, 0),
        ("(0 - 1)", "1", 1, 0),
        ("dimensionless", "1", 1, 0),
        ("~", "1", 1, 0),
        ("(Code table 4.213)", "1", 1, 0),
        ("kg kg**-1", "kg kg-1", 1, 0),
        ("g/kg", "kg kg-1", 1e-3, 0),
        ("knots", "m s-1", 1852 / 3600, 0),
        ("m**3 m**-3", "m3 m-3", 1, 0),
        ("mPa", "Pa", 1e-3, 0),
        ("MPa", "Pa", 1e6, 0),
        ("m+2 s-2", "m2 s-2", 1, 0),
        ("J/kg", "m2 s-2", 1, 0),
        ("km/h", "m s-1", 1 / 3.6, 0),
        ("rad", "degrees_north", 57.29577951308232, 0),
        ("degC m2 kg-1 s-1", "K m2 kg-1 s-1", 1, 0),  # in a product it is a difference
        ("kilogram / meter ** 2 / second", "kg m-2 s-1", 1, 0),  # as pint prints it
    ],
)
def test_plain_conversions(text, target, scale, offset):
    change = conversion(text, target)
    assert change.scale == pytest.approx(scale, rel=1e-12)
    assert change.offset == pytest.approx(offset, rel=1e-12)
    assert not change.rate


@pytest.mark.parametrize(
    ("text", "scale", "rate"),
    [
        ("m", 1000, False),
        ("mm", 1, False),
        ("cm", 10, False),
        ("in", 25.4, False),
        ("kg m-2", 1, False),
        ("kg m**-2", 1, False),
        ("m of water equivalent", 1000, False),
        ("kg m-2 s-1", 86400, True),
        ("mm day-1", 1, True),
        ("mm/day", 1, True),
        ("mm d-1", 1, True),
        ("mm day-1 (monthly mean of daily total)", 1, True),
        ("mm h-1", 24, True),
        ("mm/24h", 1, True),
        ("mm/6h", 4, True),
        ("m s-1", 86400e3, True),
        ("mm 3h-1", 8, True),
        ("mm (3h)-1", 8, True),
        ("mm / 6 hours", 4, True),
        ("mm per 3h", 8, True),
        ("mm (6 h)**-1", 4, True),
        ("mm/(3 h)", 8, True),
        ("mm 3 h-1", 8, True),
        ("mm/3-hour", 8, True),
        ("mm/30 min", 48, True),
        ("mm/0.5h", 48, True),
        ("kg m-2 6h-1", 4, True),
        ("kg m-2 (24 hours)^-1", 1, True),
        ("mm/1h", 24, True),
        ("kgm-2s-1", 86400, True),
        ("KG M-2 S-1", 86400, True),
        ("KGM-2S-1", 86400, True),
        ("kg/m2/s", 86400, True),
        ("kg/(m2 s)", 86400, True),
        ("kg.m-2.s-1", 86400, True),
        ("kg m⁻² s⁻¹", 86400, True),
        ("kg m$^{-2}$ s$^{-1}$", 86400, True),
        ("kg_m-2_s-1", 86400, True),
        ("ms-1", 86400e3, True),
        ("mms-1", 86400, True),
        ("mmday-1", 1, True),
        ("MM/DAY", 1, True),
        ("Millimeters per day", 1, True),
        ("mm w.e.", 1, False),
        ("m w.e.", 1000, False),
        ("mm w.e. d-1", 1, True),
        ("mm water equivalent day-1", 1, True),
        ("mm (liquid water equivalent)", 1, False),
        ("kg H2O m-2", 1, False),
        ("l/m2", 1, False),
        ("g cm-2", 10, False),
        ("inches/day", 25.4, True),
        ("in. hr-1", 609.6, True),
        ("mm/week", 1 / 7, True),
        ("mm (daily total)", 1, False),
        ("mm/day (mm d-1)", 1, True),
    ],
)
def test_precipitation_over_a_day(text, scale, rate):
    change = conversion(text, "mm", hours=24, water=True)
    assert change.scale == float(f"{scale:.13g}")  # exactly: rounding would touch every value
    assert (change.offset, change.rate) == (0, rate)


def test_the_period_scales_rates_only():
    assert conversion("kg m-2 s-1", "mm", hours=6, water=True).scale == 21600
    assert conversion("m", "mm", hours=6, water=True).scale == 1000
    assert conversion("W m-2", "J m-2", hours=1).scale == 3600


def test_gravity():
    assert conversion("m", "m2 s-2", gravity=True).scale == 9.80665
    assert conversion("gpm", "m2 s-2", gravity=True).scale == 9.80665
    assert conversion("m2 s-2", "m", gravity=True).scale == pytest.approx(1 / 9.80665, rel=1e-12)


DEGREES = r"""
    degrees C, degree C, deg. C, deg.C, degrees Celsius, ° C, °C, ºC, ˚C, ℃, Â°C, oC, Degrees C,
    DegC, deg_C, DEG C, degree_celsius, degree_Celsius, Celsius, celsius, CELSIUS, Celcius, C, c,
    degC (Celsius), $^\circ$C
"""
KELVIN = "K, k, Kelvin, KELVIN, kelvins, degrees K, degrees kelvin, deg K, degK, °K, K (air)"
FAHRENHEIT = "F, f, °F, deg F, degrees fahrenheit, Degrees F, Fahrenheit"


@pytest.mark.parametrize(
    ("spellings", "values"),
    [(DEGREES, (273.15, 279.0)), (KELVIN, (0.0, 5.85)), (FAHRENHEIT, (255.372222, 258.622222))],
)
def test_degrees_are_degrees_of_temperature(spellings, values):
    for text in map(str.strip, spellings.split(",")):
        change = conversion(text, "K")
        points = change.offset, change.scale * 5.85 + change.offset
        assert points == pytest.approx(values, abs=1e-6), text


@pytest.mark.parametrize(
    ("spellings", "target", "scale"),
    [
        ("hpa HPA hPa Hpa mb MB mbar MBAR millibar millibars hectopascals", "hPa", 1),
        ("pa PA Pa Pascal Pascals pascal", "hPa", 0.01),
        ("m/s ms-1 MS-1 m.s-1 m·s-1 m*s**-1 m_s-1", "m s-1", 1),
        ("Wm-2 WM-2 W/m2 W/m^2 W.m-2", "W m-2", 1),
        ("0-1 [0-1] (0-1) [0,1] 0..1 0\u20131 {0,1} 0.0-1.0", "1", 1),
        ("% %(0-100) 0-100% [0-100]% Percent percent PERCENT pct", "1", 0.01),
        ("kg/kg kgkg-1 Kg/Kg kilograms/kilogram", "kg kg-1", 1),
        ("g/kg gkg-1 G/KG grams/kg", "kg kg-1", 0.001),
        ("gpm GPM m M meters Metre", "m", 1),
        ("gpdam gpdm dam", "m", 10),
        ("m2/s2 m**2/s**2 m^2/s^2 m2s-2", "m2 s-2", 1),
        ("Pa/s Pas-1 Pa.s-1 pa/s", "Pa s-1", 1),
    ],
)
def test_case_and_punctuation(spellings, target, scale):
    for text in spellings.split():
        assert conversion(text, target).scale == scale, text


@pytest.mark.parametrize(
    "text", ["0 - 1", "0 to 1", "[0 - 1]", "(0, 1)", "fraction (0-1)", "0-1 (fraction)", "- (0-1)"]
)
def test_a_range_of_a_fraction_is_one(text):
    assert conversion(text, "1") == Conversion(1.0, 0.0, False, read="1")


@pytest.mark.parametrize("text", ["% (0-100)", "% (0 to 100)", "[0, 100] %", "percent (0 - 100)"])
def test_a_range_of_percent_is_percent(text):
    assert conversion(text, "1") == Conversion(0.01, 0.0, False, read="%")


@pytest.mark.parametrize(
    ("text", "target", "read"),
    [
        ("K", "K", ""),
        ("kelvin", "K", ""),
        ("deg. C", "K", "degC"),
        ("C", "K", "degC"),
        ("hpa", "Pa", "hPa"),
        ("kg kg**-1", "1", ""),
        ("m s-1", "m s-1", ""),
        ("ms-1", "m s-1", "m s-1"),
        ("W/m2", "W m-2", ""),
        ("m/(3 h)", "m s-1", "m (3 h)-1"),
    ],
)
def test_what_was_read_is_told_where_it_is_not_what_stands_there(text, target, read):
    assert conversion(text, target).read == read


@pytest.mark.parametrize(("text", "days"), [("mm month-1", 30.4375), ("mm/yr", 365.25)])
def test_the_length_of_a_month_is_a_guess(text, days):
    change = conversion(text, "mm", hours=24, water=True)
    assert change.scale == pytest.approx(1 / days, rel=1e-12)
    assert f"{days:g} days" in change.guess


@pytest.mark.parametrize(
    ("text", "target", "options"),
    [
        ("K", "Pa", {}),
        ("kg m-2", "mm", {}),  # water density not allowed
        ("m", "m2 s-2", {}),
        ("mm day-1", "mm", {}),  # no period
        ("bananas", "K", {}),
        ("seconds since 1970-01-01", "K", {}),
        ("~", "K", {}),
        ("(raw count)", "K", {}),
        ("mm w.e.", "m", {}),  # no amount of water
        *(
            (text, "K", {})
            for text in (
                "degree K-1",
                "degrees",
                "deg",
                "degC K",
                "K K",
                "1/K",
                "degC-1",
                "delta_degC",
                "delta_degree_Celsius",
                "Δ°C",
                "K (anomaly)",
                "K (difference)",
                "degC (x10)",
                "0.1 K",
                "10 K",
                "K*10",
                "K / 10",
                "1e-2 K",
                "tenths of degC",
                "K @ 273.15",
                "K [degC]",
                "0-1",
                "R",
                "mK",
            )
        ),
        *(
            (text, "1", {})
            for text in (
                "nan",
                "inf",
                "-inf",
                "0",
                "-1",
                "2",
                "100",
                "1e-3",
                "0-100",
                "(-1 to 1)",
                "% (0-1)",
                "fraction (0-100)",
                "0-2",
                "gr/kg",
                "gr kg-1",
                "degrees",
                "degree",
                "rad",
                "sr",
                "unknown",
                "m",
                "0/0",
                "1/0",
                "1-1",
            )
        ),
        *((text, "Pa", {}) for text in ("mpa", "MPA", "Mb", "Mbar", "P", "a", "pascal-pascal")),
        *(
            (text, "mm", {"hours": 24, "water": True})
            for text in (
                "Mm",
                "Mm/day",
                "mm 24h",
                "24 mm",
                "mm/24",
                "mm 24",
                "mm (3h)",
                "mm 0h-1",
                "mm/0h",
                "mm/-3h",
                "mm 3h-2",
                "mm (per day)",
                "kg m-2 (s-1)",
                "mm/day (24h)",
                "kg/m2 s",
                "mm in",
                "mm in 24h",
                "mm2",
                "mm/day/day",
                "mm mercury",
                "mm/h-1",
                "mmday",
                "mm3h-1",
                "mm/3 m",
                "mm day-1 0-1",
                "(mm",
                "mm)",
                "mm/",
                "/day",
                "per day",
                "mm^",
                "mm**",
                "m (snow depth)",
                "mS",
                "gr m-2",
            )
        ),
        ("", "degrees_north", {}),
        ("1", "degrees_north", {}),
        ("degrees_east", "degrees_north", {}),
        ("mS-1", "m s-1", {}),
        ("ms", "s", {}),
        ("ms-1", "s-1", {}),
        ("mw m-2", "W m-2", {}),
        ("J/kg K", "J kg-1 K-1", {}),
        ("J/kg K", "J kg-1 K", {}),
        ("W 24h m-2", "J m-2", {}),
    ],
)
def test_what_does_not_convert(text, target, options):
    with pytest.raises(UnitError):
        conversion(text, target, **options)


def test_text_that_is_no_unit_is_named():
    with pytest.raises(UnitError, match="bananas"):
        parse("bananas")


def test_the_reason_is_named():
    with pytest.raises(UnitError, match="write g"):
        parse("gr/kg")
    with pytest.raises(UnitError, match="MPa or mPa"):
        parse("mpa")


PARTS = [
    *("K", "k", "degC", "C", "F", "degrees", "deg", "°", "%", "percent", "m", "mm", "M", "kg", "g"),
    *("gr", "s", "h", "hr", "day", "month", "Pa", "hpa", "mb", "W", "J", "S", "mS", "rad", "in"),
    *("of", "water", "w.e.", "per", "north", "fraction", "mean", "delta_", "nan", "inf", "none"),
    *("0", "1", "2", "3", "24", "100", "-1", "-2", "1e3", "0.5", "0-1", "e", "Mm", "anomaly"),
    *(" ", " ", " ", "/", "*", "**", "^", ".", "-", "(", ")", "[", "]", "_", "~", ",", "µ", "²"),
]
TARGETS = ["K", "Pa", "1", "%", "m", "mm", "m s-1", "m2 s-2", "kg kg-1", "J m-2", "degrees_north"]
# what pint makes of the same unit, by the table's own words: an oracle of dimension and size
PINT = pint.UnitRegistry()


@settings(max_examples=600, deadline=None)
@given(st.lists(st.sampled_from(PARTS), max_size=7).map("".join), st.sampled_from(TARGETS))
def test_any_text_converts_soundly_or_is_refused(text, target):
    options = {"hours": 24, "water": target == "mm", "gravity": target == "m2 s-2"}
    try:
        change = conversion(text, target, **options)
    except UnitError:
        return
    assert math.isfinite(change.scale)
    assert change.scale > 0
    assert change.offset == 0 or target == "K"
    found, wanted = parse(text), parse(target)
    allowed = [
        PINT.Quantity(1, unit).dimensionality for unit in ("", "m**3/kg", "m/s**2", "s**2/m")
    ]
    ratio = wanted.dimensionality / found.dimensionality
    assert ratio in allowed + [dims * PINT.Quantity(1, "s").dimensionality for dims in allowed]
    assert (ratio / PINT.Quantity(1, "s").dimensionality in allowed) == change.rate


# spellings of one unit, and how many of the target's (kg, m, s) it is
MASSES = {"kg": 1.0, "g": 1e-3, "grams": 1e-3, "KG": 1.0, "Kilogram": 1.0, "mg": 1e-6}
LENGTHS = {"m": 1.0, "M": 1.0, "metre": 1.0, "cm": 0.01, "mm": 1e-3, "km": 1e3}
TIMES = {"s": 1.0, "S": 1.0, "sec": 1.0, "h": 3600.0, "hr": 3600.0, "days": 86400.0, "d": 86400.0}
RAISED = ("{}-{}", "{}**-{}", "{}^-{}", "{} **-{}", "{}^(-{})", "({}{})-1", "{} -{}")
BELOW = ("/{}{}", " / {}**{}", " per {}^{}", "/({}{})")


@settings(deadline=None)
@given(
    *(st.sampled_from(sorted(words)) for words in (MASSES, LENGTHS, TIMES)),
    st.sampled_from([(" ", RAISED), (".", RAISED), (" * ", RAISED), ("", BELOW)]),
    st.randoms(use_true_random=False),
)
def test_every_way_to_write_a_product(mass, length, time, style, random):
    between, ways = style
    text = between.join(
        [mass, random.choice(ways).format(length, 2), random.choice(ways).format(time, 1)]
    )
    expected = MASSES[mass] / LENGTHS[length] ** 2 / TIMES[time]
    assert conversion(text, "kg m-2 s-1").scale == pytest.approx(expected, rel=1e-12), text


@settings(deadline=None)
@given(st.floats(0.25, 72).map(lambda x: round(x, 2)), st.sampled_from(sorted(TIMES)))
def test_every_length_of_a_period(length, time):
    wanted = 86400 / (length * TIMES[time])
    for form in (
        "mm/{}{}",
        "mm {}{}-1",
        "mm ({} {})-1",
        "mm per {} {}",
        "mm/({}{})",
        "mm {}{}**-1",
    ):
        change = conversion(form.format(length, time), "mm", hours=24)
        assert change.rate
        assert change.scale == pytest.approx(wanted, rel=1e-12), form
