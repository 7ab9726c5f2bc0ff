"""Axes: which variables of a dataset are its latitude and its longitude, and whether they are."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from orbitlite.data.projection import check_mappings, not_regular, states_geographic, systems
from orbitlite.grids.cells import coincide
from orbitlite.notice import warn

logger = logging.getLogger(__name__)

STANDARD = {"lat": "latitude", "lon": "longitude"}
MEMBERS = ("realization", "number", "member", "ensemble")
"""What dimensions of ensembles are called."""
_NAMES = {"lat": ("lat", "latitude", "nav_lat", "y"), "lon": ("lon", "longitude", "nav_lon", "x")}
_BARE = ("x", "y")  # names that say nothing of degrees
_DEGREES = {
    axis: tuple(f"degree{plural}{word}" for plural in ("", "s") for word in words)
    for axis, words in (("lat", ("_north", "_n", "n")), ("lon", ("_east", "_e", "e")))
}
_PLANAR = {"lat": ("y", "yc", "rlat", "northing"), "lon": ("x", "xc", "rlon", "easting")}
_LETTER = {"lat": "Y", "lon": "X"}
_OTHER = {
    "lat": ("grid_latitude", "projection_y_coordinate", "projection_y_angular_coordinate"),
    "lon": ("grid_longitude", "projection_x_coordinate", "projection_x_angular_coordinate"),
}


def locate(ds: xr.Dataset) -> tuple[str, str]:
    """Find the 1-D coordinates of true latitude and longitude.

    By standard name or units of degrees north and east; or by name (`lat`, `latitude`, `nav_lat`)
    without units or in degrees. `x` and `y` need units of degrees, or a reference system in the
    dataset that says they are.

    Parameters
    ----------
    ds : xr.Dataset

    Returns
    -------
    tuple of str
        Names of latitude and longitude.

    Raises
    ------
    InputError
        If there are none: the grid is rotated, projected, curvilinear, unstructured or counted in
        pixels.
    """
    bare = [states_geographic(attrs) for _, attrs in systems(ds)]
    geographic = True in bare and False not in bare
    lat, lon = (_locate(ds, axis, geographic) for axis in ("lat", "lon"))
    dims = {*ds[lat].dims, *ds[lon].dims}
    for axis, name in (("lat", lat), ("lon", lon)):
        for field in _axes(ds, axis, geographic):
            if dims == {*ds[field].dims} and not agree(ds[field], ds[name], axis):
                raise not_regular(
                    f"{field!r} {ds[field].dims} holds other values of {STANDARD[axis]} than the "
                    f"1-D coordinate {name!r}: the grid is rotated or projected"
                )
    stated = _states(ds[lat].attrs, "lat") and _states(ds[lon].attrs, "lon")
    check_mappings(ds, (lat, lon), stated)
    _check_plausible(ds, lat, lon)
    return lat, lon


def _locate(ds: xr.Dataset, axis: str, geographic: bool) -> str:
    found = _axes(ds, axis, geographic)
    flat = [name for name in found if ds[name].ndim == 1]
    # a dimension's own coordinate comes before one that only lies along it
    flat.sort(key=lambda name: name not in ds.dims)
    if flat:
        _check_alone(ds, flat[0], axis, geographic)
        return flat[0]
    if found:
        raise not_regular(
            f"The coordinate {found[0]!r} has the dimensions {ds[found[0]].dims}: 2-D coordinates "
            "are not supported"
        )
    others = [_describe(str(n), v) for n, v in ds.variables.items() if _resembles(str(n), v, axis)]
    raise not_regular(
        f"No {STANDARD[axis]} coordinate found among {sorted(map(str, ds.variables))}: expected "
        f"one of {', '.join(_NAMES[axis][:2])} in degrees"
        + (f", or of any name with units {_DEGREES[axis][3]}" if others else "")
        + (f"; found {', '.join(others)}" if others else "")
    )


def _axes(ds: xr.Dataset, axis: str, geographic: bool) -> list[str]:
    return [str(n) for n, v in ds.variables.items() if _is_axis(str(n), v, axis, geographic)]


def axes_of(ds: xr.Dataset, axis: str, dims: int) -> list[str]:
    """Return the coordinates of true latitude, or longitude, that have so many dimensions."""
    return [name for name in _axes(ds, axis, False) if ds[name].ndim == dims]


def is_planar(ds: xr.Dataset, axis: str) -> str | None:
    """Return the 1-D coordinate along rows, or columns, of a plane; None if there is none.

    Parameters
    ----------
    ds : xr.Dataset
    axis : {"lat", "lon"}
        Which of them latitude, or longitude, would take the place of.
    """
    for name in map(str, ds.dims):
        if name not in ds.variables or ds[name].dtype.kind not in "iuf":
            continue
        standard = str(ds[name].attrs.get("standard_name", "")).strip().lower()
        if standard in _OTHER[axis] or (name.lower() in _PLANAR[axis] and not standard):
            return name
    return None


def _is_axis(name: str, variable: xr.Variable, axis: str, geographic: bool) -> bool:
    attrs = variable.attrs
    if variable.ndim == 0 or variable.dtype.kind not in "iuf" or _is_other(attrs):
        return False
    if any(_states(attrs, either) for either in STANDARD):
        return _states(attrs, axis)
    if name.lower() not in _NAMES[axis]:
        return False
    units = str(attrs.get("units", "")).strip().lower()
    bare = not units and (geographic or name.lower() not in _BARE)
    return bare or units.startswith("deg")


def _states(attrs: Mapping[str, Any], axis: str) -> bool:
    """Whether attributes say that a coordinate is true latitude or longitude."""
    standard = str(attrs.get("standard_name", "")).strip().lower()
    units = str(attrs.get("units", "")).strip().lower()
    return standard == STANDARD[axis] or units in _DEGREES[axis]


def _is_other(attrs: Mapping[str, Any]) -> bool:
    """Whether attributes say that a coordinate is that of a rotated or projected grid."""
    standard = str(attrs.get("standard_name", "")).strip().lower()
    long_name = str(attrs.get("long_name", "")).lower()
    named = any(word in long_name for word in ("rotated", "projection"))
    return standard.startswith(("grid_", "projection_")) or named


def _resembles(name: str, variable: xr.Variable, axis: str) -> bool:
    """Whether a variable that is no axis might have been meant as one."""
    standard, letter = variable.attrs.get("standard_name"), variable.attrs.get("axis")
    named = name.lower() in (*_NAMES[axis], f"r{axis}")
    return variable.ndim == 1 and (named or standard in _OTHER[axis] or letter == _LETTER[axis])


def _describe(name: str, variable: xr.Variable) -> str:
    said = [f"{key} {variable.attrs[key]!r}" for key in ("standard_name", "units", "long_name")
            if key in variable.attrs]  # fmt: skip
    return f"{name!r} ({', '.join(said) or 'without units'})"


def _check_alone(ds: xr.Dataset, name: str, axis: str, geographic: bool) -> None:
    """Refuse coordinates of which both lie along one dimension."""
    dim = ds[name].dims[0]
    shared = _axes(ds, "lon" if axis == "lat" else "lat", geographic)
    if any(ds[other].dims == (dim,) and other != dim for other in shared):
        raise not_regular(
            f"Latitude and longitude share the dimension {dim!r} (an unstructured grid or a list "
            "of stations)"
        )


def agree(field: xr.DataArray, points: xr.DataArray, axis: str) -> bool:
    """Whether a field of coordinates says the same as the 1-D ones: at nine cells of it."""
    (dim,) = points.dims
    some = {d: sorted({0, field.sizes[d] // 2, field.sizes[d] - 1}) for d in field.dims}
    values = field.variable.isel(some)
    off = values.astype(np.float64) - points.variable.isel({dim: some[dim]}).astype(np.float64)
    if axis == "lon":
        off = (off + 180.0) % 360.0 - 180.0
    step = np.abs(np.diff(points.values.astype(np.float64))).min(initial=np.inf)
    return bool((coincide(off, 0.0, step) | np.isnan(off)).all())


def _check_plausible(ds: xr.Dataset, lat: str, lon: str) -> None:
    """Refuse or tell what looks like numbers of pixels."""
    if _states(ds[lat].attrs, "lat") and _states(ds[lon].attrs, "lon"):
        return
    values = [ds[name].values.astype(np.float64) for name in (lat, lon)]
    steps = np.abs(np.diff(values[1]))
    if steps.size and np.ptp(values[1]) > 360.0 + 1.5 * np.median(steps):
        raise not_regular(
            f"The coordinate {lon!r} goes from {values[1].min():g} to {values[1].max():g}, further "
            "than once round the globe, and has no units: expected degrees of longitude"
        )
    counted = (np.array_equal(points[:: _way(points)], np.arange(points.size)) for points in values)
    if all(counted) and not any("units" in ds[name].attrs for name in (lat, lon)):
        warn(
            logger,
            f"{lat!r} and {lon!r} have no units and count from zero like numbers of pixels: they "
            "are taken as degrees. Give them the units degrees_north and degrees_east if they are.",
        )


def _way(points: Any) -> int:
    return -1 if points.size > 1 and points[-1] < points[0] else 1
