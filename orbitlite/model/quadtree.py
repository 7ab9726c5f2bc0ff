"""A quadtree over the patch grid with a fixed budget of leaves, for a whole batch at once.

Adaptive patching (Zhang et al. 2024, arXiv 2404.09707) splits the leaf of the largest score again
and again, one leaf and one sample at a time. The same greedy tree follows from one selection: give
each node the priority min(its own score, its parent's priority) and split the k nodes of the
highest. A parent never ranks behind its child, so that every such set is a tree, and
N = roots + 3 k.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from orbitlite.errors import InputError

_GOLDEN = 2654435769
"""2^32 over the golden ratio: its multiples fill the numbers below 2^32 evenly, however many."""


@dataclass(frozen=True)
class Leaves:
    """The leaves of a batch of trees, in Z-order.

    Attributes
    ----------
    index : Tensor of shape (B, h w), int64
        Leaf of every patch, patches row by row.
    level : Tensor of shape (B, N), int64
        A leaf of level l is a square of 2^l x 2^l patches.
    row, column : Tensor of shape (B, N), int64
        First patch of each leaf.
    """

    index: Tensor
    level: Tensor
    row: Tensor
    column: Tensor


def check_tokens(tokens: int | float | None) -> None:
    """Refuse what is no budget of leaves. 9.0 is the count 9: a command line may read it so.

    Raises
    ------
    InputError
        If it is neither None, a count of one or more, nor a share in (0, 1].
    """
    if tokens is None:
        return
    number = isinstance(tokens, (int, float)) and not isinstance(tokens, bool)
    if not number or not 0 < tokens < 2**53 or (tokens > 1 and tokens % 1):
        raise InputError(
            f"tokens: expected a count, or a share of the patches in (0, 1], found {tokens}"
        )


def levels_of(max_leaf: int) -> int:
    """Return the level of the largest leaf, `max_leaf` patches along one side.

    Raises
    ------
    InputError
        If that is no power of two.
    """
    level = max_leaf.bit_length() - 1
    if max_leaf < 1 or 2**level != max_leaf:
        raise InputError(f"max_leaf: expected a power of two, found {max_leaf}")
    return level


def root_count(h: int, w: int, max_leaf: int) -> int:
    """Return the number of roots: the largest aligned squares that lie inside the grid.

    A square that reaches beyond the grid is no node, its quarters inside are roots: so there is no
    padding, and every split makes three leaves more.

    Examples
    --------
    >>> root_count(16, 32, 8), root_count(10, 8, 8)
    (8, 5)
    """
    count = 0
    for level in range(levels_of(max_leaf), -1, -1):
        inside = (h >> level) * (w >> level)
        above = level + 1
        parents = (h >> above) * (w >> above) if level < levels_of(max_leaf) else 0
        count += inside - 4 * parents
    return count


def feasible(tokens: int | float, h: int, w: int, max_leaf: int) -> int:
    """Return the largest number of leaves within a budget: roots + 3 k.

    Parameters
    ----------
    tokens : int or float
        A count, or a share of the patches in (0, 1].
    h, w : int
        Patches.
    max_leaf : int
        Patches along one side of the largest leaf.

    Raises
    ------
    InputError
        If the budget is more than the patches or less than the roots.

    Examples
    --------
    >>> feasible(0.25, 16, 32, 8), feasible(100, 16, 32, 8), feasible(1.0, 5, 7, 4)
    (128, 98, 35)
    """
    cells, roots = h * w, root_count(h, w, max_leaf)
    share = isinstance(tokens, float) and tokens <= 1
    wanted = round(tokens * cells if share else tokens)
    if not roots <= wanted <= cells:
        raise InputError(
            f"tokens: {tokens} gives {wanted} leaves; {h} x {w} patches with leaves of up to "
            f"{max_leaf} x {max_leaf} take {roots} to {cells} (share {roots / cells:.3g} to 1); "
            "state another budget, or a larger max_leaf for fewer"
        )
    return roots + (wanted - roots) // 3 * 3


def build_leaves(saliency: Tensor, count: int, max_leaf: int) -> Leaves:
    """Build the trees of a batch.

    Parameters
    ----------
    saliency : Tensor of shape (B, h, w)
        Non-negative score of every patch, its area included. A node's score is the sum over its
        patches. Equal scores are split in order of size, then spread evenly over the grid: a
        constant map gives the uniform tree, or two sizes of leaves side by side everywhere.
    count : int
        Leaves per sample, of `feasible`.
    max_leaf : int
        Patches along one side of the largest leaf, a power of two.

    Returns
    -------
    Leaves
    """
    b, h, w = saliency.shape
    top = levels_of(max_leaf)
    splits = (count - root_count(h, w, max_leaf)) // 3
    nodes = _nodes(h, w, top, saliency.device)
    chosen = _split(saliency.detach(), nodes, splits, top)
    level = _leaf_levels(chosen, nodes, b, h, w, top)
    row = torch.arange(h, device=saliency.device, dtype=torch.int32)[:, None]
    column = torch.arange(w, device=saliency.device, dtype=torch.int32)[None, :]
    first_row, first_column = row >> level << level, column >> level << level
    is_first = (first_row == row) & (first_column == column)
    # Patches of a leaf follow each other in Z-order: a leaf's number is that of its first patch.
    order = nodes.order.expand(b, -1)
    number = is_first.flatten(1).gather(1, order).cumsum(1) - 1
    index = torch.zeros_like(number).scatter(1, order, number)

    def per_leaf(values: Tensor) -> Tensor:
        found = values.new_zeros(b, count)
        return found.scatter(1, index, values.flatten(1)).long()

    return Leaves(index, per_leaf(level), per_leaf(first_row), per_leaf(first_column))


@dataclass(frozen=True)
class _Nodes:
    """What belongs to a grid alone: Z-order of patches, and an order of the splittable nodes.

    `inside[l]` are flat positions of the nodes of level l in its grid of ceil(h / 2^l) rows, from
    the top level to level 1. They are not in Z-order, but in steps of the golden section along it:
    the first of them, however many, lie evenly over the grid.
    """

    order: Tensor
    inside: tuple[Tensor, ...]


@lru_cache(maxsize=4)
def _nodes(h: int, w: int, top: int, device: torch.device) -> _Nodes:
    inside = []
    for level in range(top, 0, -1):
        rows, columns = h >> level, w >> level
        order = _z_order(rows, columns, device)
        order = order[(torch.arange(len(order), device=device) * _GOLDEN % 2**32).argsort()]
        width = -(-w >> level)
        inside.append(order // max(columns, 1) * width + order % max(columns, 1))
    return _Nodes(_z_order(h, w, device), tuple(inside))


def _z_order(rows: int, columns: int, device: torch.device) -> Tensor:
    """Return the flat positions of a grid in the order of their Morton keys."""
    row = torch.arange(rows, device=device)[:, None]
    column = torch.arange(columns, device=device)[None, :]
    key = torch.zeros(rows, columns, dtype=torch.int64, device=device)
    for bit in range(max(rows, columns, 1).bit_length()):
        key |= ((column >> bit) & 1) << (2 * bit) | ((row >> bit) & 1) << (2 * bit + 1)
    return key.flatten().argsort()


def _split(saliency: Tensor, nodes: _Nodes, splits: int, top: int) -> list[Tensor]:
    """Return which nodes are split, per level from the top to 1, in the order of `nodes`."""
    scores = [saliency]
    for _ in range(top):
        scores.append(_quarter_sum(scores[-1]))
    priorities: list[Tensor] = []
    parents: Tensor | None = None
    for level in range(top, 0, -1):
        own = scores[level]
        if parents is not None:
            own = torch.minimum(own, _twice(parents, *own.shape[1:]))
        where = nodes.inside[top - level]
        priorities.append(own.flatten(1)[:, where])
        # A square that is no node does not hold its quarters back.
        parents = torch.full_like(own, torch.inf).flatten(1)
        parents[:, where] = priorities[-1]
        parents = parents.view_as(own)
    if not priorities:
        return []
    flat = torch.cat(priorities, dim=1)
    chosen = _highest(flat, splits)
    return list(torch.split(chosen, [part.shape[1] for part in priorities], dim=1))


def _highest(values: Tensor, count: int) -> Tensor:
    """Mark the `count` highest of each row; among equals the first. A selection, not a sort."""
    if count == 0:
        return torch.zeros_like(values, dtype=torch.bool)
    least = values.topk(count, dim=1, sorted=False).values.amin(1, keepdim=True)
    above, equal = values > least, values == least
    room = count - above.sum(1, keepdim=True)
    return above | (equal & (equal.cumsum(1) <= room))


def _quarter_sum(x: Tensor) -> Tensor:
    h, w = x.shape[1:]
    x = F.pad(x, (0, w % 2, 0, h % 2))
    pairs = x[:, 0::2] + x[:, 1::2]
    return pairs[:, :, 0::2] + pairs[:, :, 1::2]


def _leaf_levels(chosen: list[Tensor], nodes: _Nodes, b: int, h: int, w: int, top: int) -> Tensor:
    """Return the level of the leaf of every patch, (B, h, w), from the top level down."""
    device = nodes.order.device
    level = torch.full((b, -(-h >> top), -(-w >> top)), top, dtype=torch.int32, device=device)
    for number, split in enumerate(chosen):
        at = top - number
        rows, columns = -(-h >> at), -(-w >> at)
        # What reaches beyond the grid is no node: count it as split.
        grid = torch.ones(b, rows * columns, dtype=torch.int32, device=device)
        grid[:, nodes.inside[number]] = split.int()
        level = _twice(level - grid.view(b, rows, columns), -(-h >> at - 1), -(-w >> at - 1))
    return level


def _twice(x: Tensor, rows: int, columns: int) -> Tensor:
    """Repeat each cell of (B, h, w) twice along both axes, and cut."""
    return x.repeat_interleave(2, 1)[:, :rows].repeat_interleave(2, 2)[:, :, :columns]
