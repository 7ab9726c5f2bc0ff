"""Sources: open any store or xarray object as a canonical dataset.

A canonical dataset has the channels of the variable table as data variables, in its units, with
dims `(..., time, lat, lon)` (statics, and all where the source has no time, without `time`), rows
from north to south, and CF attributes.
"""

from __future__ import annotations

import logging
import os
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import xarray as xr

from orbitlite.data import coordinates
from orbitlite.data.auxiliary import attach, auxiliary
from orbitlite.data.bounds import with_intervals
from orbitlite.data.calendar import comparable
from orbitlite.data.combine import finish, gather, join
from orbitlite.data.conversion import convert
from orbitlite.data.expver import one_version
from orbitlite.data.extension import plain_types
from orbitlite.data.origins import find_totals
from orbitlite.data.recognition import Candidate, asked, recognise, tie, wanted
from orbitlite.data.series import FIRST
from orbitlite.data.store import chunked, expand, open_stores
from orbitlite.data.times import check_filled, check_members
from orbitlite.data.totals import amounts
from orbitlite.data.unstated import with_units
from orbitlite.data.vectors import check_towards, is_component, turned_to_east
from orbitlite.data.wording import worded
from orbitlite.errors import AbsentError, InputError
from orbitlite.grids.grid import GRID_COORDINATES, dims_of
from orbitlite.notice import notice, one_call, warn
from orbitlite.renamed import with_old_names
from orbitlite.suggest import nearest
from orbitlite.variables import (
    TABLE_HINT,
    VARIABLES,
    cf_attributes,
    family,
    hours_in_name,
    lookup,
    split_level,
)

logger = logging.getLogger(__name__)

Source: TypeAlias = str | os.PathLike[str] | xr.Dataset | xr.DataArray


@one_call()
@with_old_names
def open_source(
    source: Source | Sequence[Source],
    channels: Sequence[str] | None = None,
    *,
    optional: Sequence[str] = (),
    accumulation_period: str | None = None,
    engine: str | None = None,
    regular: bool = True,
    rates: bool = False,
    predicted: bool = False,
    units: Mapping[str, str] | None = None,
) -> xr.Dataset:
    """Open a store, or take an xarray object, as a canonical dataset.

    Credentials and the like of remote stores come from fsspec's own configuration (for instance
    the environment variable `FSSPEC_GS_TOKEN=anon`).

    Parameters
    ----------
    source : path, URL, glob, xarray object, or a list of these
        NetCDF, Zarr (version 2 or 3) or GRIB. Several are joined: along time where they hold the
        same channels, side by side where they hold others.
    channels : sequence of str, optional
        Canonical channels to give, in this order. None: all that is recognised.
    optional : sequence of str
        Channels of `channels` that may be absent: logged and left out.
    accumulation_period : str, optional
        Accumulation period of amounts that state none, for instance `1h`.
    engine : str, optional
        Engine of `xarray.open_dataset`, in place of what the content suggests.
    regular : bool
        Require evenly spaced coordinates. False lets a Gaussian grid through, to be interpolated.
    rates : bool
        Give amounts of another period than the channel's as the amount of their mean rate (see
        `orbitlite.data.conversion.convert`): for accumulation over windows.
    predicted : bool
        The values are a prediction, to be scored: those that no value of the quantity can be are
        told and left (see `orbitlite.data.conversion.convert`).
    units : mapping, optional
        Units of variables that state none, by their names in the source: `{"pr": "mm day-1"}`.

    Returns
    -------
    xr.Dataset
        Lazy: backed by dask where paths were opened, by its own arrays where an object was given.
        Rows run from north to south, whichever way they run in the source.

    Raises
    ------
    InputError
        If there is no such file, it cannot be read, a channel is missing, a unit is missing or
        does not convert, or the coordinates are not 1-D and regular.
    """
    items = check_source("source", source)
    paths = [item for item in items if isinstance(item, (str, os.PathLike))]
    datasets = [_dataset(item) for item in items if isinstance(item, (xr.Dataset, xr.DataArray))]
    stores = open_stores(paths, engine)
    request = _Request(
        channels, tuple(optional), accumulation_period, regular, rates, predicted, units or {}
    )
    pieces = [piece for ds in stores for piece in _prepared(ds, request, stored=True)]
    pieces += [piece for ds in datasets for piece in _prepared(ds, request)]
    return _canonical(pieces, request)


def check_source(name: str, source: Any) -> list[Source]:
    """Return the sources of a list, or of one alone.

    Parameters
    ----------
    name : str
        What the argument is called, for the message.
    source : object

    Raises
    ------
    InputError
        If it is none.

    Examples
    --------
    >>> check_source("source", "a.nc")
    ['a.nc']
    """
    items = list(source) if isinstance(source, (list, tuple)) else [source]
    kinds = (str, os.PathLike, xr.Dataset, xr.DataArray)
    empty = [item for item in items if isinstance(item, str) and not item]
    wrong = [item for item in items if not isinstance(item, kinds)] + empty
    if wrong or not items:
        found = reprlib.repr(wrong[0]) if wrong else "an empty list"
        raise InputError(
            f"{name}: expected a path, a URL, a glob, an xarray object or a list of these, found "
            f"{found}."
        )
    return items


