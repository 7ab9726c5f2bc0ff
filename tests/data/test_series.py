"""Many files of one kind: opened as one, with nothing that one by one would find lost."""

from __future__ import annotations

import os
import pickle
import shutil

import netCDF4
import numpy as np
import pytest
import xarray as xr
from xarray.backends.netCDF4_ import NETCDF4_PYTHON_LOCK, NetCDF4DataStore

from orbitlite.data import headers, series
from orbitlite.data import source as source_module
from orbitlite.data.headers import Header
from orbitlite.data.series import alike, open_series
from orbitlite.data.source import open_source
from orbitlite.errors import InputError

LAT, LON = np.arange(4, 0, -1.0), np.arange(0, 6, 1.0)


def write(path, first, count=1, *, units="days since 2000-01-01", names=("tas",), change=None,
          form="NETCDF4", chunk=1, packed=True):  # fmt: skip
    """Write steps `first`... of made-up fields, as a producer with its own ways would."""
    with netCDF4.Dataset(path, "w", format=form) as file:
        file.history = f"made as {path.name}"
        for name, size in (("time", None), ("lat", 4), ("lon", 6), ("bnds", 2)):
            file.createDimension(name, size)
        for name, values, unit in (
            ("time", first + np.arange(count), units), ("lat", LAT, "degrees_north"),
            ("lon", LON, "degrees_east"),
        ):  # fmt: skip
            axis = file.createVariable(name, "f8", (name,))
            axis.units = unit
            axis[:] = values
        file["time"].bounds = "time_bnds"
        bounds = file.createVariable("time_bnds", "f8", ("time", "bnds"))
        bounds[:] = np.stack([first + np.arange(count), first + 1 + np.arange(count)], 1)
        chunks = None if form != "NETCDF4" else (chunk, 4, 6)
        for name in names:
            field = file.createVariable(
                name, "i2" if packed else "f4", ("time", "lat", "lon"), chunksizes=chunks,
                fill_value=-999,
            )  # fmt: skip
            field.units, field.standard_name = "K", "air_temperature"
            if packed:
                field.scale_factor, field.add_offset = 0.01, 280.0
            field[:] = truth(first, count)
        if change is not None:
            change(file)


def truth(first, count):
    steps = first + np.arange(count)[:, None, None]
    return 280 + steps % 50 + np.arange(24).reshape(1, 4, 6) / 50


@pytest.fixture
def canonical(monkeypatch):
    """Count what is brought to the canonical form, dataset by dataset."""
    seen = []
    real = source_module.recognise

    def counted(ds, *more):
        seen.append(ds.sizes.get("time"))
        return real(ds, *more)

    monkeypatch.setattr(source_module, "recognise", counted)
    return seen


@pytest.mark.slow
def test_a_thousand_files_are_opened_once_each_and_made_canonical_once(
    tmp_path, canonical, monkeypatch
):
    write(tmp_path / "day0000.nc", 0)
    for step in range(1, 1000):
        path = shutil.copy(tmp_path / "day0000.nc", tmp_path / f"day{step:04d}.nc")
        with netCDF4.Dataset(path, "a") as file:
            file["time"][:], file["time_bnds"][:], file["tas"][:] = (
                step, [[step, step + 1]], truth(step, 1),
            )  # fmt: skip
    opened = []  # not by a subclass of netCDF4.Dataset, which would break the memory at its end
    ours, theirs = headers.opened, NetCDF4DataStore.open

    def counted(call):
        def count(path, *words, **options):
            opened.append(path)
            return call(path, *words, **options)

        return count

    monkeypatch.setattr(headers, "opened", counted(ours))
    monkeypatch.setattr(NetCDF4DataStore, "open", counted(theirs))
    ds = open_source(str(tmp_path / "*.nc"))
    assert canonical == [1000]
    assert len(opened) <= 1000 + 2
    assert ds["2m_temperature"].chunks[0] == (1,) * 1000
    # Another way to the same values, which shares nothing but the NetCDF library.
    some = ds["2m_temperature"].isel(time=[0, 7, 999, 500]).values
    expected = [xr.open_dataset(tmp_path / f"day{k:04d}.nc")["tas"][0] for k in (0, 7, 999, 500)]
    np.testing.assert_array_equal(some, np.stack(expected).astype(np.float32))
    np.testing.assert_array_equal(
        ds.time.values, np.datetime64("2000-01-01") + np.arange(1000).astype("timedelta64[D]")
    )


