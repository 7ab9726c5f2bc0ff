"""Job: all that samples of a grid need to be predicted, in any thread or process."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orbitlite.batch import Batch
from orbitlite.data.grid import LatLonGrid
from orbitlite.data.tiles import Tile, TilePlan, take, window_edges
from orbitlite.errors import InputError
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.quadtree import check_tokens, feasible

# The network uses all cores by itself: blocks of one process go through it one after the other.
_TURN = threading.Lock()


@dataclass(frozen=True)
class Job:
    """The network, placed and in evaluation mode, and what all samples share. Pickles.

    Fields go in and come out with rows from north to south.

    Attributes
    ----------
    model : Downscaler
    statics : Tensor of shape (1, S, fH, fW) or None
    lat_edges, lon_edges : ndarray of shape (H + 1,) and (W + 1,)
        Degrees, float64.
    plan : TilePlan
    batch_size : int
    device : str
    tokens : int, float or None
        Leaf budget in place of the model's.
    """

    model: Downscaler
    statics: Tensor | None
    lat_edges: NDArray[np.float64]
    lon_edges: NDArray[np.float64]
    plan: TilePlan
    batch_size: int
    device: str
    tokens: float | None = None

    @classmethod
    def of(
        cls,
        model: Downscaler,
        grid: LatLonGrid,
        statics: Tensor | None,
        plan: TilePlan,
        batch_size: int = 8,
        device: str | None = None,
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
        _check_budget(model, plan, tokens)
        if model.training or next(model.parameters()).device != torch.device(device):
            model = deepcopy(model).to(device).eval()
        north = grid.north_first()
        edges = north.lat_edges.copy(), north.lon_edges.copy()
        return cls(model, statics, *edges, plan, batch_size, device, tokens)

    @property
    def factor(self) -> int:
        """Fine cells per coarse cell along one axis."""
        return self.model.config.factor

    def cores(
        self, coarse: NDArray[np.float32], tiles: Sequence[Tile]
    ) -> Iterator[tuple[slice, Tile, NDArray[np.float32]]]:
        """Predict tiles of fields (n, C, H, W), as many samples at a time as the batch holds.

        Yields
        ------
        samples : slice
        tile : Tile
        fine : ndarray of shape (n', K, f h, f w)
            The tile's core.
        """
        for begin in range(0, len(coarse), self.batch_size):
            samples = slice(begin, min(begin + self.batch_size, len(coarse)))
            for tile in tiles:
                yield samples, tile, self.core(take(coarse[samples], tile), tile)

    def core(self, window: NDArray[np.float32], tile: Tile) -> NDArray[np.float32]:
        """Predict a tile's core from its window: (..., C, h, w) to (..., K, f h', f w')."""
        flat = np.ascontiguousarray(window.reshape(-1, *window.shape[-3:]), np.float32)
        parts = []
        for begin in range(0, len(flat), self.batch_size):
            fine = self._predict(torch.from_numpy(flat[begin : begin + self.batch_size]), tile)
            parts.append(fine[..., fine_slice(tile.inner[0], self.factor), :][
                ..., fine_slice(tile.inner[1], self.factor)
            ])  # fmt: skip
        found = np.concatenate(parts)
        return found.reshape(*window.shape[:-3], *found.shape[1:])

    def batch(self, window: Tensor, tile: Tile) -> Batch:
        """Return what the network takes for windows (n, C, h, w) of a tile."""
        lat, lon = window_edges(self.lat_edges, self.lon_edges, tile)
        statics = None
        if self.statics is not None:
            cut = torch.from_numpy(take(self.statics.numpy(), tile, self.factor))
            statics = cut.expand(len(window), -1, -1, -1)
        return Batch(
            coarse=window,
            fine_static=statics,
            lat_edges=torch.from_numpy(lat).expand(len(window), -1),
            lon_edges=torch.from_numpy(lon).expand(len(window), -1),
        ).to(self.device)

    def _predict(self, window: Tensor, tile: Tile) -> NDArray[np.float32]:
        try:
            with _TURN, torch.inference_mode():
                fine: Tensor = self.model(self.batch(window, tile), self.tokens)
                return fine.float().cpu().numpy()
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"The device {self.device} has no memory for {len(window)} windows of "
                f"{tile.height} x {tile.width} cells at once: choose a smaller batch size or tile."
            ) from error


def fine_slice(cells: slice, factor: int) -> slice:
    """Turn a slice of coarse cells into that of their fine cells."""
    return slice(cells.start * factor, cells.stop * factor)


def _check_budget(model: Downscaler, plan: TilePlan, tokens: float | None) -> None:
    check_tokens(tokens)
    budget = model.config.tokens if tokens is None else tokens
    if budget is None:
        return
    for shape in {(tile.height, tile.width) for tile in plan.tiles}:
        h, w = (-(-cells // model.config.patch_size) for cells in shape)
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
