"""What the benchmark commands share: options, and what becomes of a result."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orbitlite.benchmark.tables import show
from orbitlite.errors import InputError

if TYPE_CHECKING:
    from orbitlite.benchmark.session import Session

# This module is imported to build the command line's help: torch only inside functions.

_ASIDE = ("run", "json", "report", "quiet", "verbose")  # what does not change a result


def add_common(parser: argparse.ArgumentParser, repeats: int) -> None:
    """Add the options of every benchmark to a parser.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    repeats : int
        Rounds where none are stated.
    """
    parser.add_argument("--json", metavar="FILE", help="write the result")
    parser.add_argument("--report", metavar="DIR", help="draw pictures of it into a folder")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument(
        "--threads", type=int, default=2, help="threads of torch (default: %(default)s)"
    )
    parser.add_argument(
        "--repeats", type=int, default=repeats, help="timed rounds (default: %(default)s)"
    )


def add_fits(
    parser: argparse.ArgumentParser,
    config: str,
    seconds: str,
    full: str,
    periods: Sequence[str] = ("validate", "test"),
) -> None:
    """Add the options of a benchmark that fits networks for a stated time, with one thread.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    config, seconds, full : str
        Help: what is taken of the config, the time where none is stated, and that of `--full`.
    periods : sequence of str
        What may be scored.
    """
    parser.set_defaults(threads=1)
    parser.add_argument(
        "--config", metavar="FILE", required=True, help=f"config of `orbitlite fit`: {config}"
    )
    parser.add_argument(
        "--seconds", nargs="+", type=float, metavar="S",
        help=f"seconds of the processor of each fit (default: {seconds})",
    )  # fmt: skip
    parser.add_argument(
        "--seeds", nargs="+", type=int, metavar="N", help="(default: 0; with --full 0, 1 and 2)"
    )
    parser.add_argument(
        "--full", action="store_true",
        help=f"{full} seconds and the seeds 0, 1 and 2 where none are stated: hours",
    )  # fmt: skip
    parser.add_argument(
        "--period", choices=periods, default="test",
        help="what is scored; choices are made on validation (default: %(default)s)",
    )  # fmt: skip


def fits_of(
    options: argparse.Namespace, usual: Sequence[float], full: Sequence[float]
) -> tuple[Sequence[float], Sequence[int]]:
    """Return the seconds and the seeds of the fits that are asked for.

    Parameters
    ----------
    options : argparse.Namespace
        Those of `add_fits`.
    usual, full : sequence of float
        Seconds where none are stated, and those of `--full`.

    Raises
    ------
    InputError
        If a time is not more than zero.
    """
    budgets = options.seconds or (full if options.full else usual)
    if min(budgets) <= 0:
        raise InputError(f"--seconds: expected more than 0, found {min(budgets):g}")
    return budgets, options.seeds or ((0, 1, 2) if options.full else (0,))


def command(name: str, options: argparse.Namespace) -> str:
    """Return the command of a result, with all values that it depends on.

    Examples
    --------
    >>> command("plan", argparse.Namespace(config="a b.yaml", gpus=8, grid=None, curve=True))
    "orbitlite plan --config 'a b.yaml' --gpus 8 --curve"
    """
    words = ["orbitlite", *name.split()]
    for key, value in vars(options).items():
        if key in _ASIDE or value is None or value is False or value == ():
            continue
        values = value if isinstance(value, (list, tuple)) else [] if value is True else [value]
        words += [f"--{key}", *map(str, values)]
    return shlex.join(words)


@dataclass(frozen=True)
class Benchmark:
    """A benchmark of the command line.

    Attributes
    ----------
    name, text : str
        Of its command.
    titles, columns : mapping
        Of its tables, by part.
    rows : callable
        Measures, of options and a session.
    """

    name: str
    text: str
    titles: Mapping[str, str]
    columns: Mapping[str, Sequence[str]]
    rows: Callable[[argparse.Namespace, Session], Iterable[dict[str, Any]]]

    def run(self, options: argparse.Namespace) -> dict[str, Any]:
        """Measure what the options ask for.

        Returns
        -------
        dict
            `benchmark`, `command`, `versions`, `hardware` and `rows`; a row's `part` says what it
            is.

        Raises
        ------
        InputError
            If the device is not there, or an option makes no sense.
        """
        from orbitlite.benchmark import measure
        from orbitlite.benchmark.session import Session

        session = Session(options.device, options.threads, options.repeats, not options.quiet)
        with session:
            found = list(self.rows(options, session))
            words = command(f"benchmark {self.name}", options)
            return measure.document(self.name, words, session.device, found)

    def main(self, options: argparse.Namespace) -> int:
        """Run the command: write the JSON and the pictures if asked, show the tables."""
        from rich.console import Console

        from orbitlite.benchmark import measure

        path = None if options.json is None else measure.check_json(options.json)
        result = self.run(options)
        if path is not None:
            measure.write_json(path, result)
        show(result["rows"], self.titles, self.columns)
        if options.report is not None:
            from orbitlite.benchmark.pictures import draw
            from orbitlite.tables import shown

            for picture in draw(result["rows"], options.report):
                Console().print(shown(f"Wrote {picture}"))
        return 0