@pytest.mark.parametrize("form", ["NETCDF4", "NETCDF3_CLASSIC"])
def test_files_of_other_lengths_and_units_are_one(tmp_path, canonical, form):
    write(tmp_path / "b.nc", 0, 31, chunk=10, form=form)
    write(tmp_path / "a.nc", 0, 28, units="days since 2000-02-01", chunk=10, form=form)
    ds = open_source([tmp_path / "a.nc", tmp_path / "b.nc"])
    assert canonical == [59]
    if form == "NETCDF4":
        assert ds["2m_temperature"].chunks[0] == (10, 10, 10, 1, 10, 10, 8)
    whole = np.concatenate([truth(0, 31), truth(0, 28)])
    np.testing.assert_allclose(ds["2m_temperature"].values, whole, atol=0.006)
    last = ds.isel(time=slice(29, 33), lat=2, lon=[4, 1])["2m_temperature"]
    np.testing.assert_allclose(last.values, whole[29:33, 2][:, [4, 1]], atol=0.006)
    assert ds.time.values[-1] == np.datetime64("2000-02-28")
    again = pickle.loads(pickle.dumps(ds))
    np.testing.assert_array_equal(again["2m_temperature"].values, ds["2m_temperature"].values)


def other_grid(file):
    file["lat"][1] = 3.0005


def other_far_grid(file):
    file["lat"][:] = LAT + 10


def other_packing(file):
    file["tas"].scale_factor = 0.02


def other_calendar(file):
    file["time"].calendar = "noleap"


@pytest.mark.parametrize("change", [other_grid, other_packing])
def test_a_file_that_says_other_things_is_opened_for_itself(tmp_path, canonical, change):
    write(tmp_path / "a.nc", 0, 2)
    write(tmp_path / "b.nc", 2, 2)
    write(tmp_path / "c.nc", 4, 2, change=change)
    ds = open_source(str(tmp_path / "*.nc"))
    assert sorted(canonical) == [2, 4]
    expected = [xr.open_dataset(tmp_path / f"{name}.nc")["tas"].values for name in "abc"]
    np.testing.assert_allclose(ds["2m_temperature"].values, np.concatenate(expected), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "told"), [(other_far_grid, "different grids"), (other_calendar, "calendars")]
)
def test_what_cannot_be_joined_is_refused(tmp_path, change, told):
    for number in range(3):
        own = change if number == 1 else None
        write(tmp_path / f"{number}.nc", number * 2, 2, change=own)
    with pytest.raises(InputError, match=told):
        open_source(str(tmp_path / "*.nc"))


def test_a_time_in_two_files_is_refused(tmp_path):
    for number in range(3):
        write(tmp_path / f"{number}.nc", number, 2)
    with pytest.raises(InputError, match=r"2000-01-02.* in more than one file"):
        open_source(str(tmp_path / "*.nc"))


def test_times_that_are_no_whole_numbers_keep_their_units(tmp_path):
    write(tmp_path / "a.nc", 0.1, 2)
    write(tmp_path / "b.nc", 0.1, 2, units="days since 2000-01-03")
    headers = [Header.read(str(tmp_path / name)) for name in ("a.nc", "b.nc")]
    assert headers[0].kind == headers[1].kind
    assert alike(headers) == []
    ds = open_source(str(tmp_path / "*.nc"))
    assert ds.sizes["time"] == 4


def test_a_file_that_changes_or_goes_is_named(tmp_path):
    for number in range(3):
        write(tmp_path / f"{number}.nc", number)
    ds = open_source(str(tmp_path / "*.nc"))
    (tmp_path / "1.nc").unlink()
    write(tmp_path / "2.nc", 2, 2)
    assert ds["2m_temperature"][0].notnull().all()
    with pytest.raises(InputError, match=r"tas of .*1\.nc"):
        ds["2m_temperature"][1].compute()
    with pytest.raises(InputError, match=r"2\.nc has changed.* expected the same 1 steps"):
        ds["2m_temperature"][2].compute()


def test_a_link_into_another_file_is_refused_in_any_of_many(tmp_path):
    h5py = pytest.importorskip("h5py")
    for number in range(4):
        write(tmp_path / f"{number}.nc", number)
    with h5py.File(tmp_path / "2.nc", "a") as file:
        file["other"] = h5py.ExternalLink("secret.h5", "/x")
    with pytest.raises(InputError, match=r"2\.nc: 'other' is a link into another file"):
        open_source(str(tmp_path / "*.nc"))


