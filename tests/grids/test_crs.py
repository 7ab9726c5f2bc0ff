"""Reference systems: against a rotation by hand, units, and other libraries beside them."""

import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from orbitlite.data.source import open_source
from orbitlite.errors import InputError
from orbitlite.grids.crs import Crs

POLE = {
    "grid_mapping_name": "rotated_latitude_longitude",
    "grid_north_pole_latitude": 39.25,
    "grid_north_pole_longitude": -162.0,
}
LAMBERT = {
    "grid_mapping_name": "lambert_conformal_conic",
    "standard_parallel": [30.0, 65.0],
    "longitude_of_central_meridian": 10.0,
    "latitude_of_projection_origin": 48.0,
}


def turned(rlat, rlon, pole_lat, pole_lon):
    """Rotate by hand: the definition of a rotated pole, on a sphere."""
    phi, lam = np.radians(rlat), np.radians(rlon)
    x = np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)])
    tilt, spin = np.radians(90 - pole_lat), np.radians(pole_lon + 180)
    about_y = [[np.cos(tilt), 0, -np.sin(tilt)], [0, 1, 0], [np.sin(tilt), 0, np.cos(tilt)]]
    about_z = [[np.cos(spin), -np.sin(spin), 0], [np.sin(spin), np.cos(spin), 0], [0, 0, 1]]
    x = np.array(about_z) @ np.array(about_y) @ x
    return np.degrees(np.arcsin(x[2])), np.degrees(np.arctan2(x[1], x[0]))


def test_a_rotated_pole():
    rlat, rlon = np.array([-14.85, 0.0, 33.0]), np.array([-22.93, 4.0, 80.0])
    lat, lon = Crs(POLE).degrees(rlat, rlon)
    expected = turned(rlat, rlon, 39.25, -162.0)
    np.testing.assert_allclose(lat, expected[0], atol=1e-6)
    np.testing.assert_allclose((lon - expected[1] + 180) % 360 - 180, 0, atol=1e-6)
    assert Crs(POLE).name == "rotated latitude longitude"


def test_units_of_the_plane():
    lat, lon = Crs(LAMBERT).degrees(np.zeros(1), np.zeros(1))
    assert (lat[0], lon[0]) == pytest.approx((48.0, 10.0))
    metres = Crs(LAMBERT).degrees(np.full(1, 3e5), np.full(1, 2e5), ("m", "metre"))
    kilometres = Crs(LAMBERT).degrees(np.full(1, 300.0), np.full(1, 200.0), ("km", "km"))
    np.testing.assert_allclose(metres, kilometres)
    with pytest.raises(InputError, match="'feet': expected m or km"):
        Crs(LAMBERT).degrees(np.zeros(1), np.zeros(1), ("feet", "feet"))


@pytest.mark.parametrize("key", ["crs_wkt", "proj4", "epsg_code", "spatial_ref"])
def test_texts(key):
    text = {"crs_wkt": "EPSG:3035", "proj4": "+proj=laea +lat_0=52 +lon_0=10 +x_0=4321000 "
            "+y_0=3210000 +ellps=GRS80 +units=m", "epsg_code": "3035",
            "spatial_ref": "EPSG:3035"}[key]  # fmt: skip
    lat, lon = Crs({key: text}).degrees(np.array([3210000.0]), np.array([4321000.0]))
    assert (lat[0], lon[0]) == pytest.approx((52.0, 10.0), abs=1e-6)


def test_what_is_not_understood():
    with pytest.raises(InputError, match="'sinusoid_of_mine' is not understood"):
        Crs({"grid_mapping_name": "sinusoid_of_mine"})
    with pytest.raises(InputError, match="lie beyond the reference system"):
        Crs({"epsg_code": "3035"}).degrees(np.full(1, 1e9), np.full(1, 1e9))


def test_it_works_beside_a_library_that_brings_a_proj_of_its_own():
    pytest.importorskip("eccodes", reason="eccodes is not installed")
    code = (
        "import eccodes\nimport numpy as np\nfrom orbitlite.grids.crs import Crs\n"
        "print(Crs({'epsg_code': '3035'}).degrees(np.array([321e4]), np.array([4321e3]))[0][0])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) == pytest.approx(52.0)


def test_without_pyproj_all_else_works(tmp_path):
    """A library of another machine raises what it likes when it is imported."""
    (tmp_path / "pyproj").mkdir()
    (tmp_path / "pyproj" / "__init__.py").write_text("raise OSError('libproj.so.25: no such file')")
    code = f"""if True:
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        import orbitlite
        import numpy as np
        import xarray as xr
        rain = ("time", "lat", "lon"), np.ones((1, 4, 4)), {{"units": "mm day-1"}}
        axes = {{"time": [np.datetime64("2000-01-01", "ns")], "lat": np.arange(4.0),
                "lon": np.arange(4.0)}}
        print(orbitlite.open_source(xr.Dataset({{"pr": rain}}, axes)).sizes["lat"])
        from orbitlite.grids.crs import Crs
        try:
            Crs({{"epsg_code": "3035"}})
        except orbitlite.InputError as error:
            print(error)
    """
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    opened, refused = run.stdout.splitlines()
    assert opened == "4"
    assert "needs pyproj, which cannot be loaded (OSError: libproj.so.25: no such file)" in refused


def projected(day, parallel):
    """Return a day on cells of a Lambert plane."""
    plane = LAMBERT | {"standard_parallel": parallel}
    axes = {}
    for name, size in (("y", 5), ("x", 6)):
        attrs = {"units": "m", "standard_name": f"projection_{name}_coordinate"}
        axes[name] = (name, 50e3 * np.arange(size), attrs)
    rain = {"units": "mm day-1", "grid_mapping": "plane"}
    return xr.Dataset(
        {"pr": (("time", "y", "x"), np.ones((1, 5, 6), np.float32), rain),
         "plane": ((), 0, plane)},
        {"time": [np.datetime64(day, "ns")], **axes},
    )  # fmt: skip


def test_files_in_different_planes_are_not_joined(tmp_path):
    for name, day, parallel in (("a", "2000-01-01", 45), ("b", "2000-01-02", 60)):
        projected(day, parallel).to_netcdf(tmp_path / f"{name}.nc")
    with pytest.raises(InputError, match="The files are on different grids"):
        open_source([str(tmp_path / "a.nc"), str(tmp_path / "b.nc")])
    projected("2000-01-02", 45).to_netcdf(tmp_path / "b.nc")
    assert open_source([str(tmp_path / "a.nc"), str(tmp_path / "b.nc")]).sizes["time"] == 2
