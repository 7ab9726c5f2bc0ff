"""Coordinates: latitude, longitude, time and pressure of any dialect, brought to one form.

After `standardise` a dataset has the dims `lat` and `lon` (regular, `lat` from north to south,
`lon` ascending without a gap), or `y` and `x` on a projected or curvilinear grid (see `meshes.py`),
and, where it has time, `time`. Level dims keep their name: see `levels.py`.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orbitlite.data.axes import STANDARD, locate
from orbitlite.data.meshes import flattened, mesh_of, on_mesh, with_system
from orbitlite.data.naming import Called, north_first, note, note_time
from orbitlite.data.projection import mapping_of
from orbitlite.data.times import valid_times
from orbitlite.errors import InputError
from orbitlite.notice import notice, warn

logger = logging.getLogger(__name__)

_BOUNDS = ("_bnds", "_bounds")


def standardise(ds: xr.Dataset, *, regular: bool = True) -> xr.Dataset:
    """Bring the coordinates of a dataset to the canonical form, lazily.

    Parameters
    ----------
    ds : xr.Dataset
        As opened.
    regular : bool
        Require even spacing. False lets 1-D coordinates of other spacing through (a Gaussian
        grid, to be interpolated).

    Returns
    -------
    xr.Dataset
        With `lat (lat)`, `lon (lon)` and, if there is time, `time (time)` sorted; `lat_bnds` and
        `lon_bnds` where the file has bounds, and `crs` where it has a grid mapping. How the source
        has them is noted (see `naming`).

    Raises
    ------
    InputError
        If there are no 1-D coordinates of true latitude and longitude, they are not evenly
        spaced, or times are missing, undecoded or repeated.
    """
    ds = flattened(ds)
    mesh = mesh_of(ds)
    if mesh is not None:
        ds = on_mesh(ds, mesh)
        return note_time(valid_times(ds), ds)
    lat, lon = locate(ds)
    mapping, attrs = mapping_of(ds, [str(ds[name].dims[0]) for name in (lat, lon)], geographic=True)
    ds = _horizontal(_horizontal(ds, "lat", lat), "lon", lon)
    if mapping:  # what is said elsewhere than in a variable of its own stays there
        ds = with_system(ds, mapping, attrs)
    ds = north_first(_ascending_longitude(ds))
    if regular:
        for axis in ("lat", "lon"):
            check_spacing(ds[axis].values.astype(np.float64), axis)
    else:
        check_monotonic(ds["lat"].values, "lat")
        check_monotonic(ds["lon"].values, "lon")
    return note_time(valid_times(ds), ds)


def _horizontal(ds: xr.Dataset, axis: str, name: str) -> xr.Dataset:
    coordinate = ds[name]
    (dim,) = coordinate.dims
    if not np.isfinite(coordinate.values.astype(np.float64)).all():
        raise InputError(f"The coordinate {name!r} has missing values.")
    limit = 90.0 if axis == "lat" else 720.0
    if np.abs(coordinate.values).max() > limit + 1e-3:
        raise InputError(
            f"The coordinate {name!r} reaches {np.abs(coordinate.values).max():g}: expected degrees"
            f" of {STANDARD[axis]}."
        )
    bounds = _bounds_name(ds, coordinate, axis)
    # variables of the canonical names that are something else give way
    ds = ds.drop_vars([axis] if axis in ds.variables and axis != name else [])
    if dim != name:
        ds = ds.drop_vars([str(dim)] if dim in ds.variables else []).set_coords(str(name))
        # an index along another dimension would be taken for one of positions
        ds = ds.drop_indexes(name, errors="ignore").swap_dims({dim: name})
    ds = ds.rename({name: axis} if name != axis else {})
    ds = note(ds, {axis: Called(str(name), str(dim))})
    if bounds:
        ds = ds.rename({bounds: f"{axis}_bnds"} if bounds != f"{axis}_bnds" else {})
        ds = ds.assign_coords({f"{axis}_bnds": ds[f"{axis}_bnds"].compute()})
    return ds


def _bounds_name(ds: xr.Dataset, coordinate: xr.DataArray, axis: str) -> str | None:
    stated = coordinate.attrs.get("bounds")
    guesses = [f"{stem}{end}" for stem in (coordinate.name, axis) for end in _BOUNDS]
    for name in [stated, *guesses]:
        if name in ds.variables and ds[name].ndim == 2 and ds[name].dims[0] == coordinate.dims[0]:
            if ds[name].dtype.kind in "iuf" and ds[name].size:
                return str(name)
            warn(logger, f"The bounds {name!r} hold no numbers and are not used.")
    return None


def _ascending_longitude(ds: xr.Dataset) -> xr.Dataset:
    """Order longitudes from west to east, across the seam where the region crosses it."""
    ds = _drop_repeated_meridian(ds)
    lon = ds["lon"].values.astype(np.float64)
    if lon.size < 2 or ((np.diff(lon) > 0).all() and not _has_gap(lon)):
        return ds
    order = np.argsort(lon)
    gaps = np.diff(np.append(lon[order], lon[order][0] + 360.0))
    # the whole circle starts at the lowest longitude, a region behind the gap that it leaves
    circle = gaps.max() < 1.5 * np.median(gaps)
    order = np.roll(order, 0 if circle else -int(gaps.argmax() + 1))
    turned = lon[order] + 360.0 * np.cumsum(np.append(0, np.diff(lon[order]) < 0))
    ds = ds.isel(lon=order)
    ds = ds.assign_coords(lon=("lon", turned.astype(ds["lon"].dtype), ds["lon"].attrs))
    if "lon_bnds" in ds.coords:
        middle = ds["lon_bnds"].mean(str(ds["lon_bnds"].dims[1]))
        turns = 360.0 * ((ds["lon"] - middle) / 360.0).round()
        ds = ds.assign_coords(lon_bnds=ds["lon_bnds"] + turns)
    notice(logger, f"Longitudes were ordered from {turned[0]:g} to {turned[-1]:g} degrees.")
    return ds


def _has_gap(lon: NDArray[Any]) -> bool:
    steps = np.diff(lon)
    across = lon[0] + 360.0 - lon[-1]
    return bool(steps.max() > 1.5 * np.median(steps) and across < 1.5 * np.median(steps))


def _drop_repeated_meridian(ds: xr.Dataset) -> xr.Dataset:
    lon = ds["lon"].values.astype(np.float64)
    step = np.median(np.abs(np.diff(lon))) if lon.size > 2 else 0.0
    if step and abs(abs(lon[-1] - lon[0]) - 360.0) < 0.01 * step:
        notice(logger, f"The meridian {lon[-1]:g} repeats {lon[0]:g} and was dropped.")
        return ds.isel(lon=slice(None, -1))
    return ds


def check_monotonic(values: NDArray[Any], axis: str) -> None:
    """Raise InputError unless `values` strictly ascend or descend."""
    steps = np.diff(values)
    if values.size < 2 or not ((steps > 0).all() or (steps < 0).all()):
        raise InputError(
            f"The {values.size} values of {axis} should ascend or descend and be two at least."
        )


def check_spacing(values: NDArray[Any], axis: str) -> None:
    """Raise InputError unless `values` (degrees) are evenly spaced.

    Values may lie 0.001 of the spacing off the best straight line, or as far as rounding to
    three decimals takes them. Gaussian latitudes lie up to 0.015 of the spacing off and fail.
    """
    check_monotonic(values, axis)
    line = np.polynomial.Polynomial.fit(np.arange(values.size), values, 1)
    spacing = abs(line(1.0) - line(0.0))
    off = np.abs(values - line(np.arange(values.size)))
    if off.max() > max(1e-3 * spacing, min(7e-4, 0.02 * spacing)):
        steps = np.abs(np.diff(values))
        raise InputError(
            f"The spacing of {axis} is irregular ({steps.min():g} to {steps.max():g} degrees): "
            "regular coordinates are needed. Regrid first, or set regrid to linear or "
            "conservative."
        )
