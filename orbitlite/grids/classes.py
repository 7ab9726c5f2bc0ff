"""Classes: fields of codes (land cover, soil type), of which no mean can be taken."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orbitlite.errors import InputError
from orbitlite.variables import lookup

# Two areas are equal if they are this share apart: rounding of their sums.
_TIE = 1e-9


def holds_classes(name: Hashable) -> bool:
    """Return whether a channel's values are codes of classes."""
    try:
        return lookup(str(name)).classes
    except InputError:  # no channel at all
        return False


def largest_share(
    values: NDArray[Any], area: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[Any]:
    """Return the class that takes the largest area of every cell of another grid.

    Of classes with equal areas it is the smallest code. Missing values take part nowhere; a cell
    without any other is NaN.

    Parameters
    ----------
    values : ndarray of shape (..., h, w)
        Codes, NaN where missing.
    area : callable
        From ones and zeros (..., h, w) to the area of the ones in every cell, (..., H, W).

    Returns
    -------
    ndarray of shape (..., H, W)
    """
    codes = np.unique(values[~np.isnan(values)])
    largest = area(np.zeros(values.shape))
    found = np.full(largest.shape, np.nan, values.dtype)
    for code in codes:
        share = area((values == code).astype(np.float64))
        more = share > largest * (1 + _TIE)
        largest = np.where(more, share, largest)
        found[more] = code
    return found
