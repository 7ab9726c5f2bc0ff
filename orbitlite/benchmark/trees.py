"""Building quadtrees: a whole batch at once, against a leaf at a time."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orbitlite.benchmark import measure
from orbitlite.benchmark.session import Session
from orbitlite.model.quadtree import build_leaves

REFERENCE = "list_scan"
SIZES = ((128, 256, 4096), (512, 1024, 16384), (2048, 4096, 65536))
MAX_LEAF = 64
_LONGEST_SCAN = 20_000  # leaves beyond which the scan takes minutes

Node = tuple[float, int, int, int]


def rows(
    sizes: tuple[tuple[int, int, int], ...], batches: tuple[int, ...], session: Session
) -> Iterator[dict[str, Any]]:
    """Time the construction for grids (patches), numbers of leaves and batches.

    Returns
    -------
    iterator of dict
        One per case and variant: `ours`; `list_scan`, which looks through all leaves for the one to
        split, as published (Zhang et al. 2024); `heap`. Ratios are to the scan where it is run, and
        to the heap beyond.
    """
    return session.over(
        [(*size, batch) for size in sizes for batch in batches],
        lambda case: "trees {}x{}, {} leaves, batch {}".format(*case),
        lambda case: 3 * session.timed,
        partial(_compare, session=session),
    )


def _compare(case: tuple[int, int, int, int], session: Session) -> Iterator[dict[str, Any]]:
    height, width, tokens, batch = case
    generator = torch.Generator().manual_seed(0)
    saliency = torch.rand(batch, height, width, generator=generator) ** 8
    calls: dict[str, measure.Call] = {
        "heap": partial(one_by_one, saliency, tokens, heap_tree),
        "ours": partial(build_leaves, saliency.to(session.device), tokens, MAX_LEAF),
    }
    if tokens <= _LONGEST_SCAN:
        calls = {REFERENCE: partial(one_by_one, saliency, tokens, list_tree)} | calls
    seconds = session.medians(calls)
    first = next(iter(calls))
    for name in calls:
        yield {
            "part": "trees",
            "height": height,
            "width": width,
            "tokens": tokens,
            "batch": batch,
            "variant": name,
            "seconds": seconds[name],
            "time_ratio": seconds[first] / seconds[name],
        }


def one_by_one(saliency: Tensor, tokens: int, build: Any) -> list[list[Node]]:
    """Build the tree of each sample in turn."""
    return [build(one.numpy(), tokens) for one in saliency]


def list_tree(saliency: NDArray[np.float32], tokens: int) -> list[Node]:
    """Split the largest leaf of a list until there are enough."""
    total = _totals(saliency)
    leaves = _roots(total)
    while len(leaves) < tokens:
        index = max(range(len(leaves)), key=lambda i: (leaves[i][1] > 1, leaves[i][0]))
        leaves[index : index + 1] = _quarters(leaves[index], total)
    return leaves


def heap_tree(saliency: NDArray[np.float32], tokens: int) -> list[Node]:
    """Split the largest leaf of a heap until there are enough."""
    total = _totals(saliency)
    heap = [(-node[0], node) for node in _roots(total)]
    heapq.heapify(heap)
    done: list[Node] = []
    while len(heap) + len(done) < tokens:
        for part in _quarters(heapq.heappop(heap)[1], total):
            if part[1] > 1:
                heapq.heappush(heap, (-part[0], part))
            else:
                done.append(part)
    return done + [node for _, node in heap]


def _totals(saliency: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the integral image, so that a node's sum takes four look-ups."""
    return np.pad(saliency.cumsum(0, dtype=np.float64).cumsum(1), ((1, 0), (1, 0)))


def _node(total: NDArray[np.float64], size: int, row: int, column: int) -> Node:
    south, east = row + size, column + size
    value = total[south, east] - total[row, east] - total[south, column] + total[row, column]
    return float(value), size, row, column


def _roots(total: NDArray[np.float64]) -> list[Node]:
    h, w = total.shape[0] - 1, total.shape[1] - 1
    steps = (range(0, n, MAX_LEAF) for n in (h, w))
    rows_, columns = (list(step) for step in steps)
    return [_node(total, MAX_LEAF, row, column) for row in rows_ for column in columns]


def _quarters(node: Node, total: NDArray[np.float64]) -> list[Node]:
    _, size, row, column = node
    half = size // 2
    places = (
        (row, column),
        (row, column + half),
        (row + half, column),
        (row + half, column + half),
    )
    return [_node(total, half, *place) for place in places]
