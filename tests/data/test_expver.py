"""Final and preliminary reanalysis along `expver`."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from orbitlite.data.source import open_source
from orbitlite.errors import InputError
from orbitlite.notice import OrbitliteWarning


@pytest.fixture
def whole(era5):
    return era5[["t2m", "msl", "lsm"]]


def versions(whole, names, order=(0, 1)):
    """Return `whole` as the store gives it: two final steps, then preliminary ones."""
    moving = whole[["t2m", "msl"]]
    final = moving.where(moving["time"] < moving["time"][2])
    parts = [final, moving.where(final.isnull())]
    both = xr.concat([parts[n] for n in order], "expver").assign_coords(
        expver=[names[n] for n in order]
    )
    for name in moving:
        both[name].attrs = moving[name].attrs
    both = both.assign(lsm=whole["lsm"])
    return both.transpose("time", "expver", "latitude", "longitude")


@pytest.mark.parametrize("names", [(1, 5), ("0001", "0005"), (b"0001", b"0005"), (1.0, 5.0)])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_final_before_preliminary(whole, names, order):
    ds = versions(whole, names, order)
    with pytest.warns(OrbitliteWarning, match=r"Final .* preliminary .* brought together"):
        found = open_source(ds)
    xr.testing.assert_allclose(found, open_source(whole))


def test_where_both_have_values_the_final_ones_count(whole):
    ds = versions(whole, (1, 5))
    ds["t2m"].loc[{"expver": 5}] = 250.0
    with pytest.warns(OrbitliteWarning):
        found = open_source(ds)["2m_temperature"]
    np.testing.assert_allclose(found[:2], whole["t2m"][:2], rtol=1e-6)
    np.testing.assert_array_equal(found[2:], 250)


def test_files_stay_lazy(whole, tmp_path):
    versions(whole, (1, 5)).to_netcdf(tmp_path / "x.nc")
    with pytest.warns(OrbitliteWarning):
        found = open_source(tmp_path / "x.nc")
    assert found["2m_temperature"].chunks is not None
    xr.testing.assert_allclose(found.compute(), open_source(whole))


@pytest.mark.parametrize("name", [1, 5, "0005"])
def test_one_version(whole, name, caplog):
    ds = whole.expand_dims(expver=[name])
    with caplog.at_level("INFO"):
        xr.testing.assert_allclose(open_source(ds), open_source(whole))
    assert ("preliminary" in caplog.text) == (name != 1)


def test_other_versions_are_refused(whole):
    for names in ((1, 2), ("a", "b"), (1, 1)):
        with pytest.raises(InputError, match="expver has the values"):
            open_source(xr.concat([whole, whole], "expver").assign_coords(expver=list(names)))
    with pytest.raises(InputError, match="values unknown"):
        open_source(xr.concat([whole, whole], "expver"))


def test_whole_numbers_cannot_be_missing(whole):
    packed = xr.concat([whole, whole], "expver").assign_coords(expver=[1, 5]).astype(np.int16)
    with pytest.raises(InputError, match="holds int16, which cannot tell what is missing"):
        open_source(packed)


def test_along_time_it_changes_nothing(whole):
    ds = whole.assign_coords(expver=("time", ["0001"] * 3 + ["0005"] * 2))
    found = open_source(ds)
    assert found["expver"].dims == ("time",)
    xr.testing.assert_identical(found.drop_vars("expver"), open_source(whole))
