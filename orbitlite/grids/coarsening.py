"""Coarsening: conservative means over blocks of cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orbitlite.grids.cells import Floats
from orbitlite.grids.classes import holds_classes, largest_share
from orbitlite.grids.grid import Grid
from orbitlite.grids.latlon import LatLonGrid

Data = TypeVar("Data", xr.DataArray, xr.Dataset)


def coarsen(data: Data, grid: Grid, factor: int) -> Data:
    """Take area-weighted means over blocks of `factor` x `factor` cells (conservative).

    A block's mean is that of its valid cells; a block without one is NaN. So mean times area of
    the valid cells is the sum that the fine field holds. Channels of classes (land cover, soil
    type) take the class with the largest area in the block, the smallest code of equal ones.

    Parameters
    ----------
    data : xr.DataArray or xr.Dataset
        Dims `(..., *grid.dims)`; dask-backed data stay lazy. The name of an array says
        whether it holds classes.
    grid : Grid
    factor : int

    Returns
    -------
    xr.DataArray or xr.Dataset
        On `grid.coarsen(factor)`.

    Raises
    ------
    InputError
        If the shape is no multiple of `factor`.
    """
    if isinstance(data, xr.DataArray):
        return _coarsen(data, grid, factor)
    parts = {name: _coarsen(field, grid, factor) for name, field in data.data_vars.items()}
    coordinates = grid.coarsen(factor).coordinates()
    return xr.Dataset(parts, attrs=data.attrs).assign_coords(coordinates)


def _coarsen(field: xr.DataArray, grid: Grid, factor: int) -> xr.DataArray:
    target = grid.coarsen(factor)
    located = [name for name in field.coords if {*grid.dims} & {*field[name].dims}]
    field = field.drop_vars([*located, "crs"], errors="ignore")
    if field.chunks:
        field = field.chunk(dict.fromkeys(grid.dims, -1))
    means = averaged(_block_means, field, target, {"total": _Blocks.of(grid, factor)})
    along = target.coordinates()  # of a curvilinear grid there are none along one dimension
    return means.assign_coords({dim: along[dim] for dim in target.dims if dim in along})


def averaged(
    means: Callable[..., NDArray[Any]], field: xr.DataArray, target: Grid, options: dict[str, Any]
) -> xr.DataArray:
    """Take means of a field's cells over those of another grid, lazily if the field is lazy.

    Parameters
    ----------
    means : callable
        Called with the values, shape (..., H, W), the options by name, and `classes`, which tells
        whether they are codes of classes; returns those on the target.
    field : DataArray
    target : Grid
    options : dict
    """
    dims = list(target.dims)
    out: xr.DataArray = xr.apply_ufunc(
        means,
        field,
        kwargs={**options, "classes": holds_classes(field.name)},
        input_core_dims=[dims],
        output_core_dims=[dims],
        exclude_dims={*dims},
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": dict(zip(dims, target.shape, strict=True))},
        output_dtypes=[field.dtype],
        keep_attrs=True,
    )
    return out


@dataclass(frozen=True, eq=False)
class _Blocks:
    """Sums over blocks of cells, weighted with their areas.

    Attributes
    ----------
    shape : tuple of int
        (H, f, W, f).
    rows, columns : ndarray of shape (H, f), (W, f)
        Of a grid of latitude and longitude, whose areas are products.
    areas : ndarray of shape (H, f, W, f)
        Of another grid, in place of both.
    """

    shape: tuple[int, int, int, int]
    rows: Floats | None = None
    columns: Floats | None = None
    areas: Floats | None = None

    @classmethod
    def of(cls, grid: Grid, factor: int) -> _Blocks:
        height, width = (size // factor for size in grid.shape)
        shape = (height, factor, width, factor)
        if isinstance(grid, LatLonGrid):
            rows, columns = grid.row_weights, np.diff(grid.lon_edges)
            return cls(shape, rows.reshape(height, factor), columns.reshape(width, factor))
        return cls(shape, areas=grid.weights.reshape(shape))

    def __call__(self, values: NDArray[Any]) -> Floats:
        """Return sums (..., H, W) of values (..., H f, W f)."""
        blocks = values.reshape(*values.shape[:-2], *self.shape)
        summed: Floats
        if self.areas is not None:
            summed = np.einsum("...hiwj,hiwj->...hw", blocks, self.areas)
            return summed
        assert self.rows is not None
        assert self.columns is not None
        along = np.einsum("...hiwj,wj->...hiw", blocks, self.columns)
        summed = np.einsum("...hiw,hi->...hw", along, self.rows)
        return summed


def _block_means(values: NDArray[Any], total: _Blocks, classes: bool) -> NDArray[Any]:
    """Average blocks: values (..., H f, W f) -> (..., H, W)."""
    if classes:
        return largest_share(values, total)
    missing = np.isnan(values)
    if not missing.any():
        means = total(values) / total(np.ones(values.shape[-2:]))
    else:
        area = total((~missing).astype(np.float64))
        with np.errstate(invalid="ignore"):
            means = total(np.where(missing, 0.0, values)) / area
    return np.asarray(means, values.dtype)
