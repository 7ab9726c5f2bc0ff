"""`orbitlite benchmark channels`: many channels to one token, one process and several."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from orbitlite.benchmark.command import add_common, measured
from orbitlite.errors import InputError

# This module is imported to build the command line's help: torch only inside functions.

CHANNELS = (23, 80, 256, 512, 1024)
WIDTHS = (256, 1024)
PARTS = ("aggregation", "ranks", "network")
_GRIDS = ((32, 64), (64, 128))
_TITLES = {
    "aggregation": "Channels of a patch to one token, 32x64 cells, patch 2",
    "ranks": "Channels over ranks: what one rank holds and receives",
    "network": "The whole network, 23 channels, D 256, depth 6, patch 2, factor 4",
}
_COMPARED = ("variant", "mode", "seconds", "time_ratio", "peak_mib", "memory_ratio")
_COLUMNS = {
    "aggregation": ("channels", "embed_dim", "batch", *_COMPARED),
    "ranks": (
        "channels", "embed_dim", "world_size", "peak_mib", "bytes_per_position",
        "raw_bytes_per_position",
    ),
    "network": ("height", "width", *_COMPARED),
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to a parser."""
    add_common(parser, repeats=5)
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


def main(options: argparse.Namespace) -> int:
    """Run the command."""
    return measured(options, run, _TITLES, _COLUMNS)
