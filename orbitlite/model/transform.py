"""Transform: what network, losses and scores take of amounts that are skewed."""

from __future__ import annotations

import torch
from torch import Tensor


def log1p(amount: Tensor) -> Tensor:
    """Return log(1 + x) of amounts of any shape; rounding below zero counts as zero."""
    return torch.log1p(amount.clamp_min(0))
