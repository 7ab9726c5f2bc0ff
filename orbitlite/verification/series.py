"""One variable's prediction, truth and coarse input, read in chunks of time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from orbitlite.data.grid import LatLonGrid
from orbitlite.errors import InputError
from orbitlite.verification.quantity import Quantity

_CHUNK_CELLS = 2**20


@dataclass(frozen=True)
class Series:
    """Aligned arrays of one variable, rows north to south.

    Attributes
    ----------
    quantity : Quantity
    prediction, truth : xr.DataArray
        Dims (..., time, lat, lon); further dims of the prediction (members) count as samples.
    coarse : xr.DataArray or None
    grid : LatLonGrid
    """

    quantity: Quantity
    prediction: xr.DataArray
    truth: xr.DataArray
    coarse: xr.DataArray | None
    grid: LatLonGrid

    def __post_init__(self) -> None:
        for role, array in (("truth", self.truth), ("coarse input", self.coarse)):
            if array is not None:
                _check_members(self.quantity.name, array, role, self.members)

    @property
    def members(self) -> dict[str, int]:
        """Sizes of the further dims of the prediction."""
        return _members(self.prediction)

    def windows(self) -> Iterator[slice]:
        """Yield chunks of time of bounded size."""
        count = self.prediction.sizes["time"]
        cells = math.prod(self.grid.shape) * math.prod(self.members.values())
        length = max(1, _CHUNK_CELLS // cells)
        for start in range(0, count, length):
            yield slice(start, min(start + length, count))

    @property
    def samples(self) -> int:
        """Times, each counted once per member."""
        return self.prediction.sizes["time"] * math.prod(self.members.values())

    @property
    def step(self) -> str:
        """What a time is called: `day`, or `time` where there are several a day."""
        times = self.prediction.indexes["time"]
        several = len(times) > 1 and min(times[1:] - times[:-1]) < timedelta(days=1)
        return "time" if several or not self.quantity.daily else "day"

    def read(self, array: xr.DataArray, window: slice) -> Tensor:
        """Read a chunk as float32 of shape (members * times, H, W), NaN where missing."""
        return read(array.isel(time=window), self.members)


def read(array: xr.DataArray, members: Mapping[str, int]) -> Tensor:
    """Load an array as float32 of shape (members * times, H, W); infinite becomes NaN.

    Parameters
    ----------
    array : xr.DataArray
        Dims (..., time, lat, lon).
    members : mapping
        Sizes of the dims that join the times; repeated where the array lacks them.
    """
    absent = {name: size for name, size in members.items() if name not in array.dims}
    full = array.expand_dims(absent) if absent else array
    values = full.transpose(*members, "time", "lat", "lon").values
    tensor = torch.from_numpy(np.array(values, np.float32, order="C")).flatten(0, -3)
    return torch.where(torch.isfinite(tensor), tensor, torch.nan)


def _members(array: xr.DataArray) -> dict[str, int]:
    sizes = {str(name): size for name, size in array.sizes.items()}
    return {name: size for name, size in sizes.items() if name not in ("time", "lat", "lon")}


def _check_members(channel: str, array: xr.DataArray, role: str, members: dict[str, int]) -> None:
    for name, size in _members(array).items():
        if members.get(name) != size:
            found = f"{members[name]} in" if name in members else "missing from"
            raise InputError(
                f"{channel!r} has the dimension {name!r} ({size} values) in the {role}, which is "
                f"{found} the prediction; select or average it first."
            )


def common_members(first: xr.DataArray, second: xr.DataArray) -> dict[str, int]:
    """Return the further dims of two arrays that are read side by side."""
    return {**_members(first), **_members(second)}
