"""`orbitlite benchmark scaling`: training over processes, at fixed and at growing work."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from orbitlite.benchmark.command import Benchmark, add_common

if TYPE_CHECKING:
    from orbitlite.benchmark.session import Session
    from orbitlite.benchmark.step import TrainingSetup

# This module is imported to build the command line's help: torch only inside functions.

PARTS = ("strong", "weak")
_WORLDS = (1, 2, 4)
_TITLES = {
    "strong": "Strong scaling: the same global batch on more processes",
    "weak": "Weak scaling: a global batch that grows with the processes",
    "sizes": "Networks of several sizes on one device",
}
_COLUMNS = dict.fromkeys(
    PARTS,
    (
        "world_size", "data", "tensor", "sequence", "batch", "seconds", "samples_per_second",
        "efficiency", "core_limit", "comm_share", "peak_mib",
    ),
) | {
    "sizes": (
        "network", "variant", "tokens", "samples_per_second", "tflops", "mfu", "peak_mib",
        "predict_seconds", "note",
    )
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to a parser."""
    add_common(parser, repeats=3)
    parser.add_argument(
        "--parts", nargs="+", choices=tuple(_TITLES), default=PARTS,
        help="strong: the same work on more processes; weak: work that grows with them; sizes: "
        "networks of several sizes on one device (default: strong weak)",
    )  # fmt: skip
    parser.add_argument(
        "--sizes", nargs="+", metavar="FILE", default=(), help="configs whose networks sizes takes"
    )
    parser.add_argument(
        "--worlds", nargs="+", type=int, metavar="N",
        help="numbers of processes; under torchrun or srun theirs (default: 1 2; with --full 1 2 "
        "4)",
    )  # fmt: skip
    parser.add_argument("--full", action="store_true", help="more processes")
    parser.add_argument("-c", "--config", metavar="FILE", help="config whose network is trained")
    parser.add_argument(
        "--grid", nargs=2, type=int, metavar=("H", "W"), default=(32, 64),
        help="coarse grid (default: 32 64)",
    )  # fmt: skip
    parser.add_argument(
        "--batch-size", type=int, default=4,
        help="global batch on one process (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--activation-checkpointing", choices=("none", "selective", "full"), default="none",
        help="activation checkpointing (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--compile",
        action="store_true",
        help="compile the network; of several processes, each block",
    )
    parser.add_argument("--half", action="store_true", help="bfloat16 with float32 sums")


def _rows(options: argparse.Namespace, session: Session) -> Iterator[dict[str, Any]]:
    import os
    from pathlib import Path

    from orbitlite.benchmark import measure
    from orbitlite.benchmark.sizes import size_rows

    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's own lines
    found: list[Iterator[dict[str, Any]]] = []
    with measure.returned_memory():
        if _several(options):
            found.append(_layout_rows(options, session))
        if "sizes" in options.parts:
            networks = {Path(path).stem: _network(path) for path in options.sizes}
            networks = networks or {"default": _network(options.config)}
            height, width = options.grid
            found.append(size_rows(networks, (height, width), options.batch_size, session))
        yield from chain.from_iterable(found)


BENCHMARK = Benchmark(
    "scaling", "training over processes: data, tensor and sequence axes, strong and weak scaling",
    _TITLES, _COLUMNS, _rows,
)  # fmt: skip


def main(options: argparse.Namespace) -> int:
    """Run the command; under a launcher the first process alone tells the result."""
    from orbitlite.parallel.launch import launched_rank

    if _several(options):
        options.threads = 1
    if launched_rank() == 0:
        return BENCHMARK.main(options)
    options.quiet = True
    BENCHMARK.run(options)
    return 0


def _several(options: argparse.Namespace) -> bool:
    """Tell whether layouts of several processes are asked for; each process has one thread."""
    return tuple(options.parts) != ("sizes",)


