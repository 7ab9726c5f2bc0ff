"""Upkeep: what a step takes beside its computing: reading samples, launching kernels, checkpoints.

Each constant below is an assumption, stated once, like those of `estimate`.
"""

from __future__ import annotations

from dataclasses import dataclass

from orbitlite.planning.memory import WEIGHT
from orbitlite.planning.workload import Workload

STORAGE = 2e9
"""Bytes per second that a node reads from the store, and writes to it, while all others do as well;
assumed."""
COPY = 25e9
"""Bytes per second from a GPU to the memory of its node; assumed (PCIe 4.0 x16 has 32)."""
LAUNCH = 10e-6
"""Seconds from one operation to the next where torch is not compiled and none computes longer;
assumed."""
OPERATIONS = {"network": 870, "groups": 290, "tokens": 440, "noise": 290, "block": 30}
"""Operations of a pass forward and backward: of a network without blocks; of its channel groups,
leaf budget and noise; of each block. Counted by torch's dispatcher, views left out."""
AGAIN = 10
"""Those of a block that is computed again."""
FORTY_YEARS = 14_610
"""Samples where those of the data are not known: daily fields of forty years."""
FIELD = 4
"""Bytes of a value in the store: float32, not compressed; assumed."""


@dataclass(frozen=True)
class Upkeep:
    """How samples are read and checkpoints are written.

    Attributes
    ----------
    storage : float
        Bytes per second of a node from and to the store.
    ahead : bool
        Other processes read the next samples while the network computes (`data.num_workers`).
    data : int
        Samples of an epoch, after which a checkpoint is written.
    every : int
        Steps from one checkpoint to the next, in place of an epoch's; 0: those of an epoch.
    in_memory : bool
        Samples are read once, not in every epoch.
    known : bool
        `data` are those of the fit, not assumed.
    """

    storage: float = STORAGE
    ahead: bool = True
    data: int = FORTY_YEARS
    every: int = 0
    in_memory: bool = False
    known: bool = False

    def reading(self, work: Workload, per_node: int) -> float:
        """Return the seconds that a node takes to read what its ranks take in a pass."""
        if self.in_memory:
            return 0.0
        return sample_bytes(work) * work.batch * _ranks(work, per_node) / self.storage

    def waiting(self, work: Workload, per_node: int, computing: float) -> float:
        """Return the seconds of them that the network waits."""
        reading = self.reading(work, per_node)
        return max(0.0, reading - computing) if self.ahead else reading

    def saving(self, work: Workload, per_node: int, step: float) -> float:
        """Return the seconds that checkpoints add to a step of `step` seconds, in the mean.

        Of several processes each copies its part to its node and goes on while that is written; a
        process alone waits for the file.
        """
        every = self.every or max(1, self.data // (work.batch * work.layout.data))
        size = checkpoint_bytes(work)
        writing = size * _ranks(work, per_node) / self.storage
        if work.layout.world_size == 1:
            return (size / COPY + writing) / every
        return (size / COPY + max(0.0, writing - every * step)) / every


def sample_bytes(work: Workload) -> float:
    """Return the bytes of a sample in the store: inputs that a tensor rank reads, and targets.

    Each rank of the sequence axis reads all of them.
    """
    size, config = work.size, work.config
    channels = len(config.inputs) / work.layout.tensor
    truth = size.part(1, 0).fine_cells() / size.batch * len(config.targets)
    return FIELD * (size.height * size.width * channels + truth)


def checkpoint_bytes(work: Workload) -> float:
    """Return the bytes that a rank writes: its weights, their averages, two moments of what learns.

    Copies of the same shard are written once.
    """
    copies = work.layout.data // work.layout.shard
    return WEIGHT * (2 * work.held() + 2 * work.held(learning=True)) / copies


def launching(work: Workload) -> float:
    """Return the least seconds of a pass, however fast the GPU: its operations one by one."""
    config, parts = work.config, OPERATIONS
    count = parts["network"] + parts["block"] * config.depth
    count += parts["groups"] * (len(config.groups) > 1)
    count += parts["tokens"] * (config.tokens is not None) + parts["noise"] * bool(config.noise)
    if work.activation_checkpointing != "none" and work.returns("blocks"):
        count += AGAIN * config.depth
    return LAUNCH * count


def _ranks(work: Workload, per_node: int) -> int:
    return min(per_node, work.layout.world_size)
