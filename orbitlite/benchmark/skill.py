"""`orbitlite benchmark skill`: what networks learn of the same pairs in the same time."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from orbitlite.benchmark.command import Benchmark, add_common, add_fits, fits_of
from orbitlite.errors import InputError

if TYPE_CHECKING:
    from orbitlite.benchmark.session import Session
    from orbitlite.benchmark.task import Period

# This module is imported to build the command line's help: torch only inside functions.

NETWORKS = ("ours", "edsr", "unet", "deepesd", "reslim", "linear", "ridge")
_BUDGETS = (15.0,)
_FULL_BUDGETS = (60.0, 180.0, 600.0)
_TITLES = {"skill": "Skill after the same time on the same pairs"}
_COLUMNS = {
    "skill": (
        "network", "budget_seconds", "seed", "period", "rmse", "mae", "spectrum_db", "p99_ratio",
        "correlation",
    ),
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to a parser."""
    add_common(parser, repeats=3)
    add_fits(
        parser, "its pairs, loss and network", "15, five minutes for all networks",
        "60, 180 and 600", periods=("validate", "test", "both"),
    )  # fmt: skip
    parser.add_argument(
        "--networks", nargs="+", choices=NETWORKS, default=NETWORKS, metavar="NAME",
        help=f"of {', '.join(NETWORKS)} (default: all); beside them the bilinear coarse field",
    )  # fmt: skip
    parser.add_argument(
        "--rates", nargs="+", type=float, metavar="R",
        help="learning rates that are tried, with the first seed for a quarter of the time each; "
        "one alone is taken untried (default: 3e-4, 1e-3 and 3e-3; of ours that of the config, a "
        "third of it and three times it)",
    )  # fmt: skip


def _rows(options: argparse.Namespace, session: Session) -> Iterator[dict[str, Any]]:
    from orbitlite.benchmark import comparison

    budgets, seeds = fits_of(options, _BUDGETS, _FULL_BUDGETS)
    rates = options.rates
    if rates is not None and not all(0 < rate < math.inf for rate in rates):
        raise InputError(f"--rates: expected numbers above 0, found {' '.join(map(str, rates))}")
    periods: tuple[Period, ...] = (
        ("validate", "test") if options.period == "both" else (options.period,)
    )
    yield from comparison.rows(
        options.config, options.networks, budgets, seeds, periods, rates, session
    )


BENCHMARK = Benchmark(
    "skill", "this network, others and regressions after the same time on the same pairs",
    _TITLES, _COLUMNS, _rows,
)  # fmt: skip
