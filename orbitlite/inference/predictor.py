"""Prediction: canonical coarse dataset in, canonical fine dataset out."""

from __future__ import annotations

import uuid
from typing import Any

import dask
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orbitlite.data.regrid import Method
from orbitlite.data.tiles import Tile, scaled
from orbitlite.inference.inputs import say_if_joined
from orbitlite.inference.job import Job
from orbitlite.inference.missing import Missing
from orbitlite.inference.pieces import Block
from orbitlite.inference.prediction import Prediction
from orbitlite.model.bundle import Bundle
from orbitlite.progress import bar


def predict_dataset(
    ds: xr.Dataset,
    bundle: Bundle,
    *,
    statics: xr.Dataset | None = None,
    interpolate: Method | None = None,
    tile: int | None = None,
    halo: int | None = None,
    tokens: float | None = None,
    batch_size: int | None = None,
    device: str | None = None,
    fill: bool = False,
    progress: bool = True,
) -> xr.Dataset:
    """Downscale a canonical dataset.

    Parameters
    ----------
    ds : xarray.Dataset
        Canonical (see `open_source`): some or all of the model's inputs, `(..., time, lat, lon)`.
    bundle : Bundle
    statics : xarray.Dataset, optional
        Canonical fine statics; None: the bundle's own.
    interpolate : {"linear", "conservative"}, optional
        Where the cells of the data are not those of the statics, interpolate the data onto them.
    tile, halo : int, optional
        Coarse cells of a tile's core along one axis, and of context on each side; None: see
        `orbitlite.inference.layout.layout`.
    tokens : int or float, optional
        Leaf budget of the spatial compression, a count or a share of the patches in (0, 1]. None:
        that of the model.
    batch_size : int, optional
        Windows per pass: steps, or tiles side by side. None: what memory allows, 8 at most on a
        CPU.
    device : str, optional
        None: a GPU if there is one.
    fill : bool
        Predict cells of which the inputs say nothing too; they are NaN otherwise.
    progress : bool
        Show a bar on a terminal (NumPy input only; a lazy result computes later).

    Returns
    -------
    xarray.Dataset
        Targets `(..., time, lat, lon)` on the fine grid, rows as in the source of `ds`. Lazy if an
        input that changes with time is a dask array.

    Raises
    ------
    InputError
        If no input is there, or statics are lacking for the region.
    """
    prediction = Prediction.of(
        ds,
        bundle,
        statics=statics,
        interpolate=interpolate,
        tile=tile,
        halo=halo,
        tokens=tokens,
        batch_size=batch_size,
        device=device,
        fill=fill,
    )
    if prediction.coarse.chunks is None:
        fine = _computed(prediction, progress)
    else:
        if prediction.plan.tile is None:
            say_if_joined(prediction.coarse)
        fine = _lazy(prediction.coarse.data, prediction.job, len(bundle.model.config.targets))
    return prediction.dataset(fine)


def _computed(prediction: Prediction, progress: bool) -> NDArray[np.float32]:
    """Predict fields in memory."""
    coarse = prediction.coarse.values
    fine = np.empty(prediction.shape, np.float32)
    job, height, missing = prediction.job, prediction.grid.shape[0], Missing()
    with bar("Predicting", len(prediction.pieces), progress) as advance:
        for piece in prediction.pieces:
            block = Block(piece.member, piece.steps, slice(0, height), (piece,))
            windows = block.windows(coarse[piece.member][piece.steps], piece)
            for tile, part in zip(piece.tiles, job.cores(windows, piece.tiles), strict=True):
                rows, columns = (scaled(cells, job.factor) for cells in tile.core)
                fine[piece.member][piece.steps, :, rows, columns] = part
                missing.update(part)
            advance(1)
    missing.tell()
    return fine


def _lazy(coarse: Any, job: Job, targets: int) -> Any:
    """Predict a dask array tile by tile when it is computed."""
    import dask.array as da

    # One node of the graph, so that a cluster sends the network to each worker once.
    node = dask.delayed(job, name=f"orbitlite-{uuid.uuid4().hex}", traverse=False)
    rows, columns = job.plan.bands
    tiles = iter(job.plan.tiles)
    cores = [[_lazy_core(coarse, next(tiles), node, targets, job.factor) for _ in columns]
             for _ in rows]  # fmt: skip
    return da.concatenate([da.concatenate(band, axis=-1) for band in cores], axis=-2)


def _lazy_core(coarse: Any, tile: Tile, node: Any, targets: int, factor: int) -> Any:
    import dask.array as da

    rows = slice(tile.row, tile.row + tile.height)
    last = tile.column + tile.width
    window = coarse[..., rows, tile.column : last]
    if last > coarse.shape[-1]:
        window = da.concatenate([window, coarse[..., rows, : last - coarse.shape[-1]]], axis=-1)
    window = window.rechunk({-1: -1, -2: -1})
    sizes = ((cells.stop - cells.start) * factor for cells in tile.core)
    return window.map_blocks(
        _block,
        job=node,
        tile=tile,
        dtype=np.float32,
        chunks=(*window.chunks[:-3], (targets,), *((size,) for size in sizes)),
        meta=np.empty((0,) * window.ndim, np.float32),
    )


def _block(window: NDArray[np.float32], job: Job, tile: Tile) -> NDArray[np.float32]:
    core = job.core(window, tile)
    if np.isnan(core).any() and not job.told:
        job.told.append(True)
        missing = Missing()
        missing.update(core)
        missing.tell("the first block that misses any")
    return core
