"""`orbitlite benchmark ensembles`: what members are worth, of ours, of others and of resampling."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from orbitlite.benchmark.command import Benchmark, add_common, add_fits, fits_of
from orbitlite.errors import InputError

if TYPE_CHECKING:
    from orbitlite.benchmark.session import Session

# This module is imported to build the command line's help: torch only inside functions.

VARIANTS = ("ours", "deterministic", "noisyvit", "analog", "climatology", "mapped", "rainfarm")
_BUDGETS = (40.0,)
_FULL_BUDGETS = (180.0, 600.0)
_NEAREST = 100
_TITLES = {"ensembles": "Members after the same time on the same pairs"}
_COLUMNS = {
    "ensembles": (
        "variant", "budget_seconds", "seed", "crps", "rmse_mean", "rmse_unlimited",
        "spread_skill", "ralsd", "p99_ratio",
    ),
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to a parser."""
    add_common(parser, repeats=3)
    add_fits(parser, "its pairs and network", "40, five minutes for all variants", "180 and 600")
    parser.add_argument(
        "--variants", nargs="+", choices=VARIANTS, default=VARIANTS, metavar="NAME",
        help=f"of {', '.join(VARIANTS)} (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--members", type=int, default=16, help="of each sample (default: %(default)s)"
    )
    parser.add_argument(
        "--nearest", type=int, default=_NEAREST,
        help="training days whose residuals `analog` draws from (default: %(default)s)",
    )  # fmt: skip


def _rows(options: argparse.Namespace, session: Session) -> Iterator[dict[str, Any]]:
    from orbitlite.benchmark import ensemble_contest

    budgets, seeds = fits_of(options, _BUDGETS, _FULL_BUDGETS)
    for name, least in (("members", 2), ("nearest", 1)):
        if (value := getattr(options, name)) < least:
            raise InputError(f"--{name}: expected {least} or more, found {value}")
    contest = options.period, options.members, options.nearest
    yield from ensemble_contest.rows(
        options.config, options.variants, budgets, seeds, contest, session
    )


BENCHMARK = Benchmark(
    "ensembles", "members of this network, of others and of resampling, after the same time",
    _TITLES, _COLUMNS, _rows,
)  # fmt: skip
