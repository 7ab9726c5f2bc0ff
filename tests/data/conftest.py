"""Made-up files of the data room, and a web server for them."""

from __future__ import annotations

import http.server
import threading
from functools import partial

import numpy as np
import pytest
import xarray as xr


@pytest.fixture
def era5():
    """Return an ERA5-like dataset of short names, asymmetric in every dimension."""
    shape = (5, 3, 6, 8)
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    flat = values[:, 0]
    dims = ("time", "latitude", "longitude")
    return xr.Dataset(
        {
            "t2m": (dims, 270 + flat / 8, {"units": "K"}),
            "tp": (dims, flat / 1e4, {"units": "m"}),
            "msl": (dims, 1000 + flat / 10, {"units": "hPa"}),
            "z": (("time", "level", *dims[1:]), 5e3 + values, {"units": "m**2 s**-2"}),
            "lsm": (dims[1:], flat[0] / 50),
        },
        coords={
            "time": np.datetime64("2001-01-01", "ns") + np.arange(5) * np.timedelta64(1, "h"),
            "level": ("level", [500, 700, 850], {"units": "millibars"}),
            "latitude": ("latitude", 50 - 0.25 * np.arange(6), {"units": "degrees_north"}),
            "longitude": ("longitude", 5 + 0.25 * np.arange(8), {"units": "degrees_east"}),
        },
        attrs={"source": "made up", "Conventions": "CF-1.6"},
    )


@pytest.fixture
def check(era5):
    """Return a function that compares four channels with what `era5` holds, in our units."""
    channels = ["2m_temperature", "geopotential_850", "mean_sea_level_pressure", "land_sea_mask"]

    def compare(ds):
        assert list(ds.data_vars) == channels
        assert ds["2m_temperature"].dims == ("time", "lat", "lon")
        assert ds["land_sea_mask"].dims == ("lat", "lon")
        np.testing.assert_array_equal(ds["time"], era5["time"])
        np.testing.assert_array_equal(ds["lat"], era5["latitude"])
        np.testing.assert_array_equal(ds["lon"], era5["longitude"])
        for channel, expected in zip(
            channels,
            (era5["t2m"], era5["z"].sel(level=850), era5["msl"] * 100, era5["lsm"]),
            strict=True,
        ):
            np.testing.assert_allclose(ds[channel], expected, rtol=1e-6)
            assert ds[channel].dtype == np.float32

    return compare


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serve files; with byte ranges unless told otherwise; `/broken` fails."""

    ranges = True

    def send_head(self):
        if "broken" in self.path:
            self.send_error(500)
            return None
        span = self.headers.get("Range")
        if not (self.ranges and span):
            return super().send_head()
        try:
            with open(self.translate_path(self.path), "rb") as file:
                content = file.read()
        except OSError:
            self.send_error(404)
            return None
        start, _, end = span.removeprefix("bytes=").partition("-")
        first, last = int(start), min(int(end or len(content)), len(content) - 1)
        self.send_response(206)
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.end_headers()
        self.wfile.write(content[first : last + 1])
        return None

    def log_message(self, *args):
        """Stay quiet."""


class _PlainHandler(_Handler):
    ranges = False


@pytest.fixture
def serve(tmp_path):
    """Return a function that starts a web server for `tmp_path` on loopback and gives its URL."""
    servers = []

    def start(ranges: bool = True) -> str:
        handler = partial(_Handler if ranges else _PlainHandler, directory=str(tmp_path))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
