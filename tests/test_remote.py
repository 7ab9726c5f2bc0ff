"""Bundles and data of a web server that fails: read in the end, or one plain error."""

import http.server
import os
import threading
import time

import numpy as np
import pytest
import xarray as xr

import orbitlite
from orbitlite.data.source import open_source
from orbitlite.errors import InputError
from orbitlite.model.bundle import load_bundle
from orbitlite.remote import fetched

RAIN = "total_precipitation_24hr"


class _Faulty(http.server.BaseHTTPRequestHandler):
    """Serves a folder; a file that `faults` names goes wrong, for as many requests as it says."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        faults, name = self.server.faults, self.path.rpartition("/")[2]
        fault, times = faults.get(name, ("", 0))
        if times > 0:
            faults[name] = fault, times - 1
            self.server.met += 1
        path = os.path.join(self.server.folder, self.path.lstrip("/"))
        if not os.path.isfile(path):
            return self._answer(404)
        with open(path, "rb") as file:
            body = file.read()
        if times <= 0 or not fault:
            return self._answer(200, body)
        if fault == "loop":
            return self._answer(302, location=self.path)
        if fault.isdigit():
            return self._answer(int(fault))
        self.close_connection = True
        if fault == "gone":
            self.connection.close()
        elif fault == "cut":  # it says that there is more
            self._answer(200, body, len(body) * 2)
        elif fault == "half":
            self._answer(200, body[: len(body) // 2], len(body))
        elif fault == "short":  # it says that this is all
            self._answer(200, body[: len(body) // 2])
        elif fault == "stall":
            self._answer(200, body[:100], len(body))
            self.wfile.flush()
            time.sleep(1.0)
        elif fault == "endless":
            self._answer(200, b"", None)
            while not self.server.ended:
                self.wfile.write(b"0" * 2**20)

    do_HEAD = do_GET

    def _answer(self, status, body=b"", length=0, location=None):
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length or len(body)))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def handle(self):
        try:
            super().handle()
        except (OSError, ValueError):  # the reader has left
            self.close_connection = True

    def log_message(self, *args):
        """Stay quiet."""


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Return a web server of `tmp_path / "web"` on loopback; tries follow each other at once."""
    monkeypatch.setattr("orbitlite.remote.FIRST_DELAY", 0.01)
    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Faulty)
    found.daemon_threads = True
    found.faults, found.met, found.ended = {}, 0, False
    found.folder = tmp_path / "web"
    found.folder.mkdir()
    found.url = f"http://127.0.0.1:{found.server_address[1]}"
    threading.Thread(target=found.serve_forever, args=(0.02,), daemon=True).start()
    yield found
    found.ended = True
    found.shutdown()
    found.server_close()


@pytest.fixture
def given_up(monkeypatch):
    """Give a server up that sends nothing for a moment, at the second try."""

    def run():
        monkeypatch.setattr("orbitlite.remote.STALL", 0.3)
        monkeypatch.setattr("orbitlite.remote.TRIES", 2)

    return run


@pytest.fixture
def remote_bundle(server, bundle_path):
    bundle_path.rename(server.folder / "bundle")
    return f"{server.url}/bundle"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "statics.safetensors"])
@pytest.mark.parametrize("fault", ["500", "503", "gone", "half", "cut"])
def test_what_passes_is_tried_again(server, remote_bundle, caplog, name, fault):
    times = 2 if fault == "gone" else 1  # aiohttp asks once more of its own
    server.faults[name] = fault, times
    found = load_bundle(remote_bundle)
    assert found.statics is not None
    assert server.met == times
    assert "trying again" in caplog.text


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "statics.safetensors"])
@pytest.mark.parametrize(
    ("fault", "message", "tries"),
    [
        ("500", r"the server answers 500 \(Internal Server Error\)", 6),
        ("403", r"the server answers 403 \(Forbidden\)", 1),
        ("401", r"the server answers 401 \(Unauthorized\)", 1),
        ("404", "no file", 1),
        ("loop", "the server redirects without end", None),
        ("gone", "the connection ended before all had come", 12),
        ("half", "the connection ended before all had come", None),
        ("stall", "the server did not answer within 0.3 s", 2),
        ("short", "damaged|fetch it again", 1),
        ("endless", "larger than|does not fit|fetch it again|damaged|no header", 1),
    ],
)
def test_what_stays_is_one_plain_error(
    server, remote_bundle, given_up, name, fault, message, tries
):
    server.faults[name] = fault, 100
    if fault == "stall":
        given_up()
    with pytest.raises(InputError, match=message) as caught:
        load_bundle(remote_bundle)
    assert f"{server.url}/bundle" in str(caught.value)
    assert name in str(caught.value)
    assert tries is None or server.met == tries


def test_a_bundle_that_is_not_there(server):
    with pytest.raises(InputError, match=f"no file config.json in {server.url}/nothing"):
        load_bundle(f"{server.url}/nothing")
    url = "http://127.0.0.1:9/x"
    with pytest.raises(InputError, match=f"cannot read config.json of {url}: no connection"):
        load_bundle(url)


FORMATS = {"x.nc": "NETCDF4", "classic.nc": "NETCDF3_CLASSIC"}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("fault", ["500", "gone", "half"])
def test_data_are_tried_again(server, coarse, name, fault):
    coarse.to_netcdf(server.folder / name, format=FORMATS[name])
    server.faults[name] = fault, 1
    found = open_source(f"{server.url}/{name}")
    np.testing.assert_array_equal(found[RAIN], coarse[RAIN])
    assert server.met == 1


@pytest.mark.parametrize("name", ["x.nc", "classic.nc", "x.zarr"])
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("500", "the server answers 500"),
        ("403", "the server answers 403"),
        ("loop", "redirects without end"),
        ("stall", "did not answer within"),
        ("half", "ended before all had come"),
    ],
)
def test_data_that_do_not_come(server, coarse, given_up, name, fault, message):
    if fault == "stall":
        given_up()
    if name == "x.zarr":
        coarse.to_zarr(server.folder / name)
        server.faults["zarr.json"] = fault, 1000
    else:
        coarse.to_netcdf(server.folder / name, format=FORMATS[name])
        server.faults[name] = fault, 1000
    with pytest.raises(InputError, match=message) as caught:
        open_source(f"{server.url}/{name}")
    assert f"{server.url}/{name}" in str(caught.value)


def test_a_copy_is_whole_or_absent(server):
    """A copy that was cut short is not taken for the file at the next try."""
    content = os.urandom(10**5)
    (server.folder / "x.grib").write_bytes(content)
    server.faults["x.grib"] = "half", 1
    url = f"{server.url}/x.grib"
    with pytest.raises(Exception, match="not completed"):
        fetched(url)
    copy = fetched(url)
    with open(copy, "rb") as file:
        assert file.read() == content
    assert fetched(url) == copy
    beside = os.path.dirname(os.path.dirname(copy))
    left = [file for _, _, files in os.walk(beside) for file in files]
    assert left.count("x.grib") == 1
    assert "part" not in left


def test_a_prediction_from_the_web(server, remote_bundle, coarse, bundle):
    coarse.to_netcdf(server.folder / "coarse.nc")
    server.faults |= {"coarse.nc": ("gone", 1), "model.safetensors": ("half", 1)}
    found = orbitlite.predict(f"{server.url}/coarse.nc", remote_bundle, progress=False)
    expected = orbitlite.predict(coarse, bundle, progress=False)
    xr.testing.assert_equal(found[RAIN].load(), expected[RAIN])
