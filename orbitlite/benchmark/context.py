"""`orbitlite benchmark context`: what inputs around a region are worth for its fine fields."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from orbitlite.benchmark.command import Benchmark, add_common, add_fits, fits_of
from orbitlite.errors import InputError

if TYPE_CHECKING:
    from orbitlite.benchmark.session import Session

# This module is imported to build the command line's help: torch only inside functions.

_CELLS = (0, 4)
_FULL_CELLS = (0, 2, 4, 8)
_BUDGETS = (40.0,)
_FULL_BUDGETS = (180.0,)
_TITLES = {"context": "A region with so many coarse cells of inputs around it, after the same time"}
_COLUMNS = {
    "context": (
        "context", "variant", "budget_seconds", "seed", "rmse_mean", "crps", "spread_skill",
        "samples",
    ),
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to a parser."""
    add_common(parser, repeats=3)
    add_fits(parser, "its pairs and network", "40", "180")
    parser.add_argument(
        "--cells", nargs="+", type=int, metavar="N",
        help="coarse cells on each side of the region (default: 0 and 4; with --full 0, 2, 4, 8)",
    )  # fmt: skip
    parser.add_argument(
        "--part", type=float, default=0.5,
        help="of the rows and columns of the grid that the region in its middle has "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--members", type=int, default=16, help="of each sample (default: %(default)s)"
    )


def _rows(options: argparse.Namespace, session: Session) -> Iterator[dict[str, Any]]:
    from orbitlite.benchmark import surroundings

    budgets, seeds = fits_of(options, _BUDGETS, _FULL_BUDGETS)
    cells = options.cells or (_FULL_CELLS if options.full else _CELLS)
    if min(cells) < 0:
        raise InputError(f"--cells: expected 0 or more, found {min(cells)}")
    if not 0 < options.part < 1:
        raise InputError(f"--part: expected more than 0 and less than 1, found {options.part:g}")
    if options.members < 2:
        raise InputError(f"--members: expected 2 or more, found {options.members}")
    yield from surroundings.rows(
        options.config, cells, options.part, budgets, seeds, options.period, options.members,
        session,
    )  # fmt: skip


BENCHMARK = Benchmark(
    "context", "what inputs around a region are worth, after the same time",
    _TITLES, _COLUMNS, _rows,
)  # fmt: skip
