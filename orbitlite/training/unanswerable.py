"""Unanswerable: truth in cells of which the inputs say nothing."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from orbitlite.batch import Batch
from orbitlite.model.noise import Draw
from orbitlite.notice import warn
from orbitlite.parallel.mesh import Ranks

logger = logging.getLogger(__name__)


class Unanswerable:
    """Counts truth that is left out, because a network could only guess at it."""

    def __init__(self) -> None:
        self._counts = torch.zeros(2, dtype=torch.int64)  # left out, in all

    def update(self, truth: Tensor, known: Tensor) -> None:
        """Add a batch.

        Parameters
        ----------
        truth : Tensor of shape (B, K, fH, fW)
            NaN where there is none.
        known : Tensor of shape (B, K, fH, fW), bool
            Where the inputs say something of it.
        """
        there = truth.isfinite()
        found = torch.stack([(there & ~known).sum(), there.sum()])
        self._counts = self._counts.to(found.device) + found

    def tell(self, where: str, ranks: Ranks, device: torch.device) -> None:
        """Say how many values were left out of `where`, over all processes, if any were."""
        lost, total = ranks.sum_over_data(self._counts.to(device)).tolist()
        if lost:
            warn(
                logger,
                f"{lost:,} of {total:,} values of the truth ({lost / total:.1%}) lie in cells of "
                f"which the inputs say nothing (the coarse target or every input is missing); they "
                f"are left out of {where}.",
            )


class Network(Protocol):
    """What can be trained: `Downscaler`, or another from the same inputs to the same targets."""

    def __call__(self, batch: Batch, *, fill: bool, **draw: Any) -> Tensor:
        """Predict (B, M, K, fH, fW), with `fill` also where the inputs say nothing."""

    def known(self, batch: Batch) -> Tensor:
        """Tell the fine cells of which the inputs say something, (B, K, fH, fW), bool."""


def answered(
    network: Network, batch: Batch, counts: Unanswerable, draw: Draw | None = None
) -> tuple[Tensor, Batch]:
    """Predict every cell, and take the truth away where the inputs say nothing of it.

    Parameters
    ----------
    network : Network
    batch : Batch
        With the truth.
    counts : Unanswerable
        Counts what is taken away.
    draw : Draw, optional
        Members that a stochastic network is to draw.
    """
    assert batch.fine is not None
    known = network.known(batch)
    counts.update(batch.fine, known)
    fine = torch.where(known, batch.fine, torch.nan)
    drawn = {} if draw is None else {"draw": draw}
    return network(batch, fill=True, **drawn), replace(batch, fine=fine)
