"""Arrays: a prediction in memory, or as a dask array that is computed when it is asked for."""

from __future__ import annotations

import uuid
from typing import Any

import dask
import numpy as np
import torch
import xarray as xr

from orbitlite.data.tiles import Tile, scaled
from orbitlite.inference.engine import Array, Missing, PlacedNetwork, Times, Work
from orbitlite.inference.inputs import say_if_joined
from orbitlite.inference.prediction import Prediction
from orbitlite.inference.worker import Worker


def to_arrays(prediction: Prediction, progress: bool = True) -> xr.Dataset:
    """Make the output of a prediction.

    Parameters
    ----------
    prediction : Prediction
    progress : bool
        Show a bar on a terminal.

    Returns
    -------
    xarray.Dataset
        In memory; lazy if an input that changes with time is a dask array.
    """
    fine = (
        _computed(prediction, progress) if prediction.coarse.chunks is None else _lazy(prediction)
    )
    return prediction.dataset(fine)


def _computed(prediction: Prediction, progress: bool) -> Array:
    """Predict fields in memory."""
    fine = np.empty(prediction.shape, np.float32)
    with Work.on(prediction, prediction.work_items, "Predicting", progress) as work:
        for piece, _, cores in work:
            for tile, core in zip(piece.tiles, cores, strict=True):
                rows, columns = (scaled(cells, prediction.network.factor) for cells in tile.core)
                # Statistics of all members make a piece.
                some = slice(None) if prediction.network.statistics else piece.draws
                fine[piece.member][piece.steps, some, :, rows, columns] = core
    return fine


def _lazy(prediction: Prediction) -> Any:
    """Predict a dask array tile by tile when it is computed."""
    import dask.array as da

    plan = prediction.plan
    if plan.tile is None:
        say_if_joined(prediction.coarse)
    # One node of the graph, so that a cluster sends the network to each worker once.
    node = dask.delayed(prediction.network, name=f"orbitlite-{uuid.uuid4().hex}", traverse=False)
    rows, columns = plan.bands
    tiles = iter(plan.tiles)
    coarse, config = prediction.coarse.data, prediction.bundle.model.config
    sizes = prediction.network.outputs, len(config.targets), config.factor
    times = prediction.seconds
    cores = [[_lazy_core(coarse, next(tiles), node, sizes, times) for _ in columns] for _ in rows]
    return da.concatenate([da.concatenate(band, axis=-1) for band in cores], axis=-2)


def _lazy_core(
    coarse: Any, tile: Tile, node: Any, sizes: tuple[int, int, int], times: Times
) -> Any:
    """Cut a window out of fields (..., C, H, W), to be predicted: (..., M, K, f h', f w')."""
    import dask.array as da

    rows = slice(tile.row, tile.row + tile.height)
    last = tile.column + tile.width
    window = coarse[..., rows, tile.column : last]
    if last > coarse.shape[-1]:
        window = da.concatenate([window, coarse[..., rows, : last - coarse.shape[-1]]], axis=-1)
    window = window.rechunk({-1: -1, -2: -1, -3: -1})
    members, targets, factor = sizes
    cells = ((part.stop - part.start) * factor for part in tile.core)
    steps = da.from_array(times[:, None, None, None], chunks=(window.chunks[-4], 1, 1, 1))
    return da.map_blocks(
        _block,
        window,
        steps,
        network=node,
        tile=tile,
        dtype=np.float32,
        chunks=(*window.chunks[:-3], (members,), (targets,), *((size,) for size in cells)),
        new_axis=window.ndim - 3,
        meta=np.empty((0,) * (window.ndim + 1), np.float32),
    )


def _block(window: Array, times: Times, network: PlacedNetwork, tile: Tile) -> Array:
    worker = Worker.here()
    network = network.at(worker.device(network.device, torch.cuda.device_count()))
    with worker.sharing():
        core = network.core(window, tile, times[:, 0, 0, 0])
    if np.isnan(core).any() and "missing" not in network.told:
        network.told.add("missing")
        missing = Missing()
        missing.update(core)
        missing.tell("the first block that misses any")
    if network.ranges and "excess" not in network.told:
        excess = network.excess()
        excess.update(window, tile)
        if excess.found:
            network.told.add("excess")
            excess.tell("The input of the first block of which this holds")
    return core
