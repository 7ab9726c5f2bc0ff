"""Which coordinates are true latitude and longitude, and which only look like them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr

from orbitlite.data.coordinates import standardise
from orbitlite.data.naming import give_back, notes
from orbitlite.data.source import open_source
from orbitlite.errors import InputError
from orbitlite.notice import OrbitliteWarning

NORTH, EAST = {"units": "degrees_north"}, {"units": "degrees_east"}
ROTATED = {
    "grid_mapping_name": "rotated_latitude_longitude",
    "grid_north_pole_latitude": 39.25,
    "grid_north_pole_longitude": -162.0,
}
WGS84 = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433],AUTHORITY["EPSG","4326"]]'
)
WGS84_2 = (
    'GEOGCRS["WGS 84",ENSEMBLE["World Geodetic System 1984 ensemble",MEMBER["..."]],'
    'PRIMEM["Greenwich",0,ANGLEUNIT["degree",0.0174532925199433]],CS[ellipsoidal,2],ID["EPSG",4326]]'
)
LAEA = (
    'PROJCS["ETRS89-extended / LAEA Europe",GEOGCS["ETRS89",DATUM["European",SPHEROID["GRS 1980",'
    '6378137,298.257222101]],PRIMEM["Greenwich",0]],PROJECTION["Lambert_Azimuthal_Equal_Area"]]'
)
POLE = (
    'GEOGCRS["Rotated_pole",BASEGEOGCRS["WGS 84",DATUM["World Geodetic System 1984"],'
    'PRIMEM["Greenwich",0]],DERIVINGCONVERSION["Pole rotation",METHOD["Pole rotation"]]]'
)
PARIS = WGS84.replace('PRIMEM["Greenwich",0]', 'PRIMEM["Paris",2.33722917]')


def grid(lat=(3.0, 2.0, 1.0), lon=(10.0, 11.0, 12.0, 13.0), names=("lat", "lon"), attrs=({}, {})):
    shape = len(lat), len(lon)
    coordinates = {
        name: (name, np.asarray(values, float), dict(said))
        for name, values, said in zip(names, (lat, lon), attrs, strict=True)
    }
    return xr.Dataset({"v": (names, np.ones(shape), {"units": "K"})}, coordinates)


def refused(ds, *words):
    with pytest.raises(InputError) as error:
        standardise(ds)
    for word in (*words, "xESMF or CDO"):
        assert word in str(error.value)


def accepted(ds):
    with warnings.catch_warnings():
        warnings.simplefilter("error", OrbitliteWarning)
        found = standardise(ds)
    np.testing.assert_array_equal(found["lat"], [3, 2, 1])
    np.testing.assert_array_equal(found["lon"], [10, 11, 12, 13])


@pytest.mark.parametrize(
    "names", [("lat", "lon"), ("latitude", "longitude"), ("y", "x"), ("rlat", "rlon")]
)
@pytest.mark.parametrize("units", ["degrees", "degree", None, "degrees_north"])
def test_rotated_coordinates_are_refused_under_any_name(names, units):
    said = [{"standard_name": f"grid_{name}"} for name in ("latitude", "longitude")]
    if units:
        said = [{**attrs, "units": units} for attrs in said]
    refused(grid(names=names, attrs=said), "No latitude coordinate", "grid_latitude")


@pytest.mark.parametrize("names", [("lat", "lon"), ("y", "x")])
@pytest.mark.parametrize("units", ["m", "km", "1", "rad", "pixel"])
def test_other_units_are_refused(names, units):
    refused(grid(names=names, attrs=[{"units": units}] * 2), repr(units), repr(names[0]))
    said = [{"standard_name": f"projection_{letter}_coordinate", "units": units} for letter in "yx"]
    refused(grid(names=names, attrs=said), "projection_y_coordinate")


def test_a_long_name_tells_too():
    said = [{"long_name": f"{name} in rotated pole grid", "units": "degrees"} for name in "ab"]
    refused(grid(attrs=said), "rotated pole grid")


@pytest.mark.parametrize("names", [("y", "x"), ("Y", "X")])
def test_x_and_y_need_evidence(names):
    refused(grid(names=names), f"found '{names[0]}' (without units)", "degrees_north")
    refused(grid(names=names, attrs=[{"axis": "Y"}, {"axis": "X"}]), "without units")
    for said in (
        (NORTH, EAST),
        ({"units": "degrees", "axis": "Y"}, {"units": "degrees", "axis": "X"}),
        ({"standard_name": "latitude"}, {"standard_name": "longitude"}),
    ):
        accepted(grid(names=names, attrs=said))


@pytest.mark.parametrize(
    "said", [("degrees_N", "degrees_E"), ("degreeN", "degree_E"), ("Degrees_North", "degreesE")]
)
def test_every_spelling_of_cf(said):
    accepted(grid(names=("phi", "lambda"), attrs=[{"units": units} for units in said]))


@pytest.mark.parametrize("where", ["attrs", "encoding"])
@pytest.mark.parametrize("as_coordinate", [True, False])
@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        (ROTATED, "rotated_latitude_longitude"),
        ({"grid_mapping_name": "lambert_conformal_conic"}, "lambert_conformal_conic"),
        ({"crs_wkt": LAEA}, "LAEA Europe"),
        ({"crs_wkt": POLE}, "Rotated_pole"),
        ({"spatial_ref": PARIS}, "GEOGCS"),
        (
            {"grid_mapping_name": "latitude_longitude", "longitude_of_prime_meridian": 2.337},
            "prime",
        ),
        ({"proj4": "+proj=ob_tran +o_proj=longlat +o_lat_p=39"}, "ob_tran"),
        ({"epsg_code": "EPSG:3035"}, "3035"),
        ({"grid_mapping_name": "latitude_longitude"}, None),
        ({"grid_mapping_name": "latitude_longitude", "longitude_of_prime_meridian": 0.0}, None),
        ({"crs_wkt": WGS84, "GeoTransform": "9.5 1 0 3.5 0 -1"}, None),
        ({"crs_wkt": WGS84_2, "spatial_ref": WGS84_2}, None),
        ({"proj4": "+proj=longlat +datum=WGS84 +pm=0 +no_defs"}, None),
        ({"epsg_code": "EPSG:4326"}, None),
        ({"epsg_code": 4326}, None),
        ({"crs": "urn:ogc:def:crs:OGC:1.3:CRS84"}, None),
    ],
)
def test_grid_mappings(mapping, words, where, as_coordinate, stated):
    ds = grid(attrs=(NORTH, EAST) if stated else ({}, {}))
    ds["crs"] = ((), 0, mapping)
    getattr(ds["v"], where)["grid_mapping"] = "crs"
    ds = ds.set_coords("crs") if as_coordinate else ds
    if words is None:
        accepted(ds)
    else:
        refused(ds, "'v' has the grid mapping 'crs'", words)


def test_a_grid_mapping_that_got_lost():
    """Nothing is known then but what the coordinates say."""
    ds = grid()
    ds["v"].attrs["grid_mapping"] = "rotated_pole"
    refused(ds, "is not in the data", "degrees_north")
    refused(ds.assign(rotated_pole=0), "says nothing")
    stated = grid(attrs=(NORTH, EAST))
    stated["v"].attrs["grid_mapping"] = "rotated_pole"
    accepted(stated)


def test_a_reference_system_that_no_variable_names():
    """Arithmetic loses the attribute of the variable, and the system stays behind."""
    refused(grid().assign(rotated_pole=((), 0, ROTATED)), "'rotated_pole'", "rotated_latitude")
    accepted(grid(attrs=(NORTH, EAST)).assign(rotated_pole=((), 0, ROTATED)))
    accepted(grid().assign(crs=((), 0, {"crs_wkt": WGS84})))
    refused(grid().assign_attrs(crs="EPSG:3035"), "EPSG:3035")


def test_the_long_form_of_grid_mappings():
    """Each mapping with its own coordinates."""
    ds = grid(attrs=(NORTH, EAST)).assign(a=((), 0, ROTATED), b=((), 0, {"crs_wkt": WGS84}))
    ds["v"].attrs["grid_mapping"] = "a: rlon rlat b: lon lat"
    accepted(ds)
    ds["v"].attrs["grid_mapping"] = "a: lon lat b: longitude latitude"
    refused(ds, "'a'")


@pytest.mark.parametrize("named", ["attrs", "encoding", None])
def test_rasters_of_rioxarray(named):
    """Which names its coordinates x and y, without attributes, beside a scalar spatial_ref."""
    for wkt in (WGS84, LAEA, POLE):
        ds = grid(names=("y", "x")).assign_coords(
            spatial_ref=((), 0, {"crs_wkt": wkt, "spatial_ref": wkt, "GeoTransform": "9.5 1 0"})
        )
        if named:
            getattr(ds["v"], named)["grid_mapping"] = "spatial_ref"
        if wkt == WGS84:
            accepted(ds)
        elif wkt == LAEA:
            assert standardise(ds)["lat"].dims == ("y", "x")
        else:
            with pytest.raises(InputError, match=r"Rotated_pole.* is not understood"):
                standardise(ds)
    old = grid(names=("y", "x"))
    old["v"].attrs["crs"] = "+init=epsg:4326"
    accepted(old)
    old["v"].attrs["crs"] = "EPSG:32633"
    found = standardise(old)
    assert found["v"].dims == ("y", "x")
    assert abs(float(found["lon"].mean()) - 10.5) < 0.1  # 500 km west of 15 degrees east


@pytest.mark.parametrize("decode", [True, "all"])
def test_through_files(tmp_path, decode):
    """Where xarray puts the grid mapping, and what of it an array takes along."""
    for number, mapping in enumerate((ROTATED, {"grid_mapping_name": "latitude_longitude"})):
        path = tmp_path / f"{number}.nc"
        ds = grid().rename(v="orography").assign(crs=((), 0, mapping))
        ds["orography"].attrs.update(units="m", grid_mapping="crs")
        ds.to_netcdf(path)
        with xr.open_dataset(path, decode_coords=decode) as opened:
            for source in (path, opened, *([opened["orography"]] if decode == "all" else [])):
                if number:
                    assert open_source(source)["orography"].shape == (3, 4)
                    continue
                with pytest.raises(InputError, match="'orography' has the grid mapping 'crs'"):
                    open_source(source)


@pytest.mark.parametrize("form", ["two", "reset", "projected"])
def test_two_dimensional_coordinates_of_a_regular_grid(form):
    lon, lat = np.meshgrid([1.0, 2.0, 3.0], [5.0, 6.0])
    ds = xr.Dataset({"v": (("y", "x"), lon)}, {"lat": (("y", "x"), lat), "lon": (("y", "x"), lon)})
    if form == "projected":
        ds = ds.assign_coords(y=("y", [1e5, 2e5], {"units": "m"}))
    found = standardise(ds.reset_coords() if form == "reset" else ds)
    assert found["v"].dims == ("lat", "lon")
    np.testing.assert_array_equal(found["lat"], [6, 5])
    np.testing.assert_array_equal(found["lon"], [1, 2, 3])
    given = give_back(found, notes(found))
    assert given["v"].dims == ("y", "x")
    np.testing.assert_array_equal(given["lat"], [5, 6])


@pytest.mark.parametrize("names", [("lat", "lon"), ("y", "x"), ("latitude", "longitude")])
@pytest.mark.parametrize("units", ["degrees", None])
def test_true_coordinates_in_two_dimensions_beside_rotated_ones(names, units):
    said = [{"units": units}] * 2 if units else ({}, {})
    ds = grid(names=names, attrs=said)
    lon, lat = np.meshgrid(ds[names[1]] + 30, ds[names[0]] + 40)
    turned = {"true_lat": (names, lat + 0.1 * lon, NORTH), "true_lon": (names, lon, EAST)}
    for source in (ds.assign_coords(turned), ds.assign(turned)):
        found = standardise(source)
        assert found["v"].dims == found["lat"].dims == ("y", "x")
        np.testing.assert_allclose(found["lat"], lat + 0.1 * lon)
        np.testing.assert_allclose(found["lon"], lon)
        assert give_back(found, notes(found))["v"].dims == names


def test_fields_of_the_same_coordinates_do_no_harm():
    """The channel latitude, and what regridding tools leave."""
    ds = grid()
    lon, lat = np.meshgrid(ds["lon"], ds["lat"])
    lon[0, 0], lat[0, 0] = lon[0, 0] + 360, np.nan
    fields = {"latitude": (("lat", "lon"), lat, NORTH), "b": (("lat", "lon"), lon, EAST)}
    accepted(ds.assign(fields))
    bounds = [[3.5, 2.5], [2.5, 1.5], [1.5, 0.5]]
    accepted(ds.assign(fields).assign(lat_bnds=(("lat", "two"), bounds, NORTH)))


def test_stations_and_unstructured_grids():
    ds = xr.Dataset(
        {"v": ("cell", [1.0, 2.0])}, {"lat": ("cell", [5, 6.0]), "lon": ("cell", [1, 2.0])}
    )
    refused(ds, "share the dimension 'cell'")


def test_no_coordinates():
    refused(xr.Dataset({"v": (("lat", "lon"), np.ones((2, 2)))}), "No latitude coordinate")


def test_numbers_of_pixels():
    refused(grid(range(50), range(500)), "further than once round the globe")
    with pytest.warns(OrbitliteWarning, match="numbers of pixels"):
        standardise(grid(range(50), range(60)))
    with pytest.warns(OrbitliteWarning, match="numbers of pixels"):
        standardise(grid(range(50)[::-1], range(60)))
    with warnings.catch_warnings():
        warnings.simplefilter("error", OrbitliteWarning)
        standardise(grid(range(50), range(60), attrs=(NORTH, EAST)))
        standardise(grid(range(50), range(-180, 180)))


@pytest.mark.parametrize(
    ("name", "dims"),
    [
        ("cordex_iberia/cordex_historical.nc", ("rlat", "rlon")),
        ("cordex_ml_bench/pr_ALPS.nc", ("y", "x")),
    ],
)
def test_real_rotated_and_projected_grids(real_data, name, dims):
    with xr.open_dataset(real_data(name)) as ds:
        found = standardise(ds)
        assert found["lat"].dims == found["pr"].dims[1:] == ("y", "x")
        np.testing.assert_allclose(found["lat"], ds["lat"].values[::-1])
        np.testing.assert_array_equal(found["pr"], ds["pr"].values[:, ::-1])
        given = give_back(found, notes(found))
        assert given["pr"].dims == ds["pr"].dims
        for coordinate in (*dims, "lat", "lon"):
            np.testing.assert_array_equal(given[coordinate], ds[coordinate])
        flat = ds.drop_vars(["lat", "lon"])
        if name.startswith("cordex_ml"):
            refused(flat, "'y'")
            return
        computed = standardise(flat)
        np.testing.assert_allclose(computed["lat"], found["lat"], atol=1e-5)
        np.testing.assert_allclose(computed["lon"], found["lon"], atol=1e-5)
        other = standardise(flat.rename({dims[0]: "lat", dims[1]: "lon"}))
        np.testing.assert_array_equal(other["lat"], computed["lat"])
