"""Predicted time of a training step, and which layouts of a cluster do best. No measurement.

Each constant below is an assumption, stated once; what samples, launches and checkpoints add is in
`upkeep`. Not in it: kernels of uncommon shapes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import log, log2, sqrt
from typing import get_args

from orbitlite.errors import InputError
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.cost import Unstated
from orbitlite.parallel.mesh import ActivationCheckpointing, Layout, check_network
from orbitlite.planning.clusters import Gpu, link
from orbitlite.planning.memory import activations, memory
from orbitlite.planning.traffic import exchanges, received
from orbitlite.planning.upkeep import Upkeep, launching
from orbitlite.planning.workload import Workload

MATRIX = 0.5
"""Share of the peak that products of wide tokens reach (Narayanan et al. 2021: 52 % overall)."""
WIDTH = 1024
"""Width D at which products reach half of that: with it the share is 10, 25, 38 and 44 % for widths
256, 1024, 3072 and 8192; ORBIT-2 sustains about 7, 24, 29 and 39 % with them on 512 GPUs (Wang et
al. 2025, from its EFLOPS and efficiencies)."""
ATTENTION = 0.4
"""Share of the peak that fused attention reaches (Dao 2023, FlashAttention-2 on A100 and H100)."""
CONVOLUTION = 0.1
"""Share of the peak that 3x3 convolutions of few channels reach; assumed."""
BANDWIDTH = 0.8
"""Share of the memory bandwidth that kernels reach which do little else; assumed."""
TOUCHES = 6
"""Times that a kept byte is read or written in a step: thrice forward, thrice backward; assumed."""
LINK = 0.7
"""Share of a link's bandwidth that collectives reach; assumed."""
OVERLAP = 0.8
"""Share of the weights' traffic that can hide behind computing; assumed."""
JITTER = 0.02
"""Relative standard deviation of a rank's computing; all wait for the slowest, which of N normal
values is sqrt(2 ln N) deviations above the mean; assumed."""
LAUNCH = 15e-6
"""Seconds that an exchange takes whatever its size; assumed."""
HOP = 3e-6
"""Seconds from node to node; a ring has as many hops as nodes, a tree their logarithm; assumed."""
RESERVE = 0.1
"""Share of the memory that is left free: fragments, the driver, libraries."""

_SHARES = {"attention": ATTENTION, "convolutions": CONVOLUTION}
_STAGES = ("channels", "blocks", "decoder")
_STEP, _AVERAGE = 7, 2
"""Bytes read and written at the optimiser's step, over those of the weights that learn, and at the
average, over those of all."""


