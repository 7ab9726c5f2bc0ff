"""A training step of a layout, timed and counted on every rank."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from orbitlite.batch import Batch
from orbitlite.benchmark import measure
from orbitlite.model.downscaler import Downscaler
from orbitlite.parallel.mesh import ParallelConfig, Ranks, mesh_of_world
from orbitlite.parallel.received import Received
from orbitlite.parallel.sharding import parallelize
from orbitlite.planning.workload import Workload
from orbitlite.training.optimisation import Optimisation

_EXCHANGE = ("gloo:", "nccl:", "ncclDevKernel")


@dataclass(frozen=True)
class TrainingSetup:
    """A layout and what it computes.

    Attributes
    ----------
    work : Workload
        With the batch of one data rank.
    parallel : ParallelConfig
    """

    work: Workload
    parallel: ParallelConfig


def measure_cases(
    rank: int, size: int, cases: list[TrainingSetup], device: str, repeats: int
) -> list[dict[str, Any]]:
    """Measure cases one after the other, on a rank of a process group.

    Returns
    -------
    list of dict
        Per case: `seconds` (median of a step), `comm_share` (time in exchanges over the time of a
        step), `peak_mib` (growth of this rank's memory over a step, weights included), and
        `received` (bytes by axis).
    """
    return [measure_case(case, mesh_of_world(case.parallel, device), repeats) for case in cases]


def measure_case(case: TrainingSetup, ranks: Ranks, repeats: int) -> dict[str, Any]:
    """Measure one case; see `measure_cases`."""
    device = torch.device(case.work.device)
    step, peak = with_memory(lambda: training_step(case, ranks, device), device)
    step()
    seconds = []
    for _ in range(repeats):
        ranks.gather(None)
        start = perf_counter()
        step()
        measure.wait(device)
        seconds.append(perf_counter() - start)
    share = _exchange_share(step, device)
    with Received(ranks) as received:
        step()
    return {
        "seconds": statistics.median(seconds), "peak_mib": peak, "comm_share": share,
        "received": dict(received.bytes),
    }  # fmt: skip


def training_step(case: TrainingSetup, ranks: Ranks, device: torch.device) -> Callable[[], None]:
    """Build a network spread over the ranks, and return a call that trains it once."""
    work = case.work
    torch.manual_seed(0)
    model = parallelize(Downscaler(work.config).to(device), ranks, case.parallel, work.half)
    model.train()
    optimizer = Optimisation().optimizer(model.named_parameters())
    batch = random_batch(work, model.inputs).to(device)
    low: Any = torch.autocast(device.type, torch.bfloat16) if work.half else nullcontext()

    def step() -> None:
        with low:
            prediction = model(batch)
        assert batch.fine is not None
        loss = (prediction.float() - batch.fine[:, None]).square().mean()
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()

    return step


def random_batch(work: Workload, inputs: list[str]) -> Batch:
    """Draw a batch of the size of a rank's pass, with its truth."""
    config, b, f = work.config, work.batch, work.config.factor
    height, width = work.height, work.width
    generator = torch.Generator().manual_seed(1)
    draw: Callable[..., Any] = lambda *shape: torch.rand(*shape, generator=generator)  # noqa: E731
    return Batch(
        coarse=draw(b, len(inputs), height, width),
        fine=draw(b, len(config.targets), height * f, width * f),
        statics=draw(b, len(config.statics), height * f, width * f),
        lat_edges=torch.linspace(90, -90, height + 1).expand(b, -1),
        lon_edges=torch.linspace(0, 360, width + 1).expand(b, -1),
    )


def with_memory(
    build: Callable[[], Callable[[], None]], device: torch.device
) -> tuple[Callable[[], None], float]:
    """Return what is built, and the growth of memory over building it and calling it, in MiB."""

    def both() -> Callable[[], None]:
        call = build()
        call()
        return call

    return measure.growth(both, device)


def _exchange_share(step: Callable[[], None], device: torch.device) -> float:
    """Return the share of a step in which this rank is in an exchange."""
    kinds = [ProfilerActivity.CPU]
    if device.type == "cuda":
        kinds.append(ProfilerActivity.CUDA)
    with profile(activities=kinds) as seen:
        start = perf_counter()
        step()
        measure.wait(device)
        whole = perf_counter() - start
    spans = sorted(
        (event.time_range.start, event.time_range.end)
        for event in seen.events()
        if event.name.startswith(_EXCHANGE)
    )
    busy, until = 0.0, 0.0
    for begin, end in spans:  # those side by side count once
        busy += max(0.0, end - max(begin, until))
        until = max(until, end)
    return min(1.0, busy / 1e6 / whole)
