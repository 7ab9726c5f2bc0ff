"""Missing: output values that are left out because the inputs say nothing of them."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from orbitlite.notice import warn

logger = logging.getLogger(__name__)


class Missing:
    """Counts missing values of a prediction piece by piece, to say once how many there are."""

    def __init__(self) -> None:
        self.missing, self.total = 0, 0

    def update(self, fine: NDArray[np.float32]) -> None:
        """Add fine fields of shape (..., K, h, w)."""
        self.total += fine.size
        self.missing += int(np.isnan(fine).sum())

    def tell(self, where: str = "the prediction") -> None:
        """Say how many values are missing, if any are."""
        if self.missing:
            share = self.missing / self.total
            warn(
                logger,
                f"{self.missing:,} of {self.total:,} values of {where} ({share:.1%}) are missing: "
                "the coarse target, or every input that changes with time, is missing there. Set "
                "fill to let the network make them up.",
            )
