"""`orbitlite benchmark tiles`: what prediction in tiles costs, and how its seams look."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from orbitlite.benchmark.command import add_common, measured

# This module is imported to build the command line's help: torch only inside functions.

PARTS = ("cost", "seams")
_GRIDS = ((64, 128), (128, 256), (256, 512), (512, 1024), (1024, 2048))
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


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure what the options ask for.

    Returns
    -------
    dict
        `benchmark`, `command`, `versions`, `hardware` and `rows`; a row's `part` says what it is.

    Raises
    ------
    InputError
        If the headline is asked for without a source.
    """
    from orbitlite.api import load
    from orbitlite.benchmark import measure, tiling
    from orbitlite.benchmark.session import Session
    from orbitlite.errors import InputError

    if "headline" in options.parts and options.source is None:
        raise InputError("the headline needs fields to interpolate its input from: state --source")
    session = Session(options.device, options.threads, options.repeats, not options.quiet)
    found: list[dict[str, Any]] = []
    with session:
        if "cost" in options.parts:
            found += tiling.cost_rows(_GRIDS, session)
        if "seams" in options.parts:
            bundle = load(options.model) if options.model else tiling.small_network()
            found += tiling.seam_rows(bundle, _HALOS, session)
        if "headline" in options.parts:
            shape = (options.grid[0], options.grid[1])
            found.append(tiling.headline_row(options.source, options.model, session, shape))
        words = ["orbitlite", "benchmark", "tiles", "--parts", *options.parts]
        for name in ("device", "threads", "repeats", "model", "source"):
            if (value := getattr(options, name)) is not None:
                words += [f"--{name}", str(value)]
        return measure.document("tiles", shlex.join(words), session.device, found)


def main(options: argparse.Namespace) -> int:
    """Run the command."""
    return measured(options, run, _TITLES, _COLUMNS)
