"""Job: all that a block of samples needs to be predicted, in any thread or process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orbitlite.batch import Batch
from orbitlite.data.grid import LatLonGrid
from orbitlite.errors import InputError
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.quadtree import check_tokens, feasible

# The network uses all cores by itself: blocks of one process go through it one after the other.
_TURN = threading.Lock()


@dataclass(frozen=True)
class Job:
    """The network, placed and in evaluation mode, and what all samples share. Pickles.

    Attributes
    ----------
    model : Downscaler
    statics : Tensor of shape (1, S, fH, fW) or None
    lat_edges, lon_edges : Tensor of shape (1, H + 1) and (1, W + 1)
        Degrees, north first, float64.
    flip : bool
        Rows of the source run from south to north.
    batch_size : int
    device : str
    tokens : int, float or None
        Leaf budget in place of the model's.
    """

    model: Downscaler
    statics: Tensor | None
    lat_edges: Tensor
    lon_edges: Tensor
    flip: bool
    batch_size: int
    device: str
    tokens: float | None = None

    @classmethod
    def of(
        cls,
        model: Downscaler,
        grid: LatLonGrid,
        statics: Tensor | None,
        batch_size: int,
        device: str | None,
        tokens: float | None = None,
    ) -> Job:
        """Place a network for the samples of a grid; the caller's own network stays as it is.

        Raises
        ------
        InputError
            If there is no such device, `batch_size` is below one, or the leaf budget does not fit.
        """
        if batch_size < 1:
            raise InputError(f"batch_size should be 1 or more, not {batch_size}.")
        device = _device(device)
        _check_budget(model, grid, tokens)
        if model.training or next(model.parameters()).device != torch.device(device):
            model = deepcopy(model).to(device).eval()
        north = grid.north_first()
        lat, lon = (torch.from_numpy(edges.copy()) for edges in (north.lat_edges, north.lon_edges))
        return cls(model, statics, lat[None], lon[None], grid.ascending, batch_size, device, tokens)

    def batches(self, coarse: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Predict (n, C, H, W) batch by batch; yields (n', K, fH, fW), rows as in the source."""
        turned = coarse[..., ::-1, :] if self.flip else coarse
        for begin in range(0, len(coarse), self.batch_size):
            part = np.ascontiguousarray(turned[begin : begin + self.batch_size])
            fine = self._predict(torch.from_numpy(part))
            yield fine[..., ::-1, :] if self.flip else fine

    def block(self, coarse: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict a block with any leading dims: (..., C, H, W) to (..., K, fH, fW)."""
        lead = coarse.shape[:-3]
        fine = np.concatenate(list(self.batches(coarse.reshape(-1, *coarse.shape[-3:]))))
        return fine.reshape(*lead, *fine.shape[1:])

    def batch(self, coarse: Tensor) -> Batch:
        """Return what the network takes for fields (n, C, H, W), rows from north to south."""
        count = len(coarse)
        return Batch(
            coarse=coarse,
            fine_static=None if self.statics is None else self.statics.expand(count, -1, -1, -1),
            lat_edges=self.lat_edges.expand(count, -1),
            lon_edges=self.lon_edges.expand(count, -1),
        ).to(self.device)

    def _predict(self, coarse: Tensor) -> NDArray[np.float32]:
        count = len(coarse)
        try:
            with _TURN, torch.inference_mode():
                fine: Tensor = self.model(self.batch(coarse), self.tokens)
                return fine.float().cpu().numpy()
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"The device {self.device} has no memory for {count} samples at once: choose a "
                "smaller batch size."
            ) from error


def _check_budget(model: Downscaler, grid: LatLonGrid, tokens: float | None) -> None:
    check_tokens(tokens)
    budget = model.config.tokens if tokens is None else tokens
    if budget is not None:
        h, w = (-(-cells // model.config.patch_size) for cells in grid.shape)
        feasible(budget, h, w, model.config.max_leaf)


def _device(name: str | None) -> str:
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"The device {name!r} is not to be had here ({reason}).") from error
    return name
