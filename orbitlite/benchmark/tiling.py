"""Prediction in tiles: cost per cell and memory over the size of the grid, seams over the halo."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from orbitlite.api import downscale, load, predict
from orbitlite.benchmark import measure
from orbitlite.benchmark.session import Session
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.model.bundle import Bundle
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.decoder import FineDecoder
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.ensemble import Ensemble, networks_of
from orbitlite.variables import lookup

TILE, HALO = 32, 8
_LARGEST_WHOLE = 2**17  # cells beyond which attention over the whole grid takes many minutes
_INPUTS = (
    "total_precipitation_24hr", "2m_temperature", "10m_u_component_of_wind",
    "10m_v_component_of_wind", "mean_sea_level_pressure", "temperature_850",
    "specific_humidity_850", "geopotential_500",
)  # fmt: skip
# Mean and standard deviation of the inputs; of rain: of log1p.
_MEANS = (0.7, 279.0, 0.0, 0.0, 1.01e5, 274.0, 5e-3, 5.4e4)
_SPREADS = (0.9, 21.0, 5.0, 5.0, 1.3e3, 15.0, 4e-3, 3.3e3)


@dataclass(frozen=True)
class Run:
    """One prediction of one field on a global grid, from file to file.

    Attributes
    ----------
    height, width : int
        Coarse grid.
    tile, halo : int or None
        None: the whole grid at once.
    device : str
    threads : int
    """

    height: int
    width: int
    tile: int | None
    halo: int
    device: str
    threads: int


def small_network() -> Bundle:
    """Return an untrained network: 8 inputs, D 128, depth 4, patch 2, factor 4."""
    torch.manual_seed(0)
    config = DownscalerConfig(
        inputs=_INPUTS,
        log1p=_INPUTS[:1],
        statics=(),
        factor=4,
        embed_dim=128,
        depth=4,
        num_heads=4,
    )
    model = Downscaler(config)
    assert isinstance(model.decoder, FineDecoder)
    torch.nn.init.normal_(model.decoder.out.weight, std=0.3)
    model.set_statistics(input_mean=_MEANS, input_std=_SPREADS)
    return Bundle(model.eval(), {"training": {}})


def noise(model: Downscaler | Ensemble, height: int, width: int, seed: int = 0) -> xr.Dataset:
    """Return white noise with the statistics of a network's inputs, within their limits.

    Parameters
    ----------
    model : Downscaler or Ensemble
        Of an ensemble: the statistics of its first member.
    height, width : int
        Shape of the global grid.
    seed : int

    Returns
    -------
    Dataset
        One step, chunks of 128 x 128.
    """
    random = np.random.default_rng(seed)
    names = model.config.inputs
    member = networks_of(model)[0]
    mean, std = (member.get_buffer(f"input_{part}").cpu() for part in ("mean", "std"))
    skewed = set(member.config.log1p or ())
    fields = {}
    for name, centre, spread in zip(names, mean.tolist(), std.tolist(), strict=True):
        values = centre + spread * random.standard_normal((1, height, width), np.float32)
        variable = lookup(name)
        values = np.expm1(values) if name in skewed else values
        low, high = variable.limits
        values = np.clip(values, max(low, 0.0) if variable.nonnegative else low, high)
        fields[name] = (("time", "lat", "lon"), values, {"units": variable.units})
    edges = np.linspace(90, -90, height + 1), np.linspace(0, 360, width + 1)
    coords = LatLonGrid.from_edges(*edges).coordinates()
    time = {"time": [np.datetime64("2001-01-01", "ns")]}
    return xr.Dataset(fields, time).assign_coords(coords).chunk(lat=128, lon=128)


def cost_rows(grids: Sequence[tuple[int, int]], session: Session) -> Iterator[dict[str, Any]]:
    """Predict from store to store on larger and larger grids, in tiles and whole.

    Every run is in a fresh process that has predicted a small grid before; the peak is the growth
    of its resident set.

    Returns
    -------
    iterator of dict
        `seconds`, `seconds_per_cell` (of the output), `peak_mib`, `waiting_share`.
    """
    device, threads = str(session.device), session.threads
    runs = [
        Run(height, width, tile, HALO, device, threads)
        for height, width in grids
        for tile in (TILE, None)
        if tile or height * width <= _LARGEST_WHOLE
    ]
    return session.over(
        runs,
        lambda run: f"{run.height}x{run.width} {'tiled' if run.tile else 'whole'}",
        lambda run: session.repeats,
        partial(_cost, session=session),
    )


def _cost(run: Run, session: Session) -> Iterator[dict[str, Any]]:
    found = []
    for _ in range(session.repeats):
        found.append(_fresh(run))
        session.advance()
    best = sorted(found, key=lambda one: one["seconds"])[len(found) // 2]
    yield {
        "part": "cost",
        "height": run.height,
        "width": run.width,
        "tiled": run.tile is not None,
        "tile": run.tile,
        "halo": HALO if run.tile else None,
        "seconds": best["seconds"],
        "seconds_per_cell": best["seconds"] / (16 * run.height * run.width),
        "peak_mib": best["peak_mib"],
        "waiting_share": best["waiting_share"],
    }


def seam_rows(
    bundle: Bundle, halos: Sequence[int], session: Session, shape: tuple[int, int] = (128, 256)
) -> Iterator[dict[str, Any]]:
    """Compare tiles with the whole grid for several halos.

    Returns
    -------
    iterator of dict
        `seam_error`: mean absolute difference from the whole, over the standard deviation.
        `jump_ratio`: mean jump across seams over the mean jump across other edges of patches.
    """
    config = bundle.model.config
    name, p, f = config.targets[0], config.patch_size, config.factor
    height, width = (cells // p * p for cells in shape)
    ds = noise(bundle.model, height, width).compute()
    tile = -(-TILE // p) * p
    predicted = partial(predict, ds, bundle, progress=False)

    @cache
    def whole() -> NDArray[np.float32]:
        found: NDArray[np.float32] = predicted(tile=max(shape))[name].values
        session.advance()
        return found

    def compared(halo: int) -> Iterator[dict[str, Any]]:
        tiled = predicted(tile=tile, halo=halo)[name].values
        jumps = np.abs(np.diff(tiled, axis=-1)).mean((0, 1))
        edges = np.arange(f * p, f * width, f * p) - 1
        seams = np.arange(f * tile, f * width, f * tile) - 1
        others = np.setdiff1d(edges, seams)
        yield {
            "part": "seams",
            "height": height,
            "width": width,
            "tiled": True,
            "tile": tile,
            "halo": halo,
            "seam_error": float(np.abs(tiled - whole()).mean() / whole().std()),
            "jump_ratio": float(jumps[seams].mean() / jumps[others].mean()),
        }

    first = halos[0]
    return session.over(
        halos, lambda halo: f"halo {halo}", lambda halo: 1 + (halo == first), compared
    )


def headline_row(
    source: str, model: str | None, session: Session, shape: tuple[int, int]
) -> dict[str, Any]:
    """Predict one field of a grid that no memory holds at once, from store to store.

    Parameters
    ----------
    source : str
        Fields that are interpolated onto the grid (linear); their first step is taken.
    model : str, optional
        Bundle without fine statics; None: the small network.
    session : Session
    shape : tuple of int
        Coarse grid.
    """
    from orbitlite.data.regrid import regrid
    from orbitlite.data.source import open_source

    session.label(f"{shape[0]}x{shape[1]}: the input")
    bundle = load(model) if model else small_network()
    config = bundle.model.config
    edges = np.linspace(90, -90, shape[0] + 1), np.linspace(0, 360, shape[1] + 1)
    with tempfile.TemporaryDirectory() as folder:
        names = list(config.inputs)
        ds = open_source(source, names, optional=names).isel(time=[0], missing_dims="ignore")
        ds = ds.compute()
        fine = regrid(ds, LatLonGrid.from_edges(*edges), "linear").astype(np.float32)
        fine.drop_encoding().chunk(lat=512, lon=512).to_zarr(f"{folder}/in.zarr")
        session.advance()
        session.label(f"{shape[0]}x{shape[1]}: the prediction")
        arguments = (f"{folder}/in.zarr", f"{folder}/out.zarr", model, str(session.device),
                     session.threads)  # fmt: skip
        with _process() as pool:
            found = pool.submit(_streamed, *arguments).result()
    cells = config.factor**2 * shape[0] * shape[1]
    return {
        "part": "headline",
        "height": shape[0],
        "width": shape[1],
        "tiled": True,
        "cells": cells,
        **found,
        "seconds_per_cell": found["seconds"] / cells,
        "tokens_per_second": shape[0] * shape[1] / config.patch_size**2 / found["seconds"],
    }


@contextmanager
def _process() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


def _fresh(run: Run) -> dict[str, float]:
    with measure.returned_memory(), _process() as pool:
        return pool.submit(_grid, run).result()


def _grid(run: Run) -> dict[str, float]:
    bundle = small_network()
    with tempfile.TemporaryDirectory() as name, measure.threads(run.threads):
        folder = Path(name)
        noise(bundle.model, 64, 128).to_zarr(folder / "small.zarr")
        predicted = partial(
            downscale, model=bundle, halo=run.halo, device=run.device, progress=False
        )
        predicted(folder / "small.zarr", folder / "warm.zarr", tile=TILE)
        noise(bundle.model, run.height, run.width).to_zarr(folder / "in.zarr")
        # one tile that holds the grid is the whole grid at once
        tile = run.tile or max(run.height, run.width)

        flow, peak = measure.growth(
            partial(predicted, folder / "in.zarr", folder / "out.zarr", tile=tile)
        )
    waited = flow.waited_reading + flow.waited_writing
    return {
        "seconds": flow.seconds,
        "peak_mib": peak,
        "waiting_share": waited / flow.seconds,
    }


def _streamed(
    source: str, output: str, model: str | None, device: str, threads: int
) -> dict[str, float]:
    torch.set_num_threads(threads)
    bundle = load(model) if model else small_network()
    flow = downscale(source, output, bundle, device=device, progress=True)
    waited = flow.waited_reading + flow.waited_writing
    return {
        "seconds": flow.seconds,
        "resident_mib": measure.peak_resident(),
        "waiting_share": waited / flow.seconds,
    }
