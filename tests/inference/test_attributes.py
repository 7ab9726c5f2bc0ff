"""Names and attributes of a source that no file can hold."""

from __future__ import annotations

import datetime
from dataclasses import replace

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import orbitlite
from orbitlite.errors import InputError
from orbitlite.inference.encoding import prepared, writable
from orbitlite.notice import one_call

DAY = datetime.date(2001, 2, 3)
KINDS = ["netcdf", "zarr"]


def through(ds, kind, path):
    """Write a dataset as it is written, and read it."""
    with one_call():
        ds, encoding = prepared(writable(ds, kind), kind)
    if kind == "zarr":
        ds.to_zarr(path / "x.zarr", encoding=encoding, consolidated=False)
        return xr.open_zarr(path / "x.zarr", consolidated=False)
    ds.to_netcdf(path / "x.nc", encoding=encoding)
    return xr.open_dataset(path / "x.nc")


def test_secrets_of_urls_are_not_in_outputs(globe, globe_bundle, monkeypatch):
    words = ["downscale", "https://a.org/x.nc?sig=s3cr3t", "y.nc", "--model=https://me:pw@a.org/m"]
    monkeypatch.setattr("sys.argv", ["/bin/orbitlite", *words, "--statics", "a=b?.nc"])
    bundle = replace(globe_bundle, path="https://me:pw@a.org/m?sig=1 + https://a.org/n?sig=2")
    found = orbitlite.predict(globe.isel(time=[0]), bundle, progress=False)
    first = found.attrs["history"].splitlines()[0]
    assert first.endswith(
        ": orbitlite downscale https://a.org/x.nc y.nc --model=https://a.org/m --statics 'a=b?.nc'"
    )
    assert found.attrs["orbitlite_model"] == "https://a.org/m + https://a.org/n"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (DAY, "2001-02-03"),
        (datetime.datetime(2001, 2, 3, 4), "2001-02-03T04:00:00"),
        (pd.Timestamp("2001-02-03", tz="UTC"), "2001-02-03T00:00:00+00:00"),
        (cftime.DatetimeNoLeap(2001, 2, 3), "2001-02-03T00:00:00"),
        (np.datetime64("2001-02-03"), '"2001-02-03"'),
        (datetime.timedelta(1), '"1 day, 0:00:00"'),
        (1j, '"1j"'),
        (b"abc", "abc"),
        (b"\xff", "\ufffd"),
        ({1}, '"{1}"'),
        ([DAY], '["2001-02-03"]'),
        (np.array([1j]), '"[0.+1.j]"'),
        (np.array(["a", None], object), "\"['a' None]\""),
        ({("a", 1): 2}, "{('a', 1): 2}"),
    ],
)
def test_what_files_lack_is_written_as_text(coarse, tmp_path, kind, value, text, caplog):
    coarse.attrs["foo"] = coarse["lat"].attrs["foo"] = value
    found = through(coarse, kind, tmp_path)
    assert found.attrs["foo"] == found["lat"].attrs["foo"] == text
    assert [line for line in caplog.messages if "as text" in line] == [
        "Written as text, as the output cannot hold them: 'foo', 'lat:foo'."
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "value",
    [1, 2.5, "ä🌧", "", ["a", "b"], [1, 2], np.float32(0.5), np.arange(3), np.int8(3), np.inf,
     2**63, -(2**63), np.array(["a", "b"])],
)  # fmt: skip
def test_what_files_hold_stays(coarse, tmp_path, kind, value, caplog):
    coarse.attrs["foo"] = value
    found = through(coarse, kind, tmp_path)
    np.testing.assert_array_equal(found.attrs["foo"], value)
    assert not caplog.messages


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name", ["a/b", "", "a ", " a", "a\nb", "a\0", "-", "\udc80", "ä" * 200, "_nc3_strict", 5,
             None, ("a", 1)]
)  # fmt: skip
def test_names_that_files_lack_are_left_out(coarse, tmp_path, kind, name, caplog):
    coarse.attrs[name] = coarse["time"].attrs[name] = "x"
    found = through(coarse, kind, tmp_path)
    assert [*found.attrs] == ["institution", "history"]
    assert len([line for line in caplog.messages if "Left out" in line]) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_how_the_source_was_stored_is_not_said_of_the_output(coarse, tmp_path, kind):
    odd = {"_FillValue": 3, "scale_factor": 2.0, "units": "K", "calendar": "x", "dtype": "y"}
    run = coarse["time"].values
    coarse = coarse.assign_coords(run=("time", run, odd), flag=("time", np.arange(5), odd))
    found = through(coarse, kind, tmp_path)
    np.testing.assert_array_equal(found["run"], run)
    np.testing.assert_array_equal(found["flag"], np.arange(5))
    assert found["flag"].attrs == {"units": "K", "calendar": "x"}


def test_coordinates_and_dimensions_of_such_names(coarse):
    with one_call(), pytest.warns(orbitlite.notice.OrbitliteWarning, match="coordinates 'a/b'"):
        assert "a/b" not in writable(coarse.assign_coords({"a/b": 3}), "netcdf").coords
    for name in ("a/b", "zarr.json"):
        with pytest.raises(InputError, match=f"dimension '{name}' cannot be written"):
            writable(coarse.expand_dims({name: 2}), "netcdf")


@pytest.mark.parametrize(
    "labels",
    [
        [datetime.time(1), datetime.time(2)],
        [1, "a"],
        ["\udc80", "b"],
        [[1], [2, 3]],
    ],
)
def test_labels_of_members_that_files_lack(coarse, bundle, tmp_path, labels, caplog):
    values = np.empty(2, object)
    values[:] = labels
    members = coarse.expand_dims(number=2).assign_coords(number=values)
    orbitlite.downscale(members, tmp_path / "x.nc", bundle, progress=False)
    with xr.open_dataset(tmp_path / "x.nc") as found:
        assert found.sizes["number"] == 2
        assert "number" not in found.coords
    assert "coordinates 'number'" in caplog.text


def test_it_is_said_before_anything_is_computed(coarse, bundle, tmp_path, monkeypatch, caplog):
    """The first line that is said of attributes comes before the network is asked."""
    asked = []
    from orbitlite.inference.engine import PlacedNetwork

    cores = PlacedNetwork.cores

    def counted(self, *arguments):
        asked.append("'nested', 'since'" in caplog.text and "Left out" in caplog.text)
        return cores(self, *arguments)

    monkeypatch.setattr(PlacedNetwork, "cores", counted)
    coarse = coarse.assign_attrs({"a/b": 1, "nested": {"a": 1}, "since": DAY})
    orbitlite.downscale(coarse, tmp_path / "x.nc", bundle, progress=False)
    assert asked
    assert all(asked)
    assert sum("as text" in line for line in caplog.messages) == 1
    with xr.open_dataset(tmp_path / "x.nc") as found:
        assert found.attrs["since"] == "2001-02-03"
        assert "a/b" not in found.attrs
