"""Truth: the targets of days that were predicted."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orbitlite.cordex.form import Form
from orbitlite.cordex.task import TARGETS, UNITS
from orbitlite.data.calendar import times_of
from orbitlite.data.source import open_source
from orbitlite.errors import InputError
from orbitlite.notice import warn

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Truth:
    """Targets at the days that a prediction has too.

    Attributes
    ----------
    path : Path
    fields : dict of xr.DataArray, (T, H, W)
        By the names of the benchmark, in mm and K, rows as in a prediction; lazy.
    times : ndarray of int
        Places of the days in the prediction.
    years : ndarray of int
        Of the days.
    size : int
        Days of the prediction.
    shape : tuple of int
        Rows and columns.
    """

    path: Path
    fields: dict[str, xr.DataArray]
    times: NDArray[np.int64]
    years: NDArray[np.int64]
    size: int
    shape: tuple[int, int]

    @classmethod
    def of(cls, path: Path, prediction: xr.Dataset, form: Form) -> Truth:
        """Find the days of a prediction among those of a target.

        Parameters
        ----------
        path : Path
            Target.
        prediction : xr.Dataset
            Its times are looked at.
        form : Form
            Of the prediction.

        Raises
        ------
        InputError
            If the target cannot be read, is on other cells, or has none of the days.
        """
        ds = open_source(path, [*TARGETS.values()], units=UNITS, accumulation_period="24h")
        own = Form.of(path)
        if not own.grid.same_cells(form.grid):
            raise InputError(f"{path} has {own.grid.describe()}, and {form.path} "
                             f"{form.grid.describe()}.")  # fmt: skip
        ours, theirs = (_dates(each) for each in (prediction, ds))
        place = {date: number for number, date in enumerate(theirs)}
        times = np.array([number for number, date in enumerate(ours) if date in place], np.int64)
        if not len(times):
            raise InputError(f"{path} has no day of the prediction: {theirs[0]} to {theirs[-1]}.")
        if len(times) < len(ours):
            lacking = len(ours) - len(times)
            warn(logger, f"{path.name} lacks {lacking} days that were predicted: not scored.")
        steps = np.array([place[ours[number]] for number in times])
        rows = slice(None, None, -1 if form.turned else 1)
        fields = {
            name: ds[channel].isel({"time": steps, own.grid.dims[0]: rows})
            for name, channel in TARGETS.items()
        }
        years = np.array([ours[number][0] for number in times], np.int64)
        return cls(path, fields, times, years, len(ours), form.shape)

    def days(self, name: str, window: slice) -> NDArray[np.float32]:
        """Read some days, shape (T, H, W).

        Raises
        ------
        InputError
            If values are missing.
        """
        values: NDArray[np.float32] = self.fields[name].isel(time=window).values
        if missing := int((~np.isfinite(values)).sum()):
            raise InputError(f"{self.path}: {missing:,} values of {name} are missing.")
        return values


def _dates(ds: xr.Dataset) -> list[tuple[int, int, int]]:
    """Return year, month and day: calendars and hours of the benchmark's files differ."""
    return [(time.year, time.month, time.day) for time in times_of(ds)]
