"""What one rank computes in a training step: sizes, from a network, a grid and a layout."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from orbitlite.errors import InputError
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.decoder import feature_maps
from orbitlite.model.quadtree import feasible
from orbitlite.parallel.channels import groups_of_rank
from orbitlite.parallel.mesh import Layout, Recompute

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
    recompute : {"none", "selective", "full"}
    half : bool
        `bf16-mixed`, else float32.
    device : {"cpu", "cuda"}
        Under autocast a GPU normalises in float32, a CPU does not.
    """

    config: DownscalerConfig
    height: int
    width: int
    batch: int = 1
    layout: Layout = field(default_factory=Layout)
    recompute: Recompute = "none"
    half: bool = False
    device: Device = "cuda"

    def __post_init__(self) -> None:
        for name in ("height", "width", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: expected 1 or more, found {getattr(self, name)}")

    @property
    def low(self) -> int:
        """Bytes of what enters a matrix product."""
        return 2 if self.half else 4

    @property
    def wide(self) -> int:
        """Bytes of what enters or leaves a normalisation."""
        return 2 if self.half and self.device == "cpu" else 4

    @cached_property
    def patches(self) -> int:
        """Patches L of a sample."""
        p = self.config.patch_size
        return -(-self.height // p) * -(-self.width // p)

    @cached_property
    def tokens(self) -> int:
        """Tokens N of a sample.

        Raises
        ------
        InputError
            If the budget does not fit the grid.
        """
        config, p = self.config, self.config.patch_size
        if config.tokens is None:
            return self.patches
        rows, columns = -(-self.height // p), -(-self.width // p)
        return feasible(config.tokens, rows, columns, config.max_leaf)

    @property
    def positions(self) -> int:
        """Patches of the batch that this rank mixes the channels of."""
        return self.batch * -(-self.patches // self.layout.sequence)

    @property
    def own_tokens(self) -> int:
        """Tokens of the batch that this rank's blocks work on."""
        return self.batch * -(-self.tokens // self.layout.sequence)

    @property
    def groups(self) -> list[int]:
        """Numbers of channels of the groups that the first rank, which has most, holds."""
        groups = self.config.groups
        return [len(groups[g]) for g in groups_of_rank(len(groups), self.layout.tensor, 0)]

    @property
    def hidden(self) -> int:
        """Columns of a block's MLP on this rank."""
        return int(self.config.embed_dim * self.config.mlp_ratio) // self.layout.tensor

    @property
    def mixed_width(self) -> int:
        """Width of a head inside attention: counted tokens take one feature more, filled to 8."""
        d = self.config.embed_dim // self.config.num_heads
        return d if self.config.tokens is None else d + 1 + -(d + 1) % 8

    @property
    def features(self) -> int:
        """Maps that the decoder's head makes on the fine grid."""
        return feature_maps(self.config.embed_dim)

    @property
    def context(self) -> int:
        """Maps that join them: four of each target, and the fine statics."""
        return 4 * len(self.config.targets) + len(self.config.fine_statics)

    def fine_cells(self, margin: int = 0) -> int:
        """Fine cells of the batch, with `margin` more along each axis."""
        f = self.config.factor
        return self.batch * (self.height * f + margin) * (self.width * f + margin)
