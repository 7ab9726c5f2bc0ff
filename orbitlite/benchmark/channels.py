"""`orbitlite benchmark channels`: many channels to one token, one process and several."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING, Any

from orbitlite.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

# This module is imported to build the command line's help: torch only inside functions.

CHANNELS = (23, 80, 256, 512, 1024)
WIDTHS = (256, 1024)
PARTS = ("aggregation", "ranks", "network")
_GRIDS = ((32, 64), (64, 128))
_HEADERS = {
    "channels": "C", "embed_dim": "D", "batch": "B", "height": "H", "width": "W", "seconds": "s",
    "time_ratio": "ratio", "peak_mib": "MiB", "memory_ratio": "ratio", "world_size": "ranks",
    "bytes_per_position": "bytes/position", "raw_bytes_per_position": "raw tokens",
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to a parser."""
    parser.add_argument("--json", metavar="FILE", help="write the result")
    parser.add_argument("--report", metavar="DIR", help="draw pictures of it into a folder")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument(
        "--threads", type=int, default=2, help="threads of torch (default: %(default)s)"
    )
    parser.add_argument(
        "--repeats", type=int, default=5, help="timed rounds (default: %(default)s)"
    )
    parser.add_argument(
        "--channels", type=int, nargs="+", default=CHANNELS, help="numbers of channels"
    )
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS, help="widths D")
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=PARTS,
        help="aggregation: channels to tokens; ranks: channels over 1, 2 and 4 ranks; network: the "
        "whole network against the published one (default: all)",
    )  # fmt: skip


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure what the options ask for.

    Parameters
    ----------
    options : argparse.Namespace
        Those of `add_arguments`, and `quiet`.

    Returns
    -------
    dict
        `benchmark`, `command`, `versions`, `hardware` and `rows`; a row's `part` says what it is.

    Raises
    ------
    InputError
        If the device is not there, or a number is below one.
    """
    from orbitlite.benchmark import aggregation, measure, network, ranks
    from orbitlite.benchmark.session import Session

    for name in ("channels", "widths"):
        if min(getattr(options, name)) < 1:
            raise InputError(f"{name}: expected 1 or more, found {min(getattr(options, name))}")
    session = Session(options.device, options.threads, options.repeats, not options.quiet)
    found: list[dict[str, Any]] = []
    with session:
        if "aggregation" in options.parts:
            found += aggregation.rows(list(options.channels), list(options.widths), session)
        if "ranks" in options.parts:
            found += ranks.rows(512, 256, session)
        if "network" in options.parts:
            found += network.rows(network.Case(), _GRIDS, session)
        return measure.document("channels", _command(options), session.device, found)


def _command(options: argparse.Namespace) -> str:
    words = ["orbitlite", "benchmark", "channels"]
    for name in ("device", "threads", "repeats"):
        words += [f"--{name}", getattr(options, name)]
    for name, usual in (("channels", CHANNELS), ("widths", WIDTHS), ("parts", PARTS)):
        if tuple(getattr(options, name)) != usual:
            words += [f"--{name}", *getattr(options, name)]
    return shlex.join(map(str, words))


def tables(result: dict[str, Any]) -> list[Table]:
    """Give the rows of a result as tables for the terminal, one per part."""
    compared = ("variant", "mode", "seconds", "time_ratio", "peak_mib", "memory_ratio")
    columns = {
        "aggregation": ("channels", "embed_dim", "batch", *compared),
        "ranks": (
            "channels", "embed_dim", "world_size", "peak_mib", "bytes_per_position",
            "raw_bytes_per_position",
        ),
        "network": ("height", "width", *compared),
    }  # fmt: skip
    titles = {
        "aggregation": "Channels of a patch to one token, 32x64 cells, patch 2",
        "ranks": "Channels over ranks: what one rank holds and receives",
        "network": "The whole network, 23 channels, D 256, depth 6, patch 2, factor 4",
    }
    return [
        _table(titles[part], columns[part], rows)
        for part in PARTS
        if (rows := [row for row in result["rows"] if row["part"] == part])
    ]


def _table(title: str, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    ratios = "ratios: the first variant of a case over this one, above 1 is better"
    found = Table(title=title, caption=ratios if "time_ratio" in columns else None)
    for column in columns:
        words = column in ("variant", "mode")
        header = _HEADERS.get(column, column)
        found.add_column(header, justify="left" if words else "right", no_wrap=True)
    for row in rows:
        found.add_row(*(_text(row.get(column)) for column in columns))
    return found


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def main(options: argparse.Namespace) -> int:
    """Run the command: measure, write the JSON and the pictures if asked, show the tables.

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
    for table in tables(result):
        Console().print(table)
    if options.report is not None:
        from orbitlite.benchmark.pictures import channels

        for picture in channels(result["rows"], options.report):
            Console().print(f"Wrote {picture}")
    return 0
