"""Prediction from NumPy and dask, against the network called by hand."""

import dask
import dask.array
import distributed
import numpy as np
import pytest
import torch
import xarray as xr

import orbitlite
from orbitlite.batch import Batch
from orbitlite.errors import InputError

RAIN = "total_precipitation_24hr"


def by_hand(coarse, bundle):
    values = np.stack([coarse[n].values for n in bundle.model.config.inputs], 1)
    count = len(values)
    batch = Batch(
        coarse=torch.from_numpy(values),
        statics=bundle.statics.values[None].expand(count, -1, -1, -1),
        lat_edges=torch.linspace(50, 44, 7, dtype=torch.float64).expand(count, -1),
        lon_edges=torch.linspace(5, 13, 9, dtype=torch.float64).expand(count, -1),
    )
    with torch.inference_mode():
        return bundle.model(batch)[:, 0, 0].numpy()


def test_numpy_in_is_computed(coarse, bundle):
    fine = coarse.orbitlite.predict(bundle, batch_size=2)
    assert isinstance(fine[RAIN].data, np.ndarray)
    np.testing.assert_allclose(fine[RAIN], by_hand(coarse, bundle), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(fine.lat, np.linspace(49.75, 44.25, 12))
    np.testing.assert_allclose(fine.lon, np.linspace(5.25, 12.75, 16))
    assert fine.time.equals(coarse.time)


def test_ascending_latitude_is_the_same_turned(coarse, bundle):
    turned = coarse.isel(lat=slice(None, None, -1))
    fine, again = (orbitlite.predict(ds, bundle) for ds in (coarse, turned))
    assert again.lat[0] < again.lat[-1]
    np.testing.assert_array_equal(again[RAIN].values[:, ::-1], fine[RAIN].values)


def test_longitudes_may_differ_by_a_turn(coarse, bundle):
    moved = coarse.assign_coords(lon=coarse.lon - 360)
    moved.lon.attrs["units"] = "degrees_east"
    fine = orbitlite.predict(moved, bundle)
    np.testing.assert_allclose(fine[RAIN], by_hand(coarse, bundle), rtol=1e-4, atol=1e-4)


def test_dask_in_is_lazy(coarse, bundle):
    def forbidden(block):
        if block.size:
            raise AssertionError("computed while the graph was built")
        return block

    trap = coarse.chunk(time=2).map(
        lambda data: data.copy(
            data=data.data.map_blocks(forbidden, meta=np.empty((0, 0, 0), np.float32))
        ).assign_attrs(data.attrs),
    )
    fine = orbitlite.predict(trap, bundle)
    assert isinstance(fine[RAIN].data, dask.array.Array)
    with pytest.raises(AssertionError, match="graph"):
        fine[RAIN].isel(time=0).compute(scheduler="synchronous")


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_dask_equals_numpy(coarse, bundle, scheduler):
    lazy = orbitlite.predict(coarse.chunk(time=2, lat=3), bundle)
    with dask.config.set(scheduler=scheduler):
        np.testing.assert_allclose(lazy[RAIN], by_hand(coarse, bundle), rtol=1e-5, atol=1e-5)


@pytest.mark.dist
@pytest.mark.slow
def test_dask_processes(coarse, bundle):
    lazy = orbitlite.predict(coarse.chunk(time=3), bundle)
    found = lazy[RAIN].compute(scheduler="processes", num_workers=2)
    np.testing.assert_allclose(found, by_hand(coarse, bundle), rtol=1e-5, atol=1e-5)


@pytest.mark.dist
@pytest.mark.slow
def test_dask_cluster(coarse, bundle):
    lazy = orbitlite.predict(coarse.chunk(time=2), bundle)
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster):
        found = lazy[RAIN].compute()
    np.testing.assert_allclose(found, by_hand(coarse, bundle), rtol=1e-5, atol=1e-5)


def test_the_network_in_hand_is_not_changed(coarse, bundle):
    expected = by_hand(coarse, bundle)
    model = bundle.model.train()
    fine = orbitlite.predict(coarse, bundle)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    np.testing.assert_allclose(fine[RAIN], expected, rtol=1e-5, atol=1e-5)


