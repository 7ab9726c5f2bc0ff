"""Units of variables whose source states none: declared, told, and never against the source."""

import logging
import pickle

import numpy as np
import pytest
import xarray as xr

from orbitlite.data.datamodule import PairDataModule
from orbitlite.data.source import open_source
from orbitlite.data.unstated import with_units
from orbitlite.errors import InputError

RAIN, WARM = "total_precipitation_24hr", "2m_temperature"


@pytest.fixture
def bare():
    """Return rain and temperature of which neither states a unit, 4 days of 4 x 6 cells."""
    dims, shape = ("time", "lat", "lon"), (4, 4, 6)
    return xr.Dataset(
        {"pr": (dims, np.full(shape, 3.0)), "tas": (dims, np.full(shape, 12.0))},
        {
            "time": np.datetime64("2001-01-01", "ns") + np.arange(4) * np.timedelta64(1, "D"),
            "lat": 40 + np.arange(4.0), "lon": 5 + np.arange(6.0),
        },
    )  # fmt: skip


def test_declared_units_are_converted_from(bare, caplog):
    caplog.set_level(logging.INFO)
    found = open_source(bare, [RAIN, WARM], units={"pr": "cm day-1", "tas": "degC", "no": "K"})
    assert float(found[RAIN].mean()) == pytest.approx(30.0)
    assert float(found[WARM].mean()) == pytest.approx(285.15)
    told = "Variables without a unit are taken as it was declared: pr cm day-1, tas degC."
    assert told in caplog.messages
    assert "units" not in bare["pr"].attrs


@pytest.mark.parametrize("key", ["units", "GRIB_units"])
def test_what_a_source_states_counts(bare, key):
    bare["tas"].attrs[key] = "K"
    bare["tas"] = bare["tas"] + 280
    bare["tas"].attrs[key] = "K"
    found = open_source(bare, [WARM], units={"tas": "degC"})
    assert float(found[WARM].mean()) == pytest.approx(292.0)


def test_without_a_declaration_it_is_refused(bare):
    with pytest.raises(InputError, match=r"'pr' .* has no units attribute"):
        open_source(bare, [RAIN])
    with pytest.raises(InputError, match="has the unit 'quarts'"):
        open_source(bare, [RAIN], units={"pr": "quarts"})
    with pytest.raises(InputError, match="expected the unit of 'pr' as a text, found 3"):
        with_units(bare, {"pr": 3})


def test_all_sources_of_a_data_module_take_them(bare, tmp_path):
    bare["orog"] = bare["tas"].isel(time=0, drop=True)
    bare[["pr", "tas"]].to_netcdf(tmp_path / "fine.nc")
    bare[["orog"]].to_netcdf(tmp_path / "static.nc")
    data = PairDataModule(
        str(tmp_path / "fine.nc"), statics=str(tmp_path / "static.nc"), inputs=[WARM],
        targets=[RAIN], static_names=["orography"], factor=2,
        units={"pr": "mm day-1", "tas": "degC", "orog": "dam"},
    )  # fmt: skip
    pairs = pickle.loads(pickle.dumps(data.pairing)).open()  # as a worker opens them
    assert float(pairs.fine[RAIN].mean()) == pytest.approx(3.0)
    assert float(pairs.coarse[WARM].mean()) == pytest.approx(285.15)
    assert float(pairs.statics["orography"].max()) == pytest.approx(120.0)
