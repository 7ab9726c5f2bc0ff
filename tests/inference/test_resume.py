"""Faults: what is written stays, a resumed job ends like an undisturbed one."""

import errno
import fcntl
import http.server
import io
import multiprocessing
import os
import subprocess
import sys
import threading
import time
import warnings
import zlib
from copy import deepcopy
from functools import partial
from pathlib import Path

import cftime
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import orbitlite
from orbitlite.errors import InputError
from orbitlite.inference import store
from orbitlite.inference.engine import PlacedNetwork
from orbitlite.inference.journal import Entry, Journal
from orbitlite.inference.options import PredictOptions
from orbitlite.inference.prediction import Prediction
from orbitlite.inference.proof import identity
from orbitlite.model.ensemble import Ensemble

RAIN = "total_precipitation_24hr"
# 10 rows x 20 columns of tiles, two days, each a piece
CUT = {"tile": 4, "halo": 2, "batch_size": 1}
PIECES = 2 * 10 * 20


def arrays(path):
    """Return every file of a store, its attributes aside (the history holds the time of day)."""
    group = zarr.open_group(path, mode="r")
    return {name: group[name][:].tobytes() for name in group.array_keys()}


def chunks(path):
    return {p.relative_to(path): p.read_bytes() for p in Path(path, RAIN, "c").rglob("*")
            if p.is_file()}  # fmt: skip


class Fault(BaseException):
    """Ends a job at once, as a kill does."""


@pytest.fixture
def failing(monkeypatch):
    """Return a function that lets the network fail after some pieces, and what was counted."""
    counted = []
    whole = PlacedNetwork.cores

    def after(count, error=Fault):
        def cores(self, windows, tiles, *more):
            if len(counted) >= count:
                raise error
            counted.append(tiles)
            return whole(self, windows, tiles, *more)

        monkeypatch.setattr(PlacedNetwork, "cores", cores)
        return counted

    return after


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fine.zarr", "fine.nc"])
def test_resumed_is_undisturbed(globe, globe_bundle, tmp_path, failing, name, caplog):
    orbitlite.downscale(globe, tmp_path / f"whole_{name}", globe_bundle, **CUT)
    counted = failing(150)
    with pytest.raises(Fault):
        orbitlite.downscale(globe, tmp_path / name, globe_bundle, **CUT)
    assert not (tmp_path / name).exists()
    done = len(Journal(tmp_path / name).done)
    assert 100 < done <= 150
    counted.clear()
    failing(10**6)
    with pytest.raises(InputError, match=r"an unfinished .* is there: add --resume"):
        orbitlite.downscale(globe, tmp_path / name, globe_bundle, **CUT)
    # tile, halo and batch are those of the job
    orbitlite.downscale(globe, tmp_path / name, globe_bundle, resume=True)
    assert len(counted) == PIECES - done
    one, other = (xr.open_dataset(tmp_path / f"{kind}{name}") for kind in ("", "whole_"))
    np.testing.assert_array_equal(one[RAIN], other[RAIN])
    if name.endswith("zarr"):
        assert chunks(tmp_path / name) == chunks(tmp_path / f"whole_{name}")
    assert sorted(p.name for p in tmp_path.iterdir()) == [name, f"whole_{name}"]


def test_resume_without_anything_begins(globe, globe_bundle, tmp_path):
    orbitlite.downscale(globe, tmp_path / "fine.zarr", globe_bundle, resume=True, **CUT)
    assert (tmp_path / "fine.zarr").exists()


@pytest.mark.slow
def test_overwrite_begins_anew(globe, globe_bundle, tmp_path, failing):
    failing(20)
    with pytest.raises(Fault):
        orbitlite.downscale(globe, tmp_path / "fine.zarr", globe_bundle, **CUT)
    counted = failing(10**6)
    counted.clear()
    orbitlite.downscale(globe, tmp_path / "fine.zarr", globe_bundle, overwrite=True, **CUT)
    assert len(counted) == PIECES


@pytest.mark.slow
def test_killed_between_the_name_and_the_cleaning(globe, globe_bundle, tmp_path, monkeypatch):
    def stop(*_):
        raise Fault

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "remove", stop)
        with pytest.raises(Fault):
            orbitlite.downscale(globe, tmp_path / "fine.zarr", globe_bundle, **CUT)
    assert len([*tmp_path.iterdir()]) == 2
    orbitlite.downscale(globe, tmp_path / "fine.zarr", globe_bundle, resume=True, **CUT)
    assert [p.name for p in tmp_path.iterdir()] == ["fine.zarr"]


