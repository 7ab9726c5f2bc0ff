"""`orbitlite benchmark channels`: the network against the published one, time and memory.

Both have the same inputs, width, depth, heads, patch, factor, and no dropout: dropout on attention
weights would rule torch's fused attention out in the reference's training.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from orbitlite.errors import InputError

if TYPE_CHECKING:
    import torch
    from rich.table import Table

    from orbitlite.benchmark.measure import Call

# This module is imported to build the command line's help: torch only inside functions.

SIZES = ((32, 64), (64, 128))
MODES = ("forward", "forward+backward")
REFERENCE = "reslim"
VARIANTS = (REFERENCE, "ours")


@dataclass(frozen=True)
class Case:
    """One network on one grid, in one mode.

    Attributes
    ----------
    height, width : int
        Coarse grid.
    channels : int
        Input channels.
    embed_dim, depth, num_heads, patch_size, factor : int
        Sizes of the network, as in `DownscalerConfig`.
    batch : int
        Samples.
    mode : str
        `forward` (inference) or `forward+backward` (training, without the optimiser).
    variant : str
        `ours` or `reslim`.
    """

    height: int = 32
    width: int = 64
    channels: int = 23
    embed_dim: int = 256
    depth: int = 6
    num_heads: int = 4
    patch_size: int = 2
    factor: int = 4
    batch: int = 1
    mode: str = "forward"
    variant: str = "ours"

    @property
    def tokens(self) -> int:
        """Number of tokens per sample."""
        p = self.patch_size
        return (self.height // p) * (self.width // p)


def run(
    case: Case | None = None,
    *,
    sizes: Sequence[tuple[int, int]] = SIZES,
    device: str = "cpu",
    threads: int = 2,
    repeats: int = 11,
    progress: bool = True,
) -> dict[str, Any]:
    """Measure the network and the published one, side by side.

    Parameters
    ----------
    case : Case, optional
        Sizes of the networks and the batch; None: those of the published 9.5 million parameters.
    sizes : sequence of (int, int)
        Coarse grids, height and width; the published network needs multiples of the patch.
    device : str
        `cpu` or `cuda`.
    threads : int
        Threads of torch on the CPU.
    repeats : int
        Timed rounds; in each, every variant runs once.
    progress : bool
        Show a bar if standard error is a terminal.

    Returns
    -------
    dict
        `benchmark`, `command`, `versions`, `hardware` and `rows`, one per grid, mode and variant.
        A row holds the case, `tokens`, `parameters`, `seconds` (median), `peak_mib` (beyond the
        built network) and, reference over this variant, `time_ratio` and `memory_ratio`.

    Raises
    ------
    InputError
        If the device is not there, a count is below one, or a grid is no multiple of the patch.
    """
    for name, value in (("threads", threads), ("repeats", repeats)):
        if value < 1:
            raise InputError(f"{name}: expected 1 or more, found {value}")
    shape = Case() if case is None else case
    if odd := [size for size in sizes if any(n < 1 or n % shape.patch_size for n in size)]:
        raise InputError(f"sizes: expected multiples of {shape.patch_size}, found {odd[0]}")
    from orbitlite.benchmark import measure

    place = measure.as_device(device)
    rows = []
    with measure.threads(threads), _Bar(len(sizes) * len(MODES), repeats, progress) as bar:
        for height, width in sizes:
            for mode in MODES:
                one = replace(shape, height=height, width=width, mode=mode)
                rows += _compare(one, place, threads, repeats, bar)
        words = ["channels", "--device", device, "--threads", threads, "--repeats", repeats]
        command = shlex.join(["orbitlite", "benchmark", *map(str, words)])
        return measure.document("channels", command, place, rows)


def _compare(
    case: Case, device: torch.device, threads: int, repeats: int, bar: _Bar
) -> list[dict[str, Any]]:
    """Measure every variant of a case; the reference comes first."""
    from orbitlite.benchmark import measure

    cases = {variant: replace(case, variant=variant) for variant in VARIANTS}
    builds = {name: partial(prepare, one, str(device), threads) for name, one in cases.items()}
    bar.describe(f"{case.height}x{case.width} {case.mode}")
    peaks = {}
    for name, build in builds.items():
        peaks[name] = measure.peak_memory(build, device)
        bar.advance()
    calls = {name: build() for name, build in builds.items()}
    seconds = measure.medians(calls, repeats, device, bar.advance)
    return [
        {
            **asdict(one),
            "tokens": one.tokens,
            "parameters": sum(p.numel() for p in network(one).parameters()),
            "seconds": seconds[name],
            "peak_mib": peaks[name],
            "time_ratio": seconds[REFERENCE] / seconds[name],
            "memory_ratio": peaks[REFERENCE] / peaks[name],
        }
        for name, one in cases.items()
    ]


def network(case: Case) -> torch.nn.Module:
    """Build the network of a case."""
    sizes = {
        name: getattr(case, name)
        for name in ("embed_dim", "depth", "num_heads", "patch_size", "factor")
    }
    if case.variant == REFERENCE:
        from orbitlite.benchmark.reslim import ReslimReference

        return ReslimReference(
            case.channels,
            **sizes,
            height=case.height,
            width=case.width,
            dropout=0,
            drop_path=0,
        )
    from orbitlite.model.downscaler import Downscaler, DownscalerConfig

    others = [f"channel_{i}" for i in range(1, case.channels)]
    return Downscaler(DownscalerConfig(inputs=["total_precipitation_24hr", *others], **sizes))


def prepare(case: Case, device: str, threads: int) -> Call:
    """Build a case's network and input, ready to be called.

    Parameters
    ----------
    case : Case
    device : str
    threads : int
        Threads of torch from here on.

    Returns
    -------
    callable
        Runs the case once.
    """
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    net = network(case).to(device)
    net.train(case.mode != "forward")
    return partial(_once, net, case.mode, _input(case, device))


def _once(net: torch.nn.Module, mode: str, inputs: Any) -> None:
    import torch

    with torch.set_grad_enabled(mode != "forward"):
        fine = net(inputs)
        if mode != "forward":
            fine.square().mean().backward()
    net.zero_grad(set_to_none=True)


def _input(case: Case, device: str) -> Any:
    """Give what the network of a case takes: random fields on a global grid."""
    import torch

    from orbitlite.batch import Batch

    coarse = torch.rand(case.batch, case.channels, case.height, case.width)
    if case.variant == REFERENCE:
        return coarse.to(device)
    fine = (case.height * case.factor, case.width * case.factor)
    return Batch(
        coarse=coarse,
        fine_static=torch.rand(case.batch, 2, *fine),
        lat_edges=torch.linspace(90, -90, case.height + 1).expand(case.batch, -1),
        lon_edges=torch.linspace(0, 360, case.width + 1).expand(case.batch, -1),
    ).to(device)


class _Bar:
    """A progress bar on standard error: one step per memory measurement and per round."""

    def __init__(self, pairs: int, repeats: int, shown: bool) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._progress = Progress(
            console=Console(stderr=True),
            transient=True,
            disable=not (shown and sys.stderr.isatty()),
        )
        self._task = self._progress.add_task("", total=pairs * (len(VARIANTS) + repeats))

    def describe(self, text: str) -> None:
        self._progress.update(self._task, description=text)

    def advance(self) -> None:
        self._progress.advance(self._task)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def table(result: dict[str, Any]) -> Table:
    """Give the rows of a result as a table for the terminal."""
    from rich.table import Table

    shape = result["rows"][0]
    title = (
        f"{shape['channels']} channels, D {shape['embed_dim']}, depth {shape['depth']}, "
        f"{shape['num_heads']} heads, patch {shape['patch_size']}, factor {shape['factor']}, "
        f"batch {shape['batch']}; {result['hardware']['threads']} threads"
    )
    found = Table(title=title, caption="ratio: reslim / this, above 1 is better")
    columns = ("grid", "mode", "variant", "seconds", "ratio", "peak MiB", "ratio")
    for i, column in enumerate(columns):
        found.add_column(column, justify="left" if i < 3 else "right", no_wrap=True)
    for row in result["rows"]:
        found.add_row(
            f"{row['height']}x{row['width']}",
            row["mode"],
            row["variant"],
            f"{row['seconds']:.4f}",
            f"{row['time_ratio']:.2f}",
            f"{row['peak_mib']:.0f}",
            f"{row['memory_ratio']:.2f}",
            end_section=row["variant"] == VARIANTS[-1],
        )
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to a parser."""
    parser.add_argument("--json", metavar="FILE", help="write the result")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument(
        "--threads", type=int, default=2, help="threads of torch (default: %(default)s)"
    )
    parser.add_argument(
        "--repeats", type=int, default=11, help="timed rounds (default: %(default)s)"
    )


def main(options: argparse.Namespace) -> int:
    """Run the command: measure, write the JSON if asked, show the table.

    Parameters
    ----------
    options : argparse.Namespace
        Those of `add_arguments`, and `quiet`.

    Returns
    -------
    int
        0.
    """
    from rich.console import Console

    from orbitlite.benchmark import measure

    path = None if options.json is None else measure.check_json(options.json)
    result = run(
        device=options.device,
        threads=options.threads,
        repeats=options.repeats,
        progress=not options.quiet,
    )
    if path is not None:
        measure.write_json(path, result)
    Console().print(table(result))
    return 0
