"""`orbitlite benchmark skill`: what networks learn of the same pairs in the same time."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from orbitlite.benchmark.command import Benchmark, add_common
from orbitlite.errors import InputError

if TYPE_CHECKING:
    from orbitlite.benchmark.session import Session

# This module is imported to build the command line's help: torch only inside functions.

NETWORKS = ("ours", "edsr", "unet", "deepesd", "reslim", "linear", "ridge")
_BUDGETS, _SEEDS = (15.0,), (0,)
_FULL_BUDGETS, _FULL_SEEDS = (60.0, 180.0, 600.0), (0, 1, 2)
_TITLES = {"skill": "Skill after the same time on the same pairs"}
_COLUMNS = {
    "skill": (
        "network", "budget_seconds", "seed", "rmse", "mae", "spectrum_db", "p99_ratio",
        "correlation",
    ),
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to a parser."""
    add_common(parser, repeats=3)
    parser.set_defaults(threads=1)
    parser.add_argument(
        "--config", metavar="FILE", required=True,
        help="config of `orbitlite fit`: its pairs, loss and network",
    )  # fmt: skip
    parser.add_argument(
        "--networks", nargs="+", choices=NETWORKS, default=NETWORKS, metavar="NAME",
        help=f"of {', '.join(NETWORKS)} (default: all); beside them the bilinear coarse field",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", nargs="+", type=float, metavar="S",
        help="seconds of the processor of each fit (default: 15, five minutes for all networks)",
    )  # fmt: skip
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="(default: 0)")
    parser.add_argument(
        "--full", action="store_true",
        help="60, 180 and 600 seconds and the seeds 0, 1 and 2 where none are stated: hours",
    )  # fmt: skip
    parser.add_argument(
        "--period", choices=("validate", "test"), default="test",
        help="what is scored; choices are made on validation (default: %(default)s)",
    )  # fmt: skip


def _rows(options: argparse.Namespace, session: Session) -> Iterator[dict[str, Any]]:
    from orbitlite.benchmark import comparison

    budgets = options.seconds or (_FULL_BUDGETS if options.full else _BUDGETS)
    seeds = options.seeds or (_FULL_SEEDS if options.full else _SEEDS)
    if min(budgets) <= 0:
        raise InputError(f"--seconds: expected more than 0, found {min(budgets):g}")
    yield from comparison.rows(
        options.config, options.networks, budgets, seeds, options.period, session
    )


BENCHMARK = Benchmark(
    "skill", "this network, others and regressions after the same time on the same pairs",
    _TITLES, _COLUMNS, _rows,
)  # fmt: skip
