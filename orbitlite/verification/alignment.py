"""Bring prediction, truth and coarse input to the same cells and times."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import reduce

import numpy as np
import pandas as pd
import xarray as xr

from orbitlite.data.calendar import comparable, standard_calendar
from orbitlite.errors import InputError
from orbitlite.grids.cells import Found
from orbitlite.grids.grid import Grid, dims_of
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.grids.reading import read_grid
from orbitlite.notice import warn

logger = logging.getLogger(__name__)


def located(data: xr.Dataset, role: str) -> tuple[xr.Dataset, Grid]:
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
    grid : Grid

    Raises
    ------
    InputError
        If `time`, rows or columns are missing, or a time occurs twice.
    """
    if "time" in data.coords and "time" not in data.dims:
        data = data.expand_dims("time")
    missing = [name for name in ("time", *dims_of(data)) if name not in data.dims]
    if missing:
        raise InputError(
            f"The {role} has no dimension {' and '.join(missing)} (it has "
            f"{', '.join(map(str, data.dims)) or 'none'}); open it with open_source."
        )
    if not data.indexes["time"].is_unique:
        raise InputError(f"Some times occur twice in the {role}; keep each time once.")
    return data, read_grid(data)


def match_cells(
    data: xr.Dataset, grid: Grid, reference: Grid, role: str, reference_role: str
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
            f"{width} (rows x columns); it must cover that grid."
        )
    rows, columns = grid.find_blocks(reference, 1)
    if not (rows.same.all() and columns.same.all()):
        raise InputError(_mismatch(grid, reference, (rows, columns), (role, reference_role)))
    if shape != reference.shape:
        warn(
            logger,
            f"The {role} has {shape[0]} x {shape[1]} cells; only the {height} x {width} of the "
            f"{reference_role} are used.",
        )
    if not np.array_equal(rows.index, np.arange(shape[0])):
        data = data.isel({grid.dims[0]: rows.index})
    if np.array_equal(columns.index, np.arange(shape[1])):
        return data
    return data.isel({grid.dims[1]: columns.index})


def _mismatch(
    grid: Grid, reference: Grid, found: tuple[Found, Found], roles: tuple[str, str]
) -> str:
    """Say how far the cells of two grids lie apart."""
    text = f"The cells of the {roles[0]} and of the {roles[1]} do not coincide: "
    if isinstance(grid, LatLonGrid) and isinstance(reference, LatLonGrid):
        height, width = reference.shape
        lat_step = (reference.lat_edges[0] - reference.lat_edges[-1]) / height
        lon_step = (reference.lon_edges[-1] - reference.lon_edges[0]) / width
        rows, columns = found
        text += (
            f"their edges lie up to {rows.apart.max():.4g} degrees of latitude and "
            f"{columns.apart.max():.4g} of longitude apart, at a spacing of {lat_step:.4g} by "
            f"{lon_step:.4g}."
        )
    else:
        text += f"one has {grid.describe()}, the other {reference.describe()}."
    return f"{text} Bring both to one grid first."


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
