"""What cannot be a value: masked, zero or refused, and told with its count and place."""

from __future__ import annotations

import pickle
import warnings
from time import sleep

import distributed
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from orbitlite.data.conversion import convert
from orbitlite.data.source import open_source
from orbitlite.data.statistics import statistics
from orbitlite.errors import InputError
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.notice import OrbitliteWarning, one_call

WARM, RAIN = "2m_temperature", "total_precipitation_24hr"


@pytest.fixture
def warm():
    """Return 280 K and a little more, 4 days of 3 x 5 cells."""
    values = 280 + np.arange(60, dtype=np.float32).reshape(4, 3, 5) / 8
    return xr.Dataset(
        {"t2m": (("time", "lat", "lon"), values, {"units": "K"})},
        {
            "time": np.datetime64("2001-01-01", "ns") + np.arange(4) * np.timedelta64(1, "D"),
            "lat": [47.5, 46.5, 45.5],
            "lon": [5.5, 6.5, 7.5, 8.5, 9.5],
        },
    )


def spoilt(ds, *values):
    """Put values in turn into four cells of the last two days."""
    ds = ds.copy(deep=True)
    for number, place in enumerate(((2, 1, 3), (2, 2, 0), (3, 0, 1), (3, 2, 4))):
        ds["t2m"][place] = values[number % len(values)]
    return ds


FILLS = [-9999, -999, 1e20, -1e30, 9.969209968386869e36, -32767, 9999, np.inf, -np.inf, -8888.5, 0]


@pytest.mark.parametrize("fill", FILLS)
def test_a_repeated_value_that_cannot_be_is_missing_and_told(warm, fill):
    bad = spoilt(warm, fill)
    with pytest.warns(OrbitliteWarning) as told:
        found = open_source(bad, [WARM])[WARM].values
    expected = np.where(bad["t2m"] == np.float32(fill), np.nan, warm["t2m"])
    np.testing.assert_array_equal(found, expected)
    assert np.isnan(found).sum() == 4
    (message,) = [str(one.message) for one in told]
    assert message.startswith(
        f"{WARM} ('t2m'): 4 of 60 values are {np.float32(fill):.7g} K, beyond"
    )
    assert "100 to 400" in message
    assert "the first is at time 2001-01-03 00:00, lat 46.5, lon 8.5." in message
    assert "_FillValue" in message


def test_several_fill_values_at_once(warm):
    with pytest.warns(OrbitliteWarning, match="4 of 60 values are -9999 and inf K"):
        found = open_source(spoilt(warm, -9999, np.inf), [WARM])[WARM].values
    assert np.isnan(found).sum() == 4


@pytest.mark.parametrize("values", [(20.0, 21.0), (-9999, 20.0, 21.5, -9999), (500.0, 1e4)])
@pytest.mark.parametrize("chunks", [None, {"time": 4}])
def test_other_values_beyond_the_limits_are_refused(warm, values, chunks):
    bad = spoilt(warm, *values)
    bad = bad.chunk(chunks) if chunks else bad
    with pytest.raises(InputError) as error:
        open_source(bad, [WARM])[WARM].compute()
    for words in ("'t2m'", "4 of 60", "100 to 400 K", "units", ".where", "_FillValue",
                  f"the first, {values[0]:.7g}, is at time 2001-01-03 00:00, lat 46.5, lon 8.5",
                  f"from {min(values):.7g} to {max(values):.7g}"):  # fmt: skip
        assert words in str(error.value)


def test_limits_are_those_of_the_unit_of_the_file(warm):
    cold = warm.assign(t2m=(warm["t2m"] - 273.15).assign_attrs(units="degC"))
    found = open_source(cold, [WARM])[WARM]
    np.testing.assert_allclose(found, warm["t2m"], rtol=1e-6)
    with pytest.warns(OrbitliteWarning, match=r"-999 degC, beyond the limits -173\.1 to 126\.9"):
        assert np.isnan(open_source(spoilt(cold, -999), [WARM])[WARM]).sum() == 4


