"""Ridge: a linear regression of the whole fine field on the whole coarse field of one region."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Ridge(nn.Module):
    """A ridge regression per fine cell on all coarse fields (Hoerl and Kennard 1970, equation 2.1).

    It is solved, not trained: `orbitlite.training.regression.solve` sets its weights. Beyond what
    it has seen it does not go: predictors end at their least and largest value of the training
    period, and what it gives at twice the largest change from the mean that a cell had.

    Parameters
    ----------
    predictors, responses : int
        Coarse values P = C H W and fine values Q = K fH fW of a sample.
    """

    mean: Tensor
    std: Tensor
    low: Tensor
    high: Tensor
    weight: Tensor
    centre: Tensor
    least: Tensor
    most: Tensor

    def __init__(self, predictors: int, responses: int) -> None:
        super().__init__()
        for name in ("mean", "std", "low", "high"):
            self.register_buffer(name, torch.zeros(predictors))
        for name in ("centre", "least", "most"):
            self.register_buffer(name, torch.zeros(responses))
        self.register_buffer("weight", torch.zeros(predictors, responses))

    def forward(self, coarse: Tensor) -> Tensor:
        """Predict.

        Parameters
        ----------
        coarse : Tensor of shape (B, C, H, W)
            Physical units; a missing value counts as the mean of its cell.

        Returns
        -------
        Tensor of shape (B, Q)
            Physical units.
        """
        x = coarse.flatten(1)
        x = torch.where(torch.isfinite(x), x, self.mean)
        x = (torch.minimum(torch.maximum(x, self.low), self.high) - self.mean) / self.std
        out = x @ self.weight + self.centre
        return torch.minimum(torch.maximum(out, self.least), self.most)
