"""`orbitlite benchmark channels`: many channels to one token, one process and several."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from orbitlite.benchmark.command import Benchmark, add_common
from orbitlite.errors import InputError

if TYPE_CHECKING:
    from orbitlite.benchmark.session import Session

# This module is imported to build the command line's help: torch only inside functions.

CHANNELS = (23, 80, 256, 512, 1024)
_FEW_CHANNELS = (23, 256)
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
    for name, text, few, many in (
        ("channels", "numbers of channels", _FEW_CHANNELS, CHANNELS),
        ("widths", "widths D", WIDTHS[:1], WIDTHS),
    ):
        short, long = (" ".join(map(str, values)) for values in (few, many))
        parser.add_argument(
            f"--{name}", type=int, nargs="+", metavar="N",
            help=f"{text} (default: {short}; with --full {long})",
        )  # fmt: skip
    parser.add_argument("--full", action="store_true", help="more channels and widths")
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=PARTS,
        help="aggregation: channels to tokens; ranks: channels over 1, 2 and 4 ranks; network: the "
        "whole network against the published one (default: all)",
    )  # fmt: skip


def _rows(options: argparse.Namespace, session: Session) -> Iterator[dict[str, Any]]:
    from orbitlite.benchmark import aggregation, network, ranks

    options.channels = options.channels or (CHANNELS if options.full else _FEW_CHANNELS)
    options.widths = options.widths or (WIDTHS if options.full else WIDTHS[:1])
    for name in ("channels", "widths"):
        if min(getattr(options, name)) < 1:
            raise InputError(f"{name}: expected 1 or more, found {min(getattr(options, name))}")
    found: list[Iterator[dict[str, Any]]] = []
    if "aggregation" in options.parts:
        found.append(aggregation.rows(list(options.channels), list(options.widths), session))
    if "ranks" in options.parts:
        found.append(ranks.rows(512, 256, session))
    if "network" in options.parts:
        found.append(network.rows(network.NetworkSetup(), _GRIDS, session))
    return chain.from_iterable(found)


BENCHMARK = Benchmark(
    "channels", "many channels to one token, against the published formulation", _TITLES, _COLUMNS,
    _rows,
)  # fmt: skip