def _layout_rows(options: argparse.Namespace, session: Session) -> Iterator[dict[str, Any]]:
    from orbitlite.benchmark.step import measure_cases
    from orbitlite.parallel.launch import launched, run_among, run_ranks

    base: dict[str, float] = {}
    options.worlds = options.worlds or (_WORLDS if options.full else _WORLDS[:2])
    worlds = [launched()] if launched() > 1 else sorted(set(options.worlds))
    cases_of = {size: dict(_cases(options, size)) for size in worlds}

    def measured(size: int) -> Iterator[dict[str, Any]]:
        cases = cases_of[size]
        given = (list(cases.values()), options.device, options.repeats)
        if launched() > 1:
            found = run_among(measure_cases, options.device, *given)
        else:
            found = run_ranks(size, measure_cases, *given, device=options.device)
        for number, ((part, _), case) in enumerate(cases.items()):
            row = _row(part, size, case, [rank[number] for rank in found])
            cost = row["seconds"] * (size if part == "strong" else 1)
            # The time of perfect scaling from the fewest processes over the measured one.
            yield row | {"efficiency": base.setdefault(part, cost) / cost}

    return session.over(
        worlds,
        lambda size: f"{len(cases_of[size])} layouts of {size} processes",
        lambda size: len(cases_of[size]),
        measured,
    )


def _cases(
    options: argparse.Namespace, size: int
) -> Iterator[tuple[tuple[str, str], TrainingSetup]]:
    """Give the layouts of a number of processes that the network can be shared in."""
    from orbitlite.benchmark.step import TrainingSetup
    from orbitlite.errors import InputError
    from orbitlite.parallel.mesh import ParallelConfig, check_network, layout
    from orbitlite.planning.workload import Workload

    config = _network(options.config)
    height, width = options.grid
    for part in (part for part in PARTS if part in options.parts):
        whole = options.batch_size * (size if part == "weak" else 1)
        for data, tensor, sequence in _splits(size):
            parallel = ParallelConfig(
                data,
                tensor,
                sequence,
                activation_checkpointing=options.activation_checkpointing,
                compile=options.compile,
            )
            try:
                sizes = layout(parallel, size)
                check_network(config, sizes)
            except InputError:
                continue
            if whole % data:
                continue
            work = Workload(
                config, height, width, whole // data, sizes, parallel.activation_checkpointing,
                options.half, "cuda" if options.device.startswith("cuda") else "cpu",
            )  # fmt: skip
            yield (part, f"{data}x{tensor}x{sequence}"), TrainingSetup(work, parallel)


def _splits(size: int) -> list[tuple[int, int, int]]:
    """Return the ways to share a number of processes among data, tensor and sequence."""
    parts = [n for n in range(1, size + 1) if size % n == 0]
    return [
        (size // (t * s), t, s) for t in parts for s in parts if size % (t * s) == 0
    ]  # fmt: skip


def _network(path: str | None) -> Any:
    """Return the network of a config, or one of the size of the smallest published one."""
    from orbitlite.errors import InputError
    from orbitlite.model.config import DownscalerConfig
    from orbitlite.training.sources import network_of_config

    if path is None:
        names = ["total_precipitation_24hr", *(f"channel{i}" for i in range(22))]
        return DownscalerConfig(inputs=names, embed_dim=256, depth=6, num_heads=4, channel_groups=4)
    config = network_of_config(path)
    if config.tasks:
        raise InputError(
            f"{path}: benchmarks are of networks without named tasks; leave model.network.tasks out"
        )
    return config


def _row(
    part: str, size: int, case: TrainingSetup, found: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Put the ranks' figures together: the slowest time, the largest memory, the mean share."""
    import os

    work, sizes = case.work, case.work.layout
    seconds = max(rank["seconds"] for rank in found)
    batch = work.batch * sizes.data
    counted = sum(work.flops().values()) * size
    cores = os.cpu_count() or 1
    return {
        "part": part, "mode": "forward+backward", "world_size": size, "data": sizes.data,
        "tensor": sizes.tensor, "sequence": sizes.sequence,
        "recompute": case.parallel.activation_checkpointing,
        "height": work.height, "width": work.width, "channels": len(work.config.inputs),
        "embed_dim": work.config.embed_dim, "depth": work.config.depth, "tokens": work.tokens,
        "batch": batch, "seconds": seconds, "samples_per_second": batch / seconds,
        "tokens_per_second": batch * work.tokens / seconds, "tflops": counted / seconds / 1e12,
        "core_limit": min(1.0, cores / size) if work.device == "cpu" else 1.0,
        "comm_share": sum(rank["comm_share"] for rank in found) / size,
        "peak_mib": max(rank["peak_mib"] for rank in found),
        "received_mib": {
            axis: max(rank["received"].get(axis, 0.0) for rank in found) / 2**20
            for axis in sorted({axis for rank in found for axis in rank["received"]})
        },
    }  # fmt: skip
