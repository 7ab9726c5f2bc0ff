"""`orbitlite cordex-bench`: its steps, their options, and what runs them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orbitlite.cordex.task import DOMAINS, EXPERIMENTS

# This module is imported to build the command line's help: torch only inside functions.

TEXT = "enter CORDEX ML-Bench: fit its domains, write a submission, compute its scores"
RUNS = "runs/cordex_bench"


@dataclass(frozen=True)
class Step:
    """A command below `orbitlite cordex-bench`.

    Attributes
    ----------
    name, text : str
    run : callable
    add_arguments : callable
        Adds its options to a parser.
    """

    name: str
    text: str
    run: Callable[[argparse.Namespace], int]
    add_arguments: Callable[[argparse.ArgumentParser], None]


def _add_fit(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    parser.add_argument("--domain", required=True, choices=DOMAINS)
    parser.add_argument("--experiment", required=True, choices=EXPERIMENTS)
    parser.add_argument(
        "--output", metavar="RUNS", default=RUNS,
        help="folder of all fits; the bundle is RUNS/DOMAIN/EXPERIMENT/bundle "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.epilog = (
        "Other options are those of orbitlite fit and win over the benchmark's: -c FILE, "
        "--trainer.max_epochs 30, --ckpt_path last, ..."
    )
    parser.set_defaults(others=[])


def _fit(options: argparse.Namespace) -> int:
    from orbitlite.cordex.fitting import fit

    domain, experiment = DOMAINS[options.domain], EXPERIMENTS[options.experiment]
    return fit(Path(options.data), domain, experiment, Path(options.output), options.others)


def _add_submit(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    _add_runs(parser)
    parser.add_argument("out", metavar="OUT", help="folder to write; OUT.zip is made of it")
    _add_choice(parser)
    parser.add_argument(
        "--templates", metavar="DIR",
        help="folder of the benchmark's templates (pr_ALPS.nc, ...), whose coordinates are taken "
        "(default: those of the training targets)",
    )  # fmt: skip


def _submit(options: argparse.Namespace) -> int:
    from orbitlite.cordex.submission import submit

    templates = None if options.templates is None else Path(options.templates)
    submit(
        Path(options.data), Path(options.runs), Path(options.out).absolute(), *_chosen(options),
        templates=templates, progress=not options.quiet,
    )  # fmt: skip
    return 0


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    _add_runs(parser)
    _add_choice(parser)
    parser.add_argument(
        "--submission",
        metavar="OUT",
        help="score the predictions of a submission too, where the data have their targets",
    )
    parser.add_argument("--json", metavar="FILE", help="write the scores")


def _evaluate(options: argparse.Namespace) -> int:
    from rich.console import Console

    from orbitlite.benchmark.measure import check_json, write_json
    from orbitlite.cordex.evaluation import evaluate
    from orbitlite.cordex.report import result, tables

    path = None if options.json is None else check_json(options.json)
    submission = None if options.submission is None else Path(options.submission)
    rows = evaluate(
        Path(options.data), Path(options.runs), *_chosen(options), submission=submission,
        progress=not options.quiet,
    )  # fmt: skip
    for table in tables(rows):
        Console().print(table)
    if path is not None:
        write_json(path, result(rows))
    return 0


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "data", metavar="DATA", help="folder of the benchmark's data: DATA/ALPS/ALPS_domain/..."
    )


def _add_runs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", metavar="RUNS", help="folder of the fits")


def _add_choice(parser: argparse.ArgumentParser) -> None:
    for name, known in (("domain", DOMAINS), ("experiment", EXPERIMENTS)):
        parser.add_argument(
            f"--{name}", action="append", choices=known, help="this one; repeated: several "
            "(default: all)",
        )  # fmt: skip


def _chosen(options: argparse.Namespace) -> tuple[Sequence[str], Sequence[str]]:
    return options.domain or [*DOMAINS], options.experiment or [*EXPERIMENTS]


STEPS = (
    Step("fit", "fit a model on a domain and an experiment of the benchmark", _fit, _add_fit),
    Step("submit", "predict all test periods into a submission", _submit, _add_submit),
    Step(
        "evaluate", "the benchmark's scores of held-back years, and of test periods whose targets "
        "are there", _evaluate, _add_evaluate,
    ),
)  # fmt: skip
