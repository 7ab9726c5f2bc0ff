from __future__ import annotations

import pytest

from orbitlite.variables.units import UnitError, conversion, parse


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
        ("kg kg**-1", "kg kg-1", 1, 0),
        ("g/kg", "kg kg-1", 1e-3, 0),
        ("knots", "m s-1", 1852 / 3600, 0),
        ("m**3 m**-3", "m3 m-3", 1, 0),
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
    ],
)
def test_precipitation_over_a_day(text, scale, rate):
    change = conversion(text, "mm", hours=24, water=True)
    assert change.scale == scale  # exactly: rounding would touch every value
    assert (change.offset, change.rate) == (0, rate)


def test_the_period_scales_rates_only():
    assert conversion("kg m-2 s-1", "mm", hours=6, water=True).scale == 21600
    assert conversion("m", "mm", hours=6, water=True).scale == 1000
    assert conversion("W m-2", "J m-2", hours=1).scale == 3600


def test_gravity():
    assert conversion("m", "m2 s-2", gravity=True).scale == 9.80665
    assert conversion("gpm", "m2 s-2", gravity=True).scale == 9.80665
    assert conversion("m2 s-2", "m", gravity=True).scale == pytest.approx(1 / 9.80665, rel=1e-12)


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
    ],
)
def test_what_does_not_convert(text, target, options):
    with pytest.raises(UnitError):
        conversion(text, target, **options)


def test_text_that_is_no_unit_is_named():
    with pytest.raises(UnitError, match="bananas"):
        parse("bananas")
