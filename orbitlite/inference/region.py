"""Region: the coarse grid that a prediction is made on, with its fine statics."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from orbitlite.data.grid import LatLonGrid, coarsen
from orbitlite.data.regrid import Method, regrid
from orbitlite.errors import InputError
from orbitlite.inference.statics import available_statics, cut, grid_of
from orbitlite.model.bundle import Bundle, Statics
from orbitlite.notice import notice
from orbitlite.variables import lookup

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Region:
    """What to predict from, and where.

    Attributes
    ----------
    coarse : xarray.Dataset
        Canonical, on `grid`.
    grid : LatLonGrid
        Rows as in the source.
    statics : Tensor of shape (1, S, fH, fW) or None
        Rows from north to south.
    """

    coarse: xr.Dataset
    grid: LatLonGrid
    statics: Tensor | None


def place(
    ds: xr.Dataset, bundle: Bundle, statics: xr.Dataset | None, interpolate: Method | None
) -> Region:
    """Find the grid that a model serves for a dataset.

    It is that of the dataset if the fine statics hold its fine cells. Else, if so asked, the
    dataset is interpolated onto the cells of the statics that it covers.

    Parameters
    ----------
    ds : xarray.Dataset
        Canonical coarse fields.
    bundle : Bundle
    statics : xarray.Dataset, optional
        Canonical fine statics; None: the bundle's own.
    interpolate : {"linear", "conservative"}, optional

    Returns
    -------
    Region

    Raises
    ------
    InputError
        If the statics do not cover the region, or none are there though the model needs them.
    """
    found = available_statics(bundle, statics)
    grid = LatLonGrid.from_dataset(ds)
    factor = bundle.model.config.factor
    if found is None:
        return Region(ds, grid, None)
    values = cut(found, grid.refine(factor).north_first())
    if values is None:
        if interpolate is None:
            raise InputError(_cannot_serve(grid, factor, found, given=statics is not None))
        ds, grid = _interpolated(ds, grid, grid_of(found), factor, interpolate)
        values = cut(found, grid.refine(factor).north_first())
        assert values is not None, "the grid is made of the statics' cells"
    ds = _with_static_inputs(ds, grid, bundle, values)
    return Region(ds, grid, torch.from_numpy(np.ascontiguousarray(values))[None])


def check_modes(bundle: Bundle, grid: LatLonGrid) -> None:
    """Refuse another grid than that of the training to a network whose modes belong to it.

    Raises
    ------
    InputError
        If it is another one.
    """
    modes, trained = bundle.model.config.modes, bundle.metadata.get("training", {}).get("grid")
    if not modes or trained is None:
        return
    away = [
        end(axis) - value
        for axis, values in ((grid.lat, trained["lat"]), (grid.lon, trained["lon"]))
        for end, value in zip((np.min, np.max), values, strict=True)
    ]
    turned = np.abs((np.array(away) + 180) % 360 - 180)
    near = bool((turned < 0.01 * trained["spacing"]).all())
    if grid.shape != tuple(trained["shape"]) or not near:
        lat, lon = trained["lat"], trained["lon"]
        height, width = trained["shape"]
        raise InputError(
            f"A network with modes ({modes}) serves the grid of its training: expected {height} x "
            f"{width} cells, centres {lat[0]:g} to {lat[1]:g} N and {lon[0]:g} to {lon[1]:g} E; "
            f"found {grid.describe()}. Select these cells, or use a network trained with "
            "model.network.modes 0."
        )


def _interpolated(
    ds: xr.Dataset, grid: LatLonGrid, fine: LatLonGrid, factor: int, method: Method
) -> tuple[xr.Dataset, LatLonGrid]:
    """Bring a dataset onto the coarse cells of a fine grid, cut to those that it covers."""
    whole = fine.coarsen(factor)
    ones = xr.Dataset({"there": (("lat", "lon"), np.ones(grid.shape))}, ds.coords)
    there = np.isfinite(regrid(ones, whole, method)["there"].values)
    if not there.any():
        raise InputError(
            f"The data ({grid.describe()}) and the fine statics of the model ({fine.describe()}) "
            "have no cell in common."
        )
    rows, columns = (_span(there.any(axis=axis)) for axis in (1, 0))
    target = LatLonGrid.from_edges(
        whole.lat_edges[rows.start : rows.stop + 1],
        whole.lon_edges[columns.start : columns.stop + 1],
    )
    notice(logger, f"The input is interpolated ({method}) onto {target.describe()}.")
    return regrid(ds, target, method), target


def _span(there: NDArray[np.bool_]) -> slice:
    index = np.flatnonzero(there)
    return slice(int(index[0]), int(index[-1]) + 1)


def _with_static_inputs(
    ds: xr.Dataset, grid: LatLonGrid, bundle: Bundle, values: NDArray[np.float32]
) -> xr.Dataset:
    """Add static inputs that only the fine statics hold, as training does."""
    config = bundle.model.config
    names = [name for name in config.fine_statics if name in config.inputs and name not in ds]
    names = [name for name in names if lookup(name).static]
    if not names:
        return ds
    notice(logger, f"Coarsened from the fine statics: {', '.join(names)}.")
    rows = values[:, ::-1] if grid.ascending else values
    fields = {name: (("lat", "lon"), rows[list(config.fine_statics).index(name)]) for name in names}
    coarse = coarsen(xr.Dataset(fields), grid.refine(config.factor), config.factor)
    return ds.assign({name: (("lat", "lon"), coarse[name].values) for name in names})


def _cannot_serve(grid: LatLonGrid, factor: int, statics: Statics, given: bool) -> str:
    whose = "The statics given" if given else "The model's own fine statics"
    return (
        f"{whose} do not cover this region: they hold {grid_of(statics).describe()}, the fine grid "
        f"of the data is {grid.refine(factor).describe()}. Select a region within, pass statics of "
        "that fine grid, or set interpolate to linear or conservative."
    )
