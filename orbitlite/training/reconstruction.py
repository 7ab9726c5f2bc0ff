"""Reconstruction in a fit: the loss and the scores of sources without truth."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from orbitlite.batch import Batch
from orbitlite.data.datamodule import PairDataModule
from orbitlite.data.pair_source import PairSource
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.frame import Frame
from orbitlite.model.geometry import Geometry
from orbitlite.model.reconstruction import ReconstructionHead
from orbitlite.notice import notice
from orbitlite.training.initialisation import DECODING
from orbitlite.training.masking import Masking, ReconstructionConfig
from orbitlite.variables import is_static

logger = logging.getLogger(__name__)

FIXED = -1
"""What stands for the step in validation: the masks of a sample are always the same."""


@dataclass(frozen=True)
class Compared:
    """Hidden inputs and what is said of them: standardised, of the h x w cells of the core.

    Attributes
    ----------
    prediction : Tensor of shape (B, M, C, h, w)
    target : Tensor of shape (B, C, h, w)
    weights : Tensor of shape (B, C, h, w)
        Areas of the cells that are hidden and have a value; others are zero.
    nearest : Tensor of shape (B, C, h, w), optional
        The nearest value that is not hidden; see `nearest_visible`.
    """

    prediction: Tensor
    target: Tensor
    weights: Tensor
    nearest: Tensor | None = None


class Reconstruction:
    """Learning from coarse fields alone: hidden inputs are predicted from the others.

    The loss is sum w (x' - x)^2 / n W over the standardised inputs x that are hidden and not
    missing, with the areas w of their cells, of n samples, W being the sum of w that a sample of
    the source has in the mean (see `orbitlite.training.losses`). Over all sources the mean of the
    training data makes one.

    Parameters
    ----------
    config : ReconstructionConfig
    network : Downscaler
        Gets the head that it needs.
    """

    def __init__(self, config: ReconstructionConfig, network: Downscaler) -> None:
        self.config = config
        with next(network.parameters()).device:  # of an outline they are drawn with the others
            network.reconstruction = ReconstructionHead(network.config)
        self._maskings: list[Masking | None] = []

    def begin(self, network: Downscaler, data: PairDataModule) -> None:
        """Look at the sources of a fit, of a validation or of a test, that are open."""
        self._maskings = [
            None if part.has_truth else self._masking(network, part, name, data.seed)
            for name, part in data.parts.items()
        ]

    def _masking(self, network: Downscaler, part: PairSource, name: str, seed: int) -> Masking:
        own, config = part.inputs, network.config
        moving = [i for i, channel in enumerate(config.inputs)
                  if channel in own and not is_static(channel)]  # fmt: skip
        found = Masking.of(
            self.config,
            len(config.inputs),
            moving,
            config.patch_size,
            part.first_tile().shape,
            seed,
        )
        if lost := [kind for kind in self.config.kinds if kind not in found.kinds]:
            notice(
                logger,
                f"{name or 'The source'}: masks of {', '.join(lost)} would hide all there is, and "
                "are left out.",
            )
        return found

    def masking(self, source: int | None) -> Masking:
        """Return the masks of a source without truth."""
        found = self._maskings[source or 0]
        assert found is not None
        return found

    def loss(
        self, network: Downscaler, batch: Batch, total: Callable[[Tensor], Tensor], step: int
    ) -> Tensor:
        """Return the mean squared error of a batch of training.

        Parameters
        ----------
        network : Downscaler
        batch : Batch
            Without truth.
        total : callable
            Returns what the sum is divided by, of the batch's own sum of weights.
        step : int
            Of the fit.
        """
        found = self.compare(network, batch, step)
        squares = (found.prediction - found.target[:, None]).square() * found.weights[:, None]
        return (
            squares.sum() / found.prediction.shape[1] / total(found.weights.sum()).clamp_min(1e-12)
        )

    def compare(
        self, network: Downscaler, batch: Batch, step: int = FIXED, nearest: bool = False
    ) -> Compared:
        """Predict what is hidden, on the core of a batch; if asked, by its neighbours as well."""
        hidden = self.masking(batch.source).draw(batch, step)
        prediction, target = network.reconstruct(batch, hidden)
        core, valid = Frame.of(batch), torch.isfinite(batch.coarse)
        counted = core.cut(hidden & valid)
        if batch.counted is not None:
            counted = counted & batch.counted[:, None]
        cut = core.cut(prediction.flatten(0, 1))
        areas = coarse_areas(batch, network.config.factor)[:, None]
        return Compared(
            cut.view(*prediction.shape[:3], *cut.shape[-2:]),
            core.cut(target),
            counted * areas,
            core.cut(nearest_visible(target, valid & ~hidden)) if nearest else None,
        )


def nearest_visible(values: Tensor, visible: Tensor) -> Tensor:
    """Return for each cell the nearest value that is visible, in rows and columns; else zero.

    What a network has to be better than: a field is like itself next door.

    Parameters
    ----------
    values : Tensor of shape (B, C, H, W)
    visible : Tensor of shape (B, C, H, W), bool
    """
    fields, known = values.cpu().numpy(), visible.cpu().numpy()
    found = np.zeros_like(fields)
    for sample, (own, there) in enumerate(zip(fields, known, strict=True)):
        maps, which = np.unique(there.reshape(len(there), -1), axis=0, return_inverse=True)
        for number, one in enumerate(maps):
            if one.any():
                rows, columns = _nearest(one.reshape(there.shape[1:]))
                channels = np.flatnonzero(which.ravel() == number)
                found[sample, channels] = own[channels][:, rows, columns]
    return torch.from_numpy(found).to(values.device)


def _nearest(visible: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return row and column of the nearest visible cell, (2, H, W)."""
    found: NDArray[np.intp] = distance_transform_edt(
        ~visible, return_distances=False, return_indices=True
    )
    return found


def coarse_areas(batch: Batch, factor: int) -> Tensor:
    """Return the areas of the coarse cells of the core, (B, h, 1) or (B, h, w), as of the fine."""
    fine = Geometry.of_core(batch).areas(factor)  # (B, f h, 1) where those of a row are alike
    rows, columns = fine.shape[1] // factor, fine.shape[2]
    if columns == 1:
        return factor * fine.view(-1, rows, factor, 1).sum(2)
    return fine.view(-1, rows, factor, columns // factor, factor).sum((2, 4))


def freeze_decoder(network: Downscaler) -> None:
    """Leave what has no part in a reconstruction as it is, where all sources lack truth."""
    for name, weight in network.named_parameters():
        if name.startswith(DECODING):
            weight.requires_grad_(False)
