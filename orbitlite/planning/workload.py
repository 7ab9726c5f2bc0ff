"""What one rank computes in a training step: sizes, from a network, a grid and a layout."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from orbitlite.errors import InputError
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.cost import Cost, Pass
from orbitlite.model.quadtree import feasible
from orbitlite.parallel.mesh import ActivationCheckpointing, Layout
from orbitlite.planning.network import Tune, Unit, costs, units

Device = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Workload:
    """A pass over a batch on one rank.

    Attributes
    ----------
    config : DownscalerConfig
    height, width : int
        Coarse cells of a sample: those of the grid, or of a tile with its halo.
    batch : int
        Samples per data rank and pass.
    layout : Layout
    activation_checkpointing : {"none", "selective", "full"}
    half : bool
        `bf16-mixed`, else float32.
    device : {"cpu", "cuda"}
        Under autocast a GPU normalises in float32, a CPU does not.
    members : int
        Members that are drawn of each sample, if the network is stochastic.
    core : tuple of int, optional
        Coarse cells of a sample that are decoded; None: all.
    tune : {"full", "head", "lora"}
        What learns: all, the decoder alone, or with it adapters of the blocks.
    rank : int
        Of the adapters; 0 where there are none.
    """

    config: DownscalerConfig
    height: int
    width: int
    batch: int = 1
    layout: Layout = field(default_factory=Layout)
    activation_checkpointing: ActivationCheckpointing = "none"
    half: bool = False
    device: Device = "cuda"
    members: int = 2
    core: tuple[int, int] | None = None
    tune: Tune = "full"
    rank: int = 0

    def __post_init__(self) -> None:
        for name in ("height", "width", "batch", "members"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: expected 1 or more, found {getattr(self, name)}")

    @cached_property
    def tokens(self) -> int:
        """Tokens N of a sample.

        Raises
        ------
        InputError
            If the budget does not fit the grid.
        """
        config, p = self.config, self.config.patch_size
        rows, columns = -(-self.height // p), -(-self.width // p)
        if config.tokens is None:
            return rows * columns
        return feasible(config.tokens, rows, columns, config.max_leaf)

    @cached_property
    def size(self) -> Pass:
        """What the modules of the network multiply their sizes with."""
        config, p, ranks = self.config, self.config.patch_size, self.layout.sequence
        patches = -(-self.height // p) * -(-self.width // p)
        return Pass(
            self.batch, self.height, self.width, config.factor, patches, self.tokens,
            self.batch * -(-patches // ranks), self.batch * -(-self.tokens // ranks),
            config.tokens is not None, ranks, self.half, self.device,
            self.members if config.noise else 1, self.core,
        )  # fmt: skip

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """Weights of the first tensor rank, by what is gathered together."""
        return units(self.config, self.layout.tensor, self.tune, self.rank)

    @property
    def shards(self) -> int:
        """Ranks that each keeps a part of them."""
        return self.layout.shard * self.layout.sequence

    def held(self, stage: str | None = None, learning: bool = False) -> float:
        """Number of weights that a rank keeps, of all units or those of a stage.

        All of them, or those that learn.
        """
        own = [unit for unit in self.units if stage in (None, unit.name)]
        return sum(unit.padded(self.shards, learning) for unit in own) / self.shards

    def returns(self, stage: str) -> bool:
        """Tell whether gradients go back through a stage: below all that learns none do."""
        through = {"head": ("decoder",), "lora": ("decoder", "rest", "blocks")}
        return self.tune == "full" or stage in through[self.tune]

    @cached_property
    def costs(self) -> dict[str, Cost]:
        """What the modules of the first tensor rank state, by stage."""
        return costs(self.config, self.layout.tensor, self.size, self.rank)

    def flops(self, *stages: str) -> dict[str, float]:
        """Operations of a pass forward and backward by kind; of all stages if none is named.

        What is computed again counts.
        """
        found: dict[str, float] = {}
        for stage in stages or self.costs:
            for kind, part in self.costs[stage].flops.items():
                found[kind] = found.get(kind, 0.0) + part.forward
                if self.returns(stage):
                    # Of the two products of a frozen layer backward that for its weights is spared.
                    spared = kind == "linear" and stage == "blocks" and self.tune == "lora"
                    again = part.again if self.activation_checkpointing == "full" else 0.0
                    found[kind] += part.backward / (2 if spared else 1) + again
        return found
