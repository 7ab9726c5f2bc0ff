"""Wasserstein distances of the values of two series."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def of_cells(prediction: Floats, truth: Floats) -> float:
    """Return the mean over the cells of the distance of their days.

    The distance W1 of two samples of one size is the mean difference of their sorted values
    (WCRP-CORDEX/ml-benchmark, `wasserstein_distance` with `spatial=True`; Villani 2009, equation
    6.3 and remark 6.5).

    Parameters
    ----------
    prediction, truth : ndarray of shape (T, H, W)

    Returns
    -------
    float
        In the unit of the values.
    """
    return _distance(np.sort(prediction, axis=0), np.sort(truth, axis=0))


def pooled(prediction: Floats, truth: Floats) -> float:
    """Return the distance of all values, whatever their day and cell.

    Parameters
    ----------
    prediction, truth : ndarray of shape (T, H, W)

    Returns
    -------
    float

    Examples
    --------
    >>> pooled(np.array([[[1.0, 2.0]]]), np.array([[[2.0, 2.0]]]))
    0.5
    """
    return _distance(np.sort(prediction, axis=None), np.sort(truth, axis=None))


def _distance(one: Floats, other: Floats) -> float:
    return float(np.abs(one - other).mean(dtype=np.float64))
