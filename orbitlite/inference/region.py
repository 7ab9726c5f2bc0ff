"""Region: the coarse grid that a prediction is made on, with its fine statics."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from orbitlite.data.lattice import covered, static_inputs
from orbitlite.data.nesting import Indices, longest_run, nest, surround, take, tell_lack
from orbitlite.data.regrid import Method, regrid
from orbitlite.errors import InputError
from orbitlite.grids.cells import coincide
from orbitlite.grids.context import NO_CONTEXT, Context
from orbitlite.grids.crs import Crs
from orbitlite.grids.grid import Grid
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.grids.mesh import Axes, MeshGrid
from orbitlite.grids.reading import read_grid
from orbitlite.model.bundle import Bundle
from orbitlite.model.record import context_of
from orbitlite.model.statics import Statics
from orbitlite.notice import notice, warn

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Region:
    """What to predict from, and where.

    Attributes
    ----------
    coarse : xarray.Dataset
        Canonical, on `lattice`.
    grid, fine_grid : Grid
        Of the coarse cells that are predicted, and of their fine cells.
    statics : Tensor of shape (1, S, fH, fW) or None
    lattice : Grid
        `grid` with its context.
    context : Context
    """

    coarse: xr.Dataset
    grid: Grid
    fine_grid: Grid
    statics: Tensor | None
    lattice: Grid
    context: Context = NO_CONTEXT


def region_for(
    ds: xr.Dataset, bundle: Bundle, statics: xr.Dataset | None, method: Method | None
) -> Region:
    """Find the grid that a model serves for a dataset.

    It is that of the dataset if the fine statics hold its fine cells. Where they end within the
    dataset, rows and columns that they do not hold whole are left out, as in training. Else, if so
    asked, the dataset is interpolated onto the blocks of the statics that it covers, across the
    first meridian of the statics where it lies there. A model that was trained with context takes
    as much from around these cells; what the dataset does not have there is missing.

    Parameters
    ----------
    ds : xarray.Dataset
        Canonical coarse fields.
    bundle : Bundle
    statics : xarray.Dataset, optional
        Canonical fine statics; None: the bundle's own.
    method : {"linear", "conservative"}, optional

    Returns
    -------
    Region

    Raises
    ------
    InputError
        If the statics do not cover the region, or none are there though the model needs them.
    """
    found = available_statics(bundle, statics)
    grid = read_grid(ds)
    factor, cells = bundle.model.config.factor, context_of(bundle.metadata)
    names = bundle.model.config.statics
    if found is None or not (names or cells or method):
        if method is not None:
            warn(
                logger,
                "regrid is not used: the model has no fine statics and no grid of its own to bring "
                "the data onto; it serves theirs.",
            )
        return Region(ds, grid, grid.refine(factor), None, grid)
    part = _part(found, grid, factor)
    if part is not None:
        ds, grid, lattice, context = _cropped(ds, grid, *part, cells)
    elif method is not None:
        whole = nest(grid_of(found, plane_of(bundle)), factor).grid
        # A regression keeps the order of its training.
        free = whole.wraps and bundle.model.config.ridge is None
        if free and isinstance(whole, LatLonGrid) and isinstance(grid, LatLonGrid):
            whole = _from_meridian(whole, float(grid.lon_edges[0]))
        ds, grid, lattice, context = _interpolated(ds, grid, whole, method, cells)
    else:
        raise InputError(_cannot_serve(grid, factor, found, given=statics is not None))
    parts = cut(found, grid, factor)
    assert parts is not None, "the grid is made of the statics' cells"
    values, fine_grid = parts
    fine = xr.Dataset({n: (grid.dims, field) for n, field in zip(names, values, strict=True)})
    coarsened = static_inputs(ds, fine, bundle.model.config.inputs, grid, factor, context)
    if coarsened:
        notice(logger, f"Coarsened from the fine statics: {', '.join(coarsened)}.")
        ds = ds.assign(coarsened)
    own = torch.from_numpy(np.ascontiguousarray(values))[None] if names else None
    return Region(ds, grid, fine_grid, own, lattice, context)


def check_ridge(bundle: Bundle, grid: Grid) -> None:
    """Refuse another grid than that of the training to a network whose regression belongs to it.

    Raises
    ------
    InputError
        If it is another one.
    """
    trained = bundle.metadata.get("training", {}).get("grid")
    if bundle.model.config.ridge is None or trained is None:
        return
    away = [
        end(points) - value
        for points, values in zip(grid.centres, (trained["lat"], trained["lon"]), strict=True)
        for end, value in zip((np.min, np.max), values, strict=True)
    ]
    turned = (np.array(away) + 180) % 360 - 180
    near = coincide(turned, 0.0, trained["spacing"])
    if grid.shape != tuple(trained["shape"]) or not near.all():
        lat, lon = trained["lat"], trained["lon"]
        height, width = trained["shape"]
        raise InputError(
            "A network with a regression (ridge) serves the grid of its training: expected "
            f"{height} x {width} cells, centres {lat[0]:g} to {lat[1]:g} N and {lon[0]:g} to "
            f"{lon[1]:g} E; found {grid.describe()}. Select these cells, or use a network "
            "trained with model.network.ridge null."
        )


def _part(statics: Statics, grid: Grid, factor: int) -> tuple[Indices, Indices] | None:
    """Return the rows and columns that the statics serve as they are; None if there are none."""
    found = served(statics, grid, factor)
    if found is None or not all(flags.any() for flags in found):
        return None
    rows, columns = found
    return _run(rows, around=False), _run(columns, around=grid.wraps)


def _run(there: NDArray[np.bool_], around: bool) -> Indices:
    """Return the indices of the longest run of True, going on behind the end if `around`."""
    if there.all():
        return np.arange(there.size)
    start, stop = longest_run(np.tile(there, 2) if around else there)
    return np.arange(start, stop) % there.size


def _cropped(
    ds: xr.Dataset, grid: Grid, rows: Indices, columns: Indices, cells: int
) -> tuple[xr.Dataset, Grid, Grid, Context]:
    """Leave out what the fine statics do not hold and is no context, and say so."""
    part = grid
    if (rows.size, columns.size) != grid.shape:
        part = grid.select(rows, columns)
    if cells:
        around = surround(part, grid, rows, columns, cells)
        most = max(around.context)  # the globe may have no room for all
        text = f"; around them {most} coarse cells are context" if most else ""
        notice(logger, f"Predicted are {part.describe()}{text}.")
        return around.cut(ds), part, around.lattice, around.context
    if part is grid:
        return ds, grid, grid, NO_CONTEXT
    warn(
        logger,
        f"The fine statics end within the data: {grid.shape[0] - rows.size} row(s) of latitude and "
        f"{grid.shape[1] - columns.size} column(s) of longitude without all of their fine cells "
        f"were left out; {part.describe()} remain.",
    )
    kept = take(ds, rows, columns, grid.dims).assign_coords(part.coordinates())
    return kept, part, part, NO_CONTEXT


def _interpolated(
    ds: xr.Dataset, grid: Grid, whole: Grid, method: Method, cells: int
) -> tuple[xr.Dataset, Grid, Grid, Context]:
    """Bring a dataset onto those cells of another grid that it covers."""
    there: Any = covered(ds, whole, method)
    rows = _run(there.any(axis=1), around=False)
    columns = _run(there.any(axis=0), around=whole.wraps)
    if columns.size < there.any(axis=0).sum():
        warn(
            logger,
            f"The blocks of the fine statics ({whole.describe()}) leave a gap within the data "
            f"({grid.describe()}): the smaller side of it was left out.",
        )
    target = whole.select(rows, columns)
    if isinstance(target, LatLonGrid) and isinstance(grid, LatLonGrid):
        target = _counted_like(target, grid)
    notice(logger, f"The input is interpolated ({method}) onto {target.describe()}.")
    context = target.room(cells)
    lattice = target.surround(context)
    if cells:
        tell_lack(covered(ds, lattice, method), context, target.shape)
    return regrid(ds, lattice, method), target, lattice, context


def _from_meridian(globe: LatLonGrid, west: float) -> LatLonGrid:
    """Let a globe begin at the edge of its cells that is nearest to a meridian."""
    apart = (globe.lon_edges[:-1] - west + 180.0) % 360.0 - 180.0
    columns = np.roll(np.arange(globe.lon.size), -int(np.abs(apart).argmin()))
    return globe.select(np.arange(globe.lat.size), columns)


def _counted_like(part: LatLonGrid, grid: LatLonGrid) -> LatLonGrid:
    """Count the longitudes of a part in the convention of the whole."""
    middles = (edges[[0, -1]].mean() for edges in (grid.lon_edges, part.lon_edges))
    ours, theirs = middles
    return part.turn(round((ours - theirs) / 360.0))


def _cannot_serve(grid: Grid, factor: int, statics: Statics, given: bool) -> str:
    whose = "The statics given" if given else "The model's own fine statics"
    return (
        f"{whose} do not cover this region: they hold {grid_of(statics).describe()}, the fine grid "
        f"of the data is {grid.refine(factor).describe()}. Select a region within, pass statics of "
        "that fine grid, or set regrid to linear or conservative."
    )


def available_statics(bundle: Bundle, statics: xr.Dataset | None) -> Statics | None:
    """Return the fine statics at hand.

    Parameters
    ----------
    bundle : Bundle
    statics : xarray.Dataset, optional
        Canonical, with the model's fine statics; None: the bundle's own.

    Returns
    -------
    Statics or None
        None if the model has no fine statics and no grid of its own.

    Raises
    ------
    InputError
        If there are none, though the model needs them.
    """
    names = list(bundle.model.config.statics)
    if not names:
        return bundle.statics
    if statics is not None:
        return _from_dataset(statics, names)
    if bundle.statics is None:
        raise InputError(
            f"The model needs {', '.join(names)} on the fine grid and carries none: pass statics."
        )
    return bundle.statics


def cut(statics: Statics, grid: Grid, factor: int) -> tuple[NDArray[np.float32], Grid] | None:
    """Cut statics to the fine cells of a coarse grid that is made of theirs.

    Longitudes may differ by whole turns.

    Parameters
    ----------
    statics : Statics
    grid : Grid
        Coarse.
    factor : int

    Returns
    -------
    ndarray of shape (S, fH, fW), Grid
        The values, and the fine grid, which lies in the plane of the coarse one; None if a cell is
        not there.
    """
    own = grid_of(statics)
    rows, columns = own.find_blocks(grid, factor)
    if not (rows.same.all() and columns.same.all()):
        return None
    values: NDArray[np.float32] = statics.values.float().numpy()[:, rows.index][:, :, columns.index]
    fine = grid.refine(factor)
    if isinstance(own, MeshGrid) and isinstance(fine, MeshGrid):
        part = own.select(rows.index, columns.index)
        planar = fine.axes is not None and fine.axes.crs is not None
        fine = replace(fine, vertices=part.vertices) if planar else replace(part, axes=fine.axes)
    return values, fine


def served(
    statics: Statics, grid: Grid, factor: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """Tell which rows and columns of a coarse grid the statics hold all fine cells of.

    Parameters
    ----------
    statics : Statics
    grid : Grid
        Coarse.
    factor : int

    Returns
    -------
    tuple of ndarray of bool, shapes (H,) and (W,), or None
        None if the grids do not nest: if a cell that lies within the
        statics as a whole is not made of theirs.
    """
    served = list[NDArray[np.bool_]]()
    for found in grid_of(statics).find_blocks(grid, factor):
        same, within = (
            np.all(flags.reshape(-1, factor), axis=1) for flags in (found.same, found.within)
        )
        if (within & ~same).any():
            return None
        served.append(same)
    rows, columns = served
    return rows, columns


def plane_of(bundle: Bundle) -> Axes | None:
    """Return the axes of the projected grid that a model was trained on; None if it was none."""
    plane = (bundle.metadata.get("training", {}).get("grid") or {}).get("plane")
    if plane is None:
        return None
    y_edges, x_edges = (np.asarray(plane[f"{axis}_edges"], np.float64) for axis in ("y", "x"))
    attrs = {axis: plane[axis] for axis in ("y", "x")}
    return Axes(y_edges, x_edges, attrs, Crs(plane["crs"]) if plane["crs"] else None)


def grid_of(statics: Statics, plane: Axes | None = None) -> Grid:
    """Return the grid of statics, in the plane of its axes where it is known."""
    if statics.corners is not None:
        grid = MeshGrid.from_corners(statics.corners.numpy(), plane)
        if plane is None or plane.crs is None:
            return grid
        return replace(MeshGrid.from_axes(plane), vertices=grid.vertices)
    assert statics.lat_edges is not None
    assert statics.lon_edges is not None
    return LatLonGrid.from_edges(statics.lat_edges.numpy(), statics.lon_edges.numpy())


def _from_dataset(statics: xr.Dataset, names: Sequence[str]) -> Statics:
    grid = read_grid(statics)
    values = np.stack([statics[name].transpose(*grid.dims).values for name in names])
    lines = {name: torch.from_numpy(part) for name, part in grid.lines.items()}
    return Statics(torch.from_numpy(np.ascontiguousarray(values)), **lines)
