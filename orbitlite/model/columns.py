"""Columns: which channels a part of the network picks, held where the network is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Columns(nn.Module):
    """Pick some of the entries along an axis: from lists each pass would copy them to the device.

    Parameters
    ----------
    numbers : sequence of int
        Their positions, in the order in which they are picked.

    Examples
    --------
    >>> Columns([2, 0])(torch.arange(4.0), 0)
    tensor([2., 0.])
    """

    numbers: Tensor

    def __init__(self, numbers: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("numbers", torch.tensor(numbers, dtype=torch.int64), persistent=False)
        self._first = list(numbers) == list(range(len(numbers)))

    def __len__(self) -> int:
        return len(self.numbers)

    def forward(self, x: Tensor, dim: int = 1) -> Tensor:
        """Return what is picked along an axis; the tensor itself, if that is all in its order."""
        if self._first and x.shape[dim] == len(self):
            return x
        return x.index_select(dim, self.numbers)
