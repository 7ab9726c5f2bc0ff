"""A small tree of the benchmark: its layout, names, units, calendars and times; made fields."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
import yaml

from orbitlite.cli import main
from orbitlite.cordex.task import CONDITIONS, DOMAINS, PERIODS

DATA = Path(os.environ.get("ORBITLITE_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
SIZE = 16
YEARS = {"historical": "1981-1982", "mid_century": "2041-2042", "end_century": "2080-2081"}
SPANS = {
    "ESD_pseudo_reality": (
        "1961-1980", [(1961, 12), (1962, 10), (1978, 10), (1979, 20), (1980, 20)],
    ),
    "Emulator_hist_future": (
        "1961-1980_2080-2099", [(1961, 12), (2096, 10), (2097, 10), (2098, 20), (2099, 20)],
    ),
}  # fmt: skip


def days(year, count, end=False):
    """Return `count` days at noon: the first of a year, or its last."""
    first = np.datetime64(f"{year}-12-31T12" if end else f"{year}-01-01T12", "ns")
    steps = np.arange(count) * np.timedelta64(1, "D")
    return np.sort(first - steps if end else first + steps)


def turn_of(first_year, count=8):
    """Return days around the end of a year."""
    return np.concatenate([days(first_year, count, end=True), days(first_year + 1, count)])


def waves(times, lat, lon):
    """Return two smooth fields (T, ...) of the place and the day, alike on every grid."""
    day = (times - np.datetime64("1961-01-01")) / np.timedelta64(1, "D")
    day = day.reshape(-1, *(1,) * lat.ndim)
    one = np.sin(0.9 * day + np.radians(15 * lat)) + 0.5 * np.cos(0.37 * day - np.radians(22 * lon))
    other = np.cos(0.23 * day + np.radians(11 * lat + 9 * lon))
    return one, other


def regular(size=SIZE):
    """Return a target grid of 1-D latitudes and longitudes, as those of NZ and SA."""
    axes = {
        "lat": ("lat", (-40 + 0.1 * np.arange(size)).astype("f4"), {"units": "degrees_north"}),
        "lon": ("lon", (171 + 0.1 * np.arange(size)).astype("f4"), {"units": "degrees_east"}),
    }
    return xr.Dataset(coords=axes)


def lambert(template):
    """Return a part of the grid of ALPS as its template has it."""
    with xr.open_dataset(template) as ds:
        return ds.drop_vars(["pr", "time"]).isel(y=slice(50, 50 + SIZE), x=slice(40, 40 + SIZE))


class Made:
    """Makes files of a domain.

    Parameters
    ----------
    root : Path
        `<DATA>`.
    domain : str
    grid : xr.Dataset
        Of the target.
    """

    def __init__(self, root, domain, grid):
        self.root, self.domain, self.grid = root / domain / f"{domain}_domain", domain, grid
        lat, lon = grid["lat"].values, grid["lon"].values
        if lat.ndim == 1:
            lat, lon = np.meshgrid(lat, lon, indexing="ij")
        self.lat, self.lon = lat.astype(float), lon.astype(float)
        self.dims = ("y", "x") if "y" in grid.dims else ("lat", "lon")
        self.orog = 500 + 400 * np.sin(np.arange(len(self.lat)) / 2.0)[:, None] + 0 * self.lat

    def predictors(self, times, path, calendar="standard", warmer=0.0):
        lat = np.round(self.lat.mean()) + 2.0 * np.arange(-4, 4)
        lon = np.round(self.lon.mean()) + 2.0 * np.arange(-4, 4)
        one, other = waves(times, *np.meshgrid(lat, lon, indexing="ij"))
        fields = {}
        for level, height in ((850, 1450.0), (700, 3000.0), (500, 5600.0)):
            fields |= {
                f"z_{level}": (height + 40 * one, {"units": "m"}), f"u_{level}": (5 * other, {}),
                f"v_{level}": (5 * one, {"units": "m s-1"}),
                f"t_{level}": (275 + warmer + 5 * other, {}),
                f"q_{level}": (0.004 + 0.002 * one, {"units": "kg kg-1"}),
            }  # fmt: skip
        ds = xr.Dataset(
            {name: (("time", "lat", "lon"), v.astype("f4"), a) for name, (v, a) in fields.items()},
            {"time": times, "lat": lat, "lon": lon},
        )
        self._write(ds, path, calendar)

    def target(self, times, path):
        one, other = waves(times, self.lat, self.lon)
        rain = 12 * np.maximum(0, one) * (1 + self.orog / 1000)
        warm = 288 + 5 * other - 0.0065 * self.orog
        ds = self.grid.assign(
            pr=(("time", *self.dims), rain), tasmax=(("time", *self.dims), warm.astype("f4"))
        ).assign_coords(time=times)
        ds["tasmax"].attrs = {"units": "K", "standard_name": "air_temperature"}
        self._write(ds, path, "standard")

    def statics(self, path):
        self._write(self.grid.assign(orog=(self.dims, self.orog.astype("f4"))), path, "standard")

    def _write(self, ds, path, calendar):
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        if "time" in ds.coords:
            ds["time"].encoding = {
                "units": "days since 1949-12-01", "calendar": calendar, "dtype": "f8",
            }  # fmt: skip
        ds.to_netcdf(path)

    def training(self, experiment):
        span, parts = SPANS[experiment]
        times = np.concatenate([days(*part) for part in parts])
        gcm, folder = DOMAINS[self.domain].gcms[0], Path("train", experiment)
        self.predictors(times, folder / "predictors" / f"{gcm}_{span}.nc")
        self.target(times, folder / "target" / f"pr_tasmax_{gcm}_{span}.nc")
        self.statics(folder / "predictors" / "Static_fields.nc")

    def tests(self, targets=()):
        gcms = DOMAINS[self.domain].gcms
        for period, condition, gcm in itertools.product(PERIODS, CONDITIONS, gcms):
            years, folder = YEARS[period], Path("test", period)
            times = turn_of(int(years[:4]))
            other = {"calendar": "noleap", "warmer": 4.0} if condition == "imperfect" else {}
            path = folder / "predictors" / condition / f"{gcm}_{years}.nc"
            self.predictors(times, path, **other)
            if period in targets:
                self.target(times, folder / "target" / f"pr_tasmax_{gcm}_{years}.nc")


# Enough steps for predictions that follow the weather: of others tests would see nothing.
SMALL = {
    "trainer": {
        "max_epochs": 8, "accelerator": "cpu", "enable_progress_bar": False,
        "enable_model_summary": False,
    },
    "ema": {"decay": 0.0},
    "model": {"optimisation": {"lr": 0.01}, "network": {
        "inputs": ["geopotential_700", "temperature_850", "u_component_of_wind_500"],
        "factor": 8, "embed_dim": 16, "depth": 1, "num_heads": 2, "decoder_features": 8,
        "decoder_blocks": 1,
    }},
    "data": {"batch_size": 8},
}  # fmt: skip


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """Return the path of a config that makes the benchmark's small."""
    path = tmp_path_factory.mktemp("cordex") / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    return path


