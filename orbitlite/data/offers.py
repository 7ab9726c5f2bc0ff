"""Offers: what the variables of one dataset stand for, before conversion."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from orbitlite.data.levels import pressures
from orbitlite.notice import notice, warn
from orbitlite.variables import VARIABLES, family, resolve, split_level

logger = logging.getLogger(__name__)

_HEIGHTS = ("heightAboveGround", "height")


@dataclass(frozen=True)
class Offer:
    """One channel of a dataset, not yet taken out of its array.

    Attributes
    ----------
    data : xr.DataArray
        The variable as it is in the file.
    dim : str or None
        Its level dimension.
    number : int
        Position of the channel along `dim`.
    remark : str
        What to say when the offer is taken.
    """

    data: xr.DataArray
    dim: str | None = None
    number: int = 0
    remark: str = ""

    def array(self) -> xr.DataArray:
        """Take the channel, lazily, in the units of the file."""
        if self.remark:
            warn(logger, self.remark)
        return self.data if self.dim is None else self.data.isel({self.dim: self.number}, drop=True)


def offers(ds: xr.Dataset) -> dict[str, Offer]:
    """Find what the variables of a dataset stand for.

    Parameters
    ----------
    ds : xr.Dataset
        With standard coordinates.

    Returns
    -------
    dict of str to Offer
        By canonical channel. Of two variables that mean the same, the one with the canonical
        name counts, else the first.
    """
    ds = _with_time_bounds(ds)
    known: dict[str, Offer] = {}
    unknown = []
    for name in sorted(ds.data_vars, key=lambda name: str(name) not in VARIABLES):
        found = _channels_of(ds[name]) if {"lat", "lon"} <= set(ds[name].dims) else {}
        if not found:
            unknown.append(str(name))
        for channel, offer in found.items():
            if channel in known:
                warn(logger, f"{channel} is {known[channel].data.name!r}; {name!r} is left out.")
            known.setdefault(channel, offer)
    if unknown:
        notice(logger, f"Not recognised and left out: {', '.join(unknown)}.")
    return known


def wanted(ds: xr.Dataset, channels: Sequence[str] | None) -> list[str]:
    """Name the variables of a dataset, as opened, that may serve `channels` (None: any)."""
    bases = {split_level(family(channel))[0] for channel in channels or ()}
    if "orography" in bases:
        bases.add("geopotential")
    names = []
    for name, data in ds.data_vars.items():
        found = resolve(str(name), {**data.attrs, **_height(data)})
        if found and (channels is None or split_level(family(found))[0] in bases):
            names.append(str(name))
    return names


def _with_time_bounds(ds: xr.Dataset) -> xr.Dataset:
    """Write the width of the time bounds, where it is one, to the sums."""
    name = ds["time"].attrs.get("bounds") if "time" in ds.coords else None
    if name not in ds.variables or ds[name].ndim != 2:
        return ds
    lengths = ds[name].isel({ds[name].dims[1]: 1}) - ds[name].isel({ds[name].dims[1]: 0})
    hours = np.unique(lengths.values / np.timedelta64(1, "h"))
    if hours.size != 1 or not hours[0] > 0:
        return ds
    stated = {
        key: data.assign_attrs(accumulation_hours=float(hours[0]))
        for key, data in ds.data_vars.items()
        if "time: sum" in str(data.attrs.get("cell_methods", ""))
    }
    return ds.assign(stated)


def _channels_of(data: xr.DataArray) -> dict[str, Offer]:
    name = resolve(str(data.name), {**data.attrs, **_height(data)})
    if name is None:
        return {}
    if name not in VARIABLES or not VARIABLES[name].on_levels:
        return {name: Offer(data)}
    levels = pressures(data)
    if levels is None:
        return _surface_geopotential(data) if name == "geopotential" else {}
    dim, values = levels
    if dim not in data.dims:
        return {f"{name}_{values[0]}": Offer(data)} if values[0] else {}
    return {
        f"{name}_{level}": Offer(data, dim, number)
        for number, level in enumerate(values)
        if level is not None
    }


def _surface_geopotential(data: xr.DataArray) -> dict[str, Offer]:
    kind = data.attrs.get("GRIB_typeOfLevel", "surface")
    if kind != "surface" or set(data.dims) - {"time", "lat", "lon", "number"}:
        return {}
    remark = f"{data.name!r} has no level: taken as the geopotential of the surface (orography)."
    return {"orography": Offer(data, remark=remark)}


def _height(data: xr.DataArray) -> dict[str, float]:
    for name in _HEIGHTS:
        if name in data.coords and data[name].ndim == 0:
            return {"height": float(data[name])}
    return {}
