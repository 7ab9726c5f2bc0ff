"""Totals: what is accumulated since some start, differenced to amounts per step."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orbitlite.errors import InputError
from orbitlite.notice import warn
from orbitlite.variables import Variable, lookup, resolve, units

logger = logging.getLogger(__name__)

Hours: TypeAlias = NDArray[np.float64]

# Falls below this share of the largest total are noise of packing (8 bits: 0.004).
NOISE = 0.005
# What is noise in any case, in the unit of the table.
_FLOORS = {"mm": 0.05, "J m-2": 1e4}


@dataclass(frozen=True, eq=False)
class Totals:
    """Since when the steps of a variable are accumulated.

    Attributes
    ----------
    dim : str
        The steps.
    starts, ends : ndarray of float, shape (steps,)
        Hours, from any moment on.
    remark : str
        What to say when they are differenced.
    forecast : bool
        The steps are lead times: amounts should all be over one length of time, and a step 0,
        before which nothing fell, goes. False: amounts over another length are missing.
    """

    dim: str
    starts: Hours
    ends: Hours
    remark: str
    forecast: bool

    @classmethod
    def of_run(cls, data: xr.DataArray, dim: str, ends: Hours) -> Totals:
        """Describe totals since the start of a run, with lead times of `ends` hours."""
        remark = (
            f"{data.name!r} is accumulated from the start of the run: differenced to amounts per "
            "step; small negative differences, noise of the packing, become zero."
        )
        return cls(dim, np.zeros_like(ends), ends, remark, forecast=True)

    def amounts(self, data: xr.DataArray) -> xr.DataArray:
        """Difference the totals, lazily; the result states `accumulation_hours`.

        Small negative amounts, noise of the packing, are zero. Where totals that cannot fall do,
        reading the amounts raises InputError.

        Raises
        ------
        InputError
            If the steps of a forecast are uneven.
        """
        warn(logger, self.remark)
        order = np.argsort(self.ends, kind="stable")
        starts, ends = self.starts[order], self.ends[order]
        same = np.append(False, starts[1:] == starts[:-1])
        hours = ends - np.where(same, np.append(0.0, ends[:-1]), starts)
        amount = _difference(_at(data, self.dim, order), self.dim, same)
        if not self.forecast:
            return _at(_of_most(amount, self.dim, hours), self.dim, np.argsort(order))
        if ends[0] > 0:
            return with_hours(_at(amount, self.dim, np.argsort(order)), hours)
        later = np.flatnonzero(ends > 0)
        return with_hours(amount.isel({self.dim: later}), hours[later])


def amounts(ds: xr.Dataset, found: Mapping[str, Totals | float]) -> list[xr.Dataset]:
    """Turn totals into amounts per step, lazily.

    Parameters
    ----------
    ds : xr.Dataset
    found : mapping of str to Totals or float
        Of some variables: since when they are totals, or over how many hours they are amounts.

    Returns
    -------
    list of xr.Dataset
        The dataset, and apart from it the amounts of those forecasts that begin with step 0.
    """
    shorter = []
    for name, kind in found.items():
        if isinstance(kind, float):
            ds = ds.assign({name: ds[name].assign_attrs(accumulation_hours=kind)})
            continue
        amount = kind.amounts(ds[name])
        if amount.sizes == ds[name].sizes:
            ds = ds.assign({name: amount})
        else:
            ds = ds.drop_vars(name)
            shorter.append(amount.to_dataset().assign_attrs(ds.attrs))
    return [*([ds] if ds.data_vars or not shorter else []), *shorter]


def with_hours(data: xr.DataArray, hours: Hours) -> xr.DataArray:
    """State the hours that every amount fell in.

    Raises
    ------
    InputError
        If they are not the same for all.
    """
    lengths = np.unique(np.round(hours, 6))
    if lengths.size != 1:
        raise InputError(
            f"{data.name!r} is accumulated over steps of {', '.join(f'{p:g}' for p in lengths)} h: "
            "expected steps of one length; give the files of every step, or of equal steps only."
        )
    return data.assign_attrs(accumulation_hours=float(lengths[0]))


def variable_of(data: xr.DataArray) -> Variable | None:
    """Return the row of the table that a variable of a file stands for."""
    channel = resolve(str(data.name), data.attrs)
    return None if channel is None else lookup(channel)


def never_falls(variable: Variable) -> bool:
    """Tell whether totals of a variable can only grow."""
    return variable.nonnegative or variable.name == "surface_net_solar_radiation"


def least(data: xr.DataArray) -> float:
    """Return how much is noise in any case, in the unit of the data; 0 if that is unknown."""
    variable = variable_of(data)
    text = data.attrs.get("units", data.attrs.get("GRIB_units"))
    if variable is None or variable.units not in _FLOORS or text is None:
        return 0.0
    try:
        scale = units.conversion(str(text), variable.units, hours=1.0, water=True).scale
    except units.UnitError:
        return 0.0
    return _FLOORS[variable.units] / scale


def _at(data: xr.DataArray, dim: str, order: NDArray[np.intp]) -> xr.DataArray:
    return data if (np.diff(order) == 1).all() else data.isel({dim: order})


def _difference(data: xr.DataArray, dim: str, same: NDArray[np.bool_]) -> xr.DataArray:
    """Subtract the step before, where that has its start in common."""
    before = data.shift({dim: 1}, fill_value=0.0)
    variable = variable_of(data)
    result: xr.DataArray = xr.apply_ufunc(
        _without_noise,
        data - before.where(xr.DataArray(same, dims=dim), 0.0),
        data,
        kwargs={
            "name": str(data.name),
            "least": least(data),
            "rising": variable is not None and never_falls(variable),
        },
        dask="parallelized",
        output_dtypes=[np.result_type(data.dtype, np.float32)],
    )
    result.name, result.attrs = data.name, dict(data.attrs)
    return result


def _without_noise(
    amount: NDArray[Any], total: NDArray[Any], *, name: str, least: float, rising: bool
) -> NDArray[Any]:
    known = np.abs(total[np.isfinite(total)])
    noise = max(least, NOISE * float(known.max(initial=0.0)))
    if rising and (amount < -noise).any():
        raise InputError(
            f"{name!r} was taken as accumulated from a start and differenced, but it falls by up "
            f"to {-np.nanmin(amount):g} where no new start was expected. If it holds amounts per "
            f"step, say over how many hours in ds[{name!r}].attrs['accumulation_hours']."
        )
    small = (amount < 0) & (amount >= -noise)
    result: NDArray[Any] = np.where(small, amount.dtype.type(0), amount)
    return result


def _of_most(amount: xr.DataArray, dim: str, hours: Hours) -> xr.DataArray:
    """Keep the amounts over the commonest length; the others are missing."""
    lengths, counts = np.unique(np.round(hours, 6), return_counts=True)
    common = float(lengths[counts.argmax()])
    other = np.abs(hours - common) > 1e-6
    if other.any():
        warn(
            logger,
            f"{amount.name!r}: {other.sum()} of {other.size} steps have no step {common:g} h "
            "before them to take the amount from, and are missing.",
        )
        amount = amount.where(xr.DataArray(~other, dims=dim)).assign_attrs(amount.attrs)
    return amount.assign_attrs(accumulation_hours=common)
