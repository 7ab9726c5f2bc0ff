"""Regridding: from any grid to any other, periodic in longitude."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orbitlite.errors import InputError
from orbitlite.grids.cells import TOLERANCE, Floats
from orbitlite.grids.classes import holds_classes, largest_share
from orbitlite.grids.coarsening import averaged
from orbitlite.grids.grid import Grid
from orbitlite.grids.interpolation import Weights
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.grids.overlap import Overlap, overlap
from orbitlite.grids.reading import read_grid

Method = Literal["linear", "conservative"]

# Share of valid weight that a cell needs to have a value.
_LEAST_LINEAR = 0.5
_LEAST_CONSERVATIVE = 1e-6  # all that is no rounding error: sums are kept


def regrid(ds: xr.Dataset, target: Grid, method: Method) -> xr.Dataset:
    """Bring a dataset onto `target`, lazily.

    Missing values leave the weights to the valid ones; cells outside the source are NaN.

    Parameters
    ----------
    ds : xr.Dataset
        Canonical, on any grid.
    target : Grid
    method : {"linear", "conservative"}
        `linear` interpolates between the points (of grids of latitude and longitude with
        `xarray.Dataset.interp`, of others in triangles on the sphere) and takes the outermost
        value between the last point and the edge of its cell; a value stands where half of the
        weight is valid. `conservative` takes means weighted with the area of overlap, so that
        sums are kept (first-order conservative remapping: Jones 1999, Monthly Weather Review
        127, 2204-2210). Between grids of latitude and longitude overlaps are exact: sine of
        latitude times longitude. Between grids in one plane, rotated or projected, cells are cut
        along the lines of both, and overlaps are the areas of the pieces on the sphere, scaled
        to the area of the source cell: means over these overlaps keep sums exactly. The area of
        a target cell itself is that between arcs of great circles, which are not quite straight
        in the plane: means times these areas keep sums but for a part that goes with the square of
        the cell's size (2e-5 measured for cells of a degree, 1e-6 for a quarter of one). Channels
        of classes (land cover, soil type) have no means: `linear` takes the class of the cell that
        the point lies in, `conservative` that with the largest area of overlap.

    Returns
    -------
    xr.Dataset

    Raises
    ------
    InputError
        If there is no such method, or `conservative` is asked for between grids that are neither
        both of latitude and longitude nor in one plane.

    Examples
    --------
    >>> ds = xr.Dataset({"a": (("lat", "lon"), [[1.0, 3.0]] * 2)}, {"lat": [1, 0], "lon": [0, 180]})
    >>> target = LatLonGrid.from_edges([1.0, 0.0], [0.0, 180.0])
    >>> regrid(ds, target, "linear")["a"].item(), regrid(ds, target, "conservative")["a"].item()
    (2.0, 2.0)
    """
    if method not in get_args(Method):
        names = " or ".join(get_args(Method))
        raise InputError(f"regrid should be {names}, not {method!r}.")
    source = read_grid(ds)
    located = [name for name in ds.coords if {*source.dims} & {*ds[name].dims}]
    ds = ds.drop_vars([*located, "crs"], errors="ignore")
    if ds.chunks:
        ds = ds.chunk(dict.fromkeys(source.dims, -1))
    if method == "conservative":
        shares = {"total": overlap(source, target)}
        fields = {n: averaged(_means, field, target, shares) for n, field in ds.data_vars.items()}
    elif isinstance(source, LatLonGrid) and isinstance(target, LatLonGrid):
        fields = {name: _linear(field, source, target) for name, field in ds.data_vars.items()}
    else:
        between = _Sphere(source, target, Weights.of(source, target))
        fields = {name: between(field) for name, field in ds.data_vars.items()}
    return xr.Dataset(fields, attrs=ds.attrs).assign_coords(target.coordinates())


@dataclass(frozen=True, eq=False)
class _Sphere:
    """The way from any grid to any other, linear on the sphere; its weights are found once."""

    source: Grid
    target: Grid
    weights: Weights

    def __call__(self, field: xr.DataArray) -> xr.DataArray:
        means = _at_points if holds_classes(field.name) else _interpolated
        out: xr.DataArray = xr.apply_ufunc(
            means, field,
            kwargs={"weights": self.weights},
            input_core_dims=[[*self.source.dims]], output_core_dims=[[*self.target.dims]],
            exclude_dims={*self.source.dims, *self.target.dims} & {*field.dims},
            dask="parallelized",
            dask_gufunc_kwargs={
                "output_sizes": dict(zip(self.target.dims, self.target.shape, strict=True))
            },
            output_dtypes=[field.dtype], keep_attrs=True,
        )  # fmt: skip
        return out


def _interpolated(values: NDArray[Any], weights: Weights) -> NDArray[Any]:
    """Interpolate (..., h, w) to (..., H, W); missing values leave their weight to the others."""
    valid = np.isfinite(values)
    share = weights(valid.astype(np.float64))
    total = weights(np.where(valid, values, 0.0).astype(np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(share >= _LEAST_LINEAR, total / share, np.nan).astype(values.dtype)


def _at_points(values: NDArray[Any], weights: Weights) -> NDArray[Any]:
    return weights.at(values)


def _linear(field: xr.DataArray, source: LatLonGrid, target: LatLonGrid) -> xr.DataArray:
    west, east = source.lon_edges[[0, -1]]
    lon = target.lon - 360.0 * np.round((target.lon - 0.5 * (west + east)) / 360.0)
    inside = (_between(target.lat, source.lat_edges), _between(lon, source.lon_edges))
    if holds_classes(field.name):
        there = xr.DataArray(np.outer(*inside), dims=("lat", "lon"))
        nearest = field.isel(_cells_at(source, target.lat, lon))
        return nearest.where(there).assign_attrs(field.attrs)
    field = field.assign_coords(lat=source.lat, lon=source.lon)
    if source.wraps:
        field = field.pad(lon=1, mode="wrap")
        around = np.concatenate([source.lon[-1:] - 360.0, source.lon, source.lon[:1] + 360.0])
        field = field.assign_coords(lon=around)
    points = {
        axis: values.clip(field[axis].values.min(), field[axis].values.max())
        for axis, values in (("lat", target.lat), ("lon", lon))
    }
    valid = field.notnull()
    weight = valid.astype(np.float32).interp(points)
    weight = weight.where(xr.DataArray(np.outer(*inside), dims=("lat", "lon")))
    mean = field.where(valid, 0.0).interp(points) / weight.where(weight >= _LEAST_LINEAR)
    return mean.astype(field.dtype).drop_vars(["lat", "lon"]).assign_attrs(field.attrs)


def _between(points: Floats, edges: Floats) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = np.abs(points - edges[[0, -1]].mean()) <= np.ptp(edges) / 2 + 1e-9
    return inside


def _cells_at(source: LatLonGrid, lat: Floats, lon: Floats) -> dict[str, NDArray[np.intp]]:
    """Return row and column of the cells that points lie in; on an edge, of that south or east."""
    found = {}
    for axis, points, edges in (("lat", -lat, -source.lat_edges), ("lon", lon, source.lon_edges)):
        steps = np.diff(edges)
        index = np.searchsorted(edges, points + TOLERANCE * steps.min(), side="right") - 1
        around = axis == "lon" and source.wraps
        found[axis] = index % steps.size if around else index.clip(0, steps.size - 1)
    return found


def _means(values: NDArray[Any], total: Overlap, classes: bool) -> NDArray[Any]:
    """Average over overlaps: values (..., h, w) -> (..., H, W)."""
    missing = np.isnan(values)
    weight = total((~missing).astype(np.float64))
    if classes:
        means = largest_share(values, total)
    else:
        with np.errstate(invalid="ignore", divide="ignore"):
            means = total(np.where(missing, 0.0, values).astype(np.float64)) / weight
    return np.where(weight > _LEAST_CONSERVATIVE, means, np.nan).astype(values.dtype)
