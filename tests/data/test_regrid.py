from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
import xarray_regrid  # noqa: F401  (registers an accessor)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from orbitlite.data.regrid import regrid
from orbitlite.errors import InputError
from orbitlite.grids.coarsening import coarsen
from orbitlite.grids.latlon import LatLonGrid

GAUSSIAN = np.degrees(np.arcsin(np.polynomial.legendre.leggauss(12)[0]))[::-1]


def globe(rows=12, columns=16, poles=False, west=0.0):
    edge = 0 if poles else 90 / rows
    lat = np.linspace(90 - edge, -90 + edge, rows)
    return xr.Dataset(coords={"lat": lat, "lon": west + 360 / columns * np.arange(columns)})


def field(ds, dtype=np.float32, steps=2, seed=0):
    shape = (steps, ds.sizes["lat"], ds.sizes["lon"])
    values = np.random.default_rng(seed).gamma(0.5, 4.0, shape).astype(dtype)
    return ds.assign(rain=(("time", "lat", "lon"), values, {"units": "mm"}))


def smooth(lat, lon):
    lat, lon = np.radians(lat)[:, None], np.radians(lon)
    return np.cos(lat) * np.sin(lon + 0.3) + np.sin(lat)


@pytest.mark.parametrize("west", [-180.0, 0.0, 7.3])
def test_linear_is_periodic_and_reaches_the_poles(west):
    ds = globe(45, 90, west=west)
    ds["a"] = (("lat", "lon"), smooth(ds["lat"].values, ds["lon"].values))
    target = LatLonGrid.from_dataset(globe(31, 40, poles=True, west=-178.0))
    result = regrid(ds, target, "linear")["a"].values
    # rows at the poles take the value of the last circle of latitude, 2 degrees away
    np.testing.assert_allclose(result[1:-1], smooth(target.lat, target.lon)[1:-1], atol=3e-3)
    assert np.isfinite(result).all()


@settings(max_examples=60, deadline=None)
@given(
    west=st.floats(-540, 540).map(lambda lon: round(lon, 2)),
    first=st.floats(-540, 540).map(lambda lon: round(lon, 2)),
    lacking=st.integers(0, 3),
    width=st.integers(1, 40),
)
def test_any_region_of_a_globe_or_nearly_a_globe(west, first, lacking, width):
    """Also where the region lies across its seam or its gap."""
    lon = first + 10.0 * np.arange(36 - lacking)
    values = np.cos(np.radians(lon)) + 2 * np.sin(np.radians(2 * lon))
    ds = xr.Dataset({"a": (("lat", "lon"), np.tile(values, (2, 1)))}, {"lat": [2, 1], "lon": lon})
    target = LatLonGrid.from_edges([1.7, 1.3], west + 9.0 * np.arange(width + 1))
    east = (target.lon - first + 5) % 360 + first - 5  # where it lies, counted as the source
    around = [lon - 360, lon, lon + 360] if not lacking else [lon]
    expected = np.interp(east, np.concatenate(around), np.tile(values, len(around)))
    ends = np.abs((east[:, None] - [first - 5, lon[-1] + 5] + 180) % 360 - 180).min(axis=1)
    clear = (ends > 1e-6) | (lacking == 0)  # on the edge of a gap: in or out
    expected[east > lon[-1] + 5] = np.nan
    found = regrid(ds, target, "linear")["a"].values[0]
    np.testing.assert_allclose(found[clear], expected[clear], atol=1e-6)

    # conservative: means over pieces of a thousandth of a degree
    pieces = (west + 9.0 * np.arange(width)[:, None] + 9e-3 * (np.arange(1000) + 0.5)).ravel()
    cell = np.floor((pieces - first + 5) % 360 / 10).astype(int)
    held = np.append(values, [np.nan] * 3)[cell].reshape(width, 1000)
    there = np.isfinite(held).mean(axis=1) > 2e-3
    found = regrid(ds, target, "conservative")["a"].values[0]
    expected = [np.nanmean(row) for row in held[there]]
    np.testing.assert_allclose(found[there], expected, atol=2e-2)


def test_linear_is_that_of_xarray_inside_a_region():
    ds = field(xr.Dataset(coords={"lat": 40 - 0.7 * np.arange(8), "lon": 3 + 0.9 * np.arange(9)}))
    target = LatLonGrid.from_edges(np.arange(39.4, 36, -0.5), np.arange(4.0, 9.0, 0.5))
    expected = ds["rain"].interp(lat=target.lat, lon=target.lon)
    result = regrid(ds, target, "linear")["rain"]
    np.testing.assert_allclose(result, expected, rtol=1e-5)
    assert result.dtype == np.float32
    assert result.attrs == {"units": "mm"}


