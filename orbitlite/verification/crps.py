"""The continuous ranked probability score of ensembles."""

from __future__ import annotations

import torch
from torch import Tensor


def crps(members: Tensor, truth: Tensor, alpha: float = 1.0) -> Tensor:
    """Return the almost fair CRPS, cell by cell.

    With members x_j, truth y and e = (1 - alpha) / M it is (Lang et al. 2024, AIFS-CRPS, equation
    4) the sum over all j != k of |x_j - y| + |x_k - y| - (1 - e) |x_j - x_k|, divided by
    2 M (M - 1). `alpha` 1 is the fair CRPS (Ferro 2014), whose mean does not depend on M; 0 that of
    the M members as the whole distribution. Of one member it is the absolute error.

    Parameters
    ----------
    members : Tensor of shape (B, M, ...)
    truth : Tensor of shape (B, 1, ...)
    alpha : float

    Returns
    -------
    Tensor of shape (B, 1, ...)
        In the unit of the truth.

    Examples
    --------
    >>> crps(torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0]]))
    tensor([[0.]])
    """
    error = (members - truth).abs().mean(1, keepdim=True)
    if (count := members.shape[1]) == 1:
        return error
    return error - (1 - (1 - alpha) / count) / 2 * mean_difference(members)


def mean_difference(members: Tensor) -> Tensor:
    """Return the mean of |x_j - x_k| over all pairs of two members: (B, M, ...) to (B, 1, ...).

    Of sorted members it is the sum of (2 j - M - 1) x_j over M (M - 1) / 2.
    """
    count = members.shape[1]
    ranks = torch.arange(1 - count, count, 2, device=members.device, dtype=members.dtype)
    ranks = ranks.view(-1, *(1,) * (members.ndim - 2))
    total = (members.sort(dim=1).values * ranks).sum(1, keepdim=True)
    return total * (2 / (count * (count - 1)))
