"""What the benchmark commands share: options, and what becomes of a result."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orbitlite.benchmark.tables import show

# This module is imported to build the command line's help: torch only inside functions.


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


def measured(
    options: argparse.Namespace,
    run: Callable[[argparse.Namespace], dict[str, Any]],
    titles: Mapping[str, str],
    columns: Mapping[str, Sequence[str]],
) -> int:
    """Measure, write the JSON and the pictures if asked, show the tables.

    Parameters
    ----------
    options : argparse.Namespace
    run : callable
        Gives the JSON form of the result.
    titles, columns : mapping
        Of the tables, by part.

    Returns
    -------
    int
        0.
    """
    from rich.console import Console

    from orbitlite.benchmark import measure

    path = None if options.json is None else measure.check_json(options.json)
    result = run(options)
    if path is not None:
        measure.write_json(path, result)
    show(result["rows"], titles, columns)
    if options.report is not None:
        from orbitlite.benchmark.pictures import draw
        from orbitlite.tables import shown

        for picture in draw(result["rows"], options.report):
            Console().print(shown(f"Wrote {picture}"))
    return 0
