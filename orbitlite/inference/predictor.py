"""Prediction: canonical coarse dataset in, canonical fine dataset out."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from orbitlite.batch import Batch
from orbitlite.data.grid import LatLonGrid
from orbitlite.data.notice import notice
from orbitlite.data.variables import lookup
from orbitlite.errors import InputError
from orbitlite.inference.metadata import describe
from orbitlite.inference.statics import fine_statics
from orbitlite.model.bundle import Bundle
from orbitlite.model.downscaler import Downscaler

logger = logging.getLogger(__name__)

# Steps per dask block where the source has all of them in one chunk.
_BLOCK_STEPS = 32


@dataclass
class Job:
    """All that one block of samples needs; pickles, so that any dask scheduler can run it.

    Attributes
    ----------
    model : Downscaler
    statics : Tensor of shape (1, S, fH, fW) or None
    lat_edges, lon_edges : Tensor of shape (1, H + 1) and (1, W + 1)
        Degrees, north first.
    flip : bool
        Rows of the source run from south to north.
    batch_size : int
    device : str
    """

    model: Downscaler
    statics: Tensor | None
    lat_edges: Tensor
    lon_edges: Tensor
    flip: bool
    batch_size: int
    device: str

    def batches(self, coarse: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Predict (n, C, H, W) batch by batch; yields (n', K, fH, fW), rows as in the source."""
        model = self.model.to(self.device).eval()
        turned = coarse[..., ::-1, :] if self.flip else coarse
        for begin in range(0, len(coarse), self.batch_size):
            part = torch.from_numpy(np.ascontiguousarray(turned[begin : begin + self.batch_size]))
            count = len(part)
            batch = Batch(
                coarse=part,
                fine_static=None
                if self.statics is None
                else self.statics.expand(count, -1, -1, -1),
                lat_edges=self.lat_edges.expand(count, -1),
                lon_edges=self.lon_edges.expand(count, -1),
            )
            with torch.inference_mode():
                fine = model(batch.to(self.device)).float().cpu().numpy()
            yield fine[..., ::-1, :] if self.flip else fine

    def __call__(self, coarse: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict a block with any leading dims: (..., C, H, W) to (..., K, fH, fW)."""
        lead = coarse.shape[:-3]
        flat = coarse.reshape(-1, *coarse.shape[-3:])
        fine = np.concatenate(list(self.batches(flat)))
        return fine.reshape(*lead, *fine.shape[1:])


def predict_dataset(
    ds: xr.Dataset,
    bundle: Bundle,
    *,
    statics: xr.Dataset | None = None,
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
    batch_size : int
        Samples per pass.
    device : str, optional
        None: a GPU if there is one.
    progress : bool
        Show a bar on a terminal (NumPy input only; a lazy result computes later).

    Returns
    -------
    xarray.Dataset
        Lazy if any input is a dask array.

    Raises
    ------
    InputError
        If no input is there, the grid is too small, or statics are lacking for the region.
    """
    config = bundle.model.config
    if batch_size < 1:
        raise InputError(f"batch_size: expected 1 or more, found {batch_size}")
    grid = LatLonGrid.from_dataset(ds)
    fine_grid = grid.refine(config.factor)
    north, fine_north = grid.north_first(), fine_grid.north_first()
    coarse = _stack(ds, list(config.inputs))
    job = Job(
        model=bundle.model,
        statics=fine_statics(bundle, fine_north, statics),
        lat_edges=torch.from_numpy(north.lat_edges.copy())[None],
        lon_edges=torch.from_numpy(north.lon_edges.copy())[None],
        flip=grid.ascending,
        batch_size=batch_size,
        device=_device(device),
    )
    shape = (len(config.targets), *fine_grid.shape)
    if coarse.chunks is None:
        fine = _compute(coarse, job, shape, progress)
    else:
        fine = _lazy(coarse, job, shape)
    lead = coarse.dims[:-3]
    out = xr.Dataset(
        {name: ((*lead, "lat", "lon"), fine[..., k, :, :]) for k, name in enumerate(config.targets)}
    )
    kept = {name: ds[name] for name in ds.coords if set(ds[name].dims) <= set(lead)}
    out = out.assign_coords(kept).assign_coords(fine_grid.coordinates())
    return describe(out, ds, bundle)


def _stack(ds: xr.Dataset, inputs: list[str]) -> xr.DataArray:
    """Bring the inputs into one array (..., channel, lat, lon); absent ones are NaN."""
    present = [name for name in inputs if name in ds]
    moving = [name for name in present if not lookup(name).static]
    if not moving:
        raise InputError(
            f"None of the model's inputs is in the data. It reads {', '.join(inputs)}; the data "
            f"have {', '.join(map(str, ds.data_vars)) or 'nothing that was recognised'}."
        )
    absent = [name for name in inputs if name not in ds]
    if absent:
        notice(logger, f"Not in the data, masked in the network: {', '.join(absent)}.",
               logging.WARNING)  # fmt: skip
    template = ds[moving[0]]
    for name in moving[1:]:
        template = template if ds[name].ndim <= template.ndim else ds[name]
    lead = [dim for dim in template.dims if dim not in ("lat", "lon")]
    template = template.transpose(*lead, "lat", "lon")
    columns = []
    for name in inputs:
        column = ds[name] if name in ds else xr.full_like(template, np.nan)
        column = column.drop_vars([c for c in column.coords if c not in column.dims])
        columns.append(column.broadcast_like(template).transpose(*template.dims))
    stacked = xr.concat(columns, "channel", join="exact", coords="minimal", compat="override")
    stacked = stacked.transpose(*lead, "channel", "lat", "lon").astype("float32")
    if stacked.chunks is not None:
        notice(logger, "Rechunked: one block holds the whole region and some time steps.")
        stacked = stacked.chunk({"channel": -1, "lat": -1, "lon": -1})
        if "time" in stacked.dims and max(stacked.chunksizes["time"]) > _BLOCK_STEPS:
            stacked = stacked.chunk({"time": _BLOCK_STEPS})
    return stacked


def _compute(
    coarse: xr.DataArray, job: Job, shape: tuple[int, ...], progress: bool
) -> NDArray[np.float32]:
    values = coarse.values
    flat = values.reshape(-1, *values.shape[-3:])
    fine = np.empty((len(flat), *shape), np.float32)
    done = 0
    with _bar(progress, len(flat)) as advance:
        for part in job.batches(flat):
            fine[done : done + len(part)] = part
            done += len(part)
            advance(len(part))
    return fine.reshape(*values.shape[:-3], *shape)


def _lazy(coarse: xr.DataArray, job: Job, shape: tuple[int, ...]) -> Any:
    data = coarse.data
    chunks = (*data.chunks[:-3], *((size,) for size in shape))
    return data.map_blocks(
        job, dtype=np.float32, chunks=chunks, meta=np.empty((0,) * data.ndim, np.float32)
    )


def _device(name: str | None) -> str:
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {name!r} is not to be had here: {reason}") from error
    return name


@contextmanager
def _bar(progress: bool, total: int) -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    show = progress and sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), disable=not show) as bar:
        task = bar.add_task("Predicting", total=total)
        yield lambda count: bar.advance(task, count)