def test_a_line_cut_short_is_no_entry(tmp_path):
    journal = Journal(tmp_path / "fine.zarr")
    journal.folder.mkdir()
    journal.begin({"tile": 3})
    for number in (11, 12, 13):
        journal.enter(Entry(number, "in", "out"))
    assert {*journal.done} == {11, 12, 13}
    file = journal.folder / "journal"
    file.write_bytes(file.read_bytes()[:-2])
    journal = Journal(tmp_path / "fine.zarr")
    assert {*journal.done} == {11, 12}
    journal.keep(journal.done.values())
    journal.enter(Entry(14, "in", "out"))
    journal = Journal(tmp_path / "fine.zarr")
    assert {*journal.done} == {11, 12, 14}
    assert journal.header["tile"] == 3


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[1]", b"null", b'{"piece": 1}', b'{"piece": "1", "input": "a", "values": "b"}',
     b'{"piece": 1, "input": "a", "values": "b", "more": 2}', b"[" * 9000],
)  # fmt: skip
def test_a_sound_line_of_something_else_is_no_entry(tmp_path, text):
    journal = Journal(tmp_path / "fine.zarr")
    journal.folder.mkdir()
    journal.begin({"tile": 3})
    journal.enter(Entry(1, "in", "out"))
    with (journal.folder / "journal").open("ab") as file:
        file.write(text + b" %08x\n%08x\n" % (zlib.crc32(text), 0))
    found = Journal(tmp_path / "fine.zarr")
    assert found.done == {1: Entry(1, "in", "out")}
    assert found.header["tile"] == 3


@given(st.integers(0, 10**6), st.integers(0, 7))
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_flipped_bit_of_a_journal_loses_lines_and_invents_none(tmp_path, place, bit):
    journal = Journal(tmp_path / "fine.zarr")
    journal.folder.mkdir(exist_ok=True)
    journal.begin({"tile": 3, "model": "abc"})
    entries = {number: Entry(number, f"in{number}", f"out{number}") for number in range(5)}
    for entry in entries.values():
        journal.enter(entry)
    file = journal.folder / "journal"
    content = bytearray(file.read_bytes())
    content[place % len(content)] ^= 1 << bit
    file.write_bytes(content)
    found = Journal(tmp_path / "fine.zarr")
    if found.damaged:
        assert found.header == {}
        assert found.done == {}
    else:
        assert found.header == {"format": 3, "tile": 3, "model": "abc"}
        assert found.done.items() < entries.items()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda ds, net: (ds.assign_coords(time=ds.time + 1), net, {}), "coordinates was"),
        (lambda ds, net: (ds.isel(time=[0]), net, {}), "coordinates was"),
        (lambda ds, net: (ds, net, {"tile": 8}), "tile was 4, is 8"),
        (lambda ds, net: (ds, net, {"halo": 4}), "halo was 2, is 4"),
        (lambda ds, net: (ds, net, {"batch_size": 2}), "batch was 1, is 2"),
        ("model", "model was"),
        ("mean", "model was"),
        ("statics", "fine statics was"),
    ],
)
def test_another_job_is_refused(globe, globe_bundle, tmp_path, failing, change, expected):
    failing(20)
    with pytest.raises(Fault):
        orbitlite.downscale(globe, tmp_path / "fine.zarr", globe_bundle, **CUT)
    ds, options = globe, {}
    if change == "model":
        globe_bundle.model.blocks[0].mlp[0].weight.data += 1e-3
    elif change == "mean":
        globe_bundle.model = Ensemble([globe_bundle.model, deepcopy(globe_bundle.model)])
    elif change == "statics":
        globe_bundle.statics.values[0, 3, 4] += 1
    else:
        ds, _, options = change(globe, globe_bundle)
        for name in globe:
            ds[name].attrs = globe[name].attrs
    with pytest.raises(InputError, match=f"is another job: .*{expected}"):
        orbitlite.downscale(ds, tmp_path / "fine.zarr", globe_bundle, resume=True, **options)


@pytest.mark.parametrize("name", ["fine.zarr", "fine.nc"])
def test_no_library_complains_of_what_is_written(globe, globe_bundle, tmp_path, name):
    whole = globe.fillna({n: 280.0 if "temperature" in n else 1.0 for n in globe})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        orbitlite.downscale(whole, tmp_path / name, globe_bundle, **CUT)


