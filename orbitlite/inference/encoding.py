"""Encoding: how a dataset is laid out in a file, and which names and attributes it can have."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from orbitlite.data.auxiliary import storable
from orbitlite.data.calendar import microseconds_of
from orbitlite.errors import InputError
from orbitlite.notice import warn

logger = logging.getLogger(__name__)

Format = Literal["netcdf", "zarr"]

# NetCDF User's Guide, NetCDF Names; a slash would make groups in either format.
_NAME = re.compile(r"[A-Za-z0-9_\u0080-\U0010ffff]([^\x00-\x1f\x7f/]*[^\x00-\x20\x7f/])?")
_LONGEST = 255  # bytes of a name
# Names that the NetCDF library keeps for itself.
_KEPT = (
    "_NCProperties", "_Netcdf4Coordinates", "_Netcdf4Dimid", "_nc3_strict", "_IsNetcdf4",
    "_SuperblockVersion", "_Format", "_NoFill", "_ARRAY_DIMENSIONS", "_NCZARR_ATTR", "CLASS",
    "NAME", "DIMENSION_LIST", "REFERENCE_LIST",
)  # fmt: skip
# Attributes that say how values are stored: those of the source's file are not those of this one.
_STORAGE = ("_FillValue", "missing_value", "scale_factor", "add_offset", "_Unsigned", "_Encoding",
            "dtype", "coordinates")  # fmt: skip
_DATED = ("units", "calendar")
_SOME = 5  # names of a notice
# In microseconds.
_UNITS = {
    "hours": 3_600_000_000,
    "minutes": 60_000_000,
    "seconds": 1_000_000,
    "milliseconds": 1000,
    "microseconds": 1,
}
_CHUNK_BYTES = 2**20
_CHUNK_SIDE = 1024


def prepared(ds: xr.Dataset, kind: Format) -> tuple[xr.Dataset, dict[str, dict[str, Any]]]:
    """Return the dataset as it goes to a file, and its encoding.

    Fields are float32, compressed, in chunks of about 1 MiB; Zarr takes the chunks of a lazy
    dataset. Dates are whole numbers. Coordinates have no fill value; bounds and grid mappings are
    not listed as coordinates (CF conventions, sections 2.5.1, 5.6 and 7.1). Names and attributes
    are those that the format can hold (see `writable`).

    Parameters
    ----------
    ds : xarray.Dataset
    kind : {"netcdf", "zarr"}
    """
    bounds, ds = bounds_of(ds), _with_mapping(ds)
    ds = ds.reset_coords([name for name in bounds if name in ds.coords])
    ds = writable(ds, kind)
    encoding: dict[str, dict[str, Any]] = {}
    for name, data in ds.variables.items():
        if name in bounds or name in ds.coords:
            encoding[str(name)] = {"_FillValue": None}
        elif np.issubdtype(data.dtype, np.floating):
            encoding[str(name)] = _of_field(data, kind)
    for name in (str(name) for name in ds.coords):
        # bounds and what they belong to are counted alike (CF conventions, section 7.1)
        both = (name, str(ds[name].attrs.get("bounds")))
        found = [one for one in both if one in ds.variables]
        entry = _of_dates([ds[one].variable for one in found])
        for one in found:
            encoding[one] |= entry
    return ds, encoding


def _with_mapping(ds: xr.Dataset) -> xr.Dataset:
    """Let fields name their grid mapping, and keep it from their coordinates (CF, section 5.6)."""
    named = {
        str(name): data.encoding["grid_mapping"]
        for name, data in ds.data_vars.items()
        if "grid_mapping" in data.encoding
    }
    ds = ds.reset_coords([name for name in dict.fromkeys(named.values()) if name in ds.coords])
    return ds.assign(
        {name: ds[name].assign_attrs(grid_mapping=mapping) for name, mapping in named.items()}
    )


def bounds_of(ds: xr.Dataset) -> list[str]:
    """Name the bounds that the coordinates of a dataset have."""
    stated = [str(data.attrs.get("bounds")) for data in ds.coords.values()]
    return [name for name in stated if name in ds.variables]


def _of_dates(variables: Sequence[xr.Variable]) -> dict[str, Any]:
    """Count dates in the coarsest unit that holds all of them in whole numbers.

    In floating point they would be off by nanoseconds, and equal those of no other file.
    """
    counts, unit = [], "microseconds"
    for variable in variables:
        times = xr.Variable("time", variable.values.ravel()).to_index()
        if not isinstance(times, (pd.DatetimeIndex, xr.CFTimeIndex)):
            return {}
        times = times[times.notna()]
        if isinstance(times, pd.DatetimeIndex) and (times != times.as_unit("us")).any():
            unit = "nanoseconds"
        counts.append(microseconds_of(times))
    if unit != "nanoseconds":
        held = (name for name, size in _UNITS.items() if not any((n % size).any() for n in counts))
        unit = next(held)
    return {"units": f"{unit} since 1970-01-01", "dtype": "int64"}


def _of_field(data: xr.Variable, kind: Format) -> dict[str, Any]:
    entry: dict[str, Any] = {"dtype": "float32", "_FillValue": np.float32(np.nan)}
    if kind == "netcdf" and data.ndim:
        entry |= {"zlib": True, "complevel": 1, "shuffle": True, "chunksizes": _chunks(data)}
    return entry


def _chunks(data: xr.Variable) -> tuple[int, ...]:
    """Take all of a small region for several steps, a tile of a large one for one step."""
    sizes = dict.fromkeys(map(str, data.dims), 1)
    for dim in [*sizes][-2:]:
        sizes[dim] = min(data.sizes[dim], _CHUNK_SIDE)
    for dim in [*sizes][:-2][-1:]:  # time, or members where there is none
        room = _CHUNK_BYTES // (4 * int(np.prod([*sizes.values()])))
        sizes[dim] = max(1, min(data.sizes[dim], room))
    return tuple(sizes.values())


def writable(ds: xr.Dataset, kind: Format) -> xr.Dataset:
    """Bring names and attributes to what a format can hold; say once what is not as it was.

    Attributes that it cannot hold are written as text, those of names that it cannot hold are
    left out, as are coordinates of such names or of values that files do not have. What was
    brought to it stays as it is.

    Parameters
    ----------
    ds : xr.Dataset
    kind : {"netcdf", "zarr"}

    Raises
    ------
    InputError
        If the name of a dimension is none that the format can hold.
    """
    wrong = [str(dim) for dim in ds.dims if not _is_name(dim)]
    if wrong:
        raise InputError(
            f"The dimension {wrong[0]!r} cannot be written under this name: rename it, with "
            "letters, digits and signs other than a slash."
        )
    lost = [name for name, data in ds.coords.items()
            if not (_is_name(name) and storable(data.variable))]  # fmt: skip
    ds = ds.drop_vars(lost).copy()
    if lost:
        warn(logger, f"Left out, as the output cannot hold them: coordinates {_listed(lost)}.")
    dropped, changed = list[str](), list[str]()
    for name, holder in (("", ds), *((str(name), ds[name]) for name in ds.variables)):
        storage: tuple[str, ...] = _STORAGE if name in ds.coords else ()
        if name and (holder.dtype.kind in "mM" or holder.dtype == object):
            storage += _DATED
        kept, lost_here, changed_here = _held(holder.attrs, kind, storage)
        holder.attrs = kept
        dropped += [f"{name}:{key}" if name else key for key in lost_here]
        changed += [f"{name}:{key}" if name else key for key in changed_here]
    if dropped:
        warn(logger, f"Left out, as the output cannot hold them: attributes {_listed(dropped)}.")
    if changed:
        warn(logger, f"Written as text, as the output cannot hold them: {_listed(changed)}.")
    return ds


def _held(
    attrs: Mapping[Any, Any], kind: Format, storage: tuple[str, ...]
) -> tuple[dict[str, Any], list[str], list[str]]:
    """Return attributes that a file can hold, the names of those left out, and of those changed."""
    kept, dropped, changed = dict[str, Any](), list[str](), list[str]()
    for key, value in attrs.items():
        if not _is_name(key) or key in _KEPT or key in storage:
            dropped.append(str(key))
            continue
        plain = _of_zarr(value) if kind == "zarr" else _of_netcdf(value)
        if plain is None and (value is not None or kind == "netcdf"):
            plain = _text(value)
        if isinstance(plain, str) and not isinstance(value, str):
            changed.append(key)
        kept[key] = plain
    return kept, dropped, changed


def _is_name(name: Any) -> bool:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name == "zarr.json":
        return False
    try:
        return len(name.encode()) <= _LONGEST
    except UnicodeEncodeError:  # half of a character
        return False


def _listed(names: list[Any]) -> str:
    some = ", ".join(repr(str(name)) for name in names[:_SOME])
    return some if len(names) <= _SOME else f"{some} and {len(names) - _SOME} more"


def _of_zarr(value: Any) -> Any:
    """Return what JSON holds of a value; None if it holds none."""
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biufU":
        value = value.tolist()
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return None
    return _clean(value) if isinstance(value, str) else value


def _of_netcdf(value: Any) -> Any:
    """Return a text, a number or a series of either; None if a value is none of these."""
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, (list, tuple)) and value and all(isinstance(part, str) for part in value):
        return [_clean(part) for part in value]
    if value is None or isinstance(value, (bytes, dict, set, frozenset)):
        return None
    try:
        found = np.asarray(value)
    except (TypeError, ValueError, OverflowError):  # of several shapes
        return None
    if found.dtype.kind == "U" and not isinstance(value, (list, tuple)) and found.size:
        return [_clean(str(part)) for part in found.ravel()]
    if found.ndim > 1 or not found.size or found.dtype.kind not in "biuf":
        return None
    if found.dtype.kind == "b":
        found = found.astype(np.int8)
    elif found.dtype.kind == "f" and found.dtype.itemsize not in (4, 8):
        found = found.astype(np.float32 if found.dtype.itemsize == 2 else np.float64)
    return found if found.ndim else found[()]


def _clean(text: str) -> str:
    """Take out of a text what UTF-8 and C do not have."""
    return text.replace("\0", "").encode(errors="replace").decode()


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return _clean(value.decode(errors="replace"))
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    try:
        return json.dumps(value, default=_word)
    except (TypeError, ValueError, RecursionError):
        return _clean(str(value))


def _word(value: Any) -> Any:
    numbers = isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biuf"
    return value.tolist() if numbers else str(value)
