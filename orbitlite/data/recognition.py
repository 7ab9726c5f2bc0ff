"""Recognition: what the variables of one dataset stand for, before conversion."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import xarray as xr

from orbitlite.data.conversion import converts
from orbitlite.data.levels import pressures
from orbitlite.data.places import PLACE, places
from orbitlite.errors import InputError
from orbitlite.grids.grid import dims_of
from orbitlite.notice import warn
from orbitlite.variables import VARIABLES, Meaning, family, meanings, split_level
from orbitlite.variables.evidence import stated_pressure

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """One channel of a dataset, not yet taken out of its array.

    Attributes
    ----------
    data : xr.DataArray
        The variable as it is in the file.
    rank : int
        0 for the canonical name, 1 for that of a dialect, 2 for attributes that say it.
    dim : str or None
        Its level dimension.
    number : int
        Position of the channel along `dim`.
    remark : str
        What to say when the candidate is taken.
    rivals : tuple of str
        Other variables that are the channel just as much.
    channel : str
        The channel, where there are rivals.
    """

    data: xr.DataArray
    rank: int = 0
    dim: str | None = None
    number: int = 0
    remark: str = ""
    rivals: tuple[str, ...] = ()
    channel: str = ""

    def array(self) -> xr.DataArray:
        """Take the channel, lazily, in the units of the file.

        Raises
        ------
        InputError
            If other variables are the channel just as much.
        """
        if self.rivals:
            raise tie([str(self.data.name), *self.rivals], self.channel)
        if self.remark:
            warn(logger, self.remark)
        return self.data if self.dim is None else self.data.isel({self.dim: self.number}, drop=True)


@dataclass(frozen=True)
class Recognised:
    """What a dataset has: candidates by canonical channel, and why others are none.

    Attributes
    ----------
    found : dict of str to Candidate
    against : dict of str to list of str
        By channel, what speaks against the variables whose name or attributes claim it.
    passed : dict of str to list of str
        By channel, the variables that would be it if a better one were not there.
    """

    found: dict[str, Candidate] = field(default_factory=dict)
    against: dict[str, list[str]] = field(default_factory=dict)
    passed: dict[str, list[str]] = field(default_factory=dict)


def tie(names: Sequence[str], channel: str) -> InputError:
    """Return the error about variables that are one channel just as much."""
    return InputError(
        f"{' and '.join(map(repr, names))} may each be {channel}: drop those that are not meant, "
        f"or rename the one that is to {channel}."
    )


def recognise(ds: xr.Dataset, channels: Sequence[str] | None = None) -> Recognised:
    """Find what the variables of a dataset stand for.

    Of several variables that are one channel the one with the canonical name counts, then the one
    with the name of a dialect, then the one whose attributes say so; before that, one whose unit
    converts. What speaks against a variable that claims a channel of `channels` (None: any) is
    said, as is what is passed over and, where no channels are asked for, what is not recognised.

    Parameters
    ----------
    ds : xr.Dataset
        With standard coordinates.
    channels : sequence of str, optional
        Channels that are asked for.

    Returns
    -------
    Recognised
    """
    result, unknown, refused = Recognised(), list[str](), list[tuple[str, str]]()
    for name, meant in _meanings(ds).items():
        flat = set(dims_of(ds)) <= set(ds[name].dims)
        doubts, offered = list[tuple[str, str]](), False
        for meaning in meant if flat else ():
            if meaning.against:
                reason = f"{name!r} is not taken as {meaning.channel}: {meaning.against}"
                result.against.setdefault(meaning.channel, []).append(reason)
                doubts.append((meaning.channel, reason))
                continue
            for channel, candidate in _channels_of(ds[name], meaning).items():
                _enter(result, channel, candidate)
                offered = True
        refused += [] if offered and channels is None else doubts
        if not (offered or doubts or _auxiliary(ds, name)):
            unknown.append(name)
    for channel, reason in refused:
        if asked(channel, channels) and channel not in result.found:
            warn(logger, f"{reason}.")
    for channel, names in result.passed.items():
        if asked(channel, channels):
            taken = result.found[channel].data.name
            warn(logger, f"{channel} is {taken!r}; {', '.join(map(repr, names))} is left out.")
    if unknown and channels is None:
        warn(logger, f"Not recognised and left out: {', '.join(unknown)}.")
    return result


def wanted(ds: xr.Dataset, channels: Sequence[str] | None) -> list[str]:
    """Name the variables of a dataset, as opened, that may serve `channels` (None: any)."""
    bases = {_base(channel) for channel in channels or ()}
    if "orography" in bases:
        bases.add("geopotential")
    return [
        name
        for name, meant in _meanings(ds).items()
        if any(
            not meaning.against and (channels is None or _base(meaning.channel) in bases)
            for meaning in meant
        )
    ]


def asked(channel: str, channels: Sequence[str] | None) -> bool:
    """Return True if a channel, or one that it can make, is among those asked for (None: all)."""
    if channels is None or channel in channels:
        return True
    return any(family(channel) in (family(name), _base(name)) for name in channels)


def _base(channel: str) -> str:
    return split_level(family(channel))[0]


def _meanings(ds: xr.Dataset) -> Mapping[str, list[Meaning]]:
    where = places(ds)
    return {
        str(name): meanings(str(name), {**_texts(data), **where[str(name)]})
        for name, data in ds.data_vars.items()
    }


def _texts(data: xr.DataArray) -> dict[str, Any]:
    """Return the attributes, less those that are called like what `places` finds."""
    return {key: value for key, value in data.attrs.items() if key not in PLACE}


def _enter(result: Recognised, channel: str, candidate: Candidate) -> None:
    """Enter a candidate, or keep the better one."""
    name = str(candidate.data.name)
    if channel not in result.found:
        result.found[channel] = candidate
        return
    other = result.found[channel]
    ranks = [(not converts(one.data, channel), one.rank) for one in (other, candidate)]
    if ranks[0] == ranks[1]:
        result.found[channel] = replace(other, rivals=(*other.rivals, name), channel=channel)
        return
    better, worse = (other, name) if ranks[0] < ranks[1] else (candidate, str(other.data.name))
    result.found[channel] = better
    result.passed.setdefault(channel, []).append(worse)


def _auxiliary(ds: xr.Dataset, name: str) -> bool:
    """Return True for what belongs to coordinates: bounds, grid mappings, flags of one value."""
    named = {
        str(variable.attrs.get(key, variable.encoding.get(key)))
        for variable in ds.variables.values()
        for key in ("bounds", "grid_mapping")
    }
    return name in named or ds[name].ndim == 0 or name.endswith(("_bnds", "_bounds"))


def _channels_of(data: xr.DataArray, meant: Meaning) -> dict[str, Candidate]:
    name, rank = meant.channel, meant.rank
    if name not in VARIABLES or not VARIABLES[name].on_levels:
        return {name: Candidate(data, rank)}
    levels = pressures(data)
    if levels is None:
        return _surface_geopotential(data) if name == "geopotential" else {}
    dim, values = levels
    if dim not in data.dims:
        return {f"{name}_{values[0]}": Candidate(data, rank)} if values[0] else {}
    return {
        f"{name}_{level}": Candidate(data, rank, dim, number)
        for number, level in enumerate(values)
        if level is not None
    }


def _surface_geopotential(data: xr.DataArray) -> dict[str, Candidate]:
    kind = data.attrs.get("GRIB_typeOfLevel", "surface")
    elsewhere = stated_pressure(data.attrs) is not None
    if elsewhere or kind != "surface" or set(data.dims) - {"time", *dims_of(data), "number"}:
        return {}
    remark = f"{data.name!r} has no level: taken as the geopotential of the surface (orography)."
    return {"orography": Candidate(data, rank=2, remark=remark)}