ESD = "ESD_pseudo_reality"
ONE = ["--domain", "NZ", "--experiment", ESD]


@pytest.fixture(scope="session")
def nz(tmp_path_factory, small):
    """Return a folder with `data` of NZ, targets of two test periods, and `runs` of a fit."""
    folder = tmp_path_factory.mktemp("nz")
    made = Made(folder / "data", "NZ", regular())
    made.tests(targets=("historical", "end_century"))
    made.training(ESD)
    assert main(fit_words(folder, "NZ", ESD, small)) == 0
    return folder


@pytest.fixture(scope="session")
def submitted(nz):
    """Return the folder of `nz`, with the submission `out` of its fit."""
    assert main(words(nz, "submit", "out", *ONE)) == 0
    return nz


def words(folder, step, *others):
    """Return the words of a step on the data and the fits of a folder; paths are in it."""
    first = [str(folder / word) if word == "out" else word for word in others]
    return ["cordex-bench", step, str(folder / "data"), str(folder / "runs"), *first]


@pytest.fixture
def fails(capsys):
    """Return a function that runs a command which is to fail, and gives its line of complaint."""

    def run(*words):
        assert main([*map(str, words)]) == 2
        err = capsys.readouterr().err
        assert "Traceback" not in err
        [line] = [line for line in err.splitlines() if line.startswith("orbitlite: ")]
        return line.removeprefix("orbitlite: ")

    return run


def fit_words(folder, domain, experiment, small):
    """Return the words of a fit."""
    return [
        "cordex-bench", "fit", str(folder / "data"), "--domain", domain, "--experiment",
        experiment, "--output", str(folder / "runs"), "-c", str(small),
    ]  # fmt: skip


@pytest.fixture(scope="session")
def kit():
    """Return what makes trees and words of commands."""
    return SimpleNamespace(
        Made=Made, regular=regular, lambert=lambert, days=days, words=words, fit_words=fit_words,
        ESD=ESD, ONE=ONE,
    )  # fmt: skip


@pytest.fixture
def template():
    """Return a function from a domain to the benchmark's template of it; skips where absent."""

    def locate(domain):
        path = DATA / "cordex_ml_bench" / f"pr_{domain}.nc"
        if not path.exists():
            pytest.skip(f"the benchmark's template {path.name} is not here")
        return path

    return locate