@dataclass(frozen=True)
class Estimate:
    """What is predicted for a layout.

    Attributes
    ----------
    work : Workload
    gpu : Gpu
    upkeep : Upkeep
    """

    work: Workload
    gpu: Gpu
    upkeep: Upkeep = field(default_factory=Upkeep)

    @cached_property
    def memory(self) -> dict[str, float]:
        """Bytes on a GPU, by part."""
        return memory(self.work)

    @cached_property
    def bytes(self) -> float:
        """Bytes on a GPU."""
        return sum(self.memory.values())

    @property
    def fits(self) -> bool:
        """Whether that leaves `RESERVE` of its memory free."""
        return self.bytes <= (1 - RESERVE) * self.gpu.memory

    @cached_property
    def seconds(self) -> dict[str, float]:
        """Seconds of a step: of each stage, and of what is added to them.

        By kernels that are shorter than their launch, waiting for the slowest, the optimiser, each
        axis, waiting for samples, checkpoints.
        """
        found = {stage: self._stage(stage) for stage in _STAGES}
        computing = sum(found.values())
        least = launching(self.work) if self.work.device == "cuda" else 0.0
        found["launches"] = max(0.0, least - computing)
        computing += found["launches"]
        found["waiting"] = JITTER * sqrt(2 * log(self.work.layout.world_size)) * computing
        state = _STEP * self.memory["optimiser"] / 2 + _AVERAGE * self.memory["average"]
        found["optimiser"] = state / (BANDWIDTH * self.gpu.bandwidth)
        for axis, seconds in self._exchanges().items():
            hidden = min(OVERLAP * seconds, computing) if axis in ("weights", "replicate") else 0.0
            computing -= hidden
            found[axis] = seconds - hidden
        step = sum(found.values())
        found["input"] = self.upkeep.waiting(self.work, self.gpu.per_node, step)
        step += found["input"]
        found["checkpoints"] = self.upkeep.saving(self.work, self.gpu.per_node, step)
        return found

    @cached_property
    def step(self) -> float:
        """Seconds of a step."""
        return sum(self.seconds.values())

    @property
    def samples(self) -> int:
        """Samples of a step, on all GPUs."""
        return self.work.batch * self.work.layout.data

    @property
    def per_sample(self) -> float:
        """Seconds of a step over its samples."""
        return self.step / self.samples

    @property
    def exchange_share(self) -> float:
        """Share of the step that waits for other GPUs."""
        names = ("tensor", "sequence", "weights", "replicate", "waiting")
        return sum(self.seconds[name] for name in names) / self.step

    @property
    def repeated(self) -> tuple[float, float]:
        """Shares of step and memory that sharing decoder and ends of the blocks would spare.

        Ranks of the tensor and the sequence axis compute the decoder each, but for its head, and
        hold the patches (B, L, D) before the blocks and behind them.
        """
        work = self.work
        alike = 1 - 1 / (work.layout.tensor * work.layout.sequence)
        ends = 2 * work.size.batch * work.size.patches * work.config.embed_dim * work.size.low
        kept = self.memory["decoder"] + (ends if work.returns("blocks") else 0)
        return alike * self.seconds["decoder"] / self.step, alike * kept / self.bytes

    @property
    def useful(self) -> float:
        """FLOP/s of all GPUs; what is repeated on several, or computed again, counts once."""
        once = replace(self.work, layout=Layout(), activation_checkpointing="none")
        return sum(once.flops().values()) * self.work.layout.data / self.step

    def _stage(self, stage: str) -> float:
        work, gpu = self.work, self.gpu
        peak = gpu.half if work.half else gpu.single
        wide = MATRIX * work.config.embed_dim / (work.config.embed_dim + WIDTH)
        computing = sum(
            count / (peak * _SHARES.get(kind, wide)) for kind, count in work.flops(stage).items()
        )
        # What is kept if gradients come back through the stage; else it is written and read alike.
        kept = activations(replace(work, activation_checkpointing="none", tune="full"))[stage]
        touches = TOUCHES if work.returns(stage) else TOUCHES / 2
        moved = touches * (kept + work.costs[stage].touched)
        return max(computing, moved / (BANDWIDTH * gpu.bandwidth))

    def _exchanges(self) -> dict[str, float]:
        layout, gpu = self.work.layout, self.gpu
        inner = layout.tensor * layout.sequence
        places = {
            "tensor": (layout.tensor, 1),
            "sequence": (layout.sequence, layout.tensor),
            "weights": (layout.shard * layout.sequence, layout.tensor),
            "replicate": (layout.data // layout.shard, inner * layout.shard),
        }
        counts, found = exchanges(self.work), {}
        for axis, size in received(self.work).items():
            ranks, stride = places[axis]
            nodes = max(1, ranks * stride / max(gpu.per_node, stride))
            hops = nodes - 1 if axis == "weights" else log2(nodes)
            delay = counts[axis] * (LAUNCH + HOP * hops)
            found[axis] = size / (LINK * link(gpu, ranks, stride)) + delay
        return found


def layouts(config: DownscalerConfig, gpus: int, per_node: int) -> Iterator[Layout]:
    """Give every layout of so many GPUs that the network can be shared by.

    Weights are spread over all data ranks, or over those of a node.
    """
    for tensor in _divisors(gpus, config.num_heads):
        for sequence in _divisors(gpus // tensor, config.num_heads // tensor):
            data = gpus // (tensor * sequence)
            node = max(1, per_node // (tensor * sequence))
            for shard in {data, node} if data % node == 0 else {data}:
                sizes = Layout(data, tensor, sequence, shard)
                try:
                    check_network(config, sizes)
                except InputError:
                    continue
                yield sizes


def _divisors(number: int, most: int) -> list[int]:
    return [d for d in range(1, min(number, most) + 1) if number % d == 0 and most % d == 0]


def variants(work: Workload, gpus: int, per_node: int) -> Iterator[Workload]:
    """Give the workload in every layout of so many GPUs, with every kind of recomputation."""
    for sizes in layouts(work.config, gpus, per_node):
        if work.rank and sizes.tensor > 1:
            continue  # adapters are not split
        for kind in get_args(ActivationCheckpointing):
            yield replace(work, layout=sizes, activation_checkpointing=kind)


def estimates(work: Workload, gpus: int, gpu: Gpu, upkeep: Upkeep | None = None) -> list[Estimate]:
    """Predict every layout and kind of recomputation; first those that fit, the fastest first.

    Parameters
    ----------
    work : Workload
        Its layout and recomputation are varied.
    gpus : int
    gpu : Gpu
    upkeep : Upkeep, optional

    Raises
    ------
    InputError
        If the number of GPUs cannot be filled.
    """
    upkeep = upkeep or Upkeep()
    found = [Estimate(one, gpu, upkeep) for one in variants(work, gpus, gpu.per_node)]
    if not found:
        raise InputError(f"gpus: no layout shares this network over {gpus} GPUs")
    return sorted(found, key=lambda e: (not e.fits, e.per_sample if e.fits else e.bytes))


def memory_warning(work: Workload, available: float, average: bool = True) -> str | None:
    """Return what is to be told of a fit's memory before it begins.

    Parameters
    ----------
    work : Workload
        As it will run.
    available : float
        Bytes of the device, such as `torch.cuda.get_device_properties(0).total_memory`.
    average : bool
        A moving average of the weights is kept.

    Returns
    -------
    str or None
        A sentence, if it is predicted not to fit or cannot be predicted.
    """
    try:
        parts = memory(work, average)
    except Unstated as error:
        return f"The memory of this fit is not predicted: {error}."
    total = sum(parts.values())
    if total <= (1 - RESERVE) * available:
        return None
    largest = max(parts, key=parts.__getitem__)
    return (
        f"A step is predicted to take {total / 2**30:.1f} GiB of the device's "
        f"{available / 2**30:.1f} GiB, most of it for {largest} "
        f"({parts[largest] / 2**30:.1f} GiB); `orbitlite plan` tells what fits."
    )