def files_of(source: Source | Sequence[Source] | None) -> list[str]:
    """Name the local files that a source is read from, as far as it tells.

    Parameters
    ----------
    source : path, URL, glob, xarray object, a list of these, or None
    """
    if source is None:
        return []
    single = isinstance(source, (str, os.PathLike, xr.Dataset, xr.DataArray))
    items: Any = [source] if single else source
    found: list[str] = []
    for item in items:
        if isinstance(item, (str, os.PathLike)):
            found += expand(item)
        elif isinstance(item, (xr.Dataset, xr.DataArray)):
            holders = item.variables.values() if isinstance(item, xr.Dataset) else [item]
            found += [str(h.encoding["source"]) for h in (item, *holders) if "source" in h.encoding]
    return [path for path in dict.fromkeys(found) if "://" not in path]


@one_call()
def harmonise(
    ds: xr.Dataset | xr.DataArray,
    channels: Sequence[str] | None = None,
    *,
    optional: Sequence[str] = (),
    accumulation_period: str | None = None,
    regular: bool = True,
    rates: bool = False,
) -> xr.Dataset:
    """Bring an opened dataset to the canonical form, lazily: `open_source` for one xarray object.

    Examples
    --------
    >>> ds = xr.Dataset(
    ...     {"t2m": (("lat", "lon"), [[20.0] * 2] * 2, {"units": "degC"})},
    ...     {"lat": [1.0, 0.0], "lon": [5.0, 6.0], "time": np.datetime64("2001-01-01", "ns")},
    ... )
    >>> field = harmonise(ds)["2m_temperature"]
    >>> field.dims, field.values.max()
    (('time', 'lat', 'lon'), np.float32(293.15))
    """
    request = _Request(channels, tuple(optional), accumulation_period, regular, rates)
    return _canonical(_prepared(_dataset(ds), request), request)


@dataclass(frozen=True)
class _Request:
    channels: Sequence[str] | None
    optional: tuple[str, ...]
    accumulation_period: str | None
    regular: bool
    rates: bool
    predicted: bool = False
    units: Mapping[str, str] = field(default_factory=dict)


def _dataset(item: xr.Dataset | xr.DataArray) -> xr.Dataset:
    if isinstance(item, xr.Dataset):
        return item
    if item.name is None:
        raise InputError("The array has no name: name it after its variable, with .rename('...').")
    return item.to_dataset()


def _prepared(ds: xr.Dataset, request: _Request, *, stored: bool = False) -> list[xr.Dataset]:
    """Bring types, versions and totals of one dataset in order; back what is stored with dask."""
    of_first_file = ds.encoding.get(FIRST)
    ds = with_units(plain_types(worded(ds)), request.units)
    names = wanted(ds, request.channels)
    check_filled(ds, names)
    if of_first_file is not None:  # totals of each file for itself fall where the next one begins
        find_totals(ds.isel(of_first_file), names, request.accumulation_period)
    totals = find_totals(ds, names, request.accumulation_period)
    if stored:
        ds = ds.assign(chunked(ds, names))
    return amounts(one_version(ds), totals)


def _canonical(datasets: Sequence[xr.Dataset], request: _Request) -> xr.Dataset:
    for channel in request.channels or ():
        lookup(channel)
    parts, names, against, beside = [], list[str](), list[tuple[str, str]](), []
    standard = [coordinates.standardise(raw, regular=request.regular) for raw in datasets]
    for raw, ds in zip(datasets, comparable(with_intervals(standard)), strict=True):
        beside.append(auxiliary(ds))
        ds = turned_to_east(ds)
        had = recognise(ds, request.channels)
        check_towards(had.found[name].data for name in request.channels or had.found
                      if name in had.found and is_component(name))  # fmt: skip
        names += [*map(str, raw.data_vars), *had.found]
        against += [(name, why) for name, whys in had.against.items() for why in whys]
        parts.append(gather(_select(had.found, request), ds))
    ds = join(parts)
    channels = list(request.channels or map(str, ds.data_vars))
    if "latitude" in channels and "latitude" not in ds:
        ds = ds.assign(latitude=_latitude(ds))
    missing = [channel for channel in channels if channel not in ds]
    _report_missing(missing, request.optional, names, against)
    bounds = {name: ds[name] for name in GRID_COORDINATES if name in ds.coords}
    ds = ds[[channel for channel in channels if channel not in missing]].assign_coords(bounds)
    if not ds.data_vars:
        hint = f": expected some of {', '.join(request.channels)}" if request.channels else ""
        offered = ", ".join(dict.fromkeys(names)) or "an empty dataset"
        raise AbsentError(f"No channel found in {offered}{hint}. {TABLE_HINT}")
    _check_times(ds)
    first = next((part for part in parts if part.data_vars), parts[0])
    return finish(attach(ds, beside), first, datasets[0].attrs)


