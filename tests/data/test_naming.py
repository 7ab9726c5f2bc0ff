"""What a source calls its coordinates is noted and given back; what lies along times is kept."""

import numpy as np
import pytest
import xarray as xr

from orbitlite.data.auxiliary import attach, auxiliary
from orbitlite.data.naming import Called, give_back, note, notes, rows
from orbitlite.data.resampling import resample
from orbitlite.data.source import harmonise, open_source
from orbitlite.notice import OrbitliteWarning


@pytest.fixture
def fields():
    """Return three days of temperature on 4 x 5 cells, in canonical names."""
    values = 250 + np.arange(60, dtype="f4").reshape(3, 4, 5)
    return xr.Dataset(
        {"t2m": (("time", "lat", "lon"), values, {"units": "K"})},
        {
            "time": np.datetime64("2001-01-01", "ns") + np.arange(3) * np.timedelta64(1, "D"),
            "lat": ("lat", [4.0, 3.0, 2.0, 1.0], {"units": "degrees_north"}),
            "lon": ("lon", np.arange(5.0), {"units": "degrees_east"}),
        },
    )


def back(ds):
    """Open a source and give its names back."""
    canonical = harmonise(ds)
    assert canonical["2m_temperature"].dims == ("time", "lat", "lon")
    return give_back(canonical, notes(canonical))["2m_temperature"]


def test_canonical_names_need_no_note(fields):
    assert notes(harmonise(fields)) == {}


@pytest.mark.parametrize(
    "names",
    [
        {"lat": "latitude", "lon": "longitude"},
        {"lat": "nav_lat", "lon": "nav_lon", "time": "valid_time"},
        {"time": "valid_time"},
    ],
)
def test_names_come_back(fields, names):
    found = back(fields.rename(names))
    assert found.dims == tuple(names.get(dim, dim) for dim in ("time", "lat", "lon"))
    for axis in ("time", "lat", "lon"):
        np.testing.assert_array_equal(found[names.get(axis, axis)], fields[axis])
    np.testing.assert_array_equal(found, fields["t2m"])


@pytest.mark.parametrize("indexed", [False, True])
def test_coordinates_along_dimensions_of_other_names(fields, indexed):
    other = fields.rename_dims(lat="y", lon="x")
    found = back(other if indexed else other.drop_indexes(["lat", "lon"]))
    assert found.dims == ("time", "y", "x")
    assert found["lat"].dims == ("y",)
    np.testing.assert_array_equal(found["lat"], fields["lat"])
    np.testing.assert_array_equal(found["lon"], fields["lon"])


@pytest.mark.parametrize("name", ["lat", "latitude"])
@pytest.mark.parametrize("lazy", [False, True])
def test_rows_run_north_first_inside_and_as_in_the_source_outside(fields, name, lazy):
    edges = np.stack([fields["lat"] + 0.5, fields["lat"] - 0.5], axis=1)
    given = fields.assign(lat_bnds=(("lat", "nv"), edges)).isel(lat=slice(None, None, -1))
    given = given.assign(lat_bnds=given["lat_bnds"][:, ::-1]).rename({"lat": name})
    found = harmonise(given.chunk(time=1) if lazy else given)
    assert found["lat"].values.tolist() == [4.0, 3.0, 2.0, 1.0]
    np.testing.assert_array_equal(found["lat_bnds"], edges)
    np.testing.assert_array_equal(found["2m_temperature"], fields["t2m"])
    field = found["2m_temperature"]
    assert (field.chunks is not None) is lazy
    assert lazy or np.shares_memory(field.values, given["t2m"].values)
    assert rows(found) == {"lat": Called("lat", "lat", turned=True)}
    back = give_back(found, notes(found))
    np.testing.assert_array_equal(back[name], given[name])
    np.testing.assert_array_equal(back["2m_temperature"], given["t2m"])
    np.testing.assert_array_equal(back[f"{name}_bnds"], given["lat_bnds"])
    # what was opened is a source of its own, whose rows run from the north
    assert rows(harmonise(found)) == {}
    assert notes(harmonise(found.sortby("lat"))) == rows(found)


def test_the_first_source_that_gives_a_channel_gives_the_order(fields):
    other = fields.isel(lat=slice(None, None, -1)).rename(t2m="other")
    late = fields.assign_coords(time=fields["time"] + np.timedelta64(3, "D"))
    assert rows(open_source([other, fields])) == {}
    found = open_source([fields.isel(lat=slice(None, None, -1)), late])
    assert rows(found)
    np.testing.assert_array_equal(found["2m_temperature"], np.concatenate([fields["t2m"]] * 2))


def test_a_scalar_time_comes_back_as_one(fields):
    found = back(fields.isel(time=1))
    assert found.dims == ("lat", "lon")
    assert found["time"].values == fields["time"].values[1]
    found = back(fields.rename(time="valid_time").isel(valid_time=1))
    assert found["valid_time"].ndim == 0


