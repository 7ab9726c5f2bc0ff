"""`orbitlite plan`: what a config takes on a cluster, predicted; nothing runs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from orbitlite.errors import InputError
from orbitlite.planning.clusters import GPUS

if TYPE_CHECKING:
    from orbitlite.parallel.mesh import Layout
    from orbitlite.planning.clusters import Gpu
    from orbitlite.planning.estimate import Estimate
    from orbitlite.planning.upkeep import Upkeep
    from orbitlite.planning.workload import Workload
    from orbitlite.tables import PlainTable
    from orbitlite.training.request import Request

# This module is imported to build the command line's help: torch only inside functions.

_GIB = 2**30
_STATE = ("weights", "gradients", "optimiser", "average", "casts")
_KEPT = ("channels", "blocks", "decoder")
_OTHER = ("batch", "workspace", "collectives")
_HANDFUL = 10
"""Steps of an epoch: fewer are told."""
_SAMPLES = 512
"""Of a step, where all GPUs share as many."""
_PAPER = "on paper: predicted, not measured"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to a parser."""
    parser.add_argument("-c", "--config", required=True, metavar="FILE", help="config of a fit")
    parser.add_argument("--gpus", type=int, required=True, metavar="N", help="GPUs in all")
    parser.add_argument(
        "--gpu", choices=GPUS, default="h100", help="their kind (default: %(default)s)"
    )
    parser.add_argument(
        "--nodes", type=int, metavar="M", help="nodes that hold them (default: as the maker builds)"
    )
    parser.add_argument(
        "--grid", metavar="HxW",
        help="cells of the coarse grid, such as 180x360 (default: that of the config's data)",
    )  # fmt: skip
    parser.add_argument(
        "--batch-size", type=int, help="samples per data rank (default: the config's batch_size)"
    )
    parser.add_argument(
        "--precision", choices=("32-true", "bf16-mixed"),
        help="default: the config's trainer.precision",
    )  # fmt: skip
    parser.add_argument("--top", type=int, default=5, help="layouts to show (default: %(default)s)")
    parser.add_argument(
        "--curve", action="store_true",
        help="efficiency from 8 to 65,536 GPUs, on paper: with samples that grow with the GPUs, "
        "and with as many on all together",
    )  # fmt: skip
    parser.add_argument(
        "--samples",
        type=int,
        metavar="S",
        help=f"samples per step of the second curve (default: {_SAMPLES})",
    )
    parser.add_argument(
        "--data-samples", type=int, metavar="N",
        help="samples of an epoch (default: those of the config's data; with --grid 14610, daily "
        "fields of forty years)",
    )  # fmt: skip
    parser.add_argument(
        "--storage",
        type=float,
        metavar="GB/S",
        default=2.0,
        help="GB per second of a node from and to the store (default: %(default)s, assumed)",
    )
    parser.add_argument("--json", metavar="FILE", help="write the result")
    parser.add_argument("--report", metavar="DIR", help="draw the curve into a folder")


def main(options: argparse.Namespace) -> int:
    """Run the command: 0, or 1 if nothing fits."""
    import torch

    from orbitlite.benchmark import measure
    from orbitlite.benchmark.command import command
    from orbitlite.planning.advice import node
    from orbitlite.training.request import Request

    path = None if options.json is None else measure.check_json(options.json)
    _check(options)
    request = Request.of(options)
    gpu = node(GPUS[options.gpu], options.gpus, options.nodes)
    lines = _Lines()
    for remark in request.remarks:
        lines.tell(remark)
    rows, fits = (_curves if options.curve else _layouts)(request, options, gpu, lines)
    lines.tell(_assumed(request.upkeep))
    if path is not None:
        words = command("plan", options)
        measure.write_json(path, measure.document("plan", words, torch.device("cpu"), rows))
    return 0 if fits else 1