def _check_times(ds: xr.Dataset) -> None:
    """Raise InputError if some channels have times and others, that change with time, have none."""
    bare = [name for name in ds.data_vars if not lookup(str(name)).static]
    bare = [name for name in bare if "time" not in ds[name].dims]
    if bare and "time" in ds.dims:
        raise InputError(
            f"{', '.join(map(str, bare))} has no time, and others have: expected a time coordinate."
        )


def _report_missing(
    missing: list[str],
    optional: Sequence[str],
    names: Sequence[str],
    against: Sequence[tuple[str, str]],
) -> None:
    needed = [channel for channel in missing if channel not in optional]
    why = "; ".join(dict.fromkeys(text for name, text in against if asked(name, needed)))
    if needed and why:
        raise InputError(
            f"The channel {', '.join(map(repr, needed))} is not in the source: {why}. If it is "
            "what its name says, correct its attributes and coordinates."
        )
    if needed:
        close = nearest(needed[0], dict.fromkeys(names))
        hint = f"nearest: {', '.join(close)}" if close else f"it has {', '.join([*names][:12])}"
        raise InputError(
            f"The channel {', '.join(map(repr, needed))} is not in the source ({hint})."
        )
    if missing:
        notice(logger, f"Absent from the source and left out: {', '.join(missing)}.")


def _latitude(ds: xr.Dataset) -> xr.DataArray:
    dims = dims_of(ds)
    lat = ds["lat"].broadcast_like(ds[list(dims)]).transpose(*dims)
    values = lat.values.astype(np.float32)
    along = {dim: ds[dim] for dim in dims}
    return xr.DataArray(values, along, dims, attrs=cf_attributes("latitude"))


def _select(found: Mapping[str, Candidate], request: _Request) -> dict[str, xr.DataArray]:
    """Convert what is asked for of what a dataset offers."""
    if request.channels is None:
        return _all(found, request)
    converted = {}
    for channel in request.channels:
        source = channel if channel in found else _relative(channel, found)
        if source is not None:
            data = convert(
                found[source].array(), channel, request.accumulation_period,
                rates=request.rates, predicted=request.predicted,
            )  # fmt: skip
            converted[channel] = _shape(data, channel)
            _say_name(channel, found[source])
    return converted


def _all(found: Mapping[str, Candidate], request: _Request) -> dict[str, xr.DataArray]:
    """Convert all that a dataset offers; of two that become one channel the better name counts."""
    converted = dict[str, xr.DataArray]()
    taken = dict[str, Candidate]()
    for name, candidate in sorted(found.items(), key=lambda item: item[1].rank):
        for channel, data in _own_channel(name, candidate, request).items():
            if channel not in taken:
                converted[channel], taken[channel] = data, candidate
                _say_name(channel, candidate)
                continue
            names = [str(taken[channel].data.name), str(candidate.data.name)]
            if taken[channel].rank == candidate.rank:
                raise tie(names, channel)
            warn(logger, f"{channel} is {names[0]!r}; {names[1]!r} is left out.")
    return converted


def _say_name(channel: str, candidate: Candidate) -> None:
    name = channel if candidate.dim is None else split_level(channel)[0]
    if candidate.data.name != name:
        notice(logger, f"{name} is {candidate.data.name!r}.")


def _relative(channel: str, found: Mapping[str, Candidate]) -> str | None:
    """Find an amount of the same family, without or with another period."""
    if lookup(channel).hours is None:
        return None
    base = family(channel)
    same = [name for name in found if family(name) == base]
    if base not in same and len(same) > 1:
        names = " and ".join(repr(found[name].data.name) for name in same)
        raise InputError(
            f"{channel} is not in the source, and {names} could each make it: drop those that are "
            "not meant."
        )
    return base if base in same else next(iter(same), None)


def _own_channel(name: str, candidate: Candidate, request: _Request) -> dict[str, xr.DataArray]:
    """Convert to the channel that unit and period make it; leave out what has no usable unit."""
    candidates = [name]
    if lookup(name).hours and not hours_in_name(name):
        # a rate becomes the longest, an amount the one of its own period
        candidates = [key for key in VARIABLES if family(key) == name][::-1]
        candidates.sort(key=lambda key: VARIABLES[key].group == "declared")
    array, reason = candidate.array(), ""
    for channel in candidates:
        try:
            data = convert(array, channel, request.accumulation_period, predicted=request.predicted)
        except InputError as error:
            reason = str(error)
        else:
            return {channel: _shape(data, channel)}
    warn(logger, f"Left out: {reason}")
    return {}


def _shape(data: xr.DataArray, channel: str) -> xr.DataArray:
    check_members(data)
    if lookup(channel).static:
        if "time" in data.dims:
            warn(logger, f"{channel} has a time dimension: its first step is used.")
            data = data.isel(time=0)
        return data.drop_vars("time", errors="ignore").transpose(..., *dims_of(data))
    if "time" in data.coords and "time" not in data.dims:
        data = data.expand_dims("time")
    return data.transpose(..., *(["time"] if "time" in data.dims else []), *dims_of(data))
