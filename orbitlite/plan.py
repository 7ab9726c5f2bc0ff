"""`orbitlite plan`: what a config takes on a cluster, predicted; nothing runs."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from orbitlite.errors import InputError
from orbitlite.notice import notice
from orbitlite.planning.clusters import GPUS

if TYPE_CHECKING:
    from orbitlite.data.pair_source import PairSource
    from orbitlite.data.tiles import Tile
    from orbitlite.parallel.mesh import Layout
    from orbitlite.planning.estimate import Estimate
    from orbitlite.planning.workload import Workload
    from orbitlite.tables import PlainTable

# This module is imported to build the command line's help: torch only inside functions.

logger = logging.getLogger(__name__)

_GIB = 2**30
_STATE = ("weights", "gradients", "optimiser", "average", "casts")
_KEPT = ("channels", "blocks", "decoder")
_OTHER = ("batch", "workspace", "collectives")
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
        "--curve", action="store_true", help="efficiency from 8 to 65,536 GPUs, on paper"
    )
    parser.add_argument(
        "--samples", type=int, metavar="S",
        help="samples per step of --curve, on all GPUs (default: a full batch on 65,536)",
    )  # fmt: skip
    parser.add_argument("--json", metavar="FILE", help="write the result")
    parser.add_argument("--report", metavar="DIR", help="draw the curve into a folder")


def main(options: argparse.Namespace) -> int:
    """Run the command: 0, or 1 if nothing fits."""
    import torch
    from rich.console import Console

    from orbitlite.benchmark import measure
    from orbitlite.benchmark.command import command
    from orbitlite.planning.advice import advice, node, too_large
    from orbitlite.planning.curve import curve, draw_curve
    from orbitlite.planning.estimate import estimates
    from orbitlite.tables import shown

    path = None if options.json is None else measure.check_json(options.json)
    work, halo = workload_of(options)
    gpu = node(GPUS[options.gpu], options.gpus, options.nodes)
    console = Console()
    if options.curve:
        whole = node(GPUS[options.gpu], max(options.gpus, GPUS[options.gpu].per_node), None)
        rows = curve(work, whole, options.samples or work.batch * 65536)
        console.print(_curve_table(rows, options.gpu))
        if options.report is not None:
            title = f"{Path(options.config).stem}, {options.gpu}"
            console.print(shown(f"Wrote {draw_curve(rows, options.report, title)}"))
        fits = True
    else:
        found = estimates(work, options.gpus, gpu)
        fits = found[0].fits
        rows = [_row(estimate) for estimate in found]
        listed = _distinct([e for e in found if e.fits] or found[:1])[: options.top]
        console.print(
            shown(_heading(work, options.gpus, options.gpu)), soft_wrap=True, highlight=False
        )
        console.print(_table(listed))
        console.print(shown(_parts(found[0])), soft_wrap=True, highlight=False)
        text = advice(found) if fits else too_large(found, options.gpus, halo)
        console.print(shown(text), soft_wrap=True, highlight=False)
    if path is not None:
        words = command("plan", options)
        measure.write_json(path, measure.document("plan", words, torch.device("cpu"), rows))
    return 0 if fits else 1


def workload_of(options: argparse.Namespace) -> tuple[Workload, int]:
    """Return what the options and their config ask for, and the halo of tiles in coarse cells."""
    from orbitlite.configs import read_config
    from orbitlite.model.outline import count_weights
    from orbitlite.planning.workload import Workload
    from orbitlite.training.arguments import check_precision
    from orbitlite.training.sources import data_of_config, network_of_config

    data = data_of_config(options.config)
    config = network_of_config(options.config)
    if options.grid is not None:
        part, tile = data.first, _tile(data.first, *_grid(options.grid))
    else:
        tiles = [(one, _tile_of(one, one.pairing.factor)) for one in data.parts.values()]
        part, tile = max(tiles, key=lambda own: own[0].batch_size * own[1].height * own[1].width)
    if part.task is not None:
        others = count_weights(config) - count_weights(config.of_tasks[part.task])
        notice(
            logger,
            f"The plan is of task {part.task}, whose batches are the largest; decoders of other "
            f"tasks add {others:,} weights to it.",
        )
    config = config.of_tasks[part.task or ""]
    sections = read_config(options.config)
    trainer = sections.get("trainer") or {}
    members = (sections.get("model") or {}).get("members")
    precision = options.precision or trainer.get("precision") or "32-true"
    check_precision(precision)
    work = Workload(
        config, tile.height, tile.width, options.batch_size or part.batch_size,
        half="bf16" in str(precision), device="cpu" if options.gpu == "cpu" else "cuda",
        core=tile.core_shape,
        **({} if members is None else {"members": members}),
    )  # fmt: skip
    _ = work.tokens  # a budget that does not fit is told before anything else
    return work, part.halo


def _tile_of(part: PairSource, factor: int) -> Tile:
    """Return a window of a source; the embedded world need not be made for it."""
    if part.pairing.fine != "world":
        return part.first_tile()
    height, width = (
        part.world.get(name, usual) // factor for name, usual in (("height", 64), ("width", 128))
    )
    return _tile(part, height, width)


def _tile(part: PairSource, height: int, width: int) -> Tile:
    from orbitlite.data.tiles import TilePlan

    return TilePlan(height, width, part.tile, part.halo, wraps=True).tiles[0]


def _grid(text: str) -> tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) for part in parts):
        raise InputError(f"--grid: expected rows x columns such as 180x360, found {text!r}")
    return int(parts[0]), int(parts[1])


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

    top = ", ".join(f"{name} {value}" for name, value in SUSTAINED.items())
    title = f"Strong scaling on {gpu}, {rows[0]['samples']:,} samples a step; {_PAPER}"
    caption = (
        "efficiency over the first row; layout: data/shard x sequence x tensor; published: ORBIT-2 "
        f"on Frontier, over 512 GPUs, with {top} EFLOPS at 65,536"
    )
    table = PlainTable(box=box.SIMPLE_HEAD, padding=0, title=title, caption=caption)
    for header in ("GPUs", "step s", "eff.", "EFLOPS", *PUBLISHED, "layout"):
        justify: Literal["left", "right"] = "left" if header == "layout" else "right"
        table.add_column(header, justify=justify, no_wrap=True)
    for row in rows:
        gpus, seconds = row["world_size"], row["seconds"]
        known = (points.get(gpus) for points in PUBLISHED.values())
        table.add_row(
            f"{gpus:,}", f"{seconds:,.0f}" if seconds >= 100 else f"{seconds:.3g}",
            f"{100 * row['efficiency']:.0f} %", f"{row['eflops']:.2g}",
            *("" if k is None else f"{100 * k:.0f} %" for k in known),
            f"{row['data']}/{row['shard']} x {row['sequence']} x {row['tensor']} "
            f"{row['recompute']}",
        )  # fmt: skip
    return table
