"""Overlaps in one plane: sums are kept, means are those over the pieces."""

from itertools import pairwise

import numpy as np
import pytest
import xarray as xr

from orbitlite.data.regrid import regrid
from orbitlite.errors import InputError
from orbitlite.grids import sphere
from orbitlite.grids.coarsening import coarsen
from orbitlite.grids.crs import Crs
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.grids.mesh import Axes, MeshGrid
from orbitlite.grids.overlap import overlap

POLE = {
    "grid_mapping_name": "rotated_latitude_longitude",
    "grid_north_pole_latitude": 39.25,
    "grid_north_pole_longitude": -162.0,
}
LAMBERT = {
    "grid_mapping_name": "lambert_conformal_conic",
    "standard_parallel": [30.0, 60.0],
    "longitude_of_central_meridian": 10.0,
    "latitude_of_projection_origin": 45.0,
}
CONES = "+proj=lcc +lat_1=30 +lat_2=60 +lat_0=45 +lon_0=10 +ellps=WGS84"
PLANES = {"rotated": (POLE, 1.0), "lambert": (LAMBERT, 111e3)}


def grid(plane, y, x, unit=None, attrs=None):
    """Make a grid of edges in degrees of the plane: a lambert's are metres, 111 km each."""
    stated, scale = PLANES[plane]
    axis = {} if unit is None else {"units": unit}
    scale = scale / 1e3 if unit == "km" else scale
    edges = np.asarray(y, float) * scale, np.asarray(x, float) * scale
    return MeshGrid.from_axes(Axes(*edges, {"y": axis, "x": axis}, Crs(attrs or stated)))


def made(source, missing=0.2, seed=0):
    random = np.random.default_rng(seed)
    rain = random.gamma(0.5, 4.0, (3, *source.shape))
    rain[random.random(rain.shape) < missing] = np.nan
    kinds = random.integers(1, 4, source.shape).astype("f4")
    kinds[random.random(kinds.shape) < missing] = np.nan
    return xr.Dataset(
        {"rain": (("time", "y", "x"), rain), "landcover": (("y", "x"), kinds)}, source.coordinates()
    )


def pieces(source, values, parts, y, x):
    """Return values and areas of small cells, `parts` a side, inside target cells between lines."""
    small = source.refine(parts)
    fine = np.repeat(np.repeat(values, parts, -2), parts, -1)
    for top, bottom in pairwise(y):
        for left, right in pairwise(x):
            place = np.s_[..., top:bottom, left:right]
            yield fine[place], small.areas[place]


@pytest.mark.parametrize("plane", PLANES)
def test_means_are_those_of_small_pieces(plane):
    """Lines of the target run through the cells; a tenth of a cell is the common measure."""
    source = grid(plane, 8 - np.arange(9.0), -4 + np.arange(11.0))
    y, x = 3 + 7 * np.arange(10), 5 + 13 * np.arange(7)
    target = grid(plane, 8 - y / 10, -4 + x / 10)
    ds = made(source)
    found = regrid(ds, target, "conservative")
    means, largest = [], []
    for (values, areas), (codes, _) in zip(
        pieces(source, ds["rain"].values, 10, y, x),
        pieces(source, ds["landcover"].values, 10, y, x),
        strict=True,
    ):
        there = np.isfinite(values)
        with np.errstate(invalid="ignore"):
            means.append(np.nansum(values * areas, (-2, -1)) / (there * areas).sum((-2, -1)))
        shares = [areas[codes == code].sum() for code in (1, 2, 3)]
        largest.append(1 + np.argmax(shares) if max(shares) else np.nan)
    expected = np.stack(means, -1).reshape(found["rain"].shape)
    np.testing.assert_allclose(found["rain"], expected, rtol=2e-4)
    np.testing.assert_array_equal(found["landcover"], np.reshape(largest, target.shape))


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize(
    ("size", "cells", "target_cells", "error"),
    [(17.6, 40, 16, 3e-5), (17.6, 40, 109, 5e-6), (4.4, 40, 17, 1.5e-6), (4.4, 40, 93, 3e-7)],
)
def test_sums_are_kept(plane, size, cells, target_cells, error):
    """As far as arcs of great circles are straight in the plane."""

    def square(count):
        lines = np.linspace(0, size, count + 1)
        return grid(plane, 20 - lines, lines - 15)

    source, target = square(cells), square(target_cells)
    ds = made(source, missing=0)
    found = regrid(ds, target, "conservative")["rain"]
    sums = (found * target.areas).sum(("y", "x")), (ds["rain"] * source.areas).sum(("y", "x"))
    np.testing.assert_allclose(*sums, rtol=error)
    shares = overlap(source, target)
    held = (shares(ds["rain"].values) * target.areas).sum((1, 2))
    np.testing.assert_allclose(held, sums[1], rtol=1e-12)  # over overlaps: to rounding
    ones = xr.ones_like(ds[["rain"]])
    np.testing.assert_allclose(regrid(ones, target, "conservative")["rain"], 1, rtol=1e-12)


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("rows", ["down", "up"])
def test_blocks_are_coarsening(plane, rows):
    source = grid(plane, 6 - 0.5 * np.arange(13), -4 + 0.5 * np.arange(17))
    ds = made(source, missing=0.5)
    ds["rain"][:, :4, :4] = np.nan
    expected = coarsen(ds, source, 4)
    target = source.coarsen(4)
    if rows == "up":
        target = grid(plane, [0, 2, 4, 6], -4 + 2 * np.arange(5))
        expected = expected.isel(y=slice(None, None, -1))
    found = regrid(ds.chunk(time=1), target, "conservative")
    assert found["rain"].chunks
    assert found["rain"].isnull().any()
    for name in ds:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12)


