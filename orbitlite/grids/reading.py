"""Reading of grids: from the coordinates of a canonical dataset."""

from __future__ import annotations

import logging

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orbitlite.errors import InputError
from orbitlite.grids.cells import TOLERANCE, Floats
from orbitlite.grids.crs import Crs
from orbitlite.grids.grid import Grid, dims_of
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.grids.mesh import Axes, MeshGrid
from orbitlite.grids.sphere import angles, around, vectors
from orbitlite.notice import warn

logger = logging.getLogger(__name__)

_APART = 0.25
"""Part of a cell by which a reference system and stored latitudes and longitudes may differ: models
of the earth differ by up to 0.2 degrees of latitude."""


def read_grid(ds: xr.Dataset | xr.DataArray) -> Grid:
    """Read the grid of a canonical dataset.

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        With 1-D `lat` and `lon`; or with `lat (y, x)` and `lon (y, x)`, and where there is one
        the reference system of `y` and `x` in the attributes of `crs`.

    Returns
    -------
    LatLonGrid or MeshGrid
        Corners are those of the bounds, else midway between rows and columns in the plane of the
        reference system, else midway between the points on the sphere.

    Raises
    ------
    InputError
        If a coordinate has a single value and no bounds, or does not go one way; cells have no
        area or lie over each other; or the reference system says other places than the coordinates.
    """
    if dims_of(ds) == LatLonGrid.dims:
        return LatLonGrid.from_dataset(ds)
    lat, lon = (ds[name].values.astype(np.float64) for name in ("lat", "lon"))
    if min(lat.shape) < 2:
        raise InputError(
            f"A grid of {lat.shape[0]} x {lat.shape[1]} cells: expected 2 x 2 or more."
        )
    axes = _axes(ds)
    stored = _joined(ds, around(vectors(lat, lon)))
    if axes.crs is None:
        if stored is None:
            return MeshGrid.from_points(lat, lon, axes)
        return MeshGrid(lat, lon, stored, axes)
    grid = MeshGrid.from_axes(axes)
    apart = angles(vectors(lat, lon), vectors(grid.lat, grid.lon)).max()
    if apart > _APART * min(grid.spacing):
        raise InputError(
            f"The grid mapping ({axes.crs.name}) puts cells up to {apart:.3g} degrees away from "
            f"where lat and lon put them, of cells of {min(grid.spacing):.3g}: one of them is "
            "wrong. Drop the grid mapping, or the 2-D coordinates."
        )
    return grid if stored is None else MeshGrid(lat, lon, stored, axes)


def _axes(ds: xr.Dataset | xr.DataArray) -> Axes:
    crs = Crs(ds["crs"].attrs) if "crs" in ds.coords else None
    edges = [_between(ds[axis].values.astype(np.float64)) for axis in ("y", "x")]
    attrs = {axis: dict(ds[axis].attrs) for axis in ("y", "x")}
    return Axes(edges[0], edges[1], attrs, crs)


def _between(points: Floats) -> Floats:
    steps = np.diff(points)
    ends = points[0] - steps[0] / 2, points[-1] + steps[-1] / 2
    return np.array([ends[0], *(points[:-1] + steps / 2), ends[1]])


def _joined(ds: xr.Dataset | xr.DataArray, near: Floats) -> Floats | None:
    """Join the bounds of cells (H, W, 4) to corners (H + 1, W + 1, 3).

    Each corner is the vertex nearest to where it is expected, and has to be that of all cells that
    meet there; None if there are no bounds, or they leave gaps.
    """
    if not {"lat_bnds", "lon_bnds"} <= {*ds.coords}:
        return None
    bounds = (ds[name].values.astype(np.float64) for name in ("lat_bnds", "lon_bnds"))
    vertices = vectors(*bounds)
    height, width = vertices.shape[:2]
    total = np.zeros_like(near)
    low, high = np.full_like(near, np.inf), np.full_like(near, -np.inf)
    for down, right in ((0, 0), (0, 1), (1, 1), (1, 0)):
        place = np.s_[down : down + height, right : right + width]
        nearest = _nearest(vertices, near[place])
        total[place] += nearest
        low[place], high[place] = np.minimum(low[place], nearest), np.maximum(high[place], nearest)
    size = np.median(np.linalg.norm(np.diff(near, axis=1), axis=-1))
    if not (high - low <= TOLERANCE * size).all():
        warn(logger, "lat_bnds and lon_bnds do not join to one net of cells and were not used.")
        return None
    joined: Floats = total / np.linalg.norm(total, axis=-1, keepdims=True)
    return joined


def _nearest(vertices: Floats, points: Floats) -> Floats:
    """Return of each cell's vertices (H, W, V, 3) the one nearest to a point (H, W, 3)."""
    index: NDArray[np.intp] = np.linalg.norm(vertices - points[:, :, None], axis=-1).argmin(axis=2)
    found: Floats = np.take_along_axis(vertices, index[:, :, None, None], axis=2)[:, :, 0]
    return found