@pytest.mark.parametrize("method", ["linear", "conservative"])
@pytest.mark.parametrize("turn", [-360.0, 0.0, 360.0])
def test_outside_is_missing_and_turns_do_not_matter(method, turn):
    ds = field(xr.Dataset(coords={"lat": [2.0, 1.0, 0.0], "lon": [5.0, 6.0, 7.0, 8.0]}))
    target = LatLonGrid.from_edges(np.arange(4.5, -2, -1), turn + np.arange(2.5, 12))
    there = np.isfinite(regrid(ds, target, method)["rain"].values)
    assert there[:, 2:5, 2:6].all()
    assert there.sum() == 2 * 12


def test_linear_shares_weights_of_missing_values():
    ds = xr.Dataset(
        {"a": (("lat", "lon"), [[1.0, np.nan, 5.0], [1.0, np.nan, 5.0]])},
        {"lat": [1.0, 0.0], "lon": [0.0, 1.0, 2.0]},
    )
    target = LatLonGrid.from_edges([1.0, 0.0], [0.15, 0.45, 0.75])
    result = regrid(ds, target, "linear")["a"].values
    np.testing.assert_array_equal(result, [[1.0, np.nan]])


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_conservative_keeps_mass(data):
    """Also on Gaussian grids, with poles, across the seam and with missing cells."""
    rows, columns = data.draw(st.integers(3, 9)), data.draw(st.integers(3, 9))
    poles, west = data.draw(st.booleans()), data.draw(st.floats(-200, 200))
    source = globe(rows, columns, poles, west)
    values = data.draw(
        hnp.arrays(np.float32, (1, rows, columns), elements=st.floats(0, 1e3, width=32))
    )
    values[data.draw(hnp.arrays(np.bool_, values.shape))] = np.nan
    ds = source.assign(a=(("time", "lat", "lon"), values))
    grid = LatLonGrid.from_dataset(ds)
    target = LatLonGrid.from_dataset(
        globe(
            data.draw(st.integers(3, 12)), data.draw(st.integers(3, 12)), data.draw(st.booleans())
        )
    )
    result = regrid(ds, target, "conservative")["a"].values.astype(np.float64)
    valid = np.isfinite(values).astype(np.float64)
    share = regrid(source.assign(a=(("time", "lat", "lon"), valid)), target, "conservative")["a"]
    mass = np.nansum(values.astype(np.float64) * grid.weights)
    kept = np.nansum(result * share.values * target.weights)
    np.testing.assert_allclose(kept, mass, rtol=1e-6, atol=1e-9)


def test_conservative_from_a_gaussian_grid_keeps_mass():
    source = xr.Dataset(coords={"lat": GAUSSIAN, "lon": 15.0 * np.arange(24)})
    ds = field(source)
    grid = LatLonGrid.from_dataset(ds)
    target = LatLonGrid.from_edges(grid.lat_edges[[0, 2, 5, 12]], np.linspace(-7.5, 352.5, 6))
    result = regrid(ds, target, "conservative")["rain"].values
    mass = (ds["rain"].values * grid.weights).sum((1, 2))
    np.testing.assert_allclose((result * target.weights).sum((1, 2)), mass, rtol=1e-6)


def test_conservative_on_nested_grids_is_coarsening():
    grid = LatLonGrid.from_dataset(globe(poles=True)).refine(3)
    ds = field(xr.Dataset(coords=grid.coordinates()))
    ds["rain"][0, :7, 2:9] = np.nan
    expected = coarsen(ds, grid, 3)
    result = regrid(ds, grid.coarsen(3), "conservative")
    np.testing.assert_allclose(result["rain"], expected["rain"], rtol=1e-5)


def test_conservative_against_xarray_regrid():
    # its weights of rows, the cosine of the latitude, are exact for whole rows, and it treats
    # the rows at the poles apart
    ds = field(globe(36, 72, west=2.5))
    target = globe(12, 14, west=360 / 28)
    expected = ds.regrid.conservative(target, latitude_coord="lat")["rain"]
    result = regrid(ds, LatLonGrid.from_dataset(target), "conservative")["rain"]
    expected = expected.transpose(*result.dims)
    np.testing.assert_allclose(result[:, 1:-1], expected[:, 1:-1], rtol=1e-4)


@pytest.mark.parametrize("method", ["linear", "conservative"])
def test_lazy_agrees_and_rows_may_not_ascend(method):
    ds = field(globe())
    ds["rain"][:, 3:6, 2:7] = np.nan
    ds = ds.assign_coords(number=3)
    target = LatLonGrid.from_dataset(globe(7, 9))
    eager = regrid(ds, target, method)
    lazy = regrid(ds.chunk(time=1, lat=5, lon=4), target, method)
    assert lazy["rain"].chunks
    xr.testing.assert_allclose(lazy.compute(), eager)
    with pytest.raises(InputError, match="from north to south"):
        regrid(ds.isel(lat=slice(None, None, -1)), target, method)
    assert "number" in eager.coords


def test_unknown_method():
    with pytest.raises(InputError, match="linear or conservative"):
        regrid(field(globe()), LatLonGrid.from_dataset(globe()), "nearest")
