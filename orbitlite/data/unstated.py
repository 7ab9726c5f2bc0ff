"""Units of variables whose source states none: taken as a user declares them."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import xarray as xr

from orbitlite.errors import InputError
from orbitlite.notice import notice

logger = logging.getLogger(__name__)

_KEYS = ("units", "GRIB_units")


def with_units(ds: xr.Dataset, units: Mapping[str, str]) -> xr.Dataset:
    """Give variables that state no unit the one that is declared; what a source states counts.

    Parameters
    ----------
    ds : xr.Dataset
        As it came; the caller's attributes stay as they are.
    units : mapping
        By the name of a variable in the source. Those that it lacks are passed over.

    Returns
    -------
    xr.Dataset

    Raises
    ------
    InputError
        If a unit is no text.

    Examples
    --------
    >>> ds = xr.Dataset({"pr": ("time", [1.0]), "t": ("time", [2.0], {"units": "degC"})})
    >>> [field.attrs["units"] for field in with_units(ds, {"pr": "mm", "t": "K"}).values()]
    ['mm', 'degC']
    """
    for name, unit in units.items():
        if not isinstance(unit, str) or not unit:
            raise InputError(f"units: expected the unit of {name!r} as a text, found {unit!r}")
    bare = [n for n in units if n in ds.variables and not any(k in ds[n].attrs for k in _KEYS)]
    if not bare:
        return ds
    told = ", ".join(f"{name} {units[name]}" for name in bare)
    notice(logger, f"Variables without a unit are taken as it was declared: {told}.")
    return ds.assign({name: ds[name].assign_attrs(units=units[name]) for name in bare})
