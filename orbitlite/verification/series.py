"""One variable's prediction, truth and coarse input, read in chunks of time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice, product

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from orbitlite.data.axes import MEMBERS
from orbitlite.errors import InputError
from orbitlite.grids.grid import Grid, dims_of
from orbitlite.verification.quantity import Quantity
from orbitlite.verification.timeline import Timeline

_CHUNK_CELLS = 2**20


@dataclass(frozen=True)
class Series:
    """Aligned arrays of one variable, rows north to south.

    Attributes
    ----------
    quantity : Quantity
    prediction, truth : xr.DataArray
        Dims (..., time, lat, lon); further dims of the prediction are members of an ensemble or
        count as samples.
    coarse : xr.DataArray or None
    grid : Grid
    """

    quantity: Quantity
    prediction: xr.DataArray
    truth: xr.DataArray
    coarse: xr.DataArray | None
    grid: Grid

    def __post_init__(self) -> None:
        further = _further(self.prediction)
        for name, size in further.items():
            if not size:
                raise InputError(
                    f"{self.quantity.name!r} has no values along the dimension {name!r} in the "
                    "prediction."
                )
        for role, array in (("truth", self.truth), ("coarse input", self.coarse)):
            if array is not None:
                _check_further(self.quantity.name, array, role, further)

    @property
    def ensemble(self) -> dict[str, int]:
        """Sizes of the dims that make an ensemble: those called so that the truth lacks.

        None if there is a single member, which is a deterministic prediction.
        """
        further = _further(self.prediction)
        sizes = {
            name: size
            for name, size in further.items()
            if name in MEMBERS and name not in self.truth.dims
        }
        return sizes if math.prod(sizes.values()) > 1 else {}

    @property
    def members(self) -> int:
        """M; one of a deterministic prediction."""
        return math.prod(self.ensemble.values())

    def member_names(self, count: int) -> tuple[str, ...]:
        """Return the labels of the first members; their places, from 0, where they have none."""
        labels = [self.prediction[name].values for name in self.ensemble]
        first = islice(product(*labels), count)
        return tuple(", ".join(str(label) for label in member) for member in first)

    @property
    def others(self) -> dict[str, int]:
        """Sizes of the further dims of the prediction whose values are samples of their own."""
        further = _further(self.prediction)
        return {name: size for name, size in further.items() if name not in self.ensemble}

    def windows(self) -> Iterator[slice]:
        """Yield chunks of time of bounded size; all members count."""
        count = self.prediction.sizes["time"]
        cells = math.prod((*self.grid.shape, *self.others.values(), self.members))
        length = max(1, _CHUNK_CELLS // cells)
        for start in range(0, count, length):
            yield slice(start, min(start + length, count))

    @property
    def samples(self) -> int:
        """Times, each counted once per value of the other dims."""
        return self.prediction.sizes["time"] * math.prod(self.others.values())

    @property
    def step(self) -> str:
        """What a time is called: `day`, or `time` where there are several a day."""
        times = self.prediction.indexes["time"]
        several = len(times) > 1 and min(times[1:] - times[:-1]) < timedelta(days=1)
        return "time" if several or not self.quantity.daily else "day"

    @property
    def days(self) -> Timeline | None:
        """The days of a daily series; None of amounts of hours and of monthly means."""
        if self.step != "day":
            return None
        days = Timeline.of(self.prediction.indexes["time"])
        return days if days.joined.any() else None

    def read(self, array: xr.DataArray, window: slice) -> Tensor:
        """Read a chunk as float32, NaN where missing.

        Parameters
        ----------
        array : xr.DataArray
            Prediction, truth or coarse input.
        window : slice
            Of times.

        Returns
        -------
        Tensor of shape (others * times, M, H, W)
            M is one if the array has none of the dims of the ensemble.
        """
        ensemble = self.ensemble if {*self.ensemble} & {*array.dims} else {}
        return read(array.isel(time=window), self.others, ensemble)


def read(
    array: xr.DataArray, others: Mapping[str, int], ensemble: Mapping[str, int] | None = None
) -> Tensor:
    """Load an array as float32 of shape (others * times, M, H, W); infinite becomes NaN.

    Parameters
    ----------
    array : xr.DataArray
        Dims (..., time, lat, lon).
    others, ensemble : mapping
        Sizes of the dims that join the times, and of those that are the members; repeated where
        the array lacks them.
    """
    members = dict(ensemble or {})
    absent = {name: size for name, size in {**others, **members}.items() if name not in array.dims}
    full = array.expand_dims(absent) if absent else array
    values = full.transpose(*others, "time", *members, *dims_of(array)).values
    tensor = torch.from_numpy(np.array(values, np.float32, order="C"))
    tensor = tensor.reshape(-1, math.prod(members.values()), *tensor.shape[-2:])
    return torch.where(torch.isfinite(tensor), tensor, torch.nan)


def _further(array: xr.DataArray) -> dict[str, int]:
    sizes = {str(name): size for name, size in array.sizes.items()}
    return {name: size for name, size in sizes.items() if name not in ("time", *dims_of(array))}


def _check_further(channel: str, array: xr.DataArray, role: str, members: dict[str, int]) -> None:
    for name, size in _further(array).items():
        if members.get(name) != size:
            found = f"{members[name]} in" if name in members else "missing from"
            raise InputError(
                f"{channel!r} has the dimension {name!r} ({size} values) in the {role}, which is "
                f"{found} the prediction; select or average it first."
            )


def common_dims(first: xr.DataArray, second: xr.DataArray) -> dict[str, int]:
    """Return the further dims of two arrays that are read side by side."""
    return {**_further(first), **_further(second)}
