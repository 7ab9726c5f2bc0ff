"""`orbitlite benchmark tiles`: what prediction in tiles costs, and how its seams look."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from orbitlite.benchmark.command import Benchmark, add_common
from orbitlite.errors import InputError

if TYPE_CHECKING:
    from orbitlite.benchmark.session import Session

# This module is imported to build the command line's help: torch only inside functions.

PARTS = ("cost", "seams")
_GRIDS = ((64, 128), (128, 256), (256, 512), (512, 1024), (1024, 2048))
_SMALL = 3  # of these grids without --full
_HALOS = (0, 2, 4, 8, 16)
_TITLES = {
    "cost": "From store to store, 8 inputs, D 128, depth 4, patch 2, factor 4, tiles of 32 x 32",
    "seams": "Tiles against the whole grid",
    "headline": "One field, from store to store",
}
_COLUMNS = {
    "cost": (
        "height", "width", "tiled", "seconds", "seconds_per_cell", "peak_mib", "waiting_share",
    ),
    "seams": ("height", "width", "tile", "halo", "seam_error", "jump_ratio"),
    "headline": (
        "height", "width", "cells", "seconds", "tokens_per_second", "resident_mib", "waiting_share",
    ),
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to a parser."""
    add_common(parser, repeats=3)
    parser.add_argument(
        "--full", action="store_true", help="cost: grids up to 1024 x 2048 (default: 256 x 512)"
    )
    parser.add_argument(
        "--parts", nargs="+", choices=(*PARTS, "headline"), default=PARTS,
        help="cost: over the size of the grid; seams: over the halo; headline: one field of "
        "5400 x 10800 cells, to 0.9 km (default: cost seams)",
    )  # fmt: skip
    parser.add_argument(
        "--model", metavar="BUNDLE", help="of seams and headline (default: an untrained network)"
    )
    parser.add_argument(
        "--source", metavar="FILE", help="fields that the headline's input is interpolated from"
    )
    parser.add_argument(
        "--grid", nargs=2, type=int, metavar=("H", "W"), default=(5400, 10800),
        help="coarse grid of the headline (default: 5400 10800)",
    )  # fmt: skip


def _rows(options: argparse.Namespace, session: Session) -> Iterator[dict[str, Any]]:
    from orbitlite.api import load
    from orbitlite.benchmark import tiling

    if "headline" in options.parts and options.source is None:
        raise InputError("the headline needs fields to interpolate its input from: state --source")
    found: list[Iterator[dict[str, Any]]] = []
    if "cost" in options.parts:
        grids = _GRIDS if options.full else _GRIDS[:_SMALL]
        found.append(tiling.cost_rows(grids, session))
    if "seams" in options.parts:
        bundle = load(options.model) if options.model else tiling.small_network()
        found.append(tiling.seam_rows(bundle, _HALOS, session))
    if "headline" in options.parts:
        shape = (options.grid[0], options.grid[1])
        found.append(
            session.over(
                [shape],
                lambda shape: "the headline",
                lambda shape: 2,
                lambda shape: [tiling.headline_row(options.source, options.model, session, shape)],
            )
        )
    return chain.from_iterable(found)


BENCHMARK = Benchmark(
    "tiles", "prediction in tiles: cost and memory over the size of the grid, seams over the halo",
    _TITLES, _COLUMNS, _rows,
)  # fmt: skip
