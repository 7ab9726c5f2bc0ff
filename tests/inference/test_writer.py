"""Files are whole under their name, or not there."""

import errno

import numpy as np
import pytest
import xarray as xr

import orbitlite
from orbitlite.errors import InputError
from orbitlite.inference.writer import write

RAIN = "total_precipitation_24hr"


@pytest.mark.parametrize("name", ["fine.nc", "fine.zarr", "new/folder/fine.nc"])
@pytest.mark.parametrize("lazy", [False, True])
def test_round_trip(coarse, bundle, tmp_path, name, lazy):
    fine = orbitlite.predict(coarse.chunk(time=2) if lazy else coarse, bundle)
    write(fine, tmp_path / name)
    found = orbitlite.open_source(tmp_path / name)
    np.testing.assert_array_equal(found[RAIN], fine[RAIN])
    np.testing.assert_array_equal(found.lat_bnds, fine.lat_bnds)
    assert found.time.values.tolist() == fine.time.values.tolist()
    assert [p.name for p in (tmp_path / name).parent.iterdir()] == [(tmp_path / name).name]


def test_existing_output_is_kept_unless_told(coarse, tmp_path):
    path = tmp_path / "a.nc"
    path.write_text("mine")
    with pytest.raises(InputError, match="exists"):
        write(coarse, path)
    assert path.read_text() == "mine"
    write(coarse, path, overwrite=True)
    assert xr.open_dataset(path).sizes["time"] == 5


@pytest.mark.parametrize("name", ["a.grib", "a"])
def test_unknown_suffix(coarse, tmp_path, name):
    with pytest.raises(InputError, match=r"\.nc or \.zarr"):
        write(coarse, tmp_path / name)


def test_folder_that_cannot_be_made(coarse, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="folder"):
        write(coarse, tmp_path / "file" / "a.nc")


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), InputError, "no room"),
        (PermissionError(errno.EACCES, "Permission denied"), InputError, "Permission"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
    ],
)
def test_nothing_is_left_after_a_failure(coarse, tmp_path, monkeypatch, error, expected, message):
    whole = xr.Dataset.to_netcdf

    def broken(self, path, **options):
        whole(self, path, **options)
        raise error

    monkeypatch.setattr(xr.Dataset, "to_netcdf", broken)
    with pytest.raises(expected, match=message):
        write(coarse, tmp_path / "a.nc")
    assert list(tmp_path.iterdir()) == []