def test_one_plane_said_in_many_ways():
    """In kilometres, by a text, and with degrees counted from elsewhere."""
    source = grid("lambert", 4 - np.arange(9.0), -4 + np.arange(9.0))
    ds = made(source)
    y, x = 3.3 - 1.3 * np.arange(5), -3.1 + 1.3 * np.arange(5)
    expected = regrid(ds, grid("lambert", y, x), "conservative")["rain"]
    for target in (grid("lambert", y, x, "km"), grid("lambert", y, x, "m", {"proj4": CONES})):
        found = regrid(ds, target, "conservative")["rain"]
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_degrees_of_a_rotated_pole_go_round():
    """Also where the target lies across the seam of a source that goes once round."""
    y = 10 - 5.0 * np.arange(5)
    source = grid("rotated", y, 10.0 * np.arange(37))
    ds = made(source)
    x = np.arange(-27.0, 33, 12)
    found = regrid(ds, grid("rotated", y, x), "conservative")["rain"]
    turned = made(source).roll(x=18)["rain"].values
    middle = grid("rotated", y, -180 + 10.0 * np.arange(37))
    other = xr.Dataset({"rain": (("time", "y", "x"), turned)}, middle.coordinates())
    expected = regrid(other, grid("rotated", y, x), "conservative")["rain"]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    far = regrid(ds, grid("rotated", y, x + 720), "conservative")["rain"]
    np.testing.assert_allclose(far, expected, rtol=1e-9)
    whole = grid("rotated", y, np.linspace(-33.0, 327, 31))
    field = ds["rain"].fillna(0).values
    held = (overlap(source, whole)(field) * whole.areas).sum((1, 2))
    np.testing.assert_allclose(held, (field * source.areas).sum((1, 2)), rtol=1e-12)


def test_what_lies_beyond_is_missing():
    source = grid("rotated", 4 - np.arange(5.0), np.arange(5.0))
    ds = made(source, missing=0)
    found = regrid(ds, grid("rotated", 6 - np.arange(9.0), np.arange(-3.0, 7)), "conservative")
    inside = np.zeros((8, 9), bool)
    inside[2:6, 3:7] = True
    np.testing.assert_array_equal(found["rain"][0].notnull(), inside)
    np.testing.assert_allclose(found["rain"].values[:, inside], ds["rain"].values.reshape(3, -1))
    away = regrid(ds, grid("rotated", 30 - np.arange(4.0), np.arange(4.0)), "conservative")
    assert away["rain"].isnull().all()


def test_other_planes_are_refused():
    source = grid("lambert", 4 - np.arange(9.0), -4 + np.arange(9.0))
    y, x = 3 - np.arange(5.0), -3 + np.arange(5.0)
    lat, lon = np.meshgrid(48 - np.arange(4.0), 8 + np.arange(4.0), indexing="ij")
    others = (
        grid("rotated", y, x),
        grid("lambert", y, x, attrs={**LAMBERT, "longitude_of_central_meridian": 10.5}),
        LatLonGrid.from_edges(50 - np.arange(5.0), 5 + np.arange(5.0)),
        MeshGrid.from_points(lat, lon),
    )
    ds = made(source)
    for target in others:
        with pytest.raises(InputError, match=r"one reference system.*use linear"):
            regrid(ds, target, "conservative")


@pytest.mark.parametrize("cells", [1, 20, 31])
def test_areas_are_the_same_in_bands(cells, monkeypatch):
    lines = 6 - 0.5 * np.arange(14), -4 + 0.5 * np.arange(11)
    whole = grid("lambert", *lines)
    monkeypatch.setattr(sphere, "_CELLS", cells)
    np.testing.assert_array_equal(grid("lambert", *lines).areas, whole.areas)
    assert whole.areas.shape == (13, 10)
