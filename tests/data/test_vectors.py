"""Winds on a mesh: along its axes or towards east and north, told by the standard name alone."""

import numpy as np
import pytest
import xarray as xr

from orbitlite.data.source import open_source
from orbitlite.data.vectors import axes_to_east
from orbitlite.errors import InputError
from orbitlite.grids.crs import Crs
from orbitlite.grids.mesh import Axes, MeshGrid

POLE = Crs({
    "grid_mapping_name": "rotated_latitude_longitude",
    "grid_north_pole_latitude": 39.25,
    "grid_north_pole_longitude": -162.0,
})  # fmt: skip
ATTRS = {"y": {"standard_name": "grid_latitude", "units": "degrees"},
         "x": {"standard_name": "grid_longitude", "units": "degrees"}}  # fmt: skip
U, V = "10m_u_component_of_wind", "10m_v_component_of_wind"


def mesh():
    return MeshGrid.from_axes(Axes(np.arange(8.0, -1, -1), 10 + np.arange(10.0), ATTRS, POLE))


def wind(names=("x_wind", "y_wind"), south_first=False, variables=("uas", "vas")):
    """Return a wind of 3 m/s along x and 4 along y."""
    grid = mesh()
    coords = {name: data for name, data in grid.coordinates().items() if name not in ("crs",)}
    fields = {
        variable: (("y", "x"), np.full(grid.shape, speed, "f4"),
                   {"units": "m s-1", "standard_name": name, "grid_mapping": "crs"})
        for variable, speed, name in zip(variables, (3.0, 4.0), names, strict=True)
    }  # fmt: skip
    ds = xr.Dataset(fields, coords).assign(crs=((), 0, dict(POLE.attrs)))
    ds = ds.assign_coords(height=10.0, time=np.datetime64("2001-01-01", "ns"))
    return ds.isel(y=slice(None, None, -1)) if south_first else ds


@pytest.mark.parametrize("south_first", [True, False])
@pytest.mark.parametrize("names", [("x_wind", "y_wind"),
                                   ("grid_eastward_wind", "grid_northward_wind")])  # fmt: skip
def test_components_along_the_axes_are_turned(names, south_first):
    found = open_source(wind(names, south_first))
    u, v = found[U].values[0].astype(float), found[V].values[0].astype(float)
    np.testing.assert_allclose(np.hypot(u, v), 5.0, rtol=2e-3)
    # where the wind takes air in 100 s, by the projection itself
    grid, degree = mesh(), 111194.9
    y, x = np.meshgrid(np.arange(7.5, 0, -1), np.arange(10.5, 19), indexing="ij")
    step = 100 / degree
    ends = [POLE.degrees(y + side * 4 * step, x + side * 3 * step / np.cos(np.radians(y)))
            for side in (-0.5, 0.5)]  # fmt: skip
    north = (ends[1][0] - ends[0][0]) * degree / 100
    east = (ends[1][1] - ends[0][1]) * degree * np.cos(np.radians(grid.lat)) / 100
    np.testing.assert_allclose(u, east, atol=0.02)
    np.testing.assert_allclose(v, north, atol=0.02)


def test_components_towards_east_and_north_stay():
    found = open_source(wind(("eastward_wind", "northward_wind")))
    np.testing.assert_array_equal(found[U], np.full((1, 8, 9), 3.0))


def test_the_way_the_axes_go():
    towards = axes_to_east(mesh())
    upside = MeshGrid.from_axes(Axes(np.arange(9.0), 10 + np.arange(10.0), ATTRS, POLE))
    other = axes_to_east(upside)
    for one, two in zip(towards, other, strict=True):
        for a, b in zip(one, two, strict=True):
            np.testing.assert_allclose(a, b[::-1], atol=1e-9)


def test_what_cannot_be_known_is_refused():
    for variable in ("uas", "vas"):
        ds = wind(("eastward_wind", "northward_wind"))
        del ds[variable].attrs["standard_name"]
        with pytest.raises(InputError, match=f"'{variable}' lies on a grid .* which way it points"):
            open_source(ds)
    with pytest.raises(InputError, match=r"'uas' \(x_wind\) is along the axes"):
        open_source(wind()[["uas", "crs"]])
    with pytest.raises(InputError, match=r"'vas' \(y_wind\) is along the axes"):
        open_source(wind()[["vas", "crs"]])


def test_several_pairs_are_told_apart_by_their_names():
    ds = wind()
    high = ds[["uas", "vas"]].rename(uas="ua850", vas="va850").drop_vars("height") * 2
    for name in ("uas", "vas"):
        high[name.replace("s", "850")].attrs = dict(ds[name].attrs)
    found = open_source(ds.merge(high))
    ratio = found["u_component_of_wind_850"] / found[U]
    np.testing.assert_allclose(ratio, 2.0, rtol=1e-5)
