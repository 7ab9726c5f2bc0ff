"""Where to look: scores of patches, from the input alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orbitlite.model.cost import Cost, Pass
from orbitlite.model.interpolation import pad
from orbitlite.registry import Registry

if TYPE_CHECKING:
    from orbitlite.model.config import DownscalerConfig


@dataclass(frozen=True)
class MaskedFields:
    """Fields on one grid, with where they are known.

    Attributes
    ----------
    values : Tensor of shape (B, C, H, W)
        Standardised; zeros where missing.
    valid : Tensor of shape (B, C, H, W), bool
    cells : int
        Cells of this grid along one axis of a patch; in `Seen`, of a coarse cell.
    """

    values: Tensor
    valid: Tensor
    cells: int


class Saliency(nn.Module):
    """What decides where leaves are small.

    Parameters
    ----------
    config : DownscalerConfig

    Attributes
    ----------
    trained : bool
        Whether it has weights, which gated pooling trains (see `Compression`).
    """

    trained = False

    def __init__(self, config: DownscalerConfig) -> None:
        super().__init__()

    def forward(
        self, tokens: Tensor, fields: list[MaskedFields], area: Tensor, wraps: Tensor
    ) -> Tensor:
        """Score the patches.

        Parameters
        ----------
        tokens : Tensor of shape (B, L, D)
            Of the patches.
        fields : list of MaskedFields
            What `saliency_channels` names, on the coarse and on the fine grid, on whole patches.
        area : Tensor of shape (B, h, w)
            Of the patches, relative.
        wraps : Tensor of shape (B,), bool
            Which samples are periodic in longitude.

        Returns
        -------
        Tensor of shape (B, h, w)
            Saliency per area, zero or more; above zero if it is learned.
        """
        raise NotImplementedError

    def cost(self, size: Pass) -> Cost:
        """State what the scores take; nothing, where they are not trained."""
        return Cost()


SALIENCIES = Registry[type[Saliency]]("saliency")
"""By the name that `DownscalerConfig.saliency` states."""


class _OfFields(Saliency):
    """Each field's score over its mean, summed; zero where nothing is known or changes.

    The mean is that of the sample, so that its fields weigh alike; of a single field it would
    change nothing. Scores say where in a sample the leaves of its budget go, not how many there
    are: they are not to be compared between samples.
    """

    def forward(
        self, tokens: Tensor, fields: list[MaskedFields], area: Tensor, wraps: Tensor
    ) -> Tensor:
        """Return scores (B, h, w); see `Saliency`."""
        total = area.new_zeros(area.shape)
        for part in fields:
            score = self.score(part.values, part.valid.to(part.values.dtype), part.cells, wraps)
            mean = score.mean((2, 3), keepdim=True)
            relative = torch.where(mean > 0, score / mean.clamp_min(1e-12), torch.zeros_like(score))
            total = total + relative.sum(1)
        return total

    def score(self, fields: Tensor, known: Tensor, cells: int, wraps: Tensor) -> Tensor:
        """Score the patches (B, C, h, w) of fields (B, C, H, W), known where 1."""
        raise NotImplementedError


@SALIENCIES.register("gradient")
class Gradient(_OfFields):
    """Mean magnitude of the difference to the next cell."""

    def score(self, fields: Tensor, known: Tensor, cells: int, wraps: Tensor) -> Tensor:
        """Score the patches (B, C, h, w)."""
        return F.avg_pool2d(_gradient(fields, known, wraps), cells)


@SALIENCIES.register("variance")
class Variance(_OfFields):
    """Standard deviation among the cells of the patch and half a patch around it."""

    def score(self, fields: Tensor, known: Tensor, cells: int, wraps: Tensor) -> Tensor:
        """Score the patches (B, C, h, w)."""
        return _spread(fields, known, cells, wraps)


def _gradient(fields: Tensor, known: Tensor, wraps: Tensor) -> Tensor:
    """Magnitude of the gradient: per axis the root mean square difference to known neighbours."""
    total = torch.zeros_like(fields)
    for axis in (-1, -2):
        squares, count = torch.zeros_like(fields), torch.zeros_like(fields)
        for shift in (1, -1):
            pair = known * known.roll(shift, axis) * _has_neighbour(fields, axis, shift, wraps)
            squares = squares + pair * (fields - fields.roll(shift, axis)).square()
            count = count + pair
        total = total + squares / count.clamp_min(1)
    return total.sqrt()


def _has_neighbour(fields: Tensor, axis: int, shift: int, wraps: Tensor) -> Tensor:
    """Tell which cells have a neighbour along an axis; only longitude goes round."""
    size = fields.shape[axis]
    place = torch.arange(size, device=fields.device)
    inner = (place != (0 if shift == 1 else size - 1)).to(fields.dtype)
    if axis == -2:
        return inner[:, None]
    return torch.maximum(inner, wraps[:, None, None, None].to(fields.dtype))


def _spread(fields: Tensor, known: Tensor, cells: int, wraps: Tensor) -> Tensor:
    margin = max(1, cells // 2)
    size, step = cells + 2 * margin, cells

    def pooled(x: Tensor) -> Tensor:
        return F.avg_pool2d(pad(x, margin, wraps), size, step)

    # Around its middle a constant field is zero: no variance is left by rounding.
    total = known.sum((2, 3), keepdim=True).clamp_min(1)
    centred = fields - (fields * known).sum((2, 3), keepdim=True) / total
    count = pooled(known).clamp_min(1e-6)
    mean = pooled(centred * known) / count
    square = pooled(centred.square() * known) / count
    scale = square.amax((2, 3), keepdim=True)
    variance = square - mean.square()
    noise = 1e-5 * scale + 1e-10
    return torch.where(variance > noise, variance, torch.zeros_like(variance)).sqrt()


@SALIENCIES.register("learned")
class LearnedSaliency(Saliency):
    """Score patches by their tokens, trained end to end: can the network learn where to look.

    It does not pay: at a quarter of the patches (`configs/world_large.yaml`, six epochs) the RMSE
    is 2.151 mm/day, with `gradient` 2.073, with equal leaves 2.099. The gate weighs patches within
    the leaves that there are; no gradient tells what other leaves would have gained.

    Tokens are only looked at: what they carry is not bent towards their score. The tree is cut
    from detached scores; they are trained by gated pooling: within a leaf, patches
    weigh by their scores (`Compression`), and a straight-through factor 1 + log s - sg(log s) on
    the leaf's token, 1 in value, also reaches leaves of one patch, whose weights are always one.

    Parameters
    ----------
    config : DownscalerConfig
    """

    trained = True

    def __init__(self, config: DownscalerConfig) -> None:
        super().__init__(config)
        embed_dim = config.embed_dim
        self.norm = nn.LayerNorm(embed_dim)
        self.score = nn.Linear(embed_dim, 1)
        nn.init.normal_(self.score.weight, std=0.02)
        nn.init.zeros_(self.score.bias)

    def forward(
        self, tokens: Tensor, fields: list[MaskedFields], area: Tensor, wraps: Tensor
    ) -> Tensor:
        """Return positive scores (B, h, w); see `Saliency`."""
        score = F.softplus(self.score(self.norm(tokens.detach())).squeeze(-1).float()) + 1e-3
        return score.view(area.shape)

    def cost(self, size: Pass) -> Cost:
        """State what the scores and the gate of the leaves take."""
        dim = self.score.weight.shape[1]
        patches, leaves = size.batch * size.patches, size.batch * size.tokens
        # Tokens before and behind the norm, those that are pooled if they are others; the scores,
        # what becomes of them, and the leaves' numbers.
        tokens = size.wide + size.low + (size.low if size.half else 0)
        return Cost(saved=patches * (dim * tokens + 48) + leaves * dim * size.low)


@SALIENCIES.register("uniform")
class Uniform(Saliency):
    """The same everywhere, for comparison."""

    def forward(
        self, tokens: Tensor, fields: list[MaskedFields], area: Tensor, wraps: Tensor
    ) -> Tensor:
        """Return scores (B, h, w); see `Saliency`. Times the area they are equal to the bit."""
        return 1 / area.double()
