"""Trunk: from what the inputs say to one token per patch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from orbitlite.errors import InputError
from orbitlite.model.borders import Borders
from orbitlite.model.columns import Columns
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.cost import Cost, Pass, Unstated
from orbitlite.model.geometry import Geometry
from orbitlite.model.quadtree import Leaves
from orbitlite.model.saliency import MaskedFields
from orbitlite.registry import Registry


@dataclass(frozen=True)
class Seen:
    """What a trunk sees of a batch: standardised, and zero where missing.

    Attributes
    ----------
    shown : MaskedFields
        The channels `Trunk.columns`, (B, C, H, W); while training without those that are hidden at
        random (`channel_dropout`).
    whole : MaskedFields
        All of these, for what decides where to look.
    statics : MaskedFields or None
        Fine statics, (B, S, fH, fW).
    geometry : Geometry
        Of the coarse cells.
    borders : Borders
        What lies beyond the edges.
    budget : int or float, optional
        Leaf budget of the spatial compression.
    salient : Columns, optional
        Picks the fine statics that the saliency looks at.
    """

    shown: MaskedFields
    whole: MaskedFields
    statics: MaskedFields | None
    geometry: Geometry
    borders: Borders
    budget: int | float | None = None
    salient: Columns | None = None


class Trunk(nn.Module):
    """The part of a network that looks at all channels and all places.

    Parameters
    ----------
    config : DownscalerConfig

    Attributes
    ----------
    members : int
        Members M that it makes; one where it is deterministic.
    takes_budget : bool
        Whether it knows leaf budgets. To one that does not, none is given.
    columns : sequence of int
        Positions in `config.inputs` of the channels that it is given.
    """

    members = 1
    takes_budget = False

    def __init__(self, config: DownscalerConfig) -> None:
        super().__init__()
        self.columns: Sequence[int] = range(len(config.inputs))

    def forward(self, seen: Seen) -> Tensor:
        """Return tokens (B, M, h, w, D), D = `embed_dim`, of patches of p x p cells.

        h = H / p and w = W / p, rounded up: patches at the southern and eastern edges may be
        larger than what is left of the grid.
        """
        raise NotImplementedError

    def leaves(self, seen: Seen) -> tuple[Leaves, Tensor]:
        """Return the leaves for the budget, and the saliency (B, h, w) that they come from.

        Raises
        ------
        InputError
            If the trunk makes no leaves.
        """
        raise InputError(f"the trunk {type(self).__name__} has no leaves; tokens is not for it")

    def costs(self, size: Pass) -> dict[str, Cost]:
        """State what a training pass takes, by stage: `channels`, `blocks` and `rest`, or others.

        Raises
        ------
        Unstated
            If the trunk does not.
        """
        raise Unstated(f"the trunk {type(self).__name__} does not state its costs")


TRUNKS = Registry[type[Trunk]]("trunk")
"""By the name that `DownscalerConfig.trunk` states."""
