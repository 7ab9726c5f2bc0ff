"""Job: all that samples of a grid need to be predicted, in any thread or process."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orbitlite.batch import Batch
from orbitlite.data.grid import LatLonGrid
from orbitlite.data.tiles import Tile, TilePlan, scaled, take, window_edges
from orbitlite.errors import InputError
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.ensemble import Ensemble
from orbitlite.model.quadtree import check_tokens, feasible

# The network uses all cores by itself: blocks of one process go through it one after the other.
_TURN = threading.Lock()


@dataclass(frozen=True)
class Job:
    """The network, placed and in evaluation mode, and what all samples share. Pickles.

    Attributes
    ----------
    model : Downscaler or Ensemble
    statics : Tensor of shape (1, S, fH, fW) or None
    lat_edges, lon_edges : ndarray of shape (H + 1,) and (W + 1,)
        Degrees, float64.
    plan : TilePlan
    batch_size : int
    device : str
    tokens : int, float or None
        Leaf budget in place of the model's.
    fill : bool
        Predict cells of which the inputs say nothing too.
    told : list
        Holds something once blocks that are computed apart have told of missing values.
    """

    model: Downscaler | Ensemble
    statics: Tensor | None
    lat_edges: NDArray[np.float64]
    lon_edges: NDArray[np.float64]
    plan: TilePlan
    batch_size: int
    device: str
    tokens: float | None = None
    fill: bool = False
    told: list[bool] = field(default_factory=list, compare=False)

    @classmethod
    def of(
        cls,
        model: Downscaler | Ensemble,
        grid: LatLonGrid,
        statics: Tensor | None,
        plan: TilePlan,
        batch_size: int,
        device: str,
        tokens: float | None = None,
        fill: bool = False,
    ) -> Job:
        """Place a network for the samples of a grid; the caller's own network stays as it is.

        Raises
        ------
        InputError
            If `batch_size` is below one, or the leaf budget does not fit.
        """
        if batch_size < 1:
            raise InputError(f"batch_size should be 1 or more, not {batch_size}.")
        _check_budget(model, plan, tokens)
        if model.training or next(model.parameters()).device != torch.device(device):
            model = deepcopy(model).to(device).eval()
        edges = grid.lat_edges.copy(), grid.lon_edges.copy()
        return cls(model, statics, *edges, plan, batch_size, device, tokens, fill)

    @property
    def factor(self) -> int:
        """Fine cells per coarse cell along one axis."""
        return self.model.config.factor

    def core(self, window: NDArray[np.float32], tile: Tile) -> NDArray[np.float32]:
        """Predict a tile's core from its window: (..., C, h, w) to (..., K, f h', f w')."""
        found = self.cores(window.reshape(1, -1, *window.shape[-3:]), (tile,))[0]
        return found.reshape(*window.shape[:-3], *found.shape[1:])

    def cores(
        self, windows: NDArray[np.float32], tiles: Sequence[Tile]
    ) -> list[NDArray[np.float32]]:
        """Predict the cores of g tiles, at most a batch of windows at once.

        Parameters
        ----------
        windows : ndarray of shape (g, n, C, h, w)
        tiles : sequence of Tile

        Returns
        -------
        list of ndarray of shape (n, K, f h', f w')
        """
        at_once = max(1, self.batch_size // len(tiles))
        parts: list[list[NDArray[np.float32]]] = [[] for _ in tiles]
        for begin in range(0, windows.shape[1], at_once):
            some = windows[:, begin : begin + at_once]
            fine = self._predict(self.batch(some, tiles))
            fine = fine.reshape(*some.shape[:2], *fine.shape[1:])
            for part, tile, fields in zip(parts, tiles, fine, strict=True):
                rows, columns = (scaled(cells, self.factor) for cells in tile.inner)
                part.append(fields[..., rows, columns])
        return [np.concatenate(part) for part in parts]

    def batch(self, windows: NDArray[np.float32], tiles: Sequence[Tile]) -> Batch:
        """Return what the network takes for the windows (g, n, C, h, w) of g tiles."""
        count = windows.shape[1]
        edges = [window_edges(self.lat_edges, self.lon_edges, tile) for tile in tiles]
        lat, lon = (
            torch.from_numpy(np.repeat(np.stack(part), count, axis=0))
            for part in zip(*edges, strict=True)
        )
        statics = None
        if self.statics is not None:
            cut = np.concatenate([take(self.statics.numpy(), tile, self.factor) for tile in tiles])
            statics = torch.from_numpy(np.repeat(cut, count, axis=0))
        coarse = np.ascontiguousarray(windows.reshape(-1, *windows.shape[2:]), np.float32)
        return Batch(
            coarse=torch.from_numpy(coarse), fine_static=statics, lat_edges=lat, lon_edges=lon
        ).to(self.device)

    def _predict(self, batch: Batch) -> NDArray[np.float32]:
        try:
            with _TURN, torch.inference_mode():
                # What is written of several members (B, M, K, f h, f w) is their mean.
                fine: Tensor = self.model(batch, self.tokens, self.fill).mean(1)
                return fine.float().cpu().numpy()
        except torch.OutOfMemoryError as error:
            height, width = batch.coarse.shape[-2:]
            raise InputError(
                f"The device {self.device} has no memory for {len(batch)} windows of "
                f"{height} x {width} cells at once: choose a smaller batch size or tile."
            ) from error


def _check_budget(model: Downscaler | Ensemble, plan: TilePlan, tokens: float | None) -> None:
    check_tokens(tokens)
    budget = model.config.tokens if tokens is None else tokens
    if budget is None:
        return
    for shape in {(tile.height, tile.width) for tile in plan.tiles}:
        h, w = (-(-cells // model.config.patch_size) for cells in shape)
        feasible(budget, h, w, model.config.max_leaf)