def test_a_forecast_keeps_the_name_time(fields):
    run = fields.isel(time=[0]).drop_vars("time").rename(time="step")
    steps = xr.concat([run, run], "step").assign_coords(
        step=np.array([24, 48], "timedelta64[h]").astype("timedelta64[ns]"),
        time=fields["time"].values[0],
    )
    assert back(steps).dims == ("time", "lat", "lon")


def test_the_first_of_several_sources_gives_the_names(fields):
    late = fields.assign_coords(time=fields["time"] + np.timedelta64(3, "D"))
    other = late.rename(lat="latitude", lon="longitude", time="valid_time")
    assert notes(open_source([other, fields])) == notes(harmonise(other))
    assert notes(open_source([fields, other])) == {}
    # steps that came together are a dimension again
    steps = open_source([fields.isel(time=0), fields.isel(time=1)])
    assert steps.sizes["time"] == 2
    assert notes(steps) == {}


def test_bounds_are_called_like_their_coordinate(fields):
    edges = np.stack([fields["lat"] + 0.5, fields["lat"] - 0.5], axis=1)
    other = fields.rename(lat="latitude")
    found = harmonise(other.assign(latitude_bounds=(("latitude", "nv"), edges)))
    found = give_back(found, notes(found))
    assert found["latitude"].attrs["bounds"] == "latitude_bnds"
    np.testing.assert_array_equal(found["latitude_bnds"], edges)


def test_a_note_changes_neither_attributes_nor_the_callers_objects(fields):
    given = fields.rename(lat="latitude")
    before = given.copy(deep=True)
    canonical = harmonise(given)
    xr.testing.assert_identical(given, before)
    assert given["latitude"].encoding == before["latitude"].encoding
    assert not any("source" in key for key in canonical["lat"].attrs)
    renoted = note(canonical, {"lat": Called("lat", "lat")})
    assert notes(canonical) == {"lat": Called("latitude", "latitude")}
    assert notes(renoted) == {}


def test_a_file_of_noted_coordinates_can_be_written(fields, tmp_path):
    canonical = harmonise(fields.rename(lat="latitude"))
    canonical.to_netcdf(tmp_path / "a.nc")
    canonical.to_zarr(tmp_path / "a.zarr")
    for name in ("a.nc", "a.zarr"):
        assert notes(open_source(tmp_path / name)) == {}


def test_coordinates_along_times_and_members_are_kept(fields):
    more = fields.expand_dims(number=[3, 7]).assign_coords(
        month=("time", [1, 1, 2]), season=("time", ["DJF"] * 3), run="a",
        kind=("number", ["control", "perturbed"]),
    )  # fmt: skip
    found = harmonise(more)
    for name in ("month", "season", "run", "kind"):
        xr.testing.assert_equal(found[name].variable, more[name].variable)
    one = harmonise(more.isel(time=0, number=1))
    assert one["month"].item() == 1
    assert one["number"].item() == 7


def test_heights_grid_mappings_and_areas_are_not_kept(fields):
    more = fields.assign_coords(
        height=((), 2.0, {"axis": "Z", "positive": "up"}), surface=0.0, level=500,
        crs=((), 0, {"grid_mapping_name": "latitude_longitude"}),
        area=(("lat", "lon"), np.ones((4, 5))),
        heightAboveGround=((), 2.0, {"long_name": "original GRIB coordinate for key: level(..)"}),
    )  # fmt: skip
    assert auxiliary(more) == {}


def test_what_files_cannot_hold_is_left_out_with_a_word(fields):
    odd = xr.Variable("time", np.array([{}, {}, {}], object))
    with pytest.warns(OrbitliteWarning, match="'odd' holds dict and is left out"):
        assert "odd" not in attach(fields, [{"odd": odd}]).coords


def test_coordinates_of_several_sources_are_left_out_with_a_word(fields):
    dated = fields.assign_coords(month=("time", [1, 1, 1]), run="a")
    late = dated.assign_coords(time=fields["time"] + np.timedelta64(3, "D"))
    with pytest.warns(OrbitliteWarning, match="several sources are left out: month"):
        assert "month" not in open_source([dated, late]).coords


def test_coordinates_of_steps_end_where_steps_are_brought_to_windows(fields):
    hours = fields.assign_coords(
        time=fields["time"].values[0] + np.arange(3) * np.timedelta64(12, "h"),
        hour=("time", [0, 12, 0]), run="a",
    )  # fmt: skip
    with pytest.warns(OrbitliteWarning, match="no value over 24h: hour"):
        found = resample(harmonise(hours), "24h")
    assert "hour" not in found.coords
    assert found["run"].item() == "a"