def _check(options: argparse.Namespace) -> None:
    """Raise InputError where a number of the command line is none that can be planned for."""
    for name in ("gpus", "nodes", "batch_size", "top", "samples", "data_samples"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise InputError(f"--{name.replace('_', '-')}: expected 1 or more, found {value}")
    if not 0 < options.storage < inf:
        raise InputError(
            f"--storage: expected GB per second, more than 0, found {options.storage:g}"
        )
    if options.report is not None and not options.curve:
        raise InputError("--report draws the curve: add --curve, or leave it out")
    if options.samples is not None and not options.curve:
        raise InputError("--samples is of the second curve: add --curve, or leave it out")


class _Lines:
    """What goes to the terminal: tables, and sentences that it breaks into lines."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console()

    def show(self, table: PlainTable) -> None:
        self._console.print(table)

    def tell(self, text: str) -> None:
        from orbitlite.tables import shown

        if text:
            self._console.print(shown(text), soft_wrap=True, highlight=False)


def _curves(
    request: Request, options: argparse.Namespace, gpu: Gpu, lines: _Lines
) -> tuple[list[dict[str, Any]], bool]:
    """Show both curves; return their rows, and that something fits."""
    from orbitlite.planning.advice import node
    from orbitlite.planning.curve import curve, draw_curve
    from orbitlite.planning.idle import way_on

    work, upkeep = request.work, request.upkeep
    whole = node(GPUS[options.gpu], max(options.gpus, GPUS[options.gpu].per_node), None)
    rows = []
    for samples in (None, options.samples or _SAMPLES):
        own = curve(work, whole, samples, upkeep=upkeep)
        lines.show(_curve_table(own, options.gpu))
        lines.tell(_of_data(own, upkeep))
        lines.tell(way_on(work, whole, own, request.halo, upkeep))
        rows += own
    if options.report is not None:
        title = f"{Path(options.config).stem}, {options.gpu}"
        lines.tell(f"Wrote {draw_curve(rows, options.report, title)}")
    return rows, True


def _layouts(
    request: Request, options: argparse.Namespace, gpu: Gpu, lines: _Lines
) -> tuple[list[dict[str, Any]], bool]:
    """Show the layouts of some GPUs; return their rows, and whether one fits."""
    from orbitlite.planning.advice import advice, too_large
    from orbitlite.planning.estimate import estimates

    found = estimates(request.work, options.gpus, gpu, request.upkeep)
    best, fits = found[0], found[0].fits
    listed = _distinct([e for e in found if e.fits] or found[:1])[: options.top]
    lines.tell(_heading(request.work, options.gpus, options.gpu))
    lines.show(_table(listed))
    lines.tell(_parts(best))
    lines.tell(advice(found) if fits else too_large(found, options.gpus, request.halo))
    if fits:
        step = {"samples": best.samples, "world_size": options.gpus}
        lines.tell(_of_data([step], request.upkeep))
    return [_row(estimate) for estimate in found], fits


def _of_data(rows: Sequence[Mapping[str, Any]], upkeep: Upkeep) -> str:
    """Say what the samples of a step are beside the data."""
    whose = "of the data" if upkeep.known else "of forty years of daily fields (assumed)"
    larger = [row for row in rows if row["samples"] > upkeep.data]
    few = [row for row in rows if upkeep.data >= row["samples"] > upkeep.data / _HANDFUL]
    said = []
    for found, what in (
        (larger, f"is more than all {upkeep.data:,} samples {whose}"),
        (few, f"leaves an epoch of {upkeep.data:,} samples {whose} fewer than {_HANDFUL} steps"),
    ):
        if found:
            first = found[0]
            since = f" on {first['world_size']:,} GPUs" + (" and more" if len(found) > 1 else "")
            said.append(f"A step of {first['samples']:,} samples{since} {what}")
    return ". ".join(said) + "." if said else ""


def _assumed(upkeep: Upkeep) -> str:
    """List what is assumed of reading, launches and checkpoints."""
    from orbitlite.planning.upkeep import LAUNCH

    if upkeep.in_memory:
        reading = "samples are held in memory"
    else:
        ahead = "read ahead" if upkeep.ahead else "read between steps (data.num_workers 0)"
        reading = f"samples are float32, {ahead}"
    every = f"{upkeep.every} steps" if upkeep.every else f"epoch of {upkeep.data:,} samples"
    return (
        f"Assumed: {reading}; a node reads and writes {upkeep.storage / 1e9:g} GB/s; an operation "
        f"takes {1e6 * LAUNCH:g} microseconds at least; a checkpoint every {every}."
    )


def _row(estimate: Estimate) -> dict[str, Any]:
    from orbitlite.planning.traffic import traffic

    work, layout = estimate.work, estimate.work.layout
    return {
        "part": "layouts",
        "height": work.height,
        "width": work.width,
        "tokens": work.tokens,
        "batch": work.batch,
        "world_size": layout.world_size,
        **asdict(layout),
        "recompute": work.activation_checkpointing,
        "fits": estimate.fits,
        "peak_mib": estimate.bytes / 2**20,
        "memory_mib": {name: value / 2**20 for name, value in estimate.memory.items()},
        "seconds": estimate.step,
        "seconds_of": estimate.seconds,
        "seconds_per_sample": estimate.per_sample,
        "samples_per_second": 1 / estimate.per_sample,
        "comm_share": estimate.exchange_share,
        "flops": work.flops(),
        "flops_per_second": estimate.useful,
        "received_bytes": traffic(work),
    }


def _heading(work: Workload, gpus: int, gpu: str) -> str:
    from orbitlite.planning.network import count

    precision = "bf16-mixed" if work.half else "32-true"
    return (
        f"{count(work.config):,} parameters, {work.height}x{work.width} coarse cells, "
        f"{work.tokens:,} tokens, {work.batch} samples per data rank, {precision}, "
        f"{gpus} x {gpu}: {_PAPER}"
    )


def _table(found: Sequence[Estimate]) -> PlainTable:
    from rich import box

    from orbitlite.tables import PlainTable

    caption = "GiB on a GPU (state, activations kept, other, all); seconds of a step; samples per s"
    table = PlainTable(box=box.SIMPLE_HEAD, padding=0, caption=caption)
    headers = ("data", "shard", "seq.", "tensor", "recompute", "state", "kept", "other", "GiB",
               "step", "comm.", "per s")  # fmt: skip
    for header in headers:
        table.add_column(header, justify="left" if header == "recompute" else "right", no_wrap=True)
    for e in found:
        layout = e.work.layout
        parts = (sum(e.memory[n] for n in names) / _GIB for names in (_STATE, _KEPT, _OTHER))
        table.add_row(
            *map(str, (layout.data, layout.shard, layout.sequence, layout.tensor)),
            e.work.activation_checkpointing, *(f"{part:.1f}" for part in parts),
            f"{e.bytes / _GIB:.1f}", f"{e.step:.2g}", f"{100 * e.exchange_share:.0f} %",
            f"{1 / e.per_sample:.3g}",
        )  # fmt: skip
    return table


def _parts(best: Estimate) -> str:
    sizes = (f"{n} {v / _GIB:.2f}" for n, v in best.memory.items() if v)
    times = (f"{n} {v:.3g}" for n, v in best.seconds.items() if v)
    gpu, work = best.gpu, best.work
    peak = (gpu.half if work.half else gpu.single) * work.layout.world_size
    return (
        f"First row: GiB: {', '.join(sizes)}. Seconds: {', '.join(times)}. "
        f"{best.useful / 1e12:.3g} TFLOP/s, {100 * best.useful / peak:.0f} % of peak."
    )


def _distinct(found: Sequence[Estimate]) -> list[Estimate]:
    """Return the first estimate of each layout; of kinds of recomputation only the best."""
    best: dict[Layout, Estimate] = {}
    for estimate in found:
        best.setdefault(estimate.work.layout, estimate)
    return list(best.values())


def _curve_table(rows: Sequence[Mapping[str, Any]], gpu: str) -> PlainTable:
    from rich import box

    from orbitlite.planning.curve import PUBLISHED, SUSTAINED
    from orbitlite.tables import PlainTable

    growing = rows[0]["part"] == "growing"
    caption = (
        "eff.: samples per second and GPU over those of the first row; steps: of an epoch; upkeep: "
        "launches, reading, checkpoints; "
    )
    if growing:
        top = ", ".join(f"{name} {value}" for name, value in SUSTAINED.items())
        caption += f"published: ORBIT-2 on Frontier, over 512 GPUs, with {top} EFLOPS at 65,536"
        what, more = "Samples that grow with the GPUs", [*PUBLISHED]
    else:
        caption += "layout: data/shard x sequence x tensor"
        what, more = f"{rows[0]['samples']:,} samples a step", ["layout"]
    title = f"{what}, on {gpu}; {_PAPER}"
    table = PlainTable(box=box.SIMPLE_HEAD, padding=0, title=title, caption=caption)
    for header in ("GPUs", "samples", "steps", "step s", "eff.", "upkeep", "EFLOPS", *more):
        justify: Literal["left", "right"] = "left" if header == "layout" else "right"
        table.add_column(header, justify=justify, no_wrap=True)
    for row in rows:
        steps = row["steps_per_epoch"]
        points = (known.get(row["world_size"]) for known in PUBLISHED.values())
        published = ("" if k is None else f"{100 * k:.0f} %" for k in points)
        table.add_row(
            f"{row['world_size']:,}", f"{row['samples']:,}",
            f"{steps:,.0f}" if steps >= 10 else f"{steps:.2g}", *_found(row),
            *(published if growing else [_layout(row)]),
        )  # fmt: skip
    return table


def _found(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return step, efficiency, upkeep and EFLOPS of a row; empty where nothing fits."""
    if not row["fits"]:
        return ("",) * 4
    seconds = row["seconds"]
    return (
        f"{seconds:,.0f}" if seconds >= 100 else f"{seconds:.3g}",
        f"{100 * row['efficiency']:.0f} %", f"{100 * row['upkeep_share']:.0f} %",
        f"{row['eflops']:.2g}",
    )  # fmt: skip


def _layout(row: Mapping[str, Any]) -> str:
    if not row["fits"]:
        return "none"
    sizes = f"{row['data']}/{row['shard']} x {row['sequence']} x {row['tensor']}"
    return f"{sizes} {row['recompute']}"
