"""Reading: a number of the device that is looked at while the device works on."""

from __future__ import annotations

import torch
from torch import Tensor


class Reading:
    """A number on its way from the device.

    It is copied when what makes it is done, and to look at it waits for that alone: what was given
    to the device since, such as a backward pass, keeps it busy meanwhile.

    Parameters
    ----------
    value : Tensor
        Of one element.
    """

    def __init__(self, value: Tensor) -> None:
        self._copy = value.detach().to("cpu", non_blocking=True)
        self._arrived = torch.cuda.current_stream().record_event() if value.is_cuda else None

    def value(self) -> float:
        """Wait for the number."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return float(self._copy)
