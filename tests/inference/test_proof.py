"""Finished pieces are trusted after proof; outputs are published whole; inputs are never lost."""

import fcntl
import multiprocessing
import os
import shutil

import numpy as np
import pytest
import xarray as xr

import orbitlite
from orbitlite.errors import InputError
from orbitlite.inference.engine import PlacedNetwork
from orbitlite.inference.journal import Journal
from orbitlite.notice import OrbitliteWarning

RAIN = "total_precipitation_24hr"
# 2 rows x 4 columns of tiles, two days, each a piece
CUT = {"tile": 20, "halo": 2, "batch_size": 1}


class Fault(BaseException):
    """Ends a job at once, as a kill does."""


@pytest.fixture
def rain(globe):
    """Return the globe without gaps."""
    return globe.fillna(3.0).assign({n: globe[n].fillna(3.0) for n in globe})


@pytest.fixture
def half(rain, globe_bundle, tmp_path, monkeypatch):
    """Return a function that leaves an output half made, and its chunks."""

    def make(name="fine.zarr"):
        calls, whole = [], PlacedNetwork.cores

        def cores(self, windows, tiles, *more):
            calls.append(1)
            if len(calls) > 9:
                raise Fault
            return whole(self, windows, tiles, *more)

        with monkeypatch.context() as patch:
            patch.setattr(PlacedNetwork, "cores", cores)
            with pytest.raises(Fault):
                orbitlite.downscale(rain, tmp_path / name, globe_bundle, **CUT)
        journal = Journal(tmp_path / name)
        assert len(journal.done) >= 4
        return sorted(p for p in (journal.store / RAIN / "c").rglob("*") if p.is_file())

    return make


def values(path):
    with xr.open_dataset(path) as ds:
        return ds[RAIN].values


@pytest.fixture
def expected(rain, globe_bundle):
    return orbitlite.predict(rain, globe_bundle, **CUT)[RAIN].values


