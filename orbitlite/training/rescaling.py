"""Rescaling: training on amounts of any size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from orbitlite.batch import Batch
from orbitlite.errors import InputError
from orbitlite.variables import VARIABLES

_SHARE = 0.5


class Rescaling:
    """Multiply the precipitation of half of the samples by random factors.

    A factor is exp(u ln r) with u uniform in [-1, 1], one for all precipitation of a sample. The
    network sees the multiplied inputs, and its prediction is divided by the factor before it is
    compared with the truth, so that every sample weighs as before. It teaches the network to
    correct drizzle and floods alike, and to serve climates in which they fall more often than in
    the training period.

    Parameters
    ----------
    inputs, targets : sequence of str
        Channels of the network.
    largest : float
        r, more than 1.

    Raises
    ------
    InputError
        If there is no precipitation among both, or the factor is not more than 1.
    """

    def __init__(self, inputs: Sequence[str], targets: Sequence[str], largest: float) -> None:
        if not 1 < largest < math.inf:
            raise InputError(f"rescaling: expected a factor of more than 1, found {largest}")
        if not (any(_precipitation(inputs)) and any(_precipitation(targets))):
            raise InputError(
                "rescaling multiplies precipitation, and needs it among inputs and targets; found "
                f"inputs {', '.join(inputs)} and targets {', '.join(targets)}. Leave it out"
            )
        self.largest = largest
        self.targets = list(targets)

    def draw(self, batch: Batch, inputs: Sequence[str]) -> tuple[Batch, Tensor]:
        """Return a batch with multiplied inputs, and what to divide its prediction by.

        Parameters
        ----------
        batch : Batch
            `coarse` (B, C, H, W).
        inputs : sequence of str
            Its channels: all, or those that this process holds.

        Returns
        -------
        batch : Batch
        sizes : Tensor of shape (B, 1, K, 1, 1)
        """
        # Drawn on the CPU, so that the numbers do not depend on the device.
        drawn, kept = torch.rand(len(batch)), torch.rand(len(batch)) >= _SHARE
        factors = torch.exp((2 * drawn - 1) * math.log(self.largest))
        factors = torch.where(kept, 1.0, factors).to(batch.coarse.device)[:, None]

        def of(names: Sequence[str]) -> Tensor:
            rain = torch.tensor(_precipitation(names), device=factors.device)
            return torch.where(rain, factors, 1.0)

        coarse = batch.coarse * of(inputs)[:, :, None, None]
        sizes = of(self.targets)[:, :, None, None]
        regression = None if batch.regression is None else batch.regression * sizes
        return replace(batch, coarse=coarse, regression=regression), sizes[:, None]


def _precipitation(names: Sequence[str]) -> list[bool]:
    return [name in VARIABLES and VARIABLES[name].precipitation for name in names]
