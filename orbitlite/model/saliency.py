"""Where to look: scores of patches, from the input alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orbitlite.model.config import Saliency
from orbitlite.model.interpolation import pad


def field_saliency(
    kind: Saliency, fields: Tensor, valid: Tensor, cells: int, wraps: Tensor
) -> Tensor:
    """Score patches by how much fields change there.

    Parameters
    ----------
    kind : {"gradient", "variance"}
        Mean magnitude of the difference to the next cell, or standard deviation among the cells of
        the patch and half a patch around it.
    fields : Tensor of shape (B, C, H, W)
        Standardised; zeros where missing. H and W are multiples of `cells`.
    valid : Tensor of shape (B, C, H, W), bool
    cells : int
        Cells of a patch along one axis.
    wraps : Tensor of shape (B,), bool
        Which samples are periodic in longitude.

    Returns
    -------
    Tensor of shape (B, H / cells, W / cells)
        Each field's score over its mean, summed; zero where nothing is known or changes.
    """
    known = valid.to(fields.dtype)
    score = _gradient(fields, known, wraps) if kind == "gradient" else None
    if score is not None:
        score = F.avg_pool2d(score, cells)
    else:
        score = _spread(fields, known, cells, wraps)
    mean = score.mean((2, 3), keepdim=True)
    return torch.where(mean > 0, score / mean.clamp_min(1e-12), torch.zeros_like(score)).sum(1)


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


class LearnedSaliency(nn.Module):
    """Score patches by their tokens, trained end to end: can the network learn where to look.

    Tokens are only looked at: what they carry is not bent towards their score. The tree is cut
    from detached scores; they are trained by gated pooling: within a leaf, patches
    weigh by their scores (`Compression`), and a straight-through factor 1 + log s - sg(log s) on
    the leaf's token, 1 in value, also reaches leaves of one patch, whose weights are always one.

    Parameters
    ----------
    embed_dim : int
        Width D.
    """

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(embed_dim)
        self.score = nn.Linear(embed_dim, 1)
        nn.init.normal_(self.score.weight, std=0.02)
        nn.init.zeros_(self.score.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return positive scores (B, L) of tokens (B, L, D)."""
        return F.softplus(self.score(self.norm(tokens.detach())).squeeze(-1).float()) + 1e-3
