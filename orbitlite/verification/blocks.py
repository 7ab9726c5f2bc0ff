"""Blocks: the coarse cells that fine cells nest in, and a coarse input brought onto them."""

from __future__ import annotations

import logging
import math

import numpy as np
import xarray as xr

from orbitlite.data.nesting import Nesting, nest, take
from orbitlite.data.regrid import Method, regrid
from orbitlite.errors import InputError
from orbitlite.grids.grid import Grid
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.grids.reading import read_grid
from orbitlite.notice import notice, warn

logger = logging.getLogger(__name__)


def blocks_for(
    coarse: Grid, fine: Grid, training: tuple[xr.Dataset, xr.Dataset] | None
) -> Nesting | None:
    """Choose blocks of fine cells that are as large as the cells of a coarse grid.

    Their factor is that of the training period where its grids nest, else the whole number
    nearest to the ratio of the spacings. Fine cells at the edges that make no whole block are
    dropped, with a warning.

    Parameters
    ----------
    coarse, fine : Grid
    training : tuple of xr.Dataset, optional
        Coarse and fine fields of the training period.

    Returns
    -------
    Nesting or None
        None if the fine cells nest in the coarse ones as they are.
    """
    if _factor(coarse, fine) is not None:
        return None
    factor = None
    if training is not None:
        ours, theirs = (read_grid(ds) for ds in training)
        factor = _factor(ours, theirs)
    return nest(fine, factor or _nearest(coarse, fine))


def _nearest(coarse: Grid, fine: Grid) -> int:
    """Return the whole number nearest to the ratio of the spacings."""
    latitude = float(fine.centres[0].mean())
    ratio = np.sqrt(_cell_area(coarse, latitude) / _cell_area(fine, latitude))
    return max(1, round(float(ratio)))


def inside(coarse: xr.Dataset, fine: Grid) -> xr.Dataset:
    """Cut out the coarse cells that fine ones nest in, where the coarse data surround them.

    Parameters
    ----------
    coarse : xr.Dataset
        Canonical. It is given back as it is where the fine cells do not nest in its cells.
    fine : Grid
    """
    grid = read_grid(coarse)
    factor = _nearest(grid, fine)
    if any(size % factor for size in fine.shape):
        return coarse
    blocks = fine.coarsen(factor)
    found = grid.find_blocks(blocks, 1)
    if blocks.shape == grid.shape or not all(axis.same.all() for axis in found):
        return coarse
    rows, columns = (axis.index for axis in found)
    part = grid.select(rows, columns)
    notice(logger, f"Of the coarse input {part.describe()} are taken: what is scored lies there.")
    return take(coarse, rows, columns, grid.dims).assign_coords(part.coordinates())


def onto(ds: xr.Dataset, target: Grid, method: Method, role: str) -> xr.Dataset:
    """Interpolate a coarse dataset onto blocks, and say so.

    Parameters
    ----------
    ds : xr.Dataset
        Canonical.
    target : Grid
    method : {"linear", "conservative"}
    role : str
        What the data are, for messages.

    Raises
    ------
    InputError
        If the data cover none of the blocks.
    """
    grid = read_grid(ds)
    ones = xr.Dataset({"there": (grid.dims, np.ones(grid.shape))}, ds.coords)
    there = np.isfinite(regrid(ones, target, method)["there"].values)
    if not there.any():
        raise InputError(
            f"The {role} ({grid.describe()}) and the prediction ({target.describe()}) have no cell "
            "in common."
        )
    notice(logger, f"The {role} is interpolated ({method}) onto {target.describe()}.")
    if not there.all():
        warn(
            logger,
            f"The {role} covers {there.sum()} of the {there.size} coarse cells of the prediction: "
            "the others are missing, and their fine cells are not scored.",
        )
    return regrid(ds, target, method)


def _factor(coarse: Grid, fine: Grid) -> int | None:
    try:
        return coarse.factor_to(fine)
    except InputError:
        return None


def _cell_area(grid: Grid, latitude: float) -> float:
    """Return the area of a usual cell at a latitude, in square degrees of great circles."""
    if not isinstance(grid, LatLonGrid):
        return float(np.prod(grid.spacing))
    height, width = (
        np.median(np.abs(np.diff(edges))) for edges in (grid.lat_edges, grid.lon_edges)
    )
    return float(height * width) * math.cos(math.radians(latitude))
