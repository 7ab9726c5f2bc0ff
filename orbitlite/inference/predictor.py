"""Prediction: canonical coarse dataset in, canonical fine dataset out."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dask
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orbitlite.data.regrid import Method
from orbitlite.data.tiles import Tile
from orbitlite.inference.inputs import stack
from orbitlite.inference.job import Job, fine_slice
from orbitlite.inference.layout import layout
from orbitlite.inference.metadata import describe
from orbitlite.inference.region import place
from orbitlite.model.bundle import Bundle


def predict_dataset(
    ds: xr.Dataset,
    bundle: Bundle,
    *,
    statics: xr.Dataset | None = None,
    interpolate: Method | None = None,
    tile: int | None = None,
    halo: int | None = None,
    tokens: float | None = None,
    batch_size: int = 8,
    device: str | None = None,
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
    batch_size : int
        Samples per pass.
    device : str, optional
        None: a GPU if there is one.
    progress : bool
        Show a bar on a terminal (NumPy input only; a lazy result computes later).

    Returns
    -------
    xarray.Dataset
        Targets `(..., time, lat, lon)` on the fine grid, rows as in `ds`. Lazy if an input that
        changes with time is a dask array.

    Raises
    ------
    InputError
        If no input is there, or statics are lacking for the region.
    """
    config = bundle.model.config
    region = place(ds, bundle, statics, interpolate)
    coarse = stack(region.coarse, config.inputs, len(config.targets) * config.factor**2)
    plan = layout(region.grid, config, tile, halo, tokens)
    job = Job.of(bundle.model, region.grid, region.statics, plan, batch_size, device, tokens)
    fine_grid = region.grid.refine(config.factor)
    # The network sees rows from north to south.
    turn = slice(None, None, -1 if region.grid.ascending else None)
    if coarse.chunks is None:
        shape = (len(config.targets), *fine_grid.shape)
        fine = _computed(coarse.values[..., turn, :], job, shape, progress)[..., turn, :]
    else:
        fine = _lazy(coarse.data[..., turn, :], job, len(config.targets))[..., turn, :]
    lead = coarse.dims[:-3]
    out = xr.Dataset(
        {name: ((*lead, "lat", "lon"), fine[..., k, :, :]) for k, name in enumerate(config.targets)}
    )
    kept = {name: ds[name] for name in ds.coords if set(ds[name].dims) <= set(lead)}
    out = out.assign_coords(kept).assign_coords(fine_grid.coordinates())
    return describe(out, ds, bundle)


def _computed(
    coarse: NDArray[np.float32], job: Job, shape: tuple[int, ...], progress: bool
) -> NDArray[np.float32]:
    flat = coarse.reshape(-1, *coarse.shape[-3:])
    fine = np.empty((len(flat), *shape), np.float32)
    tiles = job.plan.tiles
    with _bar(progress, len(flat) * len(tiles)) as advance:
        for samples, tile, part in job.cores(flat, tiles):
            rows, columns = (fine_slice(cells, job.factor) for cells in tile.core)
            fine[samples, :, rows, columns] = part
            advance(len(part))
    return fine.reshape(*coarse.shape[:-3], *shape)


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
    return job.core(window, tile)


@contextmanager
def _bar(progress: bool, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal; yield what is told the samples that are done."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    show = progress and sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), disable=not show) as bar:
        task = bar.add_task("Predicting", total=total)
        yield lambda count: bar.advance(task, count)
