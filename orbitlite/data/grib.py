"""GRIB: open files of mixed content, and turn sums from the start of a run into amounts."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from orbitlite.data.reader import READERS, SUFFIXES, Place
from orbitlite.data.totals import Totals, with_hours
from orbitlite.errors import InputError
from orbitlite.remote import with_retries


@READERS.register("grib")
class Grib:
    """Files that are called GRIB or begin so."""

    def matches(self, place: Place) -> bool:
        """Tell it from the suffix, or from the first bytes where the suffix says nothing."""
        return place.ends(*SUFFIXES["grib"]) or place.head.startswith(b"GRIB")

    def open(self, place: Place) -> list[xr.Dataset]:
        """Open a file: see `open_grib`."""
        return open_grib(with_retries(place.local))


def open_grib(path: str) -> list[xr.Dataset]:
    """Open a GRIB file as datasets of like dimensions, without leaving an index beside it.

    Parameters
    ----------
    path : str
        A local file.

    Returns
    -------
    list of xr.Dataset
        Accumulations as they are stored, with the coordinate `startStep` (hours since the run
        began): see `amounts_per_step`.

    Raises
    ------
    InputError
        If cfgrib is not installed.
    """
    try:
        import cfgrib
    except ImportError as error:
        raise InputError(
            f"{path} is a GRIB file; reading GRIB needs: pip install 'orbitlite[grib]'"
        ) from error
    options = {"indexpath": "", "errors": "raise", "extra_coords": {"startStep": "step"}}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module="cfgrib")
        return list(cfgrib.open_datasets(path, backend_kwargs=options))


def amounts_per_step(datasets: Iterable[xr.Dataset]) -> list[xr.Dataset]:
    """Turn accumulations, from one GRIB file or many, into amounts per step with their period.

    A variable with `GRIB_stepType` `accum` whose every step starts at the beginning of the run
    is differenced along `step`, across the files of one run; one whose steps start where the one
    before ended is an amount already.

    Parameters
    ----------
    datasets : iterable of xr.Dataset
        From `open_grib`.

    Returns
    -------
    list of xr.Dataset
        The instantaneous fields of each dataset, then the accumulated ones, which have the
        attribute `accumulation_hours`.

    Raises
    ------
    InputError
        If the steps of a run are uneven.
    """
    plain, runs = [], dict[Any, list[xr.DataArray]]()
    for ds in datasets:
        sums = [name for name, data in ds.items() if data.attrs.get("GRIB_stepType") == "accum"]
        for name in sums:
            grid = (ds.sizes.get("latitude"), ds.sizes.get("longitude"))
            run = tuple(np.atleast_1d(ds["time"].values)) if "time" in ds.coords else ()
            runs.setdefault((name, grid, run), []).append(ds[name])
        if len(sums) < len(ds.data_vars):
            plain.append(ds.drop_vars([*sums, "startStep"], errors="ignore"))
    return plain + [_amount(_one_run(parts)).to_dataset() for parts in runs.values()]


def _one_run(parts: Sequence[xr.DataArray]) -> xr.DataArray:
    if len(parts) == 1:
        return parts[0]
    stepped = [part if "step" in part.dims else part.expand_dims("step") for part in parts]
    for number, part in enumerate(stepped):
        start = np.broadcast_to(part["startStep"].values, part.sizes["step"])
        part = part.drop_vars(["startStep", "valid_time"], errors="ignore")
        stepped[number] = part.assign_coords(startStep=("step", start))
    whole = xr.concat(
        stepped, "step", coords="minimal", compat="override", combine_attrs="override"
    )
    if not whole.indexes["step"].is_unique:
        raise InputError(f"Several files hold {whole.name!r} at the same step of the same run.")
    return whole.sortby("step")


def _amount(data: xr.DataArray) -> xr.DataArray:
    ends = np.atleast_1d(data["step"].values) / np.timedelta64(1, "h")
    starts = np.broadcast_to(data["startStep"].values, ends.shape).astype(np.float64)
    data = data.drop_vars("startStep")
    if starts.any():
        return with_hours(data, ends - starts)
    if ends.size == 1:
        return with_hours(data, ends)
    return Totals.of_run(data, "step", ends).amounts(data)
