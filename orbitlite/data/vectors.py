"""Vectors: components of wind on a mesh, which may be along its axes or towards east and north."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orbitlite.errors import InputError
from orbitlite.grids.grid import dims_of
from orbitlite.grids.mesh import MeshGrid
from orbitlite.grids.reading import read_grid
from orbitlite.grids.sphere import vectors
from orbitlite.notice import notice
from orbitlite.variables import cf_attributes

logger = logging.getLogger(__name__)

# Standard names of components along the axes, and what the two are towards east and north.
_ALONG = {
    "x_wind": ("y_wind", "eastward_wind", "northward_wind"),
    "grid_eastward_wind": ("grid_northward_wind", "eastward_wind", "northward_wind"),
}
_ACROSS = {partner for partner, *_ in _ALONG.values()}
_TOWARDS = ("eastward", "northward")


def turned_to_east(ds: xr.Dataset) -> xr.Dataset:
    """Turn components along the axes of a mesh towards east and north, lazily.

    Which they are is told by their standard names. On grids of latitude and longitude both are one.

    Parameters
    ----------
    ds : xr.Dataset
        With standard coordinates (see `standardise`).

    Raises
    ------
    InputError
        If one component is there and the other is not.
    """
    if dims_of(ds) == ("lat", "lon"):
        return ds
    found = [str(name) for name, data in ds.data_vars.items() if _said(data) in _ALONG]
    alone = {str(name) for name, data in ds.data_vars.items() if _said(data) in _ACROSS}
    for first in found:
        second = _partner(ds, first)
        alone.discard(second)
        grid = read_grid(ds)
        assert isinstance(grid, MeshGrid)
        ds = _turned(ds, first, second, grid)
    if alone:
        raise _lacks(ds, min(alone))
    return ds


def is_component(channel: str) -> bool:
    """Return whether a channel is a component towards east or north."""
    standard = str(cf_attributes(channel).get("standard_name", ""))
    return standard.startswith(("eastward", "northward"))


def check_towards(fields: Iterable[xr.DataArray]) -> None:
    """Refuse components of wind on a mesh that do not say which way they point.

    Parameters
    ----------
    fields : iterable of xr.DataArray
        What channels whose sign depends on the direction of the axes are made of.

    Raises
    ------
    InputError
        If one has no standard name that tells.
    """
    for data in fields:
        if dims_of(data) != ("lat", "lon") and not any(word in _said(data) for word in _TOWARDS):
            raise InputError(
                f"{data.name!r} lies on a grid whose axes are not those of latitude and longitude, "
                "and does not say which way it points: give it the standard_name eastward_wind or "
                "northward_wind if it points there, or grid_eastward_wind or grid_northward_wind "
                "if it is along the axes."
            )


def _said(data: xr.DataArray) -> str:
    return str(data.attrs.get("standard_name", "")).strip().lower()


def _partner(ds: xr.Dataset, first: str) -> str:
    """Return the other component: of its standard name and dims, the one that is named alike."""
    wanted = _ALONG[_said(ds[first])][0]
    fits = [
        str(name) for name, data in ds.data_vars.items()
        if _said(data) == wanted and data.dims == ds[first].dims
    ]  # fmt: skip
    alike = [first.translate(letters) for letters in (_UV, _XY)]
    named = [name for name in fits if name in alike]
    if len(named) == 1 or len(fits) == 1:
        return (named or fits)[0]
    raise _lacks(ds, first)


_UV, _XY = str.maketrans("uU", "vV"), str.maketrans("xX", "yY")


def _lacks(ds: xr.Dataset, name: str) -> InputError:
    return InputError(
        f"{name!r} ({_said(ds[name])}) is along the axes of the grid, and its other component is "
        "not there: both are needed to turn them towards east and north."
    )


def _turned(ds: xr.Dataset, first: str, second: str, grid: MeshGrid) -> xr.Dataset:
    """Return u e_x + v e_y of unit vectors along the axes, towards east and north."""
    along, across = ds[first], ds[second]
    _, *names = _ALONG[_said(along)]
    directions = [
        [xr.DataArray(part, dims=grid.dims) for part in axis] for axis in axes_to_east(grid)
    ]
    notice(logger, f"{first} and {second} are turned from the axes of the grid to east and north.")
    changed = {}
    for number, (name, source) in enumerate(((first, along), (second, across))):
        field = along * directions[0][number] + across * directions[1][number]
        field = field.transpose(*source.dims).astype(np.float32)
        changed[name] = field.assign_attrs(source.attrs | {"standard_name": names[number]})
    return ds.assign(changed)


def axes_to_east(grid: MeshGrid) -> tuple[tuple[NDArray[np.float64], ...], ...]:
    """Return how much of a step along x, and along y, is towards east and towards north.

    Parameters
    ----------
    grid : MeshGrid
        The axes go the way that its coordinates `x` and `y` ascend; without such, columns as they
        are numbered and rows upwards.

    Returns
    -------
    tuple of tuple of ndarray of shape (H, W)
        Of x, then of y: cosines of the angles to east and to north.
    """
    v = grid.vertices
    middles = (v[:, :-1] + v[:, 1:]), (v[:-1] + v[1:])
    steps = [middles[1][:, 1:] - middles[1][:, :-1], middles[0][:-1] - middles[0][1:]]
    if grid.axes is not None:
        steps[0] = steps[0] * np.sign(grid.axes.x_edges[-1] - grid.axes.x_edges[0])
        steps[1] = steps[1] * np.sign(grid.axes.y_edges[0] - grid.axes.y_edges[-1])
    phi, lam = np.radians(grid.lat), np.radians(grid.lon)
    east = vectors(np.zeros_like(grid.lat), grid.lon + 90)
    north = np.stack([-np.sin(phi) * np.cos(lam), -np.sin(phi) * np.sin(lam), np.cos(phi)], axis=-1)
    found = []
    for step in steps:
        parts = [(step * towards).sum(-1) for towards in (east, north)]
        length = np.hypot(*parts)
        found.append(tuple(part / length for part in parts))
    return tuple(found)
