"""Tiles: cores cover each cell once, windows are equal, real and aligned."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orbitlite.data.tiles import TilePlan, take, window_edges
from orbitlite.errors import InputError
from orbitlite.grids.context import Context

cells = st.integers(0, 7)
surroundings = st.one_of(
    st.fixed_dictionaries({"wraps": st.booleans()}),
    st.fixed_dictionaries({"context": st.builds(Context, cells, cells, cells, cells)}),
)
plans = st.builds(
    lambda around, **sizes: TilePlan(**sizes, **around),
    surroundings,
    height=st.integers(1, 40), width=st.integers(1, 40),
    tile=st.one_of(st.none(), st.integers(1, 45)), halo=st.integers(0, 12),
    align=st.sampled_from([1, 2, 3, 4]), south_first=st.booleans(),
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(plans)
def test_every_cell_is_in_one_core(plan):
    count = np.zeros((plan.height, plan.width), int)
    for tile in plan.tiles:
        count[tile.core] += 1
    assert (count == 1).all()


@settings(deadline=None, max_examples=300)
@given(plans)
def test_what_a_tile_alone_has_is_counted_once(plan):
    count = np.zeros(plan.shape, int)
    for tile in plan.tiles:
        rows, columns = (
            np.arange(first + own.start, first + own.stop) % size
            for first, own, size in zip((tile.row, tile.column), tile.own, plan.shape, strict=True)
        )
        count[np.ix_(rows, columns)] += 1
    core = plan.context.core((plan.height, plan.width))
    assert (count[core] == 1).all()
    assert (count <= 1).all()
    if plan.tile is None:
        assert (count == 1).all()


@settings(deadline=None, max_examples=300)
@given(plans)
def test_windows_are_equal_aligned_and_hold_their_cores(plan):
    cells = np.arange(np.prod(plan.shape), dtype=np.float32).reshape(plan.shape)
    core = cells[plan.context.core((plan.height, plan.width))]
    sizes = set()
    for tile in plan.tiles:
        assert tile.row % plan.align == 0
        assert plan.wraps or tile.column % plan.align == 0
        assert tile.row + tile.height <= plan.shape[0]
        assert plan.wraps or tile.column + tile.width <= plan.shape[1]
        assert tile.width <= plan.shape[1]
        window = take(cells, tile)
        assert window.shape == (tile.height, tile.width)
        np.testing.assert_array_equal(window[tile.inner], core[tile.core])
        sizes.add((-(-tile.height // plan.align), -(-tile.width // plan.align)))
    assert len(sizes) == 1


@settings(deadline=None, max_examples=300)
@given(plans)
def test_the_halo_is_there_except_beyond_borders(plan):
    for tile in plan.tiles:
        (top, left), (bottom, right) = (
            (tile.inner[i].start for i in (0, 1)),
            (n - tile.inner[i].stop for i, n in ((0, tile.height), (1, tile.width))),
        )
        north, south, west, east = plan.context
        assert top >= min(plan.halo, north + tile.core[0].start)
        assert bottom >= min(plan.halo, plan.height + south - tile.core[0].stop)
        if plan.wraps and tile.width < plan.width:
            assert min(left, right) >= plan.halo
        else:
            assert left >= min(plan.halo, west + tile.core[1].start)
            assert right >= min(plan.halo, plan.width + east - tile.core[1].stop)


@settings(deadline=None, max_examples=300)
@given(plans)
def test_what_is_decoded_has_one_size_and_lies_in_the_grid(plan):
    sizes = set()
    for tile in plan.tiles:
        window = (tile.height, tile.width)
        for axis, most in enumerate((plan.height, plan.width)):
            decoded, made = tile.decoded[axis], tile.made[axis]
            assert 0 <= decoded.start <= tile.inner[axis].start
            assert tile.inner[axis].stop <= decoded.stop <= window[axis]
            if not (axis and plan.wraps):
                assert 0 <= made.start <= tile.core[axis].start
                assert tile.core[axis].stop <= made.stop <= most
        rows, columns = tile.decoded
        inside = np.zeros(window)[rows, columns]
        assert inside[tile.kept].shape == np.zeros(window)[tile.inner].shape
        sizes.add(inside.shape)
    assert len(sizes) == 1
    largest = max(tile.core[0].stop - tile.core[0].start for tile in plan.tiles)
    assert {rows for rows, _ in sizes} == {largest}


@settings(deadline=None, max_examples=300)
@given(plans)
def test_cores_are_the_chunks_of_a_store(plan):
    rows, columns = plan.bands
    step = max(band.core.stop - band.core.start for band in rows)
    if plan.south_first:
        starts = [plan.height - band.core.stop for band in rows]
    else:
        starts = [band.core.start for band in rows]
    assert all(start % step == 0 for start in starts)
    assert all(band.core.start % columns[0].core.stop == 0 for band in columns)


def test_a_window_across_the_seam():
    plan = TilePlan(4, 12, tile=4, halo=2, wraps=True)
    tile = plan.tiles[0]
    values = np.tile(np.arange(24.0, dtype=np.float32), (8, 1))
    assert take(values, tile, 2)[0].tolist() == [20, 21, 22, 23, *range(12)]
    lat, lon = window_edges(np.linspace(90, -90, 5), np.linspace(0, 360, 13), tile)
    assert lat.tolist() == [90, 45, 0, -45, -90]
    assert lon.tolist() == [300, 330, 360, 390, 420, 450, 480, 510, 540]


def test_one_tile_without_a_size():
    (tile,) = TilePlan(5, 7, wraps=True).tiles
    assert (tile.height, tile.width) == (5, 7)
    _, lon = window_edges(np.arange(6.0), np.linspace(-180, 180, 8), tile)
    np.testing.assert_allclose(lon, np.linspace(-180, 180, 8))


@pytest.mark.parametrize("wrong", [{"tile": 0}, {"tile": 4, "halo": -1}])
def test_sizes_that_are_none(wrong):
    with pytest.raises(InputError, match="expected"):
        TilePlan(8, 8, **wrong)
