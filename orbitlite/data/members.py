"""Members: which values along further dimensions of two datasets belong together."""

from __future__ import annotations

import logging
import reprlib

import pandas as pd
import xarray as xr

from orbitlite.errors import InputError
from orbitlite.grids.grid import dims_of
from orbitlite.notice import notice

logger = logging.getLogger(__name__)


def extra_dims(ds: xr.Dataset) -> tuple[str, ...]:
    """Return the dims besides time, latitude and longitude that data variables have."""
    others = ("time", *dims_of(ds))
    found = [str(dim) for field in ds.data_vars.values() for dim in field.dims]
    return tuple(dict.fromkeys(dim for dim in found if dim not in others))


def partners(ds: xr.Dataset, reference: xr.Dataset, roles: tuple[str, str]) -> xr.Dataset:
    """Order values along the further dims that two datasets share by the labels of the reference.

    Parameters
    ----------
    ds, reference : xr.Dataset
        Canonical. Dims of other sizes are left as they are. Without labels in one of the two,
        values are paired in their order, and so are single ones of other labels; both are told.
    roles : tuple of str
        What the two are, for messages.

    Raises
    ------
    InputError
        If a dim has other labels in one than in the other, or one of them twice.
    """
    for dim in extra_dims(ds):
        if dim not in extra_dims(reference) or ds.sizes[dim] != reference.sizes[dim]:
            continue
        own, wanted = ds.indexes.get(dim), reference.indexes.get(dim)
        if own is None or wanted is None:
            notice(
                logger,
                f"The dimension {dim!r} has no labels in the {roles[own is not None]}: its values "
                f"are paired in their order with those of the {roles[own is None]}.",
            )
        elif own.equals(wanted):
            continue
        elif len(own) == 1:
            notice(logger, f"{_differing(own, wanted, dim, roles)}; they are paired all the same.")
        else:
            ds = ds.isel({dim: _places(own, wanted, dim, roles)})
    return ds


def _places(own: pd.Index, wanted: pd.Index, dim: str, roles: tuple[str, str]) -> list[int]:
    """Return where the wanted labels stand."""
    known = own.is_unique and wanted.is_unique
    places: list[int] = own.get_indexer(wanted).tolist() if known else [-1]
    if min(places) < 0:
        raise InputError(
            f"{_differing(own, wanted, dim, roles)}. Values are paired by label: select or name "
            "the same ones in both, each once."
        )
    return places


def _differing(own: pd.Index, wanted: pd.Index, dim: str, roles: tuple[str, str]) -> str:
    return (
        f"The labels of the dimension {dim!r} differ: the {roles[0]} has "
        f"{reprlib.repr(own.tolist())}, the {roles[1]} {reprlib.repr(wanted.tolist())}"
    )