def damage(chunk, how, other):
    content = bytearray(chunk.read_bytes())
    if how == "gone":
        chunk.unlink()
    elif how == "empty":
        chunk.write_bytes(b"")
    elif how == "cut":
        chunk.write_bytes(content[: len(content) // 2])
    elif how == "another":
        chunk.write_bytes(other.read_bytes())
    else:
        content[how % len(content)] ^= 1 << how % 8
        chunk.write_bytes(content)


@pytest.mark.parametrize("how", ["gone", "empty", "cut", "another", 5, 171, 1043, 2222])
@pytest.mark.parametrize("name", ["fine.zarr", "fine.nc"])
def test_a_damaged_chunk_is_computed_again(half, rain, globe_bundle, tmp_path, expected, how, name):
    chunks = half(name)
    damage(chunks[1], how, chunks[2])
    with pytest.warns(OrbitliteWarning, match="1 of . finished pieces of .* are damaged"):
        orbitlite.downscale(rain, tmp_path / name, globe_bundle, resume=True)
    np.testing.assert_array_equal(values(tmp_path / name), expected)


def test_a_chunk_that_was_never_entered_is_made_again(half, rain, globe_bundle, tmp_path, expected):
    half()
    journal = Journal(tmp_path / "fine.zarr")
    journal.keep([*journal.done.values()][2:])
    orbitlite.downscale(rain, tmp_path / "fine.zarr", globe_bundle, resume=True)
    np.testing.assert_array_equal(values(tmp_path / "fine.zarr"), expected)


@pytest.mark.parametrize("what", ["lat", "zarr.json", f"{RAIN}/zarr.json", "store", "journal"])
def test_what_cannot_be_gone_on_with_is_begun_anew(
    half, rain, globe_bundle, tmp_path, expected, what
):
    half()
    journal = Journal(tmp_path / "fine.zarr")
    if what == "store":
        shutil.rmtree(journal.store)
    elif what == "journal":
        file = journal.folder / "journal"
        file.write_bytes(b"{" + file.read_bytes()[3:])
    elif what == "lat":
        shutil.rmtree(journal.store / what)
    else:
        (journal.store / what).write_text("{}")
    with pytest.warns(OrbitliteWarning, match="starts? over"):
        orbitlite.downscale(rain, tmp_path / "fine.zarr", globe_bundle, resume=True, **CUT)
    np.testing.assert_array_equal(values(tmp_path / "fine.zarr"), expected)


@pytest.mark.parametrize("cell", [(0, 0, 0), (0, 21, 5), (0, 10, 45)])
def test_an_input_that_changed_in_between_is_refused(half, rain, globe_bundle, tmp_path, cell):
    half()
    changed = rain.copy(deep=True)
    changed["2m_temperature"][cell] += 1
    with pytest.raises(InputError, match="was made of another input: its values have changed"):
        orbitlite.downscale(changed, tmp_path / "fine.zarr", globe_bundle, resume=True)


@pytest.mark.parametrize("name", ["fine.zarr", "fine.nc"])
def test_a_whole_output_is_checked_as_well(rain, globe_bundle, tmp_path, name, caplog):
    caplog.set_level("INFO")
    path = tmp_path / name
    orbitlite.downscale(rain, path, globe_bundle, **CUT)
    orbitlite.downscale(rain, path, globe_bundle, resume=True, **CUT)
    assert "is whole already" in caplog.text
    changed = rain.copy(deep=True)
    changed[RAIN][1, 20, 20] += 1
    with pytest.raises(InputError, match="was made of another input"):
        orbitlite.downscale(changed, path, globe_bundle, resume=True, **CUT)
    file = path if path.is_file() else path / RAIN / "c" / "1" / "0" / "2"
    content = bytearray(file.read_bytes())
    for place in range(len(content) // 2, len(content) // 2 + 400):
        content[place] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(InputError, match="is damaged: add --overwrite"):
        orbitlite.downscale(rain, path, globe_bundle, resume=True, **CUT)


def test_a_disk_that_loses_data_is_found_out(rain, globe_bundle, tmp_path, monkeypatch):
    from orbitlite.inference import publication

    whole = publication.check

    def check(*arguments):
        [chunk] = tmp_path.glob(f".fine.zarr.partial/store.zarr/{RAIN}/c/0/1/1")
        chunk.unlink()
        whole(*arguments)

    monkeypatch.setattr(publication, "check", check)
    with pytest.raises(InputError, match="does not hold what was computed"):
        orbitlite.downscale(rain, tmp_path / "fine.zarr", globe_bundle, **CUT)
    assert not (tmp_path / "fine.zarr").exists()


_OPERATIONS = ("replace", "rename", "unlink", "rmdir", "mkdir", "truncate", "fsync")


def killed_at(count, source, output, bundle, options):
    """Downscale; end the process before an operation on files."""
    seen = 0

    def counted(operation):
        def call(*arguments, **options):
            nonlocal seen
            seen += 1
            if seen > count:
                os._exit(9)
            return operation(*arguments, **options)

        return call

    for name in _OPERATIONS:
        setattr(os, name, counted(getattr(os, name)))
    orbitlite.downscale(source, output, bundle, progress=False, **options)
    os._exit(0)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["fine.zarr", "fine.nc"])
@pytest.mark.parametrize("replaces", [False, True])
def test_killed_before_any_operation_on_files(
    rain, globe_bundle_path, tmp_path, expected, name, replaces
):
    source, output = str(tmp_path / "globe.nc"), tmp_path / "out" / name
    output.parent.mkdir()
    rain.to_netcdf(source)
    options = {"tile": 40, "halo": 2, "batch_size": 2}
    wanted = orbitlite.predict(source, globe_bundle_path, **options)[RAIN].values
    context = multiprocessing.get_context("forkserver")
    count, codes = 0, set()
    while 0 not in codes:
        if replaces:  # an output of another input
            old = (rain + 1).assign({n: (rain[n] + 1).assign_attrs(rain[n].attrs) for n in rain})
            orbitlite.downscale(old, output, globe_bundle_path, tile=40, halo=2, overwrite=True)
        child = context.Process(
            target=killed_at,
            args=(count, source, str(output), globe_bundle_path, options | {"overwrite": replaces}),
        )
        child.start()
        child.join()
        codes.add(child.exitcode)
        old_stays = replaces and output.exists() and not np.array_equal(values(output), wanted)
        orbitlite.downscale(
            source, output, globe_bundle_path, resume=True, overwrite=old_stays, **options
        )
        np.testing.assert_array_equal(values(output), wanted)
        assert [p.name for p in output.parent.iterdir()] == [name]
        shutil.rmtree(output) if output.is_dir() else output.unlink()
        count += 1 + count // 4  # of the first each, then fewer
    assert codes == {0, 9}
    assert count > 20


@pytest.mark.parametrize("name", ["coarse.nc", "coarse.zarr"])
def test_an_input_is_never_replaced(rain, globe_bundle, tmp_path, name):
    path = tmp_path / name
    rain.to_netcdf(path) if name.endswith("nc") else rain.to_zarr(path)
    link = tmp_path / f"link.{name.split('.')[1]}"
    link.symlink_to(path)
    opened = xr.open_dataset(path)
    for source, output in ((path, path), (path, link), ([str(tmp_path / "coarse*")], path),
                           (opened, path)):  # fmt: skip
        with pytest.raises(InputError, match="would replace"):
            orbitlite.downscale(source, output, globe_bundle, overwrite=True)
    inside = tmp_path / "coarse.zarr" / "fine.zarr"
    if name.endswith("zarr"):
        with pytest.raises(InputError, match="would replace"):
            orbitlite.downscale(path, inside, globe_bundle)
    np.testing.assert_array_equal(xr.open_dataset(path)[RAIN], rain[RAIN])


def test_a_folder_of_another_is_not_removed(tmp_path):
    """What stands under the folder's name after its removal is another process's."""
    with Journal.held(tmp_path / "fine.zarr") as journal:
        journal.remove()
        journal.folder.mkdir()
        (journal.folder / "journal").touch()
    assert (journal.folder / "journal").exists()


def test_the_lock_of_a_removed_folder_is_none(tmp_path, monkeypatch):
    """A process that opened the lock just before the folder was removed takes the new one."""
    removed = []
    flock = fcntl.flock

    def slow(lock, how):
        if not removed:
            removed.append(True)
            shutil.rmtree(tmp_path / ".fine.zarr.partial")
        flock(lock, how)

    monkeypatch.setattr("fcntl.flock", slow)
    with Journal.held(tmp_path / "fine.zarr") as journal:
        assert (journal.folder / "lock").exists()
        with pytest.raises(InputError, match="another process"), Journal.held(journal.output):
            pass
