"""Sides: the coarse and the fine dataset of some pairs, and their channels as one array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orbitlite.data.members import extra_dims
from orbitlite.data.pairing import Pairing, Pairs
from orbitlite.grids.grid import dims_of


@dataclass
class Side:
    """One of the two datasets, with its channels and its extra dims."""

    ds: xr.Dataset
    channels: tuple[str, ...]
    dims: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of all its samples: `(T, *members, C, H, W)`."""
        lead, cells = (
            tuple(self.ds.sizes[dim] for dim in dims)
            for dims in (("time", *self.dims), dims_of(self.ds))
        )
        return (*lead, len(self.channels), *cells)


def sides_of(pairs: Pairs, pairing: Pairing) -> tuple[Side, Side]:
    """Return the coarse and the fine side."""
    return (
        Side(pairs.coarse, pairing.inputs, extra_dims(pairs.coarse)),
        Side(pairs.fine, pairing.truthful, extra_dims(pairs.fine)),
    )


def stack(ds: xr.Dataset, channels: Sequence[str], dims: Sequence[str]) -> NDArray[np.float32]:
    """Put channels into one array `(*dims, C, H, W)`; those that `ds` lacks are NaN.

    Parameters
    ----------
    ds : xr.Dataset
        Canonical. Channels without one of `dims` are repeated along it.
    channels : sequence of str
    dims : sequence of str
    """
    horizontal = dims_of(ds)
    lead, cells = ([ds.sizes[dim] for dim in part] for part in (dims, horizontal))
    shape = (*lead, len(channels), *cells)
    values = np.full(shape, np.nan, np.float32)
    for number, name in enumerate(channels):
        if name in ds:
            field = ds[name].expand_dims([dim for dim in dims if dim not in ds[name].dims])
            values[..., number, :, :] = field.transpose(*dims, *horizontal).values
    return values
