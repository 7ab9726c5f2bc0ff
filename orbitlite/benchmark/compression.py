"""`orbitlite benchmark compression`: trees, the compressed network, and what compression costs."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from orbitlite.benchmark.command import Benchmark, add_common

if TYPE_CHECKING:
    from orbitlite.benchmark.session import Session

# This module is imported to build the command line's help: torch only inside functions.

PARTS = ("trees", "network")
SHARES = (1.0, 0.25, 0.0625, 0.03125)
_GRIDS = ((32, 64), (64, 128), (128, 256), (256, 512))
_SMALL = 2  # of these grids without --full
_TITLES = {
    "trees": "Building the trees of a batch",
    "network": "The whole network, 23 channels, D 256, depth 6, patch 2, factor 4",
    "leaf_budgets": "Skill on the test period after the same number of steps",
}
_COLUMNS = {
    "trees": ("height", "width", "tokens", "batch", "variant", "seconds", "time_ratio"),
    "network": (
        "height", "width", "token_share", "variant", "mode", "seconds", "time_ratio", "peak_mib",
        "memory_ratio",
    ),
    "leaf_budgets": ("variant", "token_share", "minutes", "rmse", "p99_ratio", "spectral_distance"),
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to a parser."""
    add_common(parser, repeats=3)
    parser.add_argument(
        "--full", action="store_true",
        help="trees of up to 2048 x 4096 patches, networks on up to 256 x 512 cells (default: "
        "512 x 1024 and 64 x 128)",
    )  # fmt: skip
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=PARTS,
        help="trees: their construction; network: time and memory per budget (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--config", metavar="FILE",
        help="config of `orbitlite fit`: fit and score it at several budgets as well",
    )  # fmt: skip
    parser.add_argument(
        "--epochs", type=int, default=6, help="epochs of each fit (default: %(default)s)"
    )


def _rows(options: argparse.Namespace, session: Session) -> Iterator[dict[str, Any]]:
    from orbitlite.benchmark import leaf_budgets, network, trees

    found: list[Iterator[dict[str, Any]]] = []
    if "trees" in options.parts:
        sizes = trees.SIZES if options.full else trees.SIZES[:_SMALL]
        found.append(trees.rows(sizes, (1, 8), session))
    if "network" in options.parts:
        grids = _GRIDS if options.full else _GRIDS[:_SMALL]
        found.append(network.rows(network.NetworkSetup(), grids, session, SHARES))
    if options.config:
        found.append(leaf_budgets.rows(options.config, options.epochs, session, options.report))
    return chain.from_iterable(found)


BENCHMARK = Benchmark(
    "compression", "adaptive spatial compression: trees, time, memory, skill", _TITLES, _COLUMNS,
    _rows,
)  # fmt: skip
