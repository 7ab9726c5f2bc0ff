"""`orbitlite benchmark transfer`: what a bundle is worth where years to learn from are few."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from orbitlite.benchmark.command import Benchmark, add_common, add_fits, fits_of
from orbitlite.errors import InputError

if TYPE_CHECKING:
    from orbitlite.benchmark.session import Session

# This module is imported to build the command line's help: torch only inside functions.

VARIANTS = ("scratch", "head", "lora", "full")
_YEARS = (1, 9)
_FULL_YEARS = (1, 2, 5, 9)
_BUDGETS = (20.0,)
_FULL_BUDGETS = (60.0,)
_TITLES = {"transfer": "A region after the same time, from random weights and from a bundle"}
_COLUMNS = {
    "transfer": (
        "years", "variant", "budget_seconds", "seed", "rmse_mean", "rmse_unlimited", "crps",
        "spread_skill", "samples",
    ),
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to a parser."""
    add_common(parser, repeats=3)
    add_fits(parser, "its pairs and network", "20", "60")
    parser.add_argument(
        "--init", metavar="BUNDLE", required=True, help="the bundle that fits begin with"
    )
    parser.add_argument(
        "--years", nargs="+", type=int, metavar="N",
        help="last years of the training period that are learned from (default: 1 and 9; with "
        "--full 1, 2, 5 and 9)",
    )  # fmt: skip
    parser.add_argument(
        "--variants", nargs="+", choices=VARIANTS, default=VARIANTS, metavar="NAME",
        help=f"of {', '.join(VARIANTS)}: what learns, as in `orbitlite fit --tune` (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--members", type=int, default=16,
        help="of each sample, if the network is stochastic (default: %(default)s)",
    )  # fmt: skip


def _rows(options: argparse.Namespace, session: Session) -> Iterator[dict[str, Any]]:
    from orbitlite.benchmark import learning_curve

    budgets, seeds = fits_of(options, _BUDGETS, _FULL_BUDGETS)
    years = options.years or (_FULL_YEARS if options.full else _YEARS)
    if min(years) < 1:
        raise InputError(f"--years: expected 1 or more, found {min(years)}")
    if options.members < 2:
        raise InputError(f"--members: expected 2 or more, found {options.members}")
    yield from learning_curve.rows(
        options.config, options.init, years, options.variants, budgets, seeds, options.period,
        options.members, session,
    )  # fmt: skip


BENCHMARK = Benchmark(
    "transfer", "a region from random weights and from a bundle, after the same time",
    _TITLES, _COLUMNS, _rows,
)  # fmt: skip