def test_members_survive(coarse, bundle):
    members = xr.concat([coarse, coarse * 1.25], "number", combine_attrs="override")
    for name in coarse:
        members[name].attrs = coarse[name].attrs
    members = members.assign_coords(number=[3, 7]).transpose("time", "number", "lat", "lon")
    fine = orbitlite.predict(members, bundle)
    assert fine[RAIN].dims == ("number", "time", "lat", "lon")
    assert fine.number.values.tolist() == [3, 7]
    assert fine.number.attrs["standard_name"] == "realization"
    found = fine[RAIN].sel(number=3)
    np.testing.assert_allclose(found, by_hand(coarse, bundle), rtol=1e-5, atol=1e-5)


def test_absent_channel_is_masked_and_said(coarse, bundle, caplog):
    holes = coarse.copy()
    holes["2m_temperature"] = xr.full_like(coarse["2m_temperature"], np.nan)
    fine = orbitlite.predict(coarse.drop_vars("2m_temperature"), bundle)
    np.testing.assert_array_equal(fine[RAIN], orbitlite.predict(holes, bundle)[RAIN])


def test_units_are_converted(coarse, bundle):
    other = coarse.copy()
    other[RAIN] = (coarse[RAIN] / 1000).assign_attrs(units="m")
    celsius = (coarse["2m_temperature"] - 273.15).assign_attrs(units="degC")
    other["2m_temperature"] = celsius
    found = orbitlite.predict(other, bundle)
    np.testing.assert_allclose(found[RAIN], by_hand(coarse, bundle), rtol=1e-3, atol=1e-3)


def test_metadata(coarse, bundle):
    coarse[RAIN].encoding = {"dtype": "int16", "scale_factor": 0.1}
    fine = orbitlite.predict(coarse, bundle)
    assert fine[RAIN].attrs["units"] == "mm"
    assert fine[RAIN].encoding == {}
    assert fine.attrs["Conventions"] == "CF-1.11"
    assert fine.attrs["institution"] == "nobody"
    assert "made up" in fine.attrs["history"]
    first, second = fine.attrs["history"].splitlines()
    assert "downscaled" in first
    assert first.endswith("orbitlite.predict")
    assert second == "made up"
    assert fine.attrs["orbitlite_version"] == orbitlite.__version__
    assert fine.attrs["orbitlite_model"] == "in memory"
    assert fine.attrs["downscaling_factor"] == 2
    assert fine.lat.attrs["bounds"] == "lat_bnds"
    np.testing.assert_allclose(fine.lat_bnds[0], [50.0, 49.5])


def test_nothing_to_work_with(coarse, bundle):
    with pytest.raises(InputError, match="total_precipitation_24hr"):
        orbitlite.predict(coarse.rename({RAIN: "a", "2m_temperature": "b"}), bundle)


def test_sub_region_takes_its_part_of_the_statics(coarse, bundle):
    part = coarse.isel(lat=slice(1, 5), lon=slice(2, 8))
    fine = orbitlite.predict(part, bundle)
    assert fine[RAIN].shape == (5, 8, 12)


def test_foreign_region_is_refused_unless_statics_are_given(coarse, bundle):
    moved = coarse.assign_coords(lat=coarse.lat + 20)
    moved.lat.attrs["units"] = "degrees_north"
    with pytest.raises(InputError, match="do not cover this region"):
        orbitlite.predict(moved, bundle)
    lat, lon = np.linspace(69.75, 64.25, 12), np.linspace(5.25, 12.75, 16)
    height = xr.DataArray(
        np.ones((12, 16), "f4"), {"lat": lat, "lon": lon}, ("lat", "lon"), attrs={"units": "m"}
    )
    statics = height.to_dataset(name="orography")
    assert orbitlite.predict(moved, bundle, statics=statics)[RAIN].shape == (5, 12, 16)


@pytest.mark.parametrize(
    ("option", "message"), [({"batch_size": 0}, "batch_size"), ({"device": "tpu9"}, "device")]
)
def test_bad_options(coarse, bundle, option, message):
    with pytest.raises(InputError, match=message):
        orbitlite.predict(coarse, bundle, **option)
