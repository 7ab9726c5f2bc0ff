"""Training losses: area-weighted, NaN-masked, in transformed or in physical space.

All take errors e = prediction - truth that are scaled per target to about unit size (`Scale`), and
average over the valid cells with area weights w: sum w l(e) / n W, of n samples, where W is the sum
of w that a sample has in the mean over the training period. So a cell weighs the same in whichever
batch it is, however little truth the other samples of the batch have. Cells without truth count for
nothing, in the loss and in its gradient. Scores divide by the sum of w over their period.

All losses here are of a point prediction. Of several members each is compared with the truth, and
the loss is the mean over members: so no member is left free, as it would be by a loss of the mean
over members, and M members weigh like one. It asks every member for the same field; only a loss
that looks at all members at once keeps a spread (`of_members`; see `ensemble_losses`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from orbitlite.batch import Batch
from orbitlite.grids.grid import Grid
from orbitlite.model.geometry import Geometry
from orbitlite.model.transform import log1p
from orbitlite.registry import Registry

Space = Literal["physical", "transformed"]


@dataclass(frozen=True)
class LossFields:
    """What a loss sees.

    Attributes
    ----------
    prediction : Tensor of shape (B, M, K, fH, fW)
        Scaled values.
    truth : Tensor of shape (B, 1, K, fH, fW)
        Scaled values; where it is missing, the mean over members holds its place.
    amount : Tensor of shape (B, 1, K, fH, fW)
        The truth in physical units, zero where missing.
    weights : Tensor of shape (B, 1, K, fH, fW)
        Area times target weight; zero where there is no truth.
    log_transformed : Tensor of shape (K,), bool
        Which targets are non-negative amounts.
    total : Tensor
        What means are divided by: the sum of the weights that is to be expected, of the samples of
        a step in equal parts for its batches and processes. So the mean of their losses is the
        loss of all samples. In validation, where sums of a period are joined, the batch's own sum.
    """

    prediction: Tensor
    truth: Tensor
    amount: Tensor
    weights: Tensor
    log_transformed: Tensor
    total: Tensor

    def mean(self, values: Tensor, weights: Tensor | None = None) -> Tensor:
        """Weighted mean of (B, M, K, fH, fW), over members too; M is 1 of what all make together.

        Other `weights` than those of all cells are of differences between cells.
        """
        weighted = values * (self.weights if weights is None else weights)
        return weighted.sum() / (self.total * values.shape[1])


Loss: TypeAlias = Callable[[LossFields], Tensor]
"""From what a loss sees to a scalar."""
LOSSES = Registry[Loss]("loss")
"""By the name that `model.loss` states."""


def of_members(loss: Loss) -> Loss:
    """Mark a loss that compares two members or more, and keeps a spread between them."""
    loss.of_members = True  # type: ignore[attr-defined]
    return loss


@LOSSES.register("mse")
def mse(fields: LossFields) -> Tensor:
    """Squared error, e^2; its minimiser is the conditional mean."""
    return fields.mean((fields.prediction - fields.truth).square())


@LOSSES.register("mae")
def mae(fields: LossFields) -> Tensor:
    """Absolute error, |e|; its minimiser is the conditional median."""
    return fields.mean((fields.prediction - fields.truth).abs())


@LOSSES.register("huber")
def huber(fields: LossFields) -> Tensor:
    """Huber 1964: e^2 / 2 for |e| < 1, else |e| - 1/2."""
    truth = fields.truth.expand_as(fields.prediction)
    return fields.mean(F.huber_loss(fields.prediction, truth, reduction="none"))


@LOSSES.register("bayesian_tv")
def bayesian_tv(fields: LossFields) -> Tensor:
    """Squared error with a total-variation prior on the prediction (ORBIT-2).

    e^2 + 0.02 (|d_v p| + |d_h p| + 0.7 |d_1 p| + 0.7 |d_2 p|) with one-pixel differences along
    columns, rows and both diagonals, summed over cells and divided by the number of cells. Wang et
    al. 2025, ORBIT-2; constants as in its public code.
    """
    p, weights = fields.prediction, fields.weights
    pairs = (
        (1.0, (slice(1, None), slice(None)), (slice(None, -1), slice(None))),
        (1.0, (slice(None), slice(1, None)), (slice(None), slice(None, -1))),
        (0.7, (slice(1, None), slice(1, None)), (slice(None, -1), slice(None, -1))),
        (0.7, (slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))),
    )
    variation = p.new_zeros(())
    for share, a, b in pairs:
        step = (p[..., *a] - p[..., *b]).abs()
        variation = variation + share * fields.mean(step, weights[..., *b])
    return mse(fields) + 0.02 * variation


@LOSSES.register("intensity_weighted")
def intensity_weighted(fields: LossFields) -> Tensor:
    """Squared error weighted by the amount that fell: min(1 + y, 24) e^2 with y in mm.

    A plain squared error in transformed space forgets the few cells that flood. This weight, of
    Ravuri et al. 2021 (skilful precipitation nowcasting, their grid-cell regulariser), lets them
    count by their amount and caps the influence of single outliers. Other targets have weight one.
    """
    weight = (1 + fields.amount.clamp_min(0)).clamp_max(24.0)
    weight = torch.where(fields.log_transformed[:, None, None], weight, torch.ones_like(weight))
    return fields.mean(weight * (fields.prediction - fields.truth).square())


@dataclass(frozen=True)
class Scale:
    """How physical values of the targets become comparable.

    Attributes
    ----------
    log_transformed : Tensor of shape (K,), bool
        Targets that are transformed by log(1 + x).
    mean, std : Tensor of shape (K,)
        Statistics of the transformed values.
    unit : Tensor of shape (K,)
        Typical size of a change in physical units.
    """

    log_transformed: Tensor
    mean: Tensor
    std: Tensor
    unit: Tensor

    def apply(self, values: Tensor, space: Space) -> Tensor:
        """Return scaled values of (..., K, fH, fW): physical / unit, or standardised."""
        if space == "physical":
            return values / self.unit[:, None, None]
        values = torch.where(self.log_transformed[:, None, None], log1p(values), values)
        return (values - self.mean[:, None, None]) / self.std[:, None, None]


def prepare(
    prediction: Tensor,
    truth: Tensor,
    areas: Tensor,
    scale: Scale,
    space: Space,
    target_weights: Tensor,
    total: Callable[[Tensor], Tensor] = torch.Tensor.detach,
) -> LossFields:
    """Scale and mask.

    Parameters
    ----------
    prediction : Tensor of shape (B, M, K, fH, fW)
        Physical units.
    truth : Tensor of shape (B, K, fH, fW)
        Physical units; NaN where there is none.
    areas : Tensor of shape (B, fH, 1) or (B, fH, fW)
        Of the cells.
    scale : Scale
    space : {"physical", "transformed"}
    target_weights : Tensor of shape (K,)
    total : callable
        Returns what means are divided by, of the batch's own sum of weights.
    """
    truth = truth[:, None]
    valid = torch.isfinite(truth)
    truth = torch.where(valid, truth, prediction.detach().mean(1, keepdim=True))
    weights = valid * areas[:, None, None] * target_weights[:, None, None]
    amount = torch.where(valid, truth, torch.zeros_like(truth))
    return LossFields(
        scale.apply(prediction, space), scale.apply(truth, space), amount, weights,
        scale.log_transformed, total(weights.sum()).clamp_min(1e-12),
    )  # fmt: skip


def expected_weight(valid: Tensor, grid: Grid, fine: Grid, target_weights: Tensor) -> float:
    """Return the sum of the weights over a whole grid, in the mean over fields.

    Parameters
    ----------
    valid : Tensor of shape (K,)
        Share of the area that has truth, in the mean over fields.
    grid, fine : Grid
        The coarse and the fine one.
    target_weights : Tensor of shape (K,)
    """
    places: dict[str, Any] = {
        name: torch.from_numpy(part)[None] for name, part in grid.places(fine).items()
    }
    factor = fine.shape[0] // grid.shape[0]
    areas = Geometry.of(Batch(torch.empty(1), **places)).areas(factor).double()
    areas = areas.expand(1, *fine.shape)
    return float(areas.sum() * (valid * target_weights).sum())
