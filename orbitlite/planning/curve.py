"""Predicted strong scaling beside published figures: on paper, nothing of it measured here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

from orbitlite.errors import InputError
from orbitlite.parallel.mesh import ActivationCheckpointing
from orbitlite.planning.advice import flags
from orbitlite.planning.clusters import Gpu
from orbitlite.planning.estimate import Estimate, layouts
from orbitlite.planning.workload import Workload

COUNTS = tuple(2**k for k in range(3, 17))
"""GPUs: 8 to 65,536."""

PUBLISHED: dict[str, dict[int, float]] = {
    "9.5M": {512: 1.0, 2048: 0.95, 8192: 0.85, 32768: 0.73, 65536: 0.74},
    "126M": {512: 1.0, 2048: 0.91, 8192: 0.86, 32768: 0.80, 65536: 0.82},
    "1B": {512: 1.0, 2048: 0.98, 8192: 0.99, 32768: 0.98, 65536: 0.98},
    "10B": {512: 1.0, 2048: 0.97, 8192: 0.97, 32768: 0.92, 65536: 0.85},
}
"""Efficiency of ORBIT-2 on Frontier over that at 512 GPUs (Wang et al. 2025, SC25, figure)."""
SUSTAINED = {"9.5M": 0.67, "126M": 2.44, "1B": 3.52, "10B": 4.14}
"""EFLOPS of ORBIT-2 at 65,536 GPUs, as published."""

Row = dict[str, Any]


def curve(work: Workload, gpu: Gpu, samples: int, counts: Sequence[int] = COUNTS) -> list[Row]:
    """Predict the best layout of each number of GPUs for a fixed number of samples per step.

    Data ranks that take more than `work.batch` samples take them in several passes.

    Parameters
    ----------
    work : Workload
    gpu : Gpu
    samples : int
        Per step, on all GPUs together.
    counts : sequence of int

    Returns
    -------
    list of dict
        Of the numbers of GPUs that it fits; `efficiency` is relative to the first of them.

    Raises
    ------
    InputError
        If it fits none.
    """
    if samples < 1:
        raise InputError(f"samples: expected 1 or more, found {samples}")
    rows: list[Row] = []
    for gpus in counts:
        fitting = [e for e in _estimates(work, gpu, gpus, samples) if e.fits]
        if fitting:
            rows.append(_row(min(fitting, key=lambda e: _seconds(e, samples)), samples))
    if not rows:
        raise InputError(
            f"--curve: the network fits no number of GPUs up to {max(counts)}; see the advice "
            "without --curve"
        )
    first = rows[0]["seconds"] * rows[0]["world_size"]
    for row in rows:
        row["efficiency"] = first / (row["seconds"] * row["world_size"])
    return rows


def _estimates(work: Workload, gpu: Gpu, gpus: int, samples: int) -> Iterator[Estimate]:
    for sizes in layouts(work.config, gpus, gpu.per_node):
        if sizes.data > samples:
            continue
        batch = min(work.batch, samples // sizes.data)
        for kind in get_args(ActivationCheckpointing):
            yield Estimate(
                replace(work, layout=sizes, activation_checkpointing=kind, batch=batch), gpu
            )


def _seconds(estimate: Estimate, samples: int) -> float:
    return estimate.step * -(-samples // estimate.samples)


def _row(estimate: Estimate, samples: int) -> Row:
    layout, seconds = estimate.work.layout, _seconds(estimate, samples)
    return {
        "part": "curve",
        "world_size": layout.world_size,
        **asdict(layout),
        "recompute": estimate.work.activation_checkpointing,
        "flags": flags(estimate),
        "seconds": seconds,
        "samples": samples,
        "samples_per_second": samples / seconds,
        "eflops": estimate.useful * estimate.step * samples / estimate.samples / seconds / 1e18,
        "comm_share": estimate.exchange_share,
    }


def draw_curve(rows: Sequence[Mapping[str, Any]], folder: str | Path, title: str) -> Path:
    """Draw the predicted efficiency beside the published one into `curve.png` of a folder."""
    from matplotlib.figure import Figure

    Path(folder).mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, (name, points) in enumerate(PUBLISHED.items()):
        values = [100 * value for value in points.values()]
        axes.plot([*points], values, "s--", color=f"C{number + 1}", alpha=0.6,
                  label=f"ORBIT-2 {name}, published")  # fmt: skip
    axes.plot(
        [row["world_size"] for row in rows], [100 * row["efficiency"] for row in rows], "o-",
        color="C0", label="this config, on paper",
    )  # fmt: skip
    axes.set(xscale="log", xlabel="GPUs", ylabel="strong-scaling efficiency (%)", ylim=(0, 110))
    axes.set_title(f"{title}\non paper: predicted, not measured")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="small")
    path = Path(folder, "curve.png")
    figure.savefig(path, dpi=120)
    return path
