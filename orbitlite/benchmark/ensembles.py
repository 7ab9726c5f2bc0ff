"""`orbitlite benchmark ensembles`: what members are worth, of ours, of others and of resampling."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from orbitlite.benchmark.command import Benchmark, add_common
from orbitlite.errors import InputError

if TYPE_CHECKING:
    from orbitlite.benchmark.session import Session

# This module is imported to build the command line's help: torch only inside functions.

VARIANTS = ("ours", "deterministic", "noisyvit", "analog", "climatology", "mapped", "rainfarm")
_BUDGETS, _SEEDS = (40.0,), (0,)
_FULL_BUDGETS, _FULL_SEEDS = (180.0, 600.0), (0, 1, 2)
_NEAREST = 100
_TITLES = {"ensembles": "Members after the same time on the same pairs"}
_COLUMNS = {
    "ensembles": (
        "variant", "budget_seconds", "seed", "crps", "rmse_mean", "spread_skill", "ralsd",
        "p99_ratio",
    ),
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to a parser."""
    add_common(parser, repeats=3)
    parser.set_defaults(threads=1)
    parser.add_argument(
        "--config", metavar="FILE", required=True,
        help="config of `orbitlite fit`: its pairs and network",
    )  # fmt: skip
    parser.add_argument(
        "--variants", nargs="+", choices=VARIANTS, default=VARIANTS, metavar="NAME",
        help=f"of {', '.join(VARIANTS)} (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", nargs="+", type=float, metavar="S",
        help="seconds of the processor of each fit (default: 40, five minutes for all variants)",
    )  # fmt: skip
    parser.add_argument(
        "--seeds", nargs="+", type=int, metavar="N", help="of fits and members (default: 0)"
    )
    parser.add_argument(
        "--members", type=int, default=16, help="of each sample (default: %(default)s)"
    )
    parser.add_argument(
        "--nearest", type=int, default=_NEAREST,
        help="training days whose residuals `analog` draws from (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--full", action="store_true",
        help="180 and 600 seconds and the seeds 0, 1 and 2 where none are stated: two hours",
    )  # fmt: skip
    parser.add_argument(
        "--period", choices=("validate", "test"), default="test",
        help="what is scored; choices are made on validation (default: %(default)s)",
    )  # fmt: skip


def _rows(options: argparse.Namespace, session: Session) -> Iterator[dict[str, Any]]:
    from orbitlite.benchmark import ensemble_contest

    budgets = options.seconds or (_FULL_BUDGETS if options.full else _BUDGETS)
    seeds = options.seeds or (_FULL_SEEDS if options.full else _SEEDS)
    if min(budgets) <= 0:
        raise InputError(f"--seconds: expected more than 0, found {min(budgets):g}")
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
