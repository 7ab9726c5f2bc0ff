"""Adaptive spatial compression: patches to leaves and back, differentiable."""

from __future__ import annotations

import logging
from functools import cache

import torch
from torch import Tensor, nn

from orbitlite.model.config import DownscalerConfig
from orbitlite.model.cost import Cost, Pass
from orbitlite.model.position import SpherePosition
from orbitlite.model.quadtree import Leaves, build_leaves, feasible
from orbitlite.model.saliency import SALIENCIES, MaskedFields, Saliency

logger = logging.getLogger(__name__)


class Compression(nn.Module):
    """Pool patch tokens to the leaves of a quadtree that is fine where the saliency is high.

    Apart from the scores of a learned saliency it has no parameters: size, level and centre of a
    leaf enter through the features of its position, and the same weights serve any budget. With as
    many leaves as patches nothing changes.

    Parameters
    ----------
    config : DownscalerConfig
    """

    def __init__(self, config: DownscalerConfig) -> None:
        super().__init__()
        self.max_leaf, self.dim = config.max_leaf, config.embed_dim
        # Under the name that its weights have in bundles, if it has any.
        self.learned: Saliency = SALIENCIES[config.saliency](config)

    def leaves(
        self,
        tokens: Tensor,
        fields: list[MaskedFields],
        edges: tuple[Tensor, Tensor],
        wraps: Tensor,
        budget: int | float,
    ) -> tuple[Leaves, Tensor, Tensor]:
        """Cut the trees.

        Parameters
        ----------
        tokens : Tensor of shape (B, L, D)
            Of the patches.
        fields : list of MaskedFields
            What the saliency looks at.
        edges : tuple of Tensor
            Latitudes (B, h + 1) and longitudes (B, w + 1) of the patches' edges.
        wraps : Tensor of shape (B,), bool
        budget : int or float
            Leaves: a count, or a share of the patches.

        Returns
        -------
        leaves : Leaves
        score : Tensor of shape (B, h, w)
            Saliency per area.
        area : Tensor of shape (B, L)
            Of the patches, relative.
        """
        h, w = edges[0].shape[1] - 1, edges[1].shape[1] - 1
        rows = torch.deg2rad(edges[0].double().clamp(-90, 90)).sin().diff(dim=1).abs()
        rows = (rows / rows.mean(1, keepdim=True)).clamp_min(1e-6).to(tokens.dtype)
        area = rows[:, :, None].expand(-1, -1, w)
        score: Tensor = self.learned(tokens, fields, area, wraps)
        count = feasible(budget, h, w, self.max_leaf)
        if not torch.compiler.is_compiling():
            _tell(budget, count, h, w)
        return build_leaves((score * area).float(), count, self.max_leaf), score, area.flatten(1)

    def forward(
        self,
        tokens: Tensor,
        position: SpherePosition,
        fields: list[MaskedFields],
        edges: tuple[Tensor, Tensor],
        wraps: Tensor,
        budget: int | float,
    ) -> tuple[Tensor, Tensor, Leaves]:
        """Pool; parameters as for `leaves`.

        Returns
        -------
        tokens : Tensor of shape (B, N, D)
            With the positions of the leaves.
        counts : Tensor of shape (B, N)
            Patches of each leaf.
        leaves : Leaves
        """
        leaves, score, area = self.leaves(tokens, fields, edges, wraps, budget)
        weights = area
        if self.learned.trained:
            weights = area * score.flatten(1)
        pooled = pool(tokens, leaves, weights)
        if self.learned.trained:
            level = (leaf_sum(weights, leaves) / leaf_sum(area, leaves)).log().unsqueeze(-1)
            pooled = pooled * (1 + level - level.detach()).to(pooled.dtype)
        pooled = pooled + position.of_leaves(*leaf_edges(leaves, *edges))
        return pooled, 4**leaves.level, leaves

    def cost(self, size: Pass) -> Cost:
        """State what pooling and its reversal take."""
        # Weighted tokens; share of each patch in its leaf; the leaf's number, twice.
        saved = size.batch * size.patches * (self.dim * size.low + 4 + 16)
        return Cost(saved=saved) + self.learned.cost(size)


@cache
def _tell(budget: int | float, count: int, h: int, w: int) -> None:
    wanted = round(budget * h * w) if isinstance(budget, float) else budget
    if wanted != count:
        logger.info(
            "%d leaves do not come out on %d x %d patches (roots and threes): %d are used.",
            wanted, h, w, count,
        )  # fmt: skip


def pool(tokens: Tensor, leaves: Leaves, weights: Tensor) -> Tensor:
    """Average the tokens of each leaf's patches.

    Parameters
    ----------
    tokens : Tensor of shape (B, L, D)
    leaves : Leaves
    weights : Tensor of shape (B, L)
        Positive weight of each patch: its area, times a gate if the saliency is learned.

    Returns
    -------
    Tensor of shape (B, N, D)
    """
    share = weights / leaf_sum(weights, leaves).gather(1, leaves.index)
    b, _, dim = tokens.shape
    count = leaves.level.shape[1]
    offset = torch.arange(b, device=tokens.device)[:, None] * count
    flat = (leaves.index + offset).flatten()
    weighted = (tokens * share.unsqueeze(-1).to(tokens.dtype)).flatten(0, 1)
    return tokens.new_zeros(b * count, dim).index_add(0, flat, weighted).view(b, count, dim)


def unpool(tokens: Tensor, leaves: Leaves) -> Tensor:
    """Give every patch the token of its leaf: (B, N, D) to (B, L, D)."""
    b, count, dim = tokens.shape
    offset = torch.arange(b, device=tokens.device)[:, None] * count
    flat = tokens.reshape(b * count, dim).index_select(0, (leaves.index + offset).flatten())
    return flat.view(b, -1, dim)


def leaf_sum(values: Tensor, leaves: Leaves) -> Tensor:
    """Sum values of patches (B, L) over each leaf, (B, N)."""
    zeros = values.new_zeros(leaves.level.shape)
    return zeros.scatter_add(1, leaves.index, values)


def leaf_edges(
    leaves: Leaves, lat_edges: Tensor, lon_edges: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the north, south, west and east edge (B, N) of each leaf in degrees.

    Parameters
    ----------
    leaves : Leaves
    lat_edges : Tensor of shape (B, h + 1)
        Of patch rows, from north to south.
    lon_edges : Tensor of shape (B, w + 1)
    """
    size = 2**leaves.level
    north, south = (lat_edges.gather(1, leaves.row + shift) for shift in (0, size))
    west, east = (lon_edges.gather(1, leaves.column + shift) for shift in (0, size))
    return north, south, west, east
