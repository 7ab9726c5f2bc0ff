from __future__ import annotations

import logging

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from orbitlite.data.nesting import nest
from orbitlite.errors import InputError
from orbitlite.grids.latlon import LatLonGrid


def region(north, west, rows, columns, step):
    return LatLonGrid.from_edges(
        north - step * np.arange(rows + 1), west + step * np.arange(columns + 1)
    )


def numbered(grid):
    """Every cell holds its own latitude and longitude."""
    values = {
        "north": (("lat", "lon"), np.broadcast_to(grid.lat[:, None], grid.shape)),
        "east": (("lat", "lon"), np.broadcast_to(grid.lon, grid.shape)),
    }
    return xr.Dataset(values, grid.coordinates())


def check(nesting, coarse, fine):
    """Coarse and fine cells lie where the grids say, and nest."""
    factor = nesting.grid.factor_to(nesting.fine_grid)
    for grid, ds in (
        (nesting.grid, nesting.cut(numbered(coarse))),
        (nesting.fine_grid, nesting.cut_fine(numbered(fine))),
    ):
        there = np.isfinite(ds["north"].values)
        np.testing.assert_allclose(
            ds["north"].values[there], np.broadcast_to(grid.lat[:, None], grid.shape)[there]
        )
        off = (ds["east"].values - grid.lon)[there]
        np.testing.assert_allclose(off, 360 * np.round(off / 360), atol=1e-9)
    return factor


@settings(max_examples=100, deadline=None)
@given(
    factor=st.integers(1, 5),
    start=st.tuples(st.integers(-6, 6), st.integers(-6, 6)),
    size=st.tuples(st.integers(10, 20), st.integers(10, 20)),
    turn=st.integers(-1, 1),
)
def test_any_overlapping_region_nests(factor, start, size, turn):
    coarse = region(50.0, 5.0, 6, 7, 1.0)
    step = 1.0 / factor
    fine = region(50 - step * start[0], 5 + 360 * turn + step * start[1], *size, step)
    # coarse cells that lie in the fine region as a whole
    first = [max(-(-begin // factor), 0) for begin in start]
    last = [min((begin + n) // factor, m) for begin, n, m in zip(start, size, (6, 7), strict=True)]
    whole = [end - begin for begin, end in zip(first, last, strict=True)]
    if min(whole) < 1:
        with pytest.raises(InputError):
            nest(fine, factor, coarse)
        return
    nesting = nest(fine, factor, coarse)
    assert check(nesting, coarse, fine) == factor
    assert [(index >= 0).sum() for index in (nesting.rows, nesting.columns)] == whole


def test_same_region_is_taken_whole():
    coarse = region(44.0, -10.0, 9, 14, 1.0)
    nesting = nest(coarse.refine(2), 2, coarse)
    assert nesting.rows.tolist() == list(range(9))
    assert nesting.fine_columns.tolist() == list(range(28))


def test_globe_that_begins_at_another_meridian():
    """The coarse grid begins at Greenwich, the fine one at the date line, half a cell on."""
    coarse = LatLonGrid.from_edges(np.linspace(90, -90, 5), np.linspace(0, 360, 9))
    fine = LatLonGrid.from_edges(np.linspace(90, -90, 13), np.linspace(-180, 180, 25) + 15)
    nesting = nest(fine, 3, coarse)
    assert check(nesting, coarse, fine) == 3
    assert nesting.fine_grid.shape == (12, 24)
    assert nesting.fine_grid.wraps
    assert nesting.grid.wraps
    assert sorted(nesting.columns) == list(range(8))


def test_remainder_is_dropped_and_said(caplog):
    caplog.set_level(logging.INFO)
    fine = region(51.9125, -5.8545, 227, 315, 0.025)
    nesting = nest(fine, 4)
    assert nesting.grid.shape == (56, 78)
    assert nesting.grid.lat[0] == pytest.approx(51.8625)
    assert (nesting.rows == -1).all()
    assert "3 fine row(s) of latitude at the edge" in caplog.text
    assert "3 fine column(s) of longitude" in caplog.text


def test_half_cells_at_the_poles_make_no_block(caplog):
    caplog.set_level(logging.INFO)
    points = xr.Dataset(coords={"lat": np.linspace(90, -90, 25), "lon": 15.0 * np.arange(24)})
    nesting = nest(LatLonGrid.from_dataset(points), 4)
    assert nesting.grid.shape == (5, 6)
    assert nesting.grid.factor_to(nesting.fine_grid) == 4
    assert "90" in caplog.text


def test_half_cells_refined_do_nest():
    points = xr.Dataset(coords={"lat": np.linspace(90, -90, 25), "lon": 15.0 * np.arange(24)})
    coarse = LatLonGrid.from_dataset(points)
    nesting = nest(coarse.refine(4), 4, coarse)
    assert nesting.grid.lat.tolist() == coarse.lat.tolist()


def test_cells_without_coarse_data_are_missing(caplog):
    caplog.set_level(logging.INFO)
    coarse = region(50.0, 5.0, 3, 4, 1.0)
    fine = region(51.0, 4.0, 8, 8, 0.5)
    nesting = nest(fine, 2, coarse)
    assert nesting.rows.tolist() == [-1, 0, 1, 2]
    assert nesting.columns.tolist() == [-1, 0, 1, 2]
    cut = nesting.cut(numbered(coarse))["east"]
    assert np.isnan(cut[0]).all()
    assert np.isnan(cut[:, 0]).all()
    assert "9 of the 16 coarse cells" in caplog.text


@pytest.mark.parametrize(
    "fine",
    [
        region(50.3, 5.0, 10, 10, 0.5),
        region(50.0, 5.0, 10, 10, 0.45),
        region(30.0, 5.0, 10, 10, 0.5),
        region(50.0, 5.0, 1, 10, 0.5),
    ],
)
def test_others_name_the_option(fine):
    with pytest.raises(InputError, match="regrid to linear or conservative"):
        nest(fine, 2, region(50.0, 5.0, 6, 7, 1.0))


def test_too_small_a_grid():
    with pytest.raises(InputError, match="no block of 4 x 4"):
        nest(region(50.0, 5.0, 3, 10, 0.5), 4)
