"""Variations: what training makes of its batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from orbitlite.batch import Batch
from orbitlite.errors import InputError
from orbitlite.training.mirror import mirror
from orbitlite.training.mixup import mixup
from orbitlite.training.rescaling import Rescaling


class Variations:
    """Vary batches at random, for networks that are to know more than the samples.

    Parameters
    ----------
    inputs : sequence of str
        Channels of the network.
    targets : mapping of str to sequence of str
        Targets of each of its tasks; of one without tasks the name is empty.
    mixup : float
        Concentration of `mixup`; 0: none.
    mirror : bool
        Whether half of the batches are turned over (`mirror`).
    rescaling : float, optional
        Largest factor of `Rescaling`; None: none.

    Raises
    ------
    InputError
        If a value is out of range, or there is nothing to rescale.
    """

    def __init__(
        self,
        inputs: Sequence[str],
        targets: Mapping[str, Sequence[str]],
        mixup: float,
        mirror: bool,
        rescaling: float | None,
    ) -> None:
        if not 0 <= mixup < float("inf"):
            raise InputError(f"mixup: expected a number of 0 or more, found {mixup}")
        self.mixup, self.mirror = mixup, mirror
        self.rescaling = {
            task: Rescaling(inputs, own, rescaling)
            for task, own in targets.items()
            if rescaling is not None
        }

    def draw(self, batch: Batch, inputs: Sequence[str]) -> tuple[Batch, Tensor]:
        """Return a batch as it is shown to a network, and what to divide the prediction by.

        Parameters
        ----------
        batch : Batch
            With the truth.
        inputs : sequence of str
            Its channels: all, or those that this process holds.

        Returns
        -------
        batch : Batch
        sizes : Tensor that broadcasts to (B, M, K, fH, fW)
        """
        if self.mirror:
            batch = mirror(batch, inputs)
        if self.mixup:
            batch = mixup(batch, self.mixup)
        if not self.rescaling:
            return batch, torch.ones((), device=batch.coarse.device)
        return self.rescaling[batch.task or ""].draw(batch, inputs)
