"""Grid: the cells that a bundle belongs to, as Earth2Studio has coordinates."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orbitlite.data.nesting import nest
from orbitlite.grids.cells import coincide
from orbitlite.grids.grid import Grid
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.inference.region import grid_of, plane_of
from orbitlite.model.bundle import Bundle
from orbitlite.notice import muted

Coords: TypeAlias = OrderedDict[str, NDArray[Any]]
"""Values along each dimension, by name and in order: Earth2Studio's `CoordSystem`."""


def own_grids(bundle: Bundle) -> tuple[Grid, Grid] | None:
    """Return the coarse and the fine grid of a bundle, with longitudes as Earth2Studio counts them.

    They are those of the fine statics, else made of the grid that training has recorded; None if
    neither is there. Longitudes begin within 0 and 360, those of a globe with the first cell there.
    """
    factor = bundle.model.config.factor
    recorded = bundle.metadata.get("training", {}).get("grid")
    if bundle.statics is not None:
        with muted():  # fine rows that make no whole block
            nesting = nest(grid_of(bundle.statics, plane_of(bundle)), factor)
        coarse, fine = nesting.grid, nesting.fine_grid
    elif recorded is not None and "plane" not in recorded and min(recorded["shape"]) > 1:
        coarse = fine = _recorded(recorded)
    else:
        return None
    if not isinstance(coarse, LatLonGrid):
        return coarse, fine
    coarse = _eastward(coarse)
    return coarse, coarse.refine(factor)


def coords_of(grid: Grid) -> Coords:
    """Return `lat` and `lon` of a grid, from north to south: (H,) and (W,), or (H, W) each."""
    lat, lon = (grid.lat, grid.lon) if isinstance(grid, LatLonGrid) else grid.centres
    return OrderedDict(lat=lat.copy(), lon=lon.copy())


def same_points(one: Coords, other: Coords) -> bool:
    """Tell whether two have the points of the same regular cells, in one order and one count."""
    return all(
        one[axis].ndim == 1
        and one[axis].shape == other[axis].shape
        and one[axis].size > 1
        and bool(coincide(one[axis], other[axis], abs(np.diff(one[axis])).min()).all())
        for axis in ("lat", "lon")
    )


def _recorded(record: Mapping[str, Any]) -> LatLonGrid:
    (south, north), (west, east), (height, width) = record["lat"], record["lon"], record["shape"]
    lat, lon = np.linspace(north, south, height), np.linspace(west, east, width)
    return LatLonGrid.from_dataset(xr.Dataset(coords={"lat": lat, "lon": lon}))


def _eastward(grid: LatLonGrid) -> LatLonGrid:
    east = np.round(grid.lon, 9) % 360.0
    if grid.wraps:
        columns = np.roll(np.arange(east.size), -int(east.argmin()))
        grid = grid.select(np.arange(grid.lat.size), columns)
    return grid.turn(-np.floor(np.round(grid.lon[0], 9) / 360.0))