def test_a_percentage_that_is_called_a_share_is_refused():
    mask = xr.DataArray([0.0, 100.0, 100.0], dims="x", name="lsm", attrs={"units": "1"})
    with pytest.raises(InputError, match=r"2 of 3 values are beyond the limits .* 1 of"):
        convert(mask, "land_sea_mask")


def test_right_values_are_the_same_array_and_nothing_is_said(warm):
    values = warm["t2m"].values
    values[0, 0, 0] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_source(warm, [WARM])[WARM].values is values
        assert np.isnan(open_source(warm.where(warm > 1e9), [WARM])[WARM]).all()


@pytest.mark.parametrize("kind", ["path", "opened", "chunked"])
def test_lazy_values_are_looked_at_when_they_are_read(warm, tmp_path, kind):
    path = str(tmp_path / "a.nc")
    spoilt(warm, -9999).to_netcdf(path, encoding={"t2m": {"chunksizes": (1, 3, 5)}})
    chunks = {"time": 1} if kind == "chunked" else None
    source = path if kind == "path" else xr.open_dataset(path, chunks=chunks)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lazy = open_source(source, [WARM])[WARM]
        assert bool(lazy.chunks) is (kind != "opened")
        np.testing.assert_array_equal(lazy[:2], warm["t2m"][:2])
    with pytest.warns(
        OrbitliteWarning, match="2 of 15 .* time 2001-01-04 00:00, lat 47.5, lon 6.5"
    ):
        assert np.isnan(lazy.isel(time=3)).sum() == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # told once
        assert np.isnan(lazy.isel(time=[1, 3], lat=2, lon=[0, 4])).values.tolist() == [
            [False, False], [False, True],
        ]  # fmt: skip
        assert np.isnan(lazy).sum() == 4


def test_what_comes_after_the_first_block_is_summed_up(warm, caplog):
    caplog.set_level("INFO")
    with one_call():
        lazy = open_source(spoilt(warm, -9999).chunk(time=1), [WARM])
        lazy.compute(scheduler="synchronous")
    told = [record.message for record in caplog.records if "values" in record.message]
    assert len(told) == 2
    assert "2 of 15 values are -9999 K" in told[0]
    assert told[1] == f"{WARM} ('t2m'): 4 values in all were taken as missing."


@settings(deadline=None)
@given(
    fill=st.sampled_from([-9999.0, 1e20, -32768.0, np.inf]),
    chunks=st.tuples(*(st.integers(1, n) for n in (4, 3, 5))),
    holes=st.sets(st.integers(0, 59), min_size=1, max_size=20),
    data=st.data(),
)
def test_any_chunks_and_any_part_give_the_same_values(fill, chunks, holes, data):
    right = 280 + np.arange(60.0).reshape(4, 3, 5) / 8
    right.flat[[*holes]] = np.nan
    bad = xr.DataArray(
        np.where(np.isnan(right), fill, right), dims=("time", "lat", "lon"), name="t2m",
        attrs={"units": "K"},
    )  # fmt: skip
    part = tuple(
        data.draw(
            st.one_of(
                st.integers(0, n - 1), st.slices(n), st.lists(st.integers(0, n - 1), min_size=1)
            )
        )
        for n in right.shape
    )
    index = dict(zip(bad.dims, part, strict=True))
    expected = xr.DataArray(right, dims=bad.dims).isel(index)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OrbitliteWarning)
        for lazy in (bad, bad.chunk(dict(zip(bad.dims, chunks, strict=True)))):
            np.testing.assert_array_equal(convert(lazy, WARM).isel(index), expected.astype("f4"))


def rain(values, **attributes):
    return xr.DataArray(
        np.array(values, "f4"), dims="x", name="tp", attrs={"units": "mm", **attributes}
    )


