"""Wording: names and attributes of a source that are read as words are words."""

from __future__ import annotations

from typing import Any

import xarray as xr

from orbitlite.errors import InputError

# What the rooms above compare with words; files may hold numbers, lists and more under the names.
_WORDS = frozenset((
    "units", "GRIB_units", "standard_name", "long_name", "axis", "positive", "calendar",
    "bounds", "climatology", "cell_methods", "coordinates", "grid_mapping", "grid_mapping_name",
    "comment", "source", "_Unsigned", "GRIB_stepType", "GRIB_typeOfLevel", "GRIB_shortName",
    "GRIB_cfVarName", "GRIB_name",
))  # fmt: skip


def worded(ds: xr.Dataset) -> xr.Dataset:
    """Write attributes that are read as words as text, where they are none.

    Parameters
    ----------
    ds : xr.Dataset
        As it came; the caller's attributes stay as they are.

    Raises
    ------
    InputError
        If the name of a variable or dimension is no text.
    """
    wrong = [name for name in (*ds.variables, *ds.dims) if not isinstance(name, str) or not name]
    if wrong:
        raise InputError(
            f"The name {wrong[0]!r} of a variable or dimension is no text: rename it, with "
            "ds.rename."
        )
    ds = ds.copy()
    for variable in ds.variables.values():
        for notes in (variable.attrs, variable.encoding):
            notes.update({key: str(value) for key, value in notes.items() if _is_odd(key, value)})
    return ds


def _is_odd(key: Any, value: Any) -> bool:
    return key in _WORDS and value is not None and not isinstance(value, str)
