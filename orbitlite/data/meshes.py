"""Meshes: datasets on projected, rotated and curvilinear grids, brought to one form."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from orbitlite.data.axes import agree, axes_of, is_planar
from orbitlite.data.naming import Called, north_first, note
from orbitlite.data.projection import mapping_of
from orbitlite.errors import InputError
from orbitlite.grids.cells import coincide
from orbitlite.grids.crs import Crs
from orbitlite.notice import notice

logger = logging.getLogger(__name__)

_ROWS = ("y", "rlat", "lat", "latitude", "nav_lat", "south_north", "j", "nj", "yc", "northing",
         "rows", "grid_latitude", "projection_y_coordinate")  # fmt: skip
_COLUMNS = ("x", "rlon", "lon", "longitude", "nav_lon", "west_east", "i", "ni", "xc", "easting",
            "columns", "grid_longitude", "projection_x_coordinate")  # fmt: skip

_COUNTED = {"y": {"long_name": "number of the row"}, "x": {"long_name": "number of the column"}}


@dataclass(frozen=True)
class Mesh:
    """Where a dataset says that the cells of its mesh lie.

    Attributes
    ----------
    dims : tuple of str
        Of rows and of columns.
    points : tuple of str, optional
        Coordinates of two dimensions that hold latitude and longitude.
    mapping : str
        Variable of the reference system; empty if it is in an attribute or there is none.
    attrs : mapping
        What it says; empty if there is none.
    """

    dims: tuple[str, str]
    points: tuple[str, str] | None
    mapping: str
    attrs: Mapping[str, Any]


def mesh_of(ds: xr.Dataset) -> Mesh | None:
    """Find the mesh of a dataset.

    It has one if latitude and longitude are coordinates of two dimensions, the same for both, and
    no 1-D ones say the same; or if 1-D coordinates lie in the plane of a reference system that is
    stated.

    Returns
    -------
    Mesh or None
        None if the dataset is to be looked at as one of 1-D latitude and longitude.
    """
    points = _points(ds)
    if points is not None:
        flat = [axes_of(ds, axis, dims=1) for axis in ("lat", "lon")]
        if all(flat) and all(
            agree(ds[name], ds[found[0]], axis)
            for name, found, axis in zip(points, flat, ("lat", "lon"), strict=True)
            if ds[found[0]].dims[0] in ds[name].dims
        ):
            return None
        dims = _ordered(ds, points)
        mapping, attrs = mapping_of(ds, dims)
        return Mesh(dims, points, mapping, attrs)
    plane = [is_planar(ds, axis) for axis in ("lat", "lon")]
    if not all(plane):
        return None
    dims = str(ds[plane[0]].dims[0]), str(ds[plane[1]].dims[0])
    mapping, attrs = mapping_of(ds, dims)
    if not attrs or dims[0] == dims[1]:
        return None
    return Mesh(dims, None, mapping, attrs)


def flattened(ds: xr.Dataset) -> xr.Dataset:
    """Give a grid of latitude and longitude that has them in two dimensions those of one.

    So it is a regular grid like any other, if latitude is the same along every row and longitude
    along every column; and, where the edges of the cells are stored, these too.
    """
    points = _points(ds)
    if points is None or any(axes_of(ds, axis, dims=1) for axis in ("lat", "lon")):
        return ds
    for rows, columns in (ds[points[0]].dims, ds[points[0]].dims[::-1]):
        lat, lon = (
            ds[name].transpose(*order).values.astype(np.float64)
            for name, order in zip(points, ((rows, columns), (columns, rows)), strict=True)
        )
        steps = [np.abs(np.diff(field[:, 0])).min(initial=np.inf) for field in (lat, lon)]
        if all(
            coincide(field, field[:, :1], step).all()
            for field, step in zip((lat, lon), steps, strict=True)
        ):
            flat = {
                name: (dim, field[:, 0], ds[name].attrs)
                for name, dim, field in zip(points, (rows, columns), (lat, lon), strict=True)
            }
            edges = {
                str(ds[name].attrs["bounds"]): _flat_bounds(ds, name, dim, step)
                for name, dim, step in zip(points, (rows, columns), steps, strict=True)
                if ds[name].attrs.get("bounds") in ds.variables
            }
            if any(found is None for found in edges.values()):
                return ds
            return ds.drop_vars([*points, *edges]).assign_coords(flat | edges)
    return ds


def _flat_bounds(ds: xr.Dataset, name: str, dim: Hashable, step: float) -> xr.Variable | None:
    """Return the edges (n, 2) of cells whose vertices are stored; None if rows are not straight."""
    vertices = ds[str(ds[name].attrs["bounds"])].transpose(*ds[name].dims, ...).variable
    if {*ds[name].dims} - {*vertices.dims} or vertices.ndim != 3 or vertices.shape[2] != 4:
        return None
    order = (0, 1, 2) if vertices.dims[0] == dim else (1, 0, 2)
    ends = np.sort(vertices.values.astype(np.float64).transpose(order), axis=2)
    edges = ends[:, 0, [0, 3]]  # two vertices lie on each
    if not coincide(ends, edges[:, None, [0, 0, 1, 1]], step).all():
        return None
    return xr.Variable((dim, "bnds"), edges)


def _points(ds: xr.Dataset) -> tuple[str, str] | None:
    """Return coordinates of latitude and longitude of the same two dimensions."""
    lats, lons = (axes_of(ds, axis, dims=2) for axis in ("lat", "lon"))
    for lat in lats:
        for lon in lons:
            if {*ds[lat].dims} == {*ds[lon].dims}:
                return lat, lon
    return None


def _ordered(ds: xr.Dataset, points: tuple[str, str]) -> tuple[str, str]:
    """Return the dims of rows and columns: by their names, else by the way that latitude goes."""
    one, other = map(str, ds[points[0]].dims)
    if _is(ds, one, "Y", _ROWS) or _is(ds, other, "X", _COLUMNS):
        return one, other
    if _is(ds, one, "X", _COLUMNS) or _is(ds, other, "Y", _ROWS):
        return other, one
    lat = ds[points[0]].values.astype(np.float64)
    steps = [np.nanmedian(np.abs(np.diff(lat, axis=axis))) for axis in (0, 1)]
    return (one, other) if steps[0] >= steps[1] else (other, one)


def _is(ds: xr.Dataset, dim: str, letter: str, names: tuple[str, ...]) -> bool:
    attrs = ds[dim].attrs if dim in ds.variables else {}
    said = dim.lower(), str(attrs.get("standard_name", "")).lower()
    return attrs.get("axis") == letter or any(word in names for word in said)


def on_mesh(ds: xr.Dataset, mesh: Mesh) -> xr.Dataset:
    """Bring the coordinates of a mesh to the canonical form, lazily.

    Parameters
    ----------
    ds : xr.Dataset
        As opened.
    mesh : Mesh

    Returns
    -------
    xr.Dataset
        With the dims `y` and `x`, rows as far as possible from north to south; their coordinates,
        or numbers of cells where the source has none; `lat (y, x)`, `lon (y, x)`, their bounds
        `(y, x, vertices)` where the source has such, and `crs` with the attributes of the reference
        system. How the source has them is noted (see `naming`).

    Raises
    ------
    InputError
        If latitudes or longitudes are missing or no degrees, or the axes do not go one way.
    """
    ds = _with_axes(ds, mesh)
    ds = _with_points(ds, mesh) if mesh.points else _from_plane(ds, mesh)
    return north_first(with_system(ds, mesh.mapping, mesh.attrs) if mesh.attrs else ds)


def with_system(ds: xr.Dataset, mapping: str, attrs: Mapping[str, Any]) -> xr.Dataset:
    """Give a dataset the coordinate `crs` with the attributes of its reference system.

    Parameters
    ----------
    ds : xr.Dataset
    mapping : str
        What the source calls it; empty if it is no variable there.
    attrs : mapping
    """
    ds = ds.drop_vars([name for name in {mapping, "crs"} if name in ds.variables])
    ds = ds.assign_coords(crs=xr.Variable((), np.int32(0), dict(attrs)))
    return note(ds, {"crs": Called(mapping, mapping)}) if mapping else ds


def _with_axes(ds: xr.Dataset, mesh: Mesh) -> xr.Dataset:
    """Give rows and columns their canonical names, and coordinates where they have none."""
    notes, steps = {}, {}
    # what has the canonical names and is something else gives way
    ds = ds.drop_vars([a for a in ("y", "x", "crs") if a in ds.variables and a not in mesh.dims
                       and a != mesh.mapping])  # fmt: skip
    for axis, dim in zip(("y", "x"), mesh.dims, strict=True):
        there = dim in ds.variables and ds[dim].dtype.kind in "iuf"
        values, attrs = np.arange(ds.sizes[dim], dtype=np.float64), _COUNTED[axis]
        if there:
            values, attrs = ds[dim].values.astype(np.float64), ds[dim].attrs
        _check_way(values, dim)
        notes[axis] = Called(dim if there else "", dim)
        steps[axis] = xr.Variable((axis,), values, attrs)
    ds = ds.drop_vars([dim for dim in mesh.dims if dim in ds.variables])
    ds = ds.rename_dims({d: a for a, d in zip(("y", "x"), mesh.dims, strict=True) if d != a})
    return note(ds.assign_coords(steps), notes)


def _check_way(values: Any, dim: str) -> None:
    steps = np.diff(values)
    if values.size < 2 or not ((steps > 0).all() or (steps < 0).all()):
        raise InputError(
            f"The {values.size} values of {dim!r} should ascend or descend and be two at least."
        )


def _with_points(ds: xr.Dataset, mesh: Mesh) -> xr.Dataset:
    assert mesh.points is not None
    fields, notes = {}, {}
    for axis, name in zip(("lat", "lon"), mesh.points, strict=True):
        points = ds[name].transpose("y", "x")
        values = points.values.astype(np.float64)
        limit = 90.0 if axis == "lat" else 720.0
        if not np.isfinite(values).all():
            raise InputError(
                f"{name!r} has {(~np.isfinite(values)).sum()} missing values: the place of every "
                "cell is needed."
            )
        if np.abs(values).max() > limit + 1e-3:
            raise InputError(
                f"The coordinate {name!r} reaches {np.abs(values).max():g}: expected degrees."
            )
        fields[axis] = xr.Variable(("y", "x"), values, points.attrs)
        notes[axis] = Called(name, name)
        bounds = ds[name].attrs.get("bounds", ds[name].encoding.get("bounds"))
        if bounds in ds.variables and {"y", "x"} < {*ds[bounds].dims} and ds[bounds].ndim == 3:
            corners = ds[bounds].transpose("y", "x", ...)
            values = corners.values.astype(np.float64)
            fields[f"{axis}_bnds"] = xr.Variable(("y", "x", "vertices"), values)
            ds = ds.drop_vars(str(bounds))
    ds = ds.drop_vars([name for name in (*mesh.points, "lat", "lon") if name in ds.variables])
    if len(fields) == 3:  # bounds of one of them alone say nothing
        fields = {name: fields[name] for name in ("lat", "lon")}
    return note(ds.assign_coords(fields), notes)


def _from_plane(ds: xr.Dataset, mesh: Mesh) -> xr.Dataset:
    """Compute latitudes and longitudes where the source has none."""
    crs = Crs(mesh.attrs)
    y, x = np.meshgrid(ds["y"].values, ds["x"].values, indexing="ij")
    lat, lon = crs.degrees(y, x, (ds["y"].attrs.get("units"), ds["x"].attrs.get("units")))
    ds = ds.drop_vars([name for name in ("lat", "lon") if name in ds.variables])
    notice(logger, f"Latitudes and longitudes are computed from the grid mapping ({crs.name}).")
    return ds.assign_coords(lat=(("y", "x"), lat), lon=(("y", "x"), lon))
