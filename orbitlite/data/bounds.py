"""Bounds: over which time, beside its stamp, each value of a file extends."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from orbitlite.data.calendar import Seconds, named_dates, seconds_of, times_of
from orbitlite.data.leads import is_dated
from orbitlite.errors import InputError
from orbitlite.notice import warn

logger = logging.getLogger(__name__)

INTERVAL = "interval_seconds"
"""Attribute: where the time of a value begins and ends, in seconds from its stamp (CF bounds)."""
UNEVEN = "uneven"
"""What `INTERVAL` is where the bounds lie otherwise at every stamp."""
STEP = "step_hours"
"""Attribute: hours from one value to the next; not a number where there is a single one."""

_NAMES = ("time_bnds", "time_bounds", "time_bnd", "time_bound", "bounds_time")
# Share of its width that an interval may lie off, of times counted in floating point.
_ROUNDING = 0.01
_POINT = re.compile(r"\btime: (?:\w+: )*point")


def with_intervals(datasets: Sequence[xr.Dataset]) -> list[xr.Dataset]:
    """Write to every variable over which time its values extend, as the bounds of time say.

    Parameters
    ----------
    datasets : sequence of xr.Dataset
        Of one source, with standard coordinates.

    Returns
    -------
    list of xr.Dataset
        Without the bounds. Variables that change with time have the attribute `STEP` (the width
        of the bounds, else the spacing of the times), and `INTERVAL` where there are bounds and
        their cell methods do not say that they hold at a point of time. Sums get
        `accumulation_hours` from bounds of one width.
    """
    several = [ds for ds in datasets if "time" in ds.variables]
    single = [ds for ds in several if ds["time"].size == 1]
    together = _spacing(np.concatenate([np.zeros(0, np.int64), *map(_seconds, single)]))
    return [_described(ds, together) if "time" in ds.variables else ds for ds in datasets]


def at_a_point(data: xr.DataArray) -> bool:
    """Tell whether a variable says that its values hold at a point of time."""
    methods = str(data.attrs.get("cell_methods", ""))
    return bool(_POINT.search(methods)) or data.attrs.get("GRIB_stepType") == "instant"


def check_same_times(one: xr.Dataset, other: xr.Dataset, roles: tuple[str, str]) -> None:
    """Compare over which times values of the same stamps extend, where both datasets state it.

    Parameters
    ----------
    one, other : xr.Dataset
        Canonical; variables with the attribute `INTERVAL`.
    roles : tuple of str
        What the two are, for messages.

    Raises
    ------
    InputError
        If values of the same stamp have no time in common. If they share a part of it, a warning
        says so.
    """
    for name in [name for name in one.data_vars if name in other.data_vars]:
        first, second = (ds[name].attrs.get(INTERVAL, UNEVEN) for ds in (one, other))
        if UNEVEN in (first, second):
            continue
        slack = _ROUNDING * max(end - begin for begin, end in (first, second))
        if all(abs(a - b) <= slack for a, b in zip(first, second, strict=True)):
            continue
        text = (
            f"By their time bounds, values of {name} extend from {first[0] / 3600:+g} to "
            f"{first[1] / 3600:+g} h around their stamps in the {roles[0]}, and from "
            f"{second[0] / 3600:+g} to {second[1] / 3600:+g} h in the {roles[1]}"
        )
        if min(first[1], second[1]) - max(first[0], second[0]) <= slack:
            raise InputError(
                f"{text}: what has the same stamp is of other times. Give both the same stamps, or "
                "state the window (resample), which goes by the bounds."
            )
        warn(logger, f"{text}: they are compared by their stamps.")


def _described(ds: xr.Dataset, together: float) -> xr.Dataset:
    name = _name(ds)
    edges = None if name is None else _edges(ds, name)
    ds = ds.drop_vars([] if edges is None else [name]).copy()  # its attributes are the caller's
    spacing = _spacing(_seconds(ds)) if ds["time"].size > 1 else together
    widths = np.zeros(1) if edges is None else (edges[:, 1] - edges[:, 0]) / 3600
    one_width = bool((widths == widths[0]).all())
    for data in ds.data_vars.values():
        data.attrs[STEP] = spacing
        if edges is None or not np.median(widths) > 0 or at_a_point(data):
            continue
        data.attrs[STEP] = float(np.median(widths))
        usual = np.median(edges, axis=0).astype(np.int64)
        even = (np.abs(edges - usual) <= _ROUNDING * np.ptp(usual)).all()
        data.attrs[INTERVAL] = tuple(usual.tolist()) if even else UNEVEN
        if one_width and "time: sum" in str(data.attrs.get("cell_methods", "")):
            data.attrs["accumulation_hours"] = float(widths[0])
    return ds


def _name(ds: xr.Dataset) -> str | None:
    time = ds["time"]
    if not time.size:
        return None
    for name in (time.attrs.get("bounds"), time.encoding.get("bounds"), *_NAMES):
        if name in ds.variables and name != "time" and _two_ends(ds[name], time):
            return str(name)
    return None


def _two_ends(data: xr.DataArray, time: xr.DataArray) -> bool:
    others = [dim for dim in data.dims if dim not in time.dims]
    return data.ndim == time.ndim + 1 and len(others) == 1 and data.sizes[others[0]] == 2


def _edges(ds: xr.Dataset, name: str) -> Seconds | None:
    """Return where bounds begin and end, (T, 2) seconds from their stamps; None if undecodable."""
    time, data = ds["time"], ds[name].variable
    values = data.transpose(*time.dims, ...).values.reshape(-1, 2)
    if np.issubdtype(values.dtype, np.number):
        values = _decoded(values, {**time.encoding, **data.attrs})
    both = xr.Variable(("time", "end"), values)
    if not is_dated(both) or both.isnull().any():
        return None
    ends = [xr.Variable("time", values[:, end]).to_index() for end in (0, 1)]
    stamps = times_of(ds)
    if len({type(index) for index in (*ends, stamps)}) > 1:  # some of them in far years
        stamps, *ends = (xr.Variable("time", named_dates(i)[0]).to_index() for i in (stamps, *ends))
    edges: Seconds = np.stack([seconds_of(end) - seconds_of(stamps) for end in ends], axis=1)
    return np.sort(edges, axis=1)


def _decoded(values: Any, stated: dict[Any, Any]) -> Any:
    """Decode numbers by the unit of time, which CF bounds need not repeat."""
    attrs = {key: stated[key] for key in ("units", "calendar") if key in stated}
    raw = xr.Dataset({"bounds": (("time", "end"), values, attrs)})
    return xr.decode_cf(raw)["bounds"].values if " since " in str(attrs.get("units")) else values


def _seconds(ds: xr.Dataset) -> Seconds:
    return seconds_of(times_of(ds))


def _spacing(seconds: Seconds) -> float:
    """Return the usual hours between times; not a number if there is one time only."""
    gaps = np.diff(np.unique(seconds))
    return float(np.median(gaps)) / 3600 if gaps.size else np.nan
