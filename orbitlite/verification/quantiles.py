"""Area-weighted quantiles of a series of any length, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# A bin is one of 2^13 equal parts of a power of two: values in it agree to 0.012 %.
_SHIFT = 23 - 13
_LOWEST = (127 - 40) << 13
_COUNT = (127 + 40 << 13) - _LOWEST


class Quantiles:
    """Weighted histogram with logarithmic bins, from which quantiles are read.

    A quantile is the smallest value whose cumulative weight reaches the level (the inverse of
    the empirical distribution function, as in `numpy.quantile(..., method="inverted_cdf")`),
    represented by the mean of its bin: exact where a bin holds one distinct value, else within
    0.012 %. Magnitudes below 1e-12 count as zero.

    Examples
    --------
    >>> rain = Quantiles()
    >>> rain.update(torch.tensor([0.0, 0.0, 1.5, 7.0]), torch.full((4,), 0.25))
    >>> rain.at([0.5, 0.75, 1.0]).tolist()
    [0.0, 1.5, 7.0]
    """

    def __init__(self) -> None:
        self._weight = torch.zeros(2 * _COUNT + 1, dtype=torch.float64)
        self._sum = torch.zeros_like(self._weight)

    def update(self, values: Tensor, weights: Tensor) -> None:
        """Add values.

        Parameters
        ----------
        values, weights : Tensor of one shape
            A value of weight zero is skipped.
        """
        used = weights > 0
        x = values[used].to(torch.float32)
        w = weights[used].to(torch.float64)
        bits = x.abs().view(torch.int32) >> _SHIFT
        key = (bits.to(torch.int64) - _LOWEST + 1).clamp(0, _COUNT)
        key = torch.where(x < 0, -key, key) + _COUNT
        self._weight += torch.bincount(key, w, self._weight.numel())
        self._sum += torch.bincount(key, w * x, self._sum.numel())

    def at(self, levels: Sequence[float]) -> NDArray[np.float64]:
        """Return the quantiles at levels in (0, 1].

        Parameters
        ----------
        levels : sequence of float

        Returns
        -------
        ndarray of shape (len(levels),)
            Rounded to float32, the precision of the data; NaN if nothing was added.
        """
        held = torch.nonzero(self._weight).flatten()
        if held.numel() == 0:
            return np.full(len(levels), np.nan)
        cumulative = self._weight[held].cumsum(0)
        # A level that a value meets exactly must not be pushed past it by rounding.
        wanted = torch.tensor(levels, dtype=torch.float64) * cumulative[-1] * (1 - 1e-12)
        index = torch.searchsorted(cumulative, wanted).clamp_max(held.numel() - 1)
        chosen = held[index]
        means = (self._sum[chosen] / self._weight[chosen]).to(torch.float32)
        return means.to(torch.float64).numpy()