def test_bounds_in_units_of_their_own_keep_them(tmp_path):
    for number, since in enumerate(("2000-01-01", "2000-01-03")):
        write(tmp_path / f"{number}.nc", 0, 2, units=f"days since {since}")
        with netCDF4.Dataset(tmp_path / f"{number}.nc", "a") as file:
            file["time_bnds"].units = "hours since 2000-01-01"
            file["time_bnds"][:] = 24 * (2 * number + np.array([[0, 1], [1, 2]]))
    headers = [Header.read(str(tmp_path / f"{number}.nc")) for number in range(2)]
    ((first, last),) = alike(headers)
    ds = open_series([first, last])
    days = np.datetime64("2000-01-01") + np.arange(5).astype("timedelta64[D]")
    np.testing.assert_array_equal(ds["time"].values, days[:4])
    np.testing.assert_array_equal(ds["time_bnds"].values, np.stack([days[:4], days[1:]], 1))


def test_times_that_are_packed_are_opened_one_by_one(tmp_path):
    for number, since in enumerate(("2000-01-01", "2000-01-03")):
        write(tmp_path / f"{number}.nc", 0, 2, units=f"days since {since}")
        with netCDF4.Dataset(tmp_path / f"{number}.nc", "a") as file:
            file["time"].scale_factor = 0.5
            file["time"].delncattr("bounds")
    ds = open_source(str(tmp_path / "*.nc"))
    hours = (ds.time.values - np.datetime64("2000-01-01")) / np.timedelta64(1, "h")
    assert hours.tolist() == [0, 12, 48, 60]


def later(file):
    file["time"][:] = file["time"][:] + 7


@pytest.mark.parametrize("change", [other_packing, other_calendar, other_grid, later])
def test_a_file_that_is_replaced_after_it_was_opened_is_named(tmp_path, change):
    for number in range(3):
        write(tmp_path / f"{number}.nc", number)
    ds = open_source(str(tmp_path / "*.nc"))
    write(tmp_path / "new", 1, change=change)
    (tmp_path / "new").replace(tmp_path / "1.nc")
    with pytest.raises(InputError, match=r"1\.nc has changed since it was opened.*Open the source"):
        ds["2m_temperature"].compute(scheduler="synchronous")


def test_a_file_that_is_copied_anew_is_read(tmp_path):
    for number in range(2):
        write(tmp_path / f"{number}.nc", 0, units=f"days since 2000-01-0{number + 1}")
    ds = open_source(str(tmp_path / "*.nc"))
    write(tmp_path / "1.nc", 0, units="days since 2000-01-02")
    os.utime(tmp_path / "1.nc", (0, 0))
    np.testing.assert_allclose(ds["2m_temperature"][1].values, truth(0, 1)[0], atol=0.006)


def test_files_are_looked_into_while_the_lock_of_xarray_is_held(tmp_path, monkeypatch):
    for number in range(3):
        write(tmp_path / f"{number}.nc", number)
    ds = open_source(str(tmp_path / "*.nc"))
    held, real = [], series.opened

    def watched(path):
        held.append(NETCDF4_PYTHON_LOCK.locked())
        return real(path)

    monkeypatch.setattr(series, "opened", watched)
    assert ds["2m_temperature"].notnull().all().compute(scheduler="synchronous")
    assert held
    assert all(held)


def test_totals_since_the_start_of_each_file_are_refused_as_those_of_one_file_are(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(3):
        rain = rng.gamma(0.3, 8, (20, 4, 6)) * (rng.random((20, 4, 6)) < 0.4)
        first = np.datetime64("2000-01-01", "ns") + np.timedelta64(20 * number, "D")
        time = first + np.arange(20) * np.timedelta64(1, "D")
        xr.Dataset(
            {"pr": (("time", "lat", "lon"), rain.cumsum(0), {"units": "mm"})},
            {"time": time, "lat": LAT, "lon": LON},
        ).to_netcdf(tmp_path / f"{number}.nc")
    for source in (tmp_path / "0.nc", tmp_path / "*.nc"):
        with pytest.raises(InputError, match="accumulated since some start"):
            open_source(str(source), accumulation_period="24h")


def test_times_that_cannot_be_read_are_one_plain_error(tmp_path):
    for number in range(2):
        write(tmp_path / f"{number}.nc", number, units="months since 2000-01-01")
    with pytest.raises(InputError, match=r"Could not open .*0\.nc .*months since"):
        open_source(str(tmp_path / "*.nc"))