def test_another_version_is_another_job(globe, globe_bundle, tmp_path, failing, monkeypatch):
    failing(20)
    with pytest.raises(Fault):
        orbitlite.downscale(globe, tmp_path / "fine.zarr", globe_bundle, **CUT)
    monkeypatch.setattr("orbitlite.inference.proof.version", lambda _: "99.0")
    with pytest.raises(InputError, match=r"versions was orbitlite .*, is orbitlite 99\.0, torch"):
        orbitlite.downscale(globe, tmp_path / "fine.zarr", globe_bundle, resume=True, **CUT)


def test_two_writers_are_refused(globe, globe_bundle, tmp_path):
    journal = Journal(tmp_path / "fine.zarr")
    journal.folder.mkdir()
    lock = os.open(journal.folder / "lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(InputError, match="another process is writing"):
        orbitlite.downscale(globe, tmp_path / "fine.zarr", globe_bundle, resume=True)
    os.close(lock)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["writing", "reading"])
def test_faults_of_files_leave_the_journal(globe, globe_bundle, tmp_path, monkeypatch, kind):
    whole, calls = store._write, []

    def full(*arguments):
        calls.append(1)
        if len(calls) > 30:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(*arguments)

    def damaged(prediction, block, whole=Prediction._read):
        if block.rows.start > 10:
            raise InputError("the input cannot be read (zlib.error: no); is the source whole?")
        return whole(prediction, block)

    with monkeypatch.context() as patch:
        if kind == "writing":
            patch.setattr(store, "_write", full)
            expected = "no room on the disk; free some and start again; 30 of 400 pieces are kept"
        else:
            patch.setattr("orbitlite.inference.plan.READ_BYTES", 80 * 8 * 8)
            patch.setattr(Prediction, "_read", damaged)
            expected = "the input cannot be read .*pieces are kept, --resume goes on with them"
        with pytest.raises(InputError, match=expected):
            orbitlite.downscale(globe, tmp_path / "fine.zarr", globe_bundle, **CUT)
    orbitlite.downscale(globe, tmp_path / "fine.zarr", globe_bundle, resume=True)
    expected = orbitlite.predict(globe, globe_bundle, **CUT)
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "fine.zarr")[RAIN], expected[RAIN])


def test_a_damaged_chunk_is_one_plain_error(globe, globe_bundle, tmp_path):
    globe.chunk(time=1).to_zarr(tmp_path / "globe.zarr")
    chunk = tmp_path / "globe.zarr" / RAIN / "c" / "1" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:50])
    with pytest.raises(InputError, match="the input cannot be read"):
        orbitlite.downscale(tmp_path / "globe.zarr", tmp_path / "fine.zarr", globe_bundle, **CUT)
    assert not list(tmp_path.glob("*fine*"))


class _Unsteady(http.server.SimpleHTTPRequestHandler):
    """Drops every third connection within a chunk; all of them once `gone` is set."""

    count = 0
    gone = False

    def do_GET(self):
        if "/c/" in self.path or self.path.endswith(".nc"):
            type(self).count += 1
            if type(self).gone or type(self).count % 3 == 0:
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"half of it")
                self.close_connection = True
                return
        super().do_GET()

    def send_head(self):
        span = self.headers.get("Range")
        if span is None:
            return super().send_head()
        content = Path(self.translate_path(self.path)).read_bytes()
        first, last = (int(text) for text in span.removeprefix("bytes=").split("-"))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        part = content[first : last + 1]
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        return io.BytesIO(part)

    def log_message(self, *args):
        """Stay quiet."""


@pytest.fixture
def unsteady(tmp_path):
    _Unsteady.count, _Unsteady.gone = 0, False
    handler = partial(_Unsteady, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["globe.zarr", "globe.nc"])
def test_an_unsteady_source(globe, globe_bundle, tmp_path, unsteady, monkeypatch, caplog, name):
    monkeypatch.setattr("orbitlite.remote.FIRST_DELAY", 0.01)
    monkeypatch.setattr("orbitlite.inference.plan.READ_BYTES", 80 * 8 * 8)
    if name.endswith("zarr"):
        globe.chunk(time=1, lat=5).to_zarr(tmp_path / name)
    else:
        globe.to_netcdf(tmp_path / name)
    url = f"{unsteady}/{name}"
    orbitlite.downscale(url, tmp_path / "fine.zarr", globe_bundle, **CUT)
    assert "trying again" in caplog.text
    expected = orbitlite.predict(globe, globe_bundle, **CUT)
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "fine.zarr")[RAIN], expected[RAIN])


