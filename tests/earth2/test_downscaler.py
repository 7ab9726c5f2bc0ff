"""Bundles as diagnostic models: what `predict` gives, in Earth2Studio's names, units and dims."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
import xarray as xr

from orbitlite.earth2 import Earth2Downscaler
from orbitlite.errors import InputError
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.grids.mesh import MeshGrid
from orbitlite.model.statics import Statics

RAIN = "total_precipitation_24hr"
VARIABLES = ("tp24", "t2m", "z500", "u100", "lsm")
HOURS = np.timedelta64(1, "h")


def metres(ds):
    """Return predicted amounts (mm) in metres."""
    return (ds[RAIN].values.astype("f8") / 1000).astype("f4")


def with_dims(x, coords, **more):
    """Put dimensions of one in front."""
    return x.reshape(*(len(v) for v in more.values()), *x.shape), OrderedDict(**more, **coords)


def test_values_are_those_of_predict_to_the_bit(era5, rich, sample):
    model = Earth2Downscaler.load(rich)
    x, coords = sample
    fine, found = model(x, coords)
    expected = era5.orbitlite.predict(rich)
    assert fine.dtype == torch.float32
    assert np.array_equal(fine[:, 0], metres(expected))
    assert np.array_equal(fine[:, 1], expected["2m_temperature"])
    assert [*found] == ["time", "variable", "lat", "lon"]
    assert found["variable"].tolist() == ["tp24", "t2m"]
    assert np.array_equal(found["time"], coords["time"])
    np.testing.assert_allclose(found["lat"], expected["latitude"], atol=1e-9)
    np.testing.assert_allclose(found["lon"], expected["longitude"], atol=1e-9)


def test_a_bundle_is_loaded_from_its_folder(bundle_path, bundle, coarse):
    model = Earth2Downscaler.load(bundle_path)
    assert model.input_coords()["variable"].tolist() == ["tp24", "t2m"]
    assert model.bundle.identity
    assert model.grid["lat"].tolist() == coarse["lat"].values.tolist()


def test_what_it_takes(rich):
    model = Earth2Downscaler.load(rich)
    taken = model.input_coords()
    assert [*taken] == ["batch", "time", "lead_time", "variable", "lat", "lon"]
    # the bundle has orography, and makes latitudes
    assert tuple(taken["variable"]) == VARIABLES
    assert all(not taken[dim].size for dim in taken if dim != "variable")
    given = model.output_coords(taken)
    assert {dim: len(values) for dim, values in given.items()} == {
        "batch": 0, "time": 0, "lead_time": 0, "variable": 2, "lat": 12, "lon": 16,
    }  # fmt: skip


def test_announced_coordinates_are_those_that_come(rich, sample):
    model = Earth2Downscaler.load(rich)
    x, coords = sample
    _, found = model(x, coords)
    free = model.output_coords(model.input_coords())
    said = model.output_coords(coords)
    assert all(np.array_equal(said[dim], found[dim]) for dim in found)
    assert all(np.array_equal(free[dim], found[dim]) for dim in ("variable", "lat", "lon"))


def test_a_rounding_of_the_coordinates_makes_no_other_ones(bundle_for, sample):
    # stores find places by values that are equal
    x, coords = sample
    lat, lon = 49.3 - 0.7 * np.arange(6), 5.1 + 0.7 * np.arange(8)
    model = Earth2Downscaler.load(
        bundle_for(LatLonGrid.from_dataset(xr.Dataset(coords={"lat": lat, "lon": lon})))
    )
    rounded = OrderedDict(coords, lat=lat.astype("f4"), lon=lon.astype("f4"))
    announced = model.output_coords(model.input_coords())
    for said in (model(x, rounded)[1], model.output_coords(rounded)):
        assert all(np.array_equal(said[axis], announced[axis]) for axis in ("lat", "lon"))


def test_variables_may_stand_in_any_order(rich, sample, caplog):
    model = Earth2Downscaler.load(rich)
    x, coords = sample
    order = [3, 0, 4, 2, 1]
    turned = OrderedDict(coords, variable=coords["variable"][order])
    assert torch.equal(model(x[:, order], turned)[0], model(x, coords)[0])
    more = OrderedDict(coords, variable=np.append(coords["variable"], "msl"))
    caplog.set_level("INFO", "orbitlite")
    assert torch.equal(model(torch.cat([x, x[:, :1]], 1), more)[0], model(x, coords)[0])
    assert "not used: msl" in caplog.text


def test_rows_come_from_north_to_south(rich, sample):
    # stores of Earth2Studio find latitudes by their values, in whatever order they come
    model = Earth2Downscaler.load(rich)
    x, coords = sample
    turned = OrderedDict(coords, lat=coords["lat"][::-1])
    fine, found = model(x.flip(2), turned)
    assert torch.equal(fine, model(x, coords)[0])
    for said in (found, model.output_coords(turned)):
        assert np.array_equal(said["lat"], model.output_coords(coords)["lat"])


def test_times_may_stand_in_any_order(rich, sample):
    model = Earth2Downscaler.load(rich)
    x, coords = sample
    turned = OrderedDict(coords, time=coords["time"][::-1])
    fine, found = model(x.flip(0), turned)
    assert torch.equal(fine.flip(0), model(x, coords)[0])
    assert np.array_equal(found["time"], coords["time"][::-1])


@pytest.fixture
def noisy(bundle_for, grid):
    """Return a stochastic bundle."""
    return bundle_for(grid, noise=2)


def test_the_time_is_that_of_the_start_and_the_lead(era5, sample, noisy):
    # the noise of a stochastic model depends on the time
    bundle = noisy
    model = Earth2Downscaler.load(bundle)
    x, coords = sample
    leads = np.array([0, 24]) * HOURS
    x = torch.stack([x, x.flip(0)], 1)
    coords = OrderedDict(time=coords.pop("time"), lead_time=leads, **coords)
    fine, found = model(x, coords)  # 2 January is there twice: as a start, and as a lead of the 1st
    assert [*found] == ["time", "lead_time", "variable", "lat", "lon"]
    assert fine.shape == (5, 2, 2, 12, 16)
    for number, lead in enumerate(leads):
        there = era5.isel(time=slice(None, None, -1)) if number else era5
        there = there.assign_coords(time=era5["time"].values + lead)
        there["lsm"] = era5["lsm"]
        expected = there.orbitlite.predict(bundle)
        assert np.array_equal(fine[:, number, 0], metres(expected))
    assert not torch.equal(
        fine[0, 1], model(x[:, :1], OrderedDict(coords, lead_time=leads[:1]))[0][4, 0]
    )


def test_members_are_samples_in_front_of_the_variables(era5, sample, noisy):
    bundle = noisy
    fine, found = Earth2Downscaler.load(bundle, members=3, seed=5)(*sample)
    expected = era5.orbitlite.predict(bundle, members=3, seed=5)
    assert [*found] == ["time", "sample", "variable", "lat", "lon"]
    assert found["sample"].tolist() == [0, 1, 2]
    by_time = expected.transpose("time", "realization", ...)
    assert np.array_equal(fine[:, :, 0], metres(by_time))
    alone, coords = Earth2Downscaler.load(bundle, seed=5)(*sample)
    assert "sample" not in coords
    assert np.array_equal(alone[:, 0], metres(expected.isel(realization=0)))
    said = Earth2Downscaler.load(bundle, members=3).output_coords(sample[1])
    assert said["sample"].tolist() == [0, 1, 2]


def test_each_member_of_an_ensemble_has_draws_of_its_number(era5, sample, noisy):
    bundle = noisy
    model = Earth2Downscaler.load(bundle, seed=5)
    x, coords = sample
    both = torch.stack([x, x])
    fine, found = model(both, OrderedDict(ensemble=np.array([3, 7]), **coords))
    assert [*found][:2] == ["ensemble", "time"]
    for place, number in enumerate((3, 7)):
        expected = era5.orbitlite.predict(bundle, seed=5 + number)
        assert np.array_equal(fine[place, :, 0], metres(expected))
        # as when it comes by itself, in another piece of the ensemble
        own = with_dims(x, coords, ensemble=np.array([number]))
        assert torch.equal(model(*own)[0][0], fine[place])
    with pytest.raises(InputError, match=r"one dimension of whole numbers.*found a \(int64\), b"):
        model(torch.stack([both, both]), OrderedDict(a=np.arange(2), b=np.arange(2), **coords))
    with pytest.raises(InputError, match=r"found ensemble \(float64\)"):
        model(both, OrderedDict(ensemble=np.array([0.5, 1.5]), **coords))


def test_a_deterministic_model_takes_all_dimensions_in_front(era5, rich, sample):
    x, coords = sample
    more = torch.stack([x, x + 1])  # (ensemble, time, ...)
    more = more.transpose(0, 1)[:, None]  # (time, batch, ensemble, ...)
    coords = OrderedDict(
        time=coords.pop("time"), batch=np.empty(0), ensemble=np.arange(2), **coords
    )
    fine, found = Earth2Downscaler.load(rich)(more, coords)
    assert [*found] == ["time", "batch", "ensemble", "variable", "lat", "lon"]
    assert fine.shape == (5, 1, 2, 2, 12, 16)
    assert np.array_equal(fine[:, 0, 0, 0], metres(era5.orbitlite.predict(rich)))
    there = era5 + 1
    for name in there:
        there[name].attrs = era5[name].attrs
    there["lsm"] = era5["lsm"]  # a static is that of the first
    assert np.array_equal(fine[:, 0, 1, 1], there.orbitlite.predict(rich)["2m_temperature"])


def test_of_larger_data_the_region_is_predicted_with_its_context(era5, grid, bundle_for, tensor_of):
    part = grid.select(np.arange(1, 5), np.arange(2, 6))
    bundle = bundle_for(part)
    bundle.metadata["training"]["context"] = 1
    model = Earth2Downscaler.load(bundle)
    fine, found = model(*tensor_of(era5))
    expected = era5.orbitlite.predict(bundle)
    assert fine.shape == (5, 2, 8, 8)
    assert np.array_equal(fine[:, 0], metres(expected))
    announced = model.output_coords(model.input_coords())
    assert all(np.array_equal(announced[axis], found[axis]) for axis in ("lat", "lon"))
    cut = era5.isel(latitude=slice(1, 5), longitude=slice(2, 6))
    assert not np.array_equal(model(*tensor_of(cut))[0], fine)


def test_other_cells_are_an_error_and_regrid_brings_them(era5, rich, tensor_of):
    half = era5.assign_coords(latitude=era5["latitude"] + 0.25)
    x, coords = tensor_of(half)
    for way in (lambda m: m(x, coords), lambda m: m.output_coords(coords)):
        with pytest.raises(InputError, match=r"do not cover this region.*set regrid"):
            way(Earth2Downscaler.load(rich))
    model = Earth2Downscaler.load(rich, regrid="linear")
    fine, found = model(x, coords)
    expected = half.orbitlite.predict(rich, regrid="linear")
    assert np.array_equal(fine[:, 0], metres(expected), equal_nan=True)
    said = model.output_coords(coords)
    assert all(np.array_equal(said[dim], found[dim]) for dim in found)


def test_a_projected_grid_has_coordinates_of_two_dimensions(era5, grid, bundle_for, tensor_of):
    rows, columns = np.meshgrid(np.arange(8.0), np.arange(8.0), indexing="ij")
    lat, lon = 49.0 - 0.5 * rows - 0.1 * columns, 6.0 + 0.6 * columns + 0.1 * rows
    mesh = MeshGrid.from_points(lat, lon)
    bundle = bundle_for(grid)
    corners = torch.from_numpy(mesh.corners)
    bundle.statics = Statics(torch.rand(1, 8, 8), corners=corners)
    model = Earth2Downscaler.load(bundle, regrid="linear")
    assert model.grid["lat"].shape == (4, 4)
    fine, found = model(*tensor_of(era5))
    expected = era5.orbitlite.predict(bundle, regrid="linear")
    assert np.array_equal(fine[:, 0], metres(expected), equal_nan=True)
    assert found["lat"].shape == found["lon"].shape == fine.shape[-2:] == (8, 8)
    np.testing.assert_allclose(found["lat"], lat, atol=2e-3)  # a thousandth of a cell
    announced = model.output_coords(model.input_coords())
    assert all(np.array_equal(announced[axis], found[axis]) for axis in ("lat", "lon"))


def test_input_may_have_coordinates_of_two_dimensions(era5, bundle_for, tensor_of):
    rows, columns = np.meshgrid(np.arange(6.0), np.arange(8.0), indexing="ij")
    lat, lon = 49.5 - rows + 0.1 * columns, 5.5 + columns + 0.05 * rows
    mesh = MeshGrid.from_points(lat, lon)
    x, coords = tensor_of(era5)
    coords = OrderedDict(coords, lat=lat, lon=lon)
    with pytest.raises(InputError, match="does not say which way it points"):
        Earth2Downscaler.load(bundle_for(mesh))(x, coords)
    bundle = bundle_for(mesh, inputs=[RAIN, "2m_temperature", "orography"], targets=[RAIN])
    fine, found = Earth2Downscaler.load(bundle)(x, coords)
    there = era5.drop_vars(["latitude", "longitude"]).rename(latitude="y", longitude="x")
    there = there.assign_coords(lat=(("y", "x"), lat), lon=(("y", "x"), lon))
    expected = there.orbitlite.predict(bundle)
    assert np.array_equal(fine[:, 0], metres(expected))
    assert np.array_equal(found["lat"], expected["lat"])
    assert found["lon"].shape == (12, 16)


def test_the_grid_of_a_globe_begins_at_the_first_meridian(bundle_for):
    random = np.random.default_rng(4)
    dims, shape = ("time", "lat", "lon"), (2, 40, 80)
    rain, temperature = random.gamma(0.5, 8, shape), random.normal(280, 5, shape)
    globe = xr.Dataset(
        {RAIN: (dims, rain), "2m_temperature": (dims, temperature)},
        {"time": np.array(["2001-01-01", "2001-01-02"], "datetime64[ns]"),
         "lat": 87.75 - 4.5 * np.arange(40), "lon": 4.5 * np.arange(80)},
    )  # fmt: skip
    # that of the bundle begins in the west
    columns = np.roll(np.arange(80), 40)
    whole = LatLonGrid.from_dataset(globe).select(np.arange(40), columns).turn(-1)
    bundle = bundle_for(whole, inputs=[*globe.data_vars], targets=[RAIN])
    model = Earth2Downscaler.load(bundle)
    assert model.grid["lon"].tolist() == globe["lon"].values.tolist()
    x = torch.from_numpy(
        np.stack([globe[name].values for name in globe], 1) / [[[[1000.0]], [[1.0]]]]
    )
    coords = OrderedDict(
        time=globe["time"].values, variable=np.array(["tp24", "t2m"]), **model.grid
    )
    fine, found = model(x, coords)
    announced = model.output_coords(model.input_coords())
    assert all(np.array_equal(announced[axis], found[axis]) for axis in ("lat", "lon"))
    assert fine.shape == (2, 1, 80, 160)


def test_a_region_across_the_first_meridian(era5, grid, bundle_for, tensor_of):
    moved = grid.turn(-1 / 45)  # from 2.5 W
    bundle = bundle_for(moved)
    model = Earth2Downscaler.load(bundle)
    assert model.grid["lon"].tolist() == [357.5, 358.5, 359.5, 360.5, 361.5, 362.5, 363.5, 364.5]
    x, coords = tensor_of(era5)
    coords["lon"] = (coords["lon"] - 8) % 360
    fine, found = model(x, coords)
    assert np.array_equal(fine[:, 0], metres(
        era5.assign_coords(longitude=era5["longitude"] - 8).orbitlite.predict(bundle)))  # fmt: skip
    announced = model.output_coords(model.input_coords())
    assert all(np.array_equal(announced[axis], found[axis]) for axis in ("lat", "lon"))


def test_a_bundle_without_statics_has_the_grid_of_its_training(era5, grid, bundle_for, tensor_of):
    bundle = bundle_for(grid, inputs=[RAIN, "2m_temperature"], targets=[RAIN], statics=False)
    model = Earth2Downscaler.load(bundle)
    with pytest.raises(InputError, match="no grid of its own"):
        model.output_coords(model.input_coords())
    with pytest.raises(InputError, match="no grid of its own"):
        _ = model.grid
    bundle.metadata["training"]["grid"] = {
        "lat": [44.5, 49.5], "lon": [5.5, 12.5], "shape": [6, 8], "spacing": 1.0,
    }  # fmt: skip
    model = Earth2Downscaler.load(bundle)
    assert model.grid["lat"].tolist() == grid.lat.tolist()
    x, coords = tensor_of(era5[["tp", "t2m"]])
    fine, found = model(x, coords)
    assert np.array_equal(fine[:, 0], metres(era5.orbitlite.predict(bundle)))
    announced = model.output_coords(model.input_coords())
    assert all(np.array_equal(announced[axis], found[axis]) for axis in ("lat", "lon"))


def test_hours_make_the_days_of_a_model_of_windows(era5, grid, bundle_for, tensor_of):
    bundle = bundle_for(grid, inputs=[RAIN, "2m_temperature"], targets=[RAIN])
    bundle.metadata["training"]["accumulate"] = "24h"
    hourly = era5[["tp", "t2m"]].isel(time=np.arange(73) % 5)
    hourly["time"] = np.datetime64("2001-01-01T00", "ns") + np.arange(73) * HOURS
    hourly["tp"].attrs["accumulation_hours"] = 1
    x, coords = tensor_of(hourly)
    coords["variable"] = np.array(["tp", "t2m"])
    model = Earth2Downscaler.load(bundle, names={RAIN: "tp"}, accumulation_period="1h")
    fine, found = model(x, coords)
    expected = hourly.orbitlite.predict(bundle)
    assert found["variable"].tolist() == ["tp24"]
    assert len(found["time"]) > 1
    assert np.array_equal(found["time"], expected["time"])
    assert np.array_equal(fine[:, 0], metres(expected))
    assert np.array_equal(model.output_coords(coords)["time"], found["time"])
    free = OrderedDict(time=coords["time"], lead_time=np.empty(0), **dict([*coords.items()][1:]))
    assert np.array_equal(model.output_coords(free)["time"], found["time"])
    assert not model.output_coords(model.input_coords())["time"].size
    ahead = OrderedDict(coords, time=coords["time"] - 6 * HOURS)
    ahead = OrderedDict(time=ahead.pop("time"), lead_time=np.array([6 * HOURS]), **ahead)
    later, given = model(x[:, None], ahead)
    assert torch.equal(later[:, 0], fine)
    assert np.array_equal(given["time"] + given["lead_time"], found["time"])
    with pytest.raises(InputError, match=r"windows of 24h: expected all steps.*\{'time': 1\}"):
        model(x[:1], OrderedDict(coords, time=coords["time"][:1]))


def test_names_and_units_of_a_source(era5, grid, bundle_for, tensor_of):
    bundle = bundle_for(grid, inputs=[RAIN, "2m_temperature"], targets=[RAIN])
    x, coords = tensor_of(era5[["tp", "t2m"]])
    coords["variable"] = np.array(["rain", "t2m"])
    model = Earth2Downscaler.load(bundle, names={RAIN: "rain"}, units={"rain": "mm", "t2m": "degC"},
                                  accumulation_period="24h")  # fmt: skip
    x = torch.stack([x[:, 0] * 1000, x[:, 1] - 273.15], 1)
    there = era5.assign(
        tp=era5["tp"].copy(data=x[:, 0].numpy()).assign_attrs(units="mm"),
        t2m=era5["t2m"].copy(data=x[:, 1].numpy()).assign_attrs(units="degC"),
    )
    assert np.array_equal(model(x, coords)[0][:, 0], metres(there.orbitlite.predict(bundle)))


def test_a_network_does_without_what_is_said_not_to_be_had(era5, rich, tensor_of):
    less = era5.drop_vars(["z500", "lsm"])
    options = {"without": ["geopotential_500", "land_sea_mask"]}
    model = Earth2Downscaler.load(rich, **options)
    assert model.input_coords()["variable"].tolist() == ["tp24", "t2m", "u100"]
    with pytest.warns(UserWarning, match="does without: geopotential_500, land_sea_mask"):
        fine, _ = model(*tensor_of(less))
    assert np.array_equal(fine[:, 0], metres(less.orbitlite.predict(rich)))
    with pytest.raises(InputError, match="without: 'orography' is no input that is asked for"):
        Earth2Downscaler.load(rich, without=["orography"])


def test_what_training_has_not_seen_is_not_asked_for(rich):
    ranges = {name: [0.0, 1e6] for name in rich.model.config.inputs}
    del ranges["geopotential_500"]
    rich.metadata["training"]["ranges"] = ranges
    assert "z500" not in Earth2Downscaler.load(rich).input_coords()["variable"]


def test_to_moves_a_copy_of_a_bundle(rich):
    model = Earth2Downscaler.load(rich)
    assert model.to("meta") is model
    assert next(model.network.parameters()).device.type == "meta"
    assert next(model.bundle.model.parameters()).device.type == "meta"
    assert next(rich.model.parameters()).device.type == "cpu"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, c: (x[:, 1:], OrderedDict(c, variable=c["variable"][1:])), "tp24 not found"),
        (lambda x, c: (x[0], OrderedDict(list(c.items())[1:][::-1])), "end in variable, lat, lon"),
        (lambda x, c: (x[0], OrderedDict(lead_time=np.array([HOURS]), **dict(list(c.items())[1:]))),
         "lead_time without time"),
        (lambda x, c: (x[:3], c), r"shape \(3, 5, 6, 8\): expected .*time 5"),
        (lambda x, c: (x[0], c), r"shape \(5, 6, 8\)"),
        (lambda x, c: (x[:0], OrderedDict(c, time=c["time"][:0])), r"\(0, 5, 6, 8\).*none empty"),
        (lambda x, c: (x, OrderedDict(c, time=np.arange(5))), "dates in time, found int64"),
        (lambda x, c: (x, OrderedDict(c, variable=c["variable"][[0, 1, 2, 2, 4]])), "z500 stands"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_error(rich, sample, change, words):
    with pytest.raises(InputError, match=words):
        Earth2Downscaler.load(rich)(*change(*sample))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"members": 2}, "members: the model is deterministic"),
        ({"device": "cpu"}, r"device is no option.*\.to\(device\)"),
        ({"statistics": "mean"}, "statistics is no option"),
        ({"between": "2001/2002"}, "between is no option"),
        ({"names": {"2m_temprature": "t2m"}}, "names: '2m_temprature' is no.*'2m_temperature'"),
        ({"units": {"t3m": "K"}}, "units: 't3m' is no variable of the model"),
    ],
)
def test_options_that_do_not_fit(rich, options, words):
    with pytest.raises(InputError, match=words):
        Earth2Downscaler.load(rich, **options)


def test_a_channel_without_a_name_is_an_error(grid, bundle_for):
    with pytest.raises(InputError, match="no name for the input total_precipitation_3hr"):
        Earth2Downscaler(bundle_for(grid, inputs=["total_precipitation_3hr"], targets=[RAIN]))
    with pytest.raises(InputError, match="no name for the target river_discharge"):
        Earth2Downscaler(bundle_for(grid, inputs=[RAIN], targets=["river_discharge"]))


def test_fields_without_times(era5, rich, sample):
    x, coords = sample
    del coords["time"]
    with pytest.warns(UserWarning, match="no time") as told:
        fine, found = Earth2Downscaler.load(rich)(x[0], coords)
    assert told[0].filename == __file__  # it is about the line of the user
    assert [*found] == ["variable", "lat", "lon"]
    with pytest.warns(UserWarning, match="no time"):
        expected = era5.isel(time=0, drop=True).orbitlite.predict(rich)
    assert np.array_equal(fine[0], metres(expected))
