"""Predicted strong scaling beside published figures: on paper, nothing of it measured here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from orbitlite.errors import InputError
from orbitlite.planning.advice import flags
from orbitlite.planning.clusters import Gpu
from orbitlite.planning.estimate import Estimate, variants
from orbitlite.planning.upkeep import Upkeep
from orbitlite.planning.workload import Workload

COUNTS = tuple(2**k for k in range(3, 17))
"""GPUs: 8 to 65,536."""
SAMPLES = 512
"""Samples of a step that has as many on any number of GPUs; assumed: those of 17 months of daily
fields."""

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


def curve(
    work: Workload,
    gpu: Gpu,
    samples: int | None = None,
    counts: Sequence[int] = COUNTS,
    upkeep: Upkeep | None = None,
) -> list[Row]:
    """Predict the best layout of each number of GPUs.

    Data ranks that take more than `work.batch` samples take them in several passes.

    Parameters
    ----------
    work : Workload
    gpu : Gpu
    samples : int, optional
        Per step, on all GPUs together. None: they grow with the GPUs, `work.batch` for each.
    counts : sequence of int
    upkeep : Upkeep, optional

    Returns
    -------
    list of dict
        `efficiency` is samples per second and GPU over those of the first that it fits; `fits`
        tells where no layout does, and of such a row nothing else is there.

    Raises
    ------
    InputError
        If it fits none.
    """
    if samples is not None and samples < 1:
        raise InputError(f"samples: expected 1 or more, found {samples}")
    upkeep = upkeep or Upkeep()
    part = "growing" if samples is None else "fixed"
    rows: list[Row] = []
    for gpus in counts:
        own = samples or work.batch * gpus
        best = fastest(work, gpu, gpus, own, upkeep)
        known = {"part": part, "world_size": gpus, "samples": own, "fits": best is not None,
                 "steps_per_epoch": upkeep.data / own}  # fmt: skip
        rows.append(known if best is None else known | _row(best, own))
    fitting = [row for row in rows if row["fits"]]
    if not fitting:
        raise InputError(
            f"--curve: the network fits no number of GPUs up to {max(counts)}; see the advice "
            "without --curve"
        )
    first = fitting[0]["samples_per_second"] / fitting[0]["world_size"]
    for row in fitting:
        row["efficiency"] = row["samples_per_second"] / row["world_size"] / first
    return rows


def fastest(work: Workload, gpu: Gpu, gpus: int, samples: int, upkeep: Upkeep) -> Estimate | None:
    """Return the fastest layout that fits for so many samples of a step; None if there is none."""
    found = (
        Estimate(replace(one, batch=min(work.batch, samples // one.layout.data)), gpu, upkeep)
        for one in variants(work, gpus, gpu.per_node)
        if one.layout.data <= samples
    )
    fitting = [estimate for estimate in found if estimate.fits]
    return min(fitting, key=lambda one: seconds_for(one, samples), default=None)


def seconds_for(estimate: Estimate, samples: int) -> float:
    """Return the seconds of a step of so many samples, in several passes if need be."""
    return estimate.step * -(-samples // estimate.samples)


def _row(estimate: Estimate, samples: int) -> Row:
    layout, seconds = estimate.work.layout, seconds_for(estimate, samples)
    return {
        **asdict(layout),
        "recompute": estimate.work.activation_checkpointing,
        "flags": flags(estimate),
        "seconds": seconds,
        "samples_per_second": samples / seconds,
        "eflops": estimate.useful * estimate.step * samples / estimate.samples / seconds / 1e18,
        "comm_share": estimate.exchange_share,
        "upkeep_share": sum(
            estimate.seconds[name] for name in ("launches", "input", "checkpoints")
        ) / estimate.step,
    }  # fmt: skip


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
    labels = {"growing": "samples that grow with the GPUs", "fixed": "{samples:,} samples a step"}
    for (part, label), line in zip(labels.items(), ("o-", "o:"), strict=True):
        own = [row for row in rows if row["part"] == part and row["fits"]]
        if own:
            axes.plot(
                [row["world_size"] for row in own], [100 * row["efficiency"] for row in own], line,
                color="C0", label=f"this config, on paper, {label.format(**own[0])}",
            )  # fmt: skip
    axes.set(xscale="log", xlabel="GPUs", ylabel="efficiency (%)", ylim=(0, 110))
    axes.set_title(f"{title}\non paper: predicted, not measured")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="small")
    path = Path(folder, "curve.png")
    figure.savefig(path, dpi=120)
    return path
