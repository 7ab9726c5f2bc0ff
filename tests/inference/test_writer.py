"""Files are whole under their name, or not there."""

import errno
import resource
import threading
import weakref

import dask.array
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


def test_other_folders_are_not_overwritten(coarse, tmp_path):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="no Zarr store"):
        write(coarse, tmp_path / "a.zarr", overwrite=True)
    assert (tmp_path / "a.zarr" / "thesis.txt").exists()


def test_a_store_is_replaced_whole(coarse, tmp_path):
    write(coarse, tmp_path / "a.zarr")
    write(coarse.isel(time=[0]).drop_vars(RAIN), tmp_path / "a.zarr", overwrite=True)
    found = xr.open_zarr(tmp_path / "a.zarr")
    assert [*found.data_vars] == ["2m_temperature"]
    assert found.sizes["time"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


def test_urls_are_refused(coarse):
    with pytest.raises(InputError, match="URL"):
        write(coarse, "s3://bucket/a.zarr")


@pytest.mark.parametrize("name", ["a.nc", "a.zarr"])
def test_file_that_cannot_grow(coarse, tmp_path, name):
    values = np.random.default_rng(0).random((40, 100, 100), np.float32)
    ds = xr.Dataset({RAIN: (("time", "lat", "lon"), values)}).chunk(time=40)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
    try:
        with pytest.raises(InputError, match=r"cannot write .*a"):
            write(ds, tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_file_survives_a_failure(coarse, tmp_path):
    write(coarse, tmp_path / "a.nc")

    def broken(block):
        raise RuntimeError("NetCDF: HDF error" if block.size else "")

    lazy = dask.array.ones((4, 3, 3), chunks=1).map_blocks(broken, meta=np.ones((0, 0, 0)))
    with pytest.raises(InputError, match="is the source whole"):
        write(xr.Dataset({RAIN: (("time", "lat", "lon"), lazy)}), tmp_path / "a.nc", overwrite=True)
    assert xr.open_dataset(tmp_path / "a.nc")[RAIN].shape == (5, 6, 8)


def test_bugs_keep_their_name(tmp_path):
    def broken(block):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    lazy = dask.array.ones((4, 3, 3), chunks=1).map_blocks(broken, meta=np.ones((0, 0, 0)))
    with pytest.raises(RuntimeError, match="mat1"):
        write(xr.Dataset({RAIN: (("time", "lat", "lon"), lazy)}), tmp_path / "a.nc")
    assert list(tmp_path.iterdir()) == []


class Census:
    """Counts the blocks that are in memory at once."""

    def __init__(self):
        self.alive = self.most = self.made = 0
        self.lock = threading.Lock()

    def block(self, _):
        values = np.ones((4, 64, 64), np.float32)
        with self.lock:
            self.made += 1
            self.alive += 1
            self.most = max(self.most, self.alive)
        weakref.finalize(values, self.gone)
        return values

    def gone(self):
        with self.lock:
            self.alive -= 1


@pytest.mark.parametrize("name", ["a.nc", "a.zarr"])
def test_lazy_data_are_streamed(tmp_path, name):
    census = Census()
    source = dask.array.zeros((240, 1, 1), chunks=(4, 1, 1))
    lazy = source.map_blocks(
        census.block, chunks=(4, 64, 64), dtype="f4", meta=np.ones((0, 0, 0), "f4")
    )
    write(xr.Dataset({RAIN: (("time", "lat", "lon"), lazy)}), tmp_path / name)
    assert census.made == 60
    assert census.most <= 12
