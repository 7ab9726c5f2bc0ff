"""Losses of several members at once, which leave them the spread that the truth has around them.

All are zero in the mean only if members are drawn from the distribution of the truth. That of
cells says nothing of how they hang together; the others do, and are for `model.structure`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from orbitlite.training.losses import LOSSES, LossFields, of_members
from orbitlite.verification.crps import crps

ALPHA = 0.95
"""Of the almost fair CRPS: at 1, one of two members may be anywhere if the other hits."""
_POOLS = (2, 4, 8)
"""Fine cells along one side of a pool."""


@LOSSES.register("crps")
@of_members
def almost_fair(fields: LossFields) -> Tensor:
    """CRPS of cells, almost fair with alpha 0.95 (see `crps`)."""
    return fields.mean(crps(fields.prediction, fields.truth, ALPHA))


@LOSSES.register("fair_crps")
@of_members
def fair(fields: LossFields) -> Tensor:
    """CRPS of cells, fair (see `crps`)."""
    return fields.mean(crps(fields.prediction, fields.truth))


@LOSSES.register("spectral_crps")
@of_members
def spectral(fields: LossFields) -> Tensor:
    """CRPS of Fourier coefficients: as much power at every wavelength as the truth has.

    Of the two-dimensional transform of a field times the root of the weight of its cells, so that
    the sum of squares is the weighted one (Parseval); absolute values are those of complex numbers.
    Where truth is missing the weight is zero in truth and members alike, so that, as the transform
    is linear, no difference between them comes from there.
    """
    share = _relative(fields.weights).sqrt()
    members, truth = (
        torch.fft.rfft2(values.float() * share, norm="ortho")
        for values in (fields.prediction, fields.truth)
    )
    error = (members - truth).abs().mean(1, keepdim=True)
    count = members.shape[1]
    pairs = [(members[:, j] - members[:, k]).abs() for j in range(count) for k in range(j)]
    apart = torch.stack(pairs).mean(0)[:, None]
    score = error - (1 - (1 - ALPHA) / count) / 2 * apart
    return _mean_over_fields(score.mean((-2, -1)), fields)


@LOSSES.register("pooled_crps")
@of_members
def pooled(fields: LossFields) -> Tensor:
    """CRPS of means over squares of 2, 4 and 8 fine cells, whose average it is."""
    weights, total = fields.weights, fields.prediction.new_zeros(())
    for size in _POOLS:
        whole = _pooled(weights, size)
        share = whole.clamp_min(torch.finfo(whole.dtype).tiny)
        members, truth = (
            _pooled(values * weights, size) / share for values in (fields.prediction, fields.truth)
        )
        total = total + fields.mean(crps(members, truth, ALPHA), whole * size**2)
    return total / len(_POOLS)


@LOSSES.register("maxima_crps")
@of_members
def maxima(fields: LossFields) -> Tensor:
    """CRPS of the largest values in squares of 2, 4 and 8 fine cells, whose average it is."""
    weights, total = fields.weights, fields.prediction.new_zeros(())
    for size in _POOLS:
        whole = _pooled(weights, size)
        members, truth = (
            _largest(values.where(weights > 0, -torch.inf), size)
            for values in (fields.prediction, fields.truth)
        )
        empty = whole == 0
        members, truth = members.masked_fill(empty, 0), truth.masked_fill(empty, 0)
        total = total + fields.mean(crps(members, truth, ALPHA), whole * size**2)
    return total / len(_POOLS)


@LOSSES.register("energy_score")
@of_members
def energy(fields: LossFields) -> Tensor:
    """Energy score of whole fields: the CRPS with distances of fields in place of numbers.

    Gneiting and Raftery 2007, "Strictly proper scoring rules", equation 22. The distance of two
    fields is the root of the weighted mean of squared differences.
    """
    share = _relative(fields.weights) / fields.weights[0, 0, 0].numel()

    def distance(one: Tensor, other: Tensor) -> Tensor:
        # The norm has a gradient of zero where fields are the same, as members are at first.
        found: Tensor = torch.linalg.vector_norm((one - other) * share.sqrt(), dim=(-2, -1))
        return found

    members, count = fields.prediction, fields.prediction.shape[1]
    error = distance(members, fields.truth).mean(1, keepdim=True)
    pairs = [
        distance(members[:, j : j + 1], members[:, k : k + 1])
        for j in range(count) for k in range(j)
    ]  # fmt: skip
    apart = torch.stack(pairs).mean(0)
    return _mean_over_fields(error - (1 - (1 - ALPHA) / count) / 2 * apart, fields)


def _relative(weights: Tensor) -> Tensor:
    """Return weights (B, 1, K, fH, fW) over their mean in each field; zero where it has none."""
    mean = weights.mean((-2, -1), keepdim=True)
    return weights / mean.clamp_min(torch.finfo(weights.dtype).tiny)


def _mean_over_fields(scores: Tensor, fields: LossFields) -> Tensor:
    """Weighted mean of scores (B, 1, K) of whole fields, which weigh as their cells do together."""
    return (scores * fields.weights.sum((-2, -1))).sum() / fields.total


def _pooled(values: Tensor, size: int) -> Tensor:
    """Mean over squares; those at the southern and eastern edges may be cut off."""
    found = F.avg_pool2d(_padded(values, size, 0.0), size)
    return found.view(*values.shape[:2], *found.shape[1:])


def _largest(values: Tensor, size: int) -> Tensor:
    found = F.max_pool2d(_padded(values, size, -torch.inf), size)
    return found.view(*values.shape[:2], *found.shape[1:])


def _padded(values: Tensor, size: int, fill: float) -> Tensor:
    """Fill up to whole squares: (B, M, K, fH, fW) to (B M, K, fH', fW')."""
    height, width = values.shape[-2:]
    return F.pad(values.flatten(0, 1), (0, -width % size, 0, -height % size), value=fill)
