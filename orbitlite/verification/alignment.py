"""Bring prediction, truth and coarse input to the same cells and times."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import reduce

import numpy as np
import pandas as pd
import xarray as xr

from orbitlite.data.calendar import comparable, standard_calendar
from orbitlite.data.grid import LatLonGrid
from orbitlite.errors import InputError
from orbitlite.notice import warn

logger = logging.getLogger(__name__)


def located(data: xr.Dataset, role: str) -> tuple[xr.Dataset, LatLonGrid]:
    """Check that data have times and cells.

    Parameters
    ----------
    data : xr.Dataset
        Canonical. A single time given as a scalar coordinate becomes a dimension.
    role : str
        What the data are, for messages.

    Returns
    -------
    data : xr.Dataset
    grid : LatLonGrid

    Raises
    ------
    InputError
        If `time`, `lat` or `lon` is missing, or a time occurs twice.
    """
    if "time" in data.coords and "time" not in data.dims:
        data = data.expand_dims("time")
    missing = [name for name in ("time", "lat", "lon") if name not in data.dims]
    if missing:
        raise InputError(
            f"The {role} has no dimension {' and '.join(missing)} (it has "
            f"{', '.join(map(str, data.dims)) or 'none'}); open it with open_source."
        )
    if not data.indexes["time"].is_unique:
        raise InputError(f"Some times occur twice in the {role}; keep each time once.")
    return data, LatLonGrid.from_dataset(data)


def match_cells(
    data: xr.Dataset, grid: LatLonGrid, reference: LatLonGrid, role: str, reference_role: str
) -> xr.Dataset:
    """Pick the cells of the reference grid from `data`, in its order.

    `data` may reach further. Longitudes may differ by whole turns, and a global grid may begin at
    another meridian.

    Raises
    ------
    InputError
        If `data` has fewer cells, or others.
    """
    (height, width), shape = reference.shape, grid.shape
    if shape[0] < height or shape[1] < width:
        raise InputError(
            f"The {role} has {shape[0]} x {shape[1]} cells and the {reference_role} {height} x "
            f"{width} (lat x lon); it must cover that grid."
        )
    rows, columns = grid.find(reference)
    if not (rows.same.all() and columns.same.all()):
        lat_step = (reference.lat_edges[0] - reference.lat_edges[-1]) / height
        lon_step = (reference.lon_edges[-1] - reference.lon_edges[0]) / width
        raise InputError(
            f"The cells of the {role} and of the {reference_role} do not coincide: their edges lie "
            f"up to {rows.apart.max():.4g} degrees of latitude and {columns.apart.max():.4g} of "
            f"longitude apart, at a spacing of {lat_step:.4g} by {lon_step:.4g}. Bring both to one "
            "grid first."
        )
    if shape != reference.shape:
        warn(
            logger,
            f"The {role} has {shape[0]} x {shape[1]} cells; only the {height} x {width} of the "
            f"{reference_role} are used.",
        )
    if not np.array_equal(rows.index, np.arange(shape[0])):
        data = data.isel(lat=rows.index)
    if np.array_equal(columns.index, np.arange(shape[1])):
        return data
    return data.isel(lon=columns.index)


def match_calendars(datasets: Mapping[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """Count the times of all datasets in one calendar: by date in the standard one if they differ.

    Parameters
    ----------
    datasets : mapping
        By role.
    """
    alike = comparable([*datasets.values()])
    kinds = {
        (type(data.indexes["time"]), data["time"].dt.calendar)
        for data in alike
        if data.sizes["time"]
    }
    if len(kinds) > 1:
        alike = comparable([standard_calendar(data) for data in alike])
    return dict(zip(datasets, alike, strict=True))


def match_times(datasets: Mapping[str, xr.Dataset]) -> list[xr.Dataset]:
    """Keep the times that all datasets share, in ascending order.

    Parameters
    ----------
    datasets : mapping
        By role; of one calendar.

    Raises
    ------
    InputError
        If no time is shared.
    """
    indexes = {role: data.indexes["time"] for role, data in datasets.items()}
    common = reduce(lambda left, right: left.intersection(right), indexes.values())
    if not len(common):
        raise InputError(_apart(indexes))
    common = common.sort_values()
    matched = []
    for role, data in datasets.items():
        times = indexes[role]
        if len(times) > len(common):
            warn(
                logger,
                f"{len(times) - len(common)} of the {len(times)} times of the {role} are not in "
                "all of the data and are left out.",
            )
        matched.append(_at(data, common))
    return matched


def cover_times(data: xr.Dataset, times: pd.Index, role: str) -> xr.Dataset | None:
    """Take given times out of a dataset; None if it lacks some.

    Raises
    ------
    InputError
        If it lacks all.
    """
    own = data.indexes["time"]
    if not len(own.intersection(times)):
        raise InputError(_apart({"times to be scored": times, role: own}))
    return _at(data, times) if times.isin(own).all() else None


def _at(data: xr.Dataset, times: pd.Index) -> xr.Dataset:
    own = data.indexes["time"]
    return data if own.equals(times) else data.isel(time=own.get_indexer(times))


def _apart(indexes: Mapping[str, pd.Index]) -> str:
    spans = "; ".join(f"the {role}: {_span(times)}" for role, times in indexes.items())
    return f"No time is in all of the data: {spans}. Times must agree exactly."


def _span(times: pd.Index) -> str:
    return f"{len(times)} times from {times[0]} to {times[-1]}" if len(times) else "no time"
