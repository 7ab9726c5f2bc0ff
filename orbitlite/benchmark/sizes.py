"""Sizes of networks on one device: training, prediction, and the longest sequence that fits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch

from orbitlite.benchmark.session import Session
from orbitlite.benchmark.step import TrainingSetup, random_batch, training_step, with_memory
from orbitlite.model.downscaler import Downscaler
from orbitlite.parallel.mesh import ParallelConfig, Ranks
from orbitlite.parallel.sharding import compile_part
from orbitlite.planning.clusters import GPUS
from orbitlite.planning.workload import Device, Workload

PLAIN = ParallelConfig()
VARIANTS: dict[str, tuple[dict[str, Any], ParallelConfig, float | None]] = {
    "float32": ({}, PLAIN, None),
    "bf16": ({"half": True}, PLAIN, None),
    "bf16, compiled": ({"half": True}, ParallelConfig(compile=True), None),
    "bf16, selective": ({"half": True}, ParallelConfig(activation_checkpointing="selective"), None),
    "bf16, full": ({"half": True}, ParallelConfig(activation_checkpointing="full"), None),
    "bf16, 1/4 of tokens": ({"half": True}, PLAIN, 0.25),
}
"""Precision, what each block keeps or compiles, leaf budget."""
_LONGEST = "longest sequence"


def size_rows(
    configs: dict[str, Any], grid: tuple[int, int], batch: int, session: Session
) -> Iterator[dict[str, Any]]:
    """Train and predict with networks of several sizes on one device.

    Parameters
    ----------
    configs : dict of str to DownscalerConfig
    grid : tuple of int
        Coarse cells.
    batch : int
    session : Session

    Returns
    -------
    iterator of dict
        Per network and variant: `samples_per_second`, `tflops`, `mfu` (share of the device's dense
        peak in the variant's precision; none where it is not known), `peak_mib`,
        `predict_seconds` (one sample), or `note` where memory does not do. On a GPU, then the
        variant `longest sequence`: patches of the largest grid that a step in bfloat16 with full
        recomputation fits.
    """
    kind: Device = "cuda" if session.device.type == "cuda" else "cpu"
    variants = [*VARIANTS, *([_LONGEST] if kind == "cuda" else [])]

    def measured(case: tuple[str, str]) -> Iterator[dict[str, Any]]:
        name, variant = case
        config = configs[name]
        row: dict[str, Any] = {"part": "sizes", "network": name, "variant": variant}
        if variant == _LONGEST:
            yield row | {"tokens": _longest(config, session.device)}
            return
        options, parallel, tokens = VARIANTS[variant]
        chosen = config if tokens is None else replace(config, tokens=tokens)
        work = Workload(
            chosen,
            *grid,
            batch,
            activation_checkpointing=parallel.activation_checkpointing,
            device=kind,
            **options,
        )
        row |= {
            "mode": "forward+backward",
            "height": grid[0], "width": grid[1], "batch": batch,
            "embed_dim": config.embed_dim, "depth": config.depth, "tokens": work.tokens,
        }  # fmt: skip
        yield row | _measure(TrainingSetup(work, parallel), session)

    return session.over(
        [(name, variant) for name in configs for variant in variants],
        ", ".join,
        lambda case: 2 * session.timed,
        measured,
    )


def _measure(case: TrainingSetup, session: Session) -> dict[str, Any]:
    device = session.device
    try:
        step, peak = with_memory(lambda: training_step(case, Ranks(), device), device)
        seconds = session.medians({"step": step})["step"]
        del step
        _release(device)
        predict = session.medians({"step": _prediction(case, device)})["step"]
    except torch.cuda.OutOfMemoryError:
        _release(device)
        return {"note": "out of memory"}
    _release(device)
    rate = sum(case.work.flops().values()) / seconds
    peak_rate = _peak_rate(device, case.work.half)
    return {
        "seconds": seconds, "samples_per_second": case.work.batch / seconds,
        "tflops": rate / 1e12, "mfu": rate / peak_rate if peak_rate else None, "peak_mib": peak,
        "predict_seconds": predict,
    }  # fmt: skip


def _prediction(case: TrainingSetup, device: torch.device) -> Any:
    """Return a call that predicts one sample."""
    work = replace(case.work, batch=1)
    torch.manual_seed(0)
    model = Downscaler(work.config).to(device).eval()
    if case.parallel.compile:
        compile_part(model)
    batch = random_batch(work, model.inputs).to(device)

    def call() -> None:
        low: Any = torch.autocast(device.type, torch.bfloat16) if work.half else nullcontext()
        with torch.inference_mode(), low:
            model(batch)

    return call


def _longest(config: Any, device: torch.device) -> int:
    """Double the width and the height in turn until a step does not fit."""
    height, width, found = 32, 64, 0
    while True:
        parallel = ParallelConfig(activation_checkpointing="full")
        work = Workload(config, height, width, half=True, activation_checkpointing="full")
        try:
            step = training_step(TrainingSetup(work, parallel), Ranks(), device)
            step()
            torch.cuda.synchronize(device)
        except torch.cuda.OutOfMemoryError:
            _release(device)
            return found
        del step
        _release(device)
        found = work.tokens
        height, width = (height, 2 * width) if width < 2 * height else (2 * height, width)


def _release(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _peak_rate(device: torch.device, half: bool) -> float | None:
    """Return the device's dense peak in operations per second, where it is known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device).lower()
    known = [gpu for key, gpu in GPUS.items() if key.split("-")[0] in name]
    return (known[0].half if half else known[0].single) if known else None
