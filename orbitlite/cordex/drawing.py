"""Drawing: members from a file of predictors, day by day, into a file of predictions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from orbitlite.api import predict
from orbitlite.cordex.form import Form
from orbitlite.cordex.output import Fields, writing
from orbitlite.cordex.task import MEMBERS, TARGETS, UNITS
from orbitlite.data.calendar import times_of
from orbitlite.data.store import open_stores
from orbitlite.data.unstated import with_units
from orbitlite.errors import InputError
from orbitlite.model.bundle import Bundle
from orbitlite.progress import Advance

_BYTES = 2**26  # of the fields that are held at once


@dataclass(frozen=True)
class Predictors:
    """A file of predictors, all or some of its times.

    Attributes
    ----------
    path : Path
    fields : xr.Dataset
        Lazy.
    time : xr.Variable
        In numbers, as it stands in the file.
    """

    path: Path
    fields: xr.Dataset
    time: xr.Variable

    @classmethod
    def of(cls, path: Path, period: tuple[str, str] | None = None) -> Predictors:
        """Open a file.

        Parameters
        ----------
        path : Path
        period : tuple of str, optional
            First and last time to keep.

        Raises
        ------
        InputError
            If it cannot be read, has no time, or none of the period.
        """
        [ds] = open_stores([path], None)
        if "time" not in ds.dims or "time" not in ds.coords or not ds.sizes["time"]:
            raise InputError(f"{path} has no times: expected predictors of days.")
        index = ds.indexes["time"]
        if not isinstance(index, pd.DatetimeIndex | xr.CFTimeIndex):
            raise InputError(
                f"{path}: its times are no dates: expected units such as days since 1950-01-01."
            )
        if not (index.is_monotonic_increasing and index.is_unique):
            raise InputError(f"{path}: its times should ascend, each once.")
        with xr.open_dataset(path, decode_times=False) as raw:
            time = raw["time"].variable.load()
        if period is not None:
            steps = ds.indexes["time"].slice_indexer(*period)
            ds, time = ds.isel(time=steps), time[steps]
            if not ds.sizes["time"]:
                raise InputError(f"{path} has no time from {period[0]} to {period[1]}.")
        time.attrs = {key: value for key, value in time.attrs.items() if key != "bounds"}
        return cls(path, with_units(ds, UNITS), time)

    def check_years(self, years: str) -> None:
        """Refuse days of other years than the name of the file says.

        Parameters
        ----------
        years : str
            Such as `1981-2000`.

        Raises
        ------
        InputError
            If so.
        """
        times = times_of(self.fields)
        found = f"{times[0].year}-{times[-1].year}"
        if found != years:
            raise InputError(
                f"{self.path}: its name says {years}, and its times are of {found}: is the file "
                "whole?"
            )


def is_stochastic(bundle: Bundle) -> bool:
    """Tell whether a model draws members."""
    return bool(bundle.model.stochastic)


def check_targets(bundle: Bundle) -> None:
    """Refuse a model that does not predict what the benchmark asks for.

    Raises
    ------
    InputError
        The message names what it lacks.
    """
    lacking = [name for name in TARGETS.values() if name not in bundle.model.config.targets]
    if lacking:
        raise InputError(
            f"{bundle.path} predicts {', '.join(bundle.model.config.targets)}, and the benchmark "
            f"asks for {', '.join(TARGETS.values())}: fit one with all of them."
        )


def draw(
    bundle: Bundle, predictors: Predictors, form: Form, path: Path, attrs: dict[str, str],
    advance: Advance,
) -> None:  # fmt: skip
    """Predict days into a file: ten members, or one field of a model that draws none.

    Parameters
    ----------
    bundle : Bundle
    predictors : Predictors
    form : Form
    path : Path
        Gets its name when it is whole.
    attrs : dict
        Of the file.
    advance : callable
        Is told of the days that are done.

    Raises
    ------
    InputError
        If the model cannot serve the predictors, or says nothing of some cells.
    """
    members = MEMBERS if is_stochastic(bundle) else None
    with writing(path, form, predictors.time, members, attrs) as output:
        parts = [*windows(predictors.time.size, members or 1, form.shape)]
        lazy = predictors.fields.chunk(time=parts[0].stop)
        fine = predict(lazy, bundle, members=members, progress=False)
        for window in parts:
            days = fine.isel(time=window).load()
            fields = {name: form.arranged(days, channel) for name, channel in TARGETS.items()}
            _check_whole(fields, predictors, window)
            output.put(window, fields)
            advance(window.stop - window.start)


def windows(days: int, members: int, shape: tuple[int, int]) -> Iterator[slice]:
    """Cut a series into parts that are held at once."""
    each = 4 * len(TARGETS) * members * shape[0] * shape[1]
    step = max(1, _BYTES // each)
    for start in range(0, days, step):
        yield slice(start, min(days, start + step))


def _check_whole(fields: Fields, predictors: Predictors, window: slice) -> None:
    days = window.stop - window.start
    for name, values in fields.items():
        if values.shape[1] != days:
            raise InputError(
                f"{predictors.path} has {days} times where the model gives {values.shape[1]}: "
                "expected a day each."
            )
        if missing := int((~np.isfinite(values)).sum()):
            raise InputError(
                f"{name} is missing in {missing} of {values.size} values predicted from "
                f"{predictors.path} (days {window.start} to {window.stop - 1}): its predictors are "
                "missing there, and a submission is whole."
            )
