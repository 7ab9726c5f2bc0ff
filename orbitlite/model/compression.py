"""Adaptive spatial compression: patches to leaves and back, differentiable."""

from __future__ import annotations

import logging
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orbitlite.model.config import DownscalerConfig
from orbitlite.model.cost import Cost, Pass
from orbitlite.model.geometry import Geometry
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
        self.max_leaf = config.max_leaf
        # Under the name that its weights have in bundles, if it has any.
        self.learned: Saliency = SALIENCIES[config.saliency](config)

    def leaves(
        self,
        tokens: Tensor,
        fields: list[MaskedFields],
        patches: Geometry,
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
        patches : Geometry
            That of the patches.
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
        h, w = patches.shape
        area = patches.weights().to(torch.promote_types(tokens.dtype, torch.float32))
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
        patches: Geometry,
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
        leaves, score, area = self.leaves(tokens, fields, patches, wraps, budget)
        weights = area
        if self.learned.trained:
            weights = area * score.flatten(1)
        pooled = pool(tokens, leaves, weights)
        if self.learned.trained:
            level = (leaf_sum(weights, leaves) / leaf_sum(area, leaves)).log().unsqueeze(-1)
            pooled = pooled * (1 + level - level.detach()).to(pooled.dtype)
        pooled = pooled + position(patches.features_of_leaves(leaves))
        return pooled, 4**leaves.level, leaves

    def cost(self, size: Pass) -> Cost:
        """State what pooling and its reversal take."""
        # Share of each patch in its leaf; the leaf's number, three times.
        saved = size.batch * size.patches * (4 + 24)
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
        Positive weight of each patch, float32 or wider: its area, times a gate if the saliency is
        learned.

    Returns
    -------
    Tensor of shape (B, N, D)
        Summed in the precision of the weights.
    """
    share = weights / leaf_sum(weights, leaves).gather(1, leaves.index)
    return leaf_sum(tokens * share.unsqueeze(-1), leaves).to(tokens.dtype)


def unpool(tokens: Tensor, leaves: Leaves) -> Tensor:
    """Give every patch the token of its leaf: (B, N, D) to (B, L, D)."""
    # Its gradient is the sum of `leaf_sum`.
    return F.embedding(_numbers(leaves), tokens.flatten(0, 1))


def leaf_sum(values: Tensor, leaves: Leaves) -> Tensor:
    """Sum values of patches, (B, L) or (B, L, D), over each leaf, (B, N) or (B, N, D).

    The order of summing follows from the leaves, on GPUs too, where adding by index does not keep
    to one: rows are summed as the gradient of a lookup.
    """
    b, count = leaves.level.shape
    rows = values.reshape(leaves.index.numel(), -1)
    summed: Tensor = torch.ops.aten.embedding_dense_backward(
        rows, _numbers(leaves).flatten(), b * count, -1, False
    )
    return summed.view(b, count, *values.shape[2:])


def _numbers(leaves: Leaves) -> Tensor:
    """Return the leaf of every patch, (B, L), counted over the whole batch."""
    b, count = leaves.level.shape
    return leaves.index + torch.arange(b, device=leaves.index.device)[:, None] * count