@pytest.mark.slow
def test_a_source_that_goes_away(globe, globe_bundle, tmp_path, unsteady, monkeypatch, failing):
    monkeypatch.setattr("orbitlite.remote.FIRST_DELAY", 0.001)
    monkeypatch.setattr("orbitlite.inference.plan.READ_BYTES", 80 * 8 * 8)
    globe.chunk(time=1, lat=5).to_zarr(tmp_path / "globe.zarr")
    url = f"{unsteady}/globe.zarr"
    whole = PlacedNetwork.cores

    def cores(self, windows, tiles, *more):
        _Unsteady.gone = True
        return whole(self, windows, tiles, *more)

    with monkeypatch.context() as patch:
        patch.setattr(PlacedNetwork, "cores", cores)
        with pytest.raises(InputError, match=r"cannot be read .*--resume goes on"):
            orbitlite.downscale(url, tmp_path / "fine.zarr", globe_bundle, **CUT)
    _Unsteady.gone = False
    orbitlite.downscale(url, tmp_path / "fine.zarr", globe_bundle, resume=True)
    expected = orbitlite.predict(globe, globe_bundle, **CUT)
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "fine.zarr")[RAIN], expected[RAIN])


def test_dates_of_cftime_are_the_same_job_in_another_process(globe, globe_bundle):
    """Equal dates are other objects there."""

    def coordinates(day):
        times = [cftime.DatetimeNoLeap(2001, 3, d) for d in (1, day)]
        return identity(
            Prediction.of(globe.assign_coords(time=times), globe_bundle, PredictOptions())
        )["coordinates"]

    assert coordinates(2) == coordinates(2) != coordinates(3)


@pytest.mark.slow
@pytest.mark.very_slow
@pytest.mark.timeout(600)
def test_killed_at_any_moment(globe, globe_bundle_path, tmp_path):
    source = str(tmp_path / "globe.zarr")
    globe.chunk(time=1, lat=10).to_zarr(source)
    context = multiprocessing.get_context("forkserver")
    pieces = 2 * 5 * 10

    def start(output, resume=False):
        words = {**CUT, "tile": 8, "resume": resume, "progress": False}
        child = context.Process(
            target=orbitlite.downscale, args=(source, output, globe_bundle_path), kwargs=words
        )
        child.start()
        return child

    start(str(tmp_path / "warm.zarr")).join()
    start(str(tmp_path / "whole.zarr")).join()
    whole = chunks(tmp_path / "whole.zarr")
    assert len(whole) == pieces
    random = np.random.default_rng(0)
    kept = []
    # by what is done, not by the clock: a busy machine starts and works at another pace
    for count in [0, *random.integers(0, pieces, 18), pieces]:
        output = tmp_path / "fine.zarr"
        child = start(str(output))
        while child.is_alive() and len(Journal(output).done) < count:
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.02))
        child.kill()
        child.join()
        kept.append(pieces if output.exists() else len(Journal(output).done))
        child = start(str(output), resume=True)
        child.join()
        assert child.exitcode == 0
        assert chunks(output) == whole
        assert not Journal(output).folder.exists()
        subprocess.run(["rm", "-r", str(output)], check=True)
    assert len(set(kept)) > 5  # the moments were before, within and after the pieces


@pytest.mark.slow
def test_a_full_disk(globe, globe_bundle_path, tmp_path):
    globe.chunk(time=1).to_zarr(tmp_path / "globe.zarr")
    small = tmp_path / "small"
    small.mkdir()
    run = f"{sys.executable} -m orbitlite.cli downscale globe.zarr small/fine.zarr"
    run += f" --model {globe_bundle_path} --tile 4 --halo 2 --batch-size 1 -q"
    script = f"mount -t tmpfs -o size=600k none small || exit 77; {run}; code=$?; "
    script += "ls -A small; rm -f small/filler; mount -o remount,size=20m small; "
    script += f"{run} --resume || exit 1; cp -r small/fine.zarr .; exit $code"
    done = subprocess.run(["unshare", "-rm", "bash", "-c", script], cwd=tmp_path,
                          capture_output=True, text=True)  # fmt: skip
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    assert done.returncode == 2, done.stderr
    assert "no room on the disk" in done.stderr
    assert "--resume goes on" in done.stderr
    assert ".fine.zarr.partial" in done.stdout
    expected = orbitlite.predict(globe, globe_bundle_path, **CUT)
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "fine.zarr")[RAIN], expected[RAIN])
