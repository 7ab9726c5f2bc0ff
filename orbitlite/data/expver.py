"""Final and preliminary data: the dimension `expver` of the Climate Data Store."""

from __future__ import annotations

import logging

import numpy as np
import xarray as xr

from orbitlite.errors import InputError
from orbitlite.notice import notice, warn

logger = logging.getLogger(__name__)

_FINAL, _PRELIMINARY = 1, 5


def one_version(ds: xr.Dataset) -> xr.Dataset:
    """Bring the versions of ERA5 along `expver` together, lazily: final, else preliminary.

    Where the final reanalysis (1) has a value, that one counts; elsewhere the preliminary one (5,
    ERA5T). An `expver` that is no dimension is left as it is.

    Raises
    ------
    InputError
        If `expver` has other values, or values that cannot be missing.
    """
    if "expver" not in ds.dims:
        return ds
    versions = _versions(ds)
    ds = ds.drop_vars("expver")
    if len(versions) == 1:
        if versions[0] == _PRELIMINARY:
            notice(logger, "All data are preliminary (expver 5).")
        return ds.isel(expver=0)
    final = ds.isel(expver=versions.index(_FINAL))
    preliminary = ds.isel(expver=versions.index(_PRELIMINARY))
    both = {}
    for name, data in ds.data_vars.items():
        if "expver" not in data.dims:
            continue
        if data.dtype.kind == "f":
            both[name] = final[name].fillna(preliminary[name])
        elif data.ndim > 2:
            raise InputError(
                f"{name!r} has the dimension expver and holds {data.dtype}, which cannot tell what "
                "is missing: open the file decoded, or select one expver."
            )
    warn(
        logger,
        "Final (expver 1) and preliminary (expver 5) data were brought together: preliminary "
        "values stand where final ones are missing.",
    )
    return final.assign(both)


def _versions(ds: xr.Dataset) -> list[int]:
    """Read the values of `expver`, which may be numbers or text ('0001')."""
    found = np.atleast_1d(ds["expver"].values).tolist() if "expver" in ds.variables else []
    texts = [value.decode() if isinstance(value, bytes) else str(value) for value in found]
    try:
        versions = [int(float(text)) for text in texts]
    except ValueError:
        versions = []
    known = set(versions) <= {_FINAL, _PRELIMINARY} and len(set(versions)) == len(versions)
    if not versions or not known:
        raise InputError(
            f"The dimension expver has the values {', '.join(texts) or 'unknown'}: expected 1 "
            "(final) and 5 (preliminary). Select one, for instance with ds.sel(expver=...)."
        )
    return versions
