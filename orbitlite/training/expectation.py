"""Expectation: what samples weigh in the mean, by which losses are divided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from orbitlite.data.datamodule import PairDataModule
from orbitlite.training.losses import expected_weight
from orbitlite.training.reconstruction import Reconstruction


class Expectation:
    """The sum of the weights of a sample's cells, in the mean over the training period.

    Parameters
    ----------
    weights : sequence of float
        Of each source.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        self.weights = list(weights)

    @classmethod
    def of(
        cls,
        data: PairDataModule,
        target_weights: Tensor,
        reconstruction: Reconstruction | None = None,
    ) -> Expectation:
        """Find those of the sources of a data module.

        Parameters
        ----------
        data : PairDataModule
            Set up for fitting.
        target_weights : Tensor of shape (K,), or (1,) for all targets of all tasks
        reconstruction : Reconstruction, optional
            Of the sources without truth, of which the inputs that are hidden count.
        """
        found = []
        for number, part in enumerate(data.parts.values()):
            valid, weights = part.moments("targets").valid, target_weights.cpu()
            if not part.has_truth:
                assert reconstruction is not None
                valid = part.moments("inputs").valid
                weights = reconstruction.masking(number).hidden_shares
            grids = part.pairs.grid, part.pairs.fine_grid
            weight = expected_weight(torch.from_numpy(valid), *grids, weights)
            found.append(weight / len(part.dataset("train").tiles))
        return cls(found)

    def total(self, samples: float, source: int | None = None) -> Callable[[Tensor], Tensor]:
        """Return what turns a batch's sum of weights into that of so many samples of its source."""
        return partial(torch.full_like, fill_value=self.weights[source or 0] * samples)