def test_amounts_below_zero():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        noise = convert(rain([-1e-6, 0, 3]), RAIN, "24h")
    assert noise.values[0] == np.float32(-1e-6)
    with pytest.warns(OrbitliteWarning, match=r"2 of 4 values are below zero, down to -0\.5 mm"):
        found = convert(rain([-0.5, 0, 3, -0.25]), RAIN, "24h")
    assert found.values.tolist() == [0, 0, 3, 0]
    with pytest.raises(InputError, match="3 of 3 values are beyond"):  # the other sign
        convert(rain([-20, -5, -3]), RAIN, "24h")


def test_a_fill_value_among_amounts_below_zero():
    data = xr.DataArray([-99.0, -3.0, 500.0], dims="x", name="cape", attrs={"units": "J kg-1"})
    with pytest.warns(OrbitliteWarning):
        found = convert(data, "convective_available_potential_energy")
    np.testing.assert_array_equal(found, [np.nan, 0, 500])


def test_the_rain_of_an_hour_may_be_more_than_its_share_of_a_day():
    hourly = convert(rain([305.0]), RAIN, "1h", rates=True)
    assert hourly.item() == pytest.approx(305 * 24)
    with pytest.warns(OrbitliteWarning, match="3050 mm"):
        assert np.isnan(convert(rain([3050.0]), RAIN, "24h"))


def test_a_prediction_keeps_what_is_to_be_scored(warm):
    wild = xr.DataArray(
        np.array([290, 450, 60, np.inf, -9999], "f4"), dims="x", name="t2m", attrs={"units": "K"}
    )
    with pytest.warns(OrbitliteWarning) as told:
        found = convert(wild, WARM, predicted=True)
    np.testing.assert_array_equal(found, [290, 450, 60, np.nan, np.nan])
    left, missing = (str(one.message) for one in told)
    assert "2 of 5 values are beyond the limits 100 to 400, from 60 to 450: left" in left
    assert "2 of 5 values are -9999 and inf K" in missing
    assert convert(rain([-0.5, -9.0]), RAIN, "24h", predicted=True).values.tolist() == [-0.5, -9]


def test_in_another_process(warm):
    lazy = open_source(spoilt(warm, -9999).chunk(time=2), [WARM])
    parcel = pickle.dumps(lazy)
    with pytest.warns(OrbitliteWarning, match="4 of 30 values are -9999 K"):
        assert np.isnan(pickle.loads(parcel)[WARM]).sum() == 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # once in a process, however many tasks bring it
        assert np.isnan(pickle.loads(parcel)[WARM]).sum() == 4


@pytest.mark.dist
@pytest.mark.slow
def test_the_client_of_a_cluster_is_told(warm):
    lazy = open_source(spoilt(warm, -9999).chunk(time=1), [WARM])
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with (
        warnings.catch_warnings(record=True) as told,
        distributed.LocalCluster(**options) as cluster,
        distributed.Client(cluster),
    ):
        assert np.isnan(lazy.compute()[WARM]).sum() == 4
        for _ in range(100):  # until the message has come
            if told:
                break
            sleep(0.1)
    ours = [str(one.message) for one in told if one.category is OrbitliteWarning]
    assert len(ours) == 1
    assert "2 of 15 values are -9999 K" in ours[0]


def test_statistics_do_not_see_what_is_missing(warm):
    grid = LatLonGrid.from_dataset(open_source(warm))
    bad = open_source(spoilt(warm, -9999).chunk(time=2), [WARM])
    known = open_source(warm.where(spoilt(warm, -9999) > 0), [WARM])
    with pytest.warns(OrbitliteWarning, match="-9999 K"):
        found = statistics(bad, [WARM], grid, progress=False)
    expected = statistics(known, [WARM], grid, progress=False)
    np.testing.assert_allclose([found.mean, found.std], [expected.mean, expected.std], rtol=1e-12)
