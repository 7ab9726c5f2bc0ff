from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from orbitlite.data.levels import pressures
from orbitlite.errors import InputError


def column(name, values, units=None, **attrs):
    if units is not None:
        attrs["units"] = units
    values = np.asarray(values)
    dims = (name,) if values.ndim else ()
    return xr.DataArray(np.zeros(values.shape), dims=dims, coords={name: (dims, values, attrs)})


@pytest.mark.parametrize(
    ("name", "values", "units"),
    [
        ("level", [500, 850], "hPa"),
        ("level", [500, 850], "millibars"),
        *(("lev", [500, 850], text) for text in ("hpa", "HPA", "mb", "mbar", "millibar", "MB")),
        *(("plev", [5e4, 8.5e4], text) for text in ("pa", "PA", "Pascal", "Pascals")),
        ("level", [500, 850], None),  # ARCO and WeatherBench say no units
        ("pressure_level", [500.0, 850.0], "hPa"),
        ("isobaricInhPa", [500.0, 850.0], None),
        ("isobaricInPa", [50000.0, 85000.0], None),
        ("plev", [50000.0, 85000.0], "Pa"),
        ("plev", np.array([50000, 85000], np.float32), "Pa"),
        ("lev", [50.0, 85.0], "kPa"),
    ],
)
def test_names_and_units(name, values, units):
    assert pressures(column(name, values, units)) == (name, [500, 850])


def test_any_name_with_the_standard_name():
    data = column("p", [50000.0, 85000.0], "Pa", standard_name="air_pressure")
    assert pressures(data) == ("p", [500, 850])


def test_scalar_and_uneven_levels():
    assert pressures(column("level", 850, "hPa")) == ("level", [850])
    assert pressures(column("plev", [85000.0, 92540.0], "Pa")) == ("plev", [850, None])


def test_what_is_no_pressure():
    assert pressures(column("lev", [1, 2, 3], "1")) is None
    assert pressures(column("depth", [0.1], "m")) is None
    with pytest.raises(InputError, match="'plev' has no units"):
        pressures(column("plev", [50000.0, 85000.0]))
    with pytest.raises(InputError, match="'level' has no units"):
        pressures(column("level", [1, 2, 3, 4, 137]))  # model levels
    with pytest.raises(InputError, match="'pressure_level' has the unit 'm'"):
        pressures(column("pressure_level", [500], "m"))
    for text in ("100 Pa", "Mb", "mpa", "degrees"):
        with pytest.raises(InputError, match="accepted are hPa and Pa"):
            pressures(column("plev", [50000.0, 85000.0], text))
