"""Attributes: what of a source's names and attributes the format of the output can hold."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import xarray as xr

from orbitlite.data.auxiliary import storable
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
