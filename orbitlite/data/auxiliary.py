"""Auxiliary coordinates: what a source says of its times and members beside their names."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from typing import Any

import xarray as xr

from orbitlite.grids.grid import GRID_COORDINATES, dims_of
from orbitlite.notice import warn

logger = logging.getLogger(__name__)

# Heights and levels are those of a variable, not of what is made of it.
_VERTICAL = (
    "height", "altitude", "depth", "surface", "level", "lev", "plev", "pressure", "pressure_level",
    "air_pressure", "meansea", "heightaboveground", "isobaricinhpa", "isobaricinpa",
)  # fmt: skip
_MOST_VALUES = 2**24
_CANONICAL = ("time", *GRID_COORDINATES)


def auxiliary(ds: xr.Dataset) -> dict[Hashable, xr.Variable]:
    """Return the coordinates of a standardised dataset that are not its axes, not read yet.

    Those along latitude or longitude, heights, levels and grid mappings are not among them.

    Parameters
    ----------
    ds : xr.Dataset
        Standardised.

    Returns
    -------
    dict of hashable to xr.Variable
        Scalars, and coordinates along times and members.
    """
    found = {}
    bounds = {ds[name].attrs.get("bounds", ds[name].encoding.get("bounds")) for name in ds.coords}
    for name in ds.coords:
        data = ds[name].variable
        if (
            name in bounds
            or name in _CANONICAL
            or name in ds.dims
            or set(dims_of(ds)) & set(data.dims)
        ):
            continue
        if not (_vertical(str(name), data) or "grid_mapping_name" in data.attrs):
            found[name] = data
    return found


def attach(ds: xr.Dataset, found: Sequence[dict[Hashable, xr.Variable]]) -> xr.Dataset:
    """Give the channels of one source its auxiliary coordinates, as far as they have their dims.

    Of several sources that were joined, none is kept: what they say may differ.

    Parameters
    ----------
    ds : xr.Dataset
        Canonical.
    found : sequence of dict
        Of each source.
    """
    if len(found) > 1:
        several = {str(name) for part in found for name, data in part.items() if data.ndim}
        if several:
            names = ", ".join(sorted(several))
            warn(logger, f"Coordinates of several sources are left out: {names}.")
        return ds
    kept = {}
    for name, data in found[0].items():
        if name in ds.variables or not set(data.dims) <= set(ds.dims):
            continue
        if data.size > _MOST_VALUES:
            warn(logger, f"The coordinate {name!r} holds {data.size:,} values and is left out.")
            continue
        data = data.compute()
        if storable(data):
            kept[name] = data
        else:
            warn(logger, f"The coordinate {name!r} holds {_kind(data)} and is left out.")
    return ds.assign_coords(kept)


def _vertical(name: str, data: xr.Variable) -> bool:
    attrs = data.attrs
    grib = str(attrs.get("long_name", "")).startswith("original GRIB coordinate")
    named = name.lower() in _VERTICAL or attrs.get("standard_name") in _VERTICAL
    return named or grib or attrs.get("axis") == "Z" or "positive" in attrs


def storable(data: xr.Variable) -> bool:
    """Tell whether files can hold the values: numbers, dates of one calendar, or texts."""
    kind = data.dtype.kind
    if kind not in "OUT":
        return kind in "biuSmM" or (kind == "f" and data.dtype.itemsize in (4, 8))
    values = _values(data)
    if all(isinstance(value, str) for value in values):
        return not any("\ud800" <= letter <= "\udfff" for value in values for letter in value)
    return len({getattr(value, "calendar", value is None) for value in values}) == 1 and hasattr(
        values[0], "calendar"
    )


def _kind(data: xr.Variable) -> str:
    return ", ".join(sorted({type(value).__name__ for value in _values(data)}))


def _values(data: xr.Variable) -> list[Any]:
    return list(data.values.flat)
