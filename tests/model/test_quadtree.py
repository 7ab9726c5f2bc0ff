"""The quadtree: exact budgets, valid nesting, Z-order, the greedy choice."""

import heapq

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orbitlite.errors import InputError
from orbitlite.model.quadtree import build_leaves, feasible, root_count

grids = st.tuples(st.integers(1, 21), st.integers(1, 21), st.sampled_from([1, 2, 4, 8]))


def maps(h, w, b=2, seed=0, steps=None):
    generator = torch.Generator().manual_seed(seed)
    found = torch.rand(b, h, w, generator=generator) ** 4
    return found if steps is None else (found * steps).floor()


def squares(h, w, max_leaf):
    """Return the roots, by definition: inside, aligned, their parent not inside."""
    size = max_leaf
    while size:
        for row in range(0, h - size + 1, size):
            for column in range(0, w - size + 1, size):
                parent = 2 * size
                r, c = row // parent * parent, column // parent * parent
                if size == max_leaf or r + parent > h or c + parent > w:
                    yield row, column, size
        size //= 2


def greedy(saliency, count, max_leaf):
    """Split the leaf of the largest sum again and again."""
    h, w = saliency.shape

    def entry(row, column, size):
        total = float(saliency[row : row + size, column : column + size].double().sum())
        return (-total, -size, row, column)

    roots = list(squares(h, w, max_leaf))
    done = [(r, c, s) for r, c, s in roots if s == 1]
    heap = [entry(*root) for root in roots if root[2] > 1]
    heapq.heapify(heap)
    while heap and len(heap) + len(done) < count:
        _, size, row, column = heapq.heappop(heap)
        half = -size // 2
        for r in (row, row + half):
            for c in (column, column + half):
                if half > 1:
                    heapq.heappush(heap, entry(r, c, half))
                else:
                    done.append((r, c, half))
    return {*done, *((row, column, -size) for _, size, row, column in heap)}


def as_set(leaves, sample):
    rows, columns, levels = (x[sample].tolist() for x in (leaves.row, leaves.column, leaves.level))
    return {(r, c, 2**level) for r, c, level in zip(rows, columns, levels, strict=True)}


def morton(row, column):
    return sum((column >> b & 1) << 2 * b | (row >> b & 1) << 2 * b + 1 for b in range(8))


@settings(deadline=None, max_examples=80)
@given(grid=grids, share=st.floats(0, 1), seed=st.integers(0, 99), flat=st.booleans())
def test_leaves_cover_the_grid_once_in_z_order(grid, share, seed, flat):
    h, w, max_leaf = grid
    roots = root_count(h, w, max_leaf)
    count = feasible(roots + int(share * (h * w - roots)), h, w, max_leaf)
    leaves = build_leaves(maps(h, w, seed=seed, steps=3 if flat else None), count, max_leaf)
    assert leaves.level.shape == (2, count)
    for sample in range(2):
        cover = torch.full((h, w), -1)
        keys = []
        for number in range(count):
            r, c = int(leaves.row[sample, number]), int(leaves.column[sample, number])
            size = 2 ** int(leaves.level[sample, number])
            assert size <= max_leaf
            assert r % size == c % size == 0
            assert r + size <= h
            assert c + size <= w
            assert (cover[r : r + size, c : c + size] == -1).all()
            cover[r : r + size, c : c + size] = number
            keys.append(morton(r, c))
        assert torch.equal(cover.flatten(), leaves.index[sample])
        assert keys == sorted(keys)


@settings(deadline=None, max_examples=60)
@given(grid=grids, share=st.floats(0, 1), seed=st.integers(0, 99))
def test_equals_the_greedy_tree(grid, share, seed):
    h, w, max_leaf = grid
    roots = root_count(h, w, max_leaf)
    assert roots == len(list(squares(h, w, max_leaf)))
    count = feasible(roots + int(share * (h * w - roots)), h, w, max_leaf)
    saliency = maps(h, w, b=1, seed=seed).double()
    leaves = build_leaves(saliency, count, max_leaf)
    assert as_set(leaves, 0) == greedy(saliency[0], count, max_leaf)


def test_a_constant_map_gives_the_uniform_tree():
    for value in (0.0, 1.0, 0.3):
        for level in range(4):
            count = 16 * 32 // 4**level
            leaves = build_leaves(torch.full((1, 16, 32), value), count, 8)
            assert (leaves.level == level).all()


@pytest.mark.parametrize(("h", "w", "uneven"), [(16, 32, 2), (13, 22, 4), (40, 60, 7)])
def test_equal_scores_are_split_evenly_over_the_grid(h, w, uneven):
    """However many: the quarters of the grid have as many splits each, up to a few."""
    rows, columns = h // 2, w // 2
    for splits in range(0, rows * columns + 1, max(1, rows // 6)):
        leaves = build_leaves(torch.ones(1, h, w), root_count(h, w, 2) + 3 * splits, 2)
        level = leaves.level.gather(1, leaves.index).view(h, w)
        split = (level[: 2 * rows : 2, : 2 * columns : 2] == 0).int()
        assert split.sum() == splits
        counts = [
            int(split[a : a + rows // 2, b : b + columns // 2].sum())
            for a in (0, rows - rows // 2)
            for b in (0, columns - columns // 2)
        ]
        assert max(counts) - min(counts) <= uneven


def test_every_patch_is_a_leaf_of_its_own_when_the_budget_allows():
    leaves = build_leaves(maps(6, 7), 42, 4)
    assert (leaves.level == 0).all()
    order = leaves.index.argsort(1)
    assert torch.equal(leaves.row * 7 + leaves.column, order)


def test_samples_do_not_depend_on_each_other_nor_on_the_run():
    saliency = maps(12, 20, b=5, steps=4)
    whole = build_leaves(saliency, 90, 8)
    again = build_leaves(saliency, 90, 8)
    for name in ("index", "level", "row", "column"):
        assert torch.equal(getattr(whole, name), getattr(again, name))
        parts = [getattr(build_leaves(part, 90, 8), name) for part in saliency.split([1, 3, 1])]
        assert torch.equal(getattr(whole, name), torch.cat(parts))


def test_leaves_are_small_where_the_saliency_is():
    saliency = torch.zeros(1, 16, 16)
    saliency[0, 3, 13] = 1
    leaves = build_leaves(saliency, 4 + 9, 8)
    at = leaves.index.view(16, 16)[3, 13]
    assert leaves.level[0, at] == 0
    assert as_set(leaves, 0) >= {(8, 0, 8), (8, 8, 8), (0, 0, 8)}


@pytest.mark.parametrize(
    ("tokens", "expected"), [(0.01, "take 8 to 512"), (513, "take 8 to 512"), (7, "0.0156 to 1")]
)
def test_budgets_that_do_not_fit(tokens, expected):
    with pytest.raises(InputError, match=expected):
        feasible(tokens, 16, 32, 8)


def test_a_whole_float_is_a_count():
    assert feasible(98.0, 16, 32, 8) == feasible(98, 16, 32, 8) == 98
    assert feasible(1.0, 16, 32, 8) == 512


@pytest.mark.slow
def test_compiles_without_graph_breaks():
    def found(saliency):
        leaves = build_leaves(saliency, 98, 8)
        return leaves.index, leaves.level

    saliency = maps(16, 32)
    compiled = torch.compile(found, fullgraph=True, backend="aot_eager")
    for ours, expected in zip(compiled(saliency), found(saliency), strict=True):
        assert torch.equal(ours, expected)
