"""Extension types: what pandas stores in types of its own, brought to those of numpy."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from orbitlite.errors import InputError
from orbitlite.notice import notice

logger = logging.getLogger(__name__)


def plain_types(ds: xr.Dataset) -> xr.Dataset:
    """Bring timezone-aware times to UTC, and other extension types to numpy's.

    Coordinates of such types that only lie along a dimension are left out: nothing reads them.

    Raises
    ------
    InputError
        If a dimension counts in periods (`pandas.PeriodIndex`).
    """
    for name, variable in list(ds.variables.items()):
        values = _plain(name, variable)
        if values is None:
            continue
        if name in ds.coords and name not in ds.dims and values.dtype.kind != "M":
            ds = ds.drop_vars([name])
        elif name in ds.coords:
            ds = ds.assign_coords({name: (variable.dims, values, variable.attrs)})
        else:
            ds = ds.assign({name: (variable.dims, values, variable.attrs)})
    return ds


def _plain(name: Hashable, variable: xr.Variable) -> Any:
    """Return the values in a type of numpy, or None where they have one."""
    dtype: Any = variable.dtype
    if dtype.kind == "O" and isinstance(dtype, np.dtype):
        return _from_objects(name, variable)
    if isinstance(dtype, np.dtype):
        return None
    if isinstance(dtype, pd.DatetimeTZDtype):
        return _in_utc(name, variable.to_index())
    if isinstance(dtype, pd.PeriodDtype) and name in variable.dims:
        raise InputError(
            f"The coordinate {str(name)!r} holds periods ({dtype}) and no dates: convert it, for "
            f"instance with ds.assign_coords({name}=ds.indexes[{str(name)!r}].to_timestamp())."
        )
    flat = pd.array(np.ravel(variable.values), dtype=dtype)
    if pd.api.types.is_numeric_dtype(dtype):
        whole = pd.api.types.is_integer_dtype(dtype) and not flat.isna().any()
        missing: dict[str, Any] = {} if whole else {"na_value": np.nan}
        values = flat.to_numpy(np.int64 if whole else np.float64, **missing)
    else:
        values = np.asarray(flat, dtype=object)
    return values.reshape(variable.shape)


def _from_objects(name: Hashable, variable: xr.Variable) -> Any:
    """Return dates of Python or pandas as those of numpy; None if these are none."""
    # What is stored in files and not read yet is text: there, xarray gives dates of its own.
    if variable.ndim > 1 or not variable.size or not variable._in_memory:
        return None
    values = np.ravel(variable.values)
    if not all(hasattr(value, "isoformat") and hasattr(value, "ctime") for value in values):
        return None
    if type(values[0]).__module__.startswith("cftime"):
        return None
    index = pd.DatetimeIndex(pd.to_datetime(list(values), utc=True))
    if any(getattr(value, "tzinfo", None) for value in values):
        return _in_utc(name, index).reshape(variable.shape)
    return index.tz_localize(None).to_numpy().reshape(variable.shape)


def _in_utc(name: Hashable, index: pd.Index) -> Any:
    times = pd.DatetimeIndex(index)
    notice(logger, f"The times {str(name)!r} of the zone {times.tz} were converted to UTC.")
    return times.tz_convert("UTC").tz_localize(None).to_numpy()
