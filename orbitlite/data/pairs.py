"""Pairs: samples of coarse and fine fields as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import dask
import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch.utils.data import Dataset, get_worker_info

from orbitlite.batch import Batch
from orbitlite.data.pairing import Pairing, Pairs, extra_dims
from orbitlite.data.windows import seconds_of

# Steps whose task graph is kept apart: the cost of a read grows with the graph it is cut from.
_WINDOW = 128
# What is read at a time while a store is taken into memory.
_BLOCK_BYTES = 2**26


class PairDataset(Dataset[Batch]):
    """The (coarse, fine) samples of given times; extra dims count as samples.

    Pickled without what it has opened: every worker opens the sources for itself.

    Parameters
    ----------
    pairing : Pairing
        Where the data come from.
    positions : ndarray of int
        Which of the pairing's times are in.
    pairs : Pairs, optional
        The pairing, opened, where this process has done so already.
    cache : bool
        Read everything into memory now.

    Attributes
    ----------
    pairs : Pairs or None
        The pairs of these times, in memory if cached; None in a worker.
    """

    def __init__(
        self,
        pairing: Pairing,
        positions: NDArray[np.intp],
        pairs: Pairs | None = None,
        *,
        cache: bool = False,
    ) -> None:
        self.pairing = pairing
        self.positions = positions
        pairs = (pairs or pairing.open()).at(positions)
        self.members = pairs.members
        self.times = pairs.times
        self._frame = _frame(pairs, pairing)
        self._seconds = torch.from_numpy(seconds_of(self.times).astype(np.float64))
        self.cached = cache
        self._reader: _Memory | _Stream | None
        if cache:
            self._reader = _Memory(pairs, pairing)
            pairs = self._reader.replaced(pairs, pairing)
        else:
            self._reader = _Stream(pairs, pairing)
        self.pairs: Pairs | None = pairs

    def __len__(self) -> int:
        return len(self.times) * int(np.prod([*self.members.values()], dtype=int))

    def __getitem__(self, index: int) -> Batch:
        """Return one sample as a batch of one."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return self._batch([index % len(self)])

    def __getitems__(self, indices: list[int]) -> list[Batch]:
        """Read several samples at once: one batch in a list, for `Batch.collate`."""
        return [self._batch(indices)]

    def __getstate__(self) -> dict[str, Any]:
        state = {**self.__dict__, "pairs": None}
        return state if self.cached else {**state, "_reader": None}

    def _batch(self, indices: list[int]) -> Batch:
        if self._reader is None:
            self._reader = _Stream(self.pairing.open().at(self.positions), self.pairing)
        shape = (len(self.times), *self.members.values())
        steps, *members = np.unravel_index(np.asarray(indices), shape)
        places = dict(zip(self.members, members, strict=True))
        coarse, fine = self._reader.read(steps, places)
        count = len(indices)
        static = self._frame.fine_static
        assert self._frame.lat_edges is not None
        assert self._frame.lon_edges is not None
        return Batch(
            coarse=torch.from_numpy(coarse),
            fine=torch.from_numpy(fine),
            fine_static=None if static is None else static.expand(count, -1, -1, -1),
            lat_edges=self._frame.lat_edges.expand(count, -1),
            lon_edges=self._frame.lon_edges.expand(count, -1),
            time=self._seconds[torch.from_numpy(steps)],
        )


def _frame(pairs: Pairs, pairing: Pairing) -> Batch:
    """What all samples share."""
    names = pairing.fine_statics
    return Batch(
        coarse=torch.empty(0),
        fine_static=torch.from_numpy(stack(pairs.statics, names, ())[None]) if names else None,
        lat_edges=torch.from_numpy(pairs.grid.lat_edges.copy())[None],
        lon_edges=torch.from_numpy(pairs.grid.lon_edges.copy())[None],
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
    shape = (*(ds.sizes[dim] for dim in dims), len(channels), ds.sizes["lat"], ds.sizes["lon"])
    values = np.full(shape, np.nan, np.float32)
    for number, name in enumerate(channels):
        if name in ds:
            field = ds[name].expand_dims([dim for dim in dims if dim not in ds[name].dims])
            values[..., number, :, :] = field.transpose(*dims, "lat", "lon").values
    return values


@dataclass
class _Side:
    """One of the two datasets, with its channels and its extra dims."""

    ds: xr.Dataset
    channels: tuple[str, ...]
    dims: tuple[str, ...]


def _sides(pairs: Pairs, pairing: Pairing) -> tuple[_Side, _Side]:
    return (
        _Side(pairs.coarse, pairing.inputs, extra_dims(pairs.coarse)),
        _Side(pairs.fine, pairing.targets, extra_dims(pairs.fine)),
    )


class _Memory:
    """Samples from arrays `(T, *members, C, H, W)`."""

    def __init__(self, pairs: Pairs, pairing: Pairing) -> None:
        sides = _sides(pairs, pairing)
        self.dims = [side.dims for side in sides]
        self.arrays = [_load(side) for side in sides]

    def read(
        self, steps: NDArray[np.intp], places: dict[str, NDArray[np.intp]]
    ) -> list[NDArray[np.float32]]:
        return [
            array[(steps, *(places[dim] for dim in dims))]
            for dims, array in zip(self.dims, self.arrays, strict=True)
        ]

    def replaced(self, pairs: Pairs, pairing: Pairing) -> Pairs:
        """Return the pairs with what changes in time replaced by views of the arrays."""
        fields = []
        for side, array in zip(_sides(pairs, pairing), self.arrays, strict=True):
            dims = ("time", *side.dims, "lat", "lon")
            views = {
                name: xr.Variable(dims, array[..., number, :, :], side.ds[name].attrs).transpose(
                    ..., "time", "lat", "lon"
                )
                for number, name in enumerate(side.channels)
                if name in side.ds and "time" in side.ds[name].dims
            }
            fields.append(side.ds.assign(views))
        return replace(pairs, coarse=fields[0], fine=fields[1])


def _load(side: _Side) -> NDArray[np.float32]:
    """Read a dataset block by block of steps."""
    ds, steps = side.ds, side.ds.sizes["time"]
    at_once = max(1, _BLOCK_BYTES * steps // max(1, ds.nbytes))
    sizes = [ds.sizes[dim] for dim in ("time", *side.dims)]
    shape = (*sizes, len(side.channels), ds.sizes["lat"], ds.sizes["lon"])
    values = np.empty(shape, np.float32)
    for start in range(0, steps, at_once):
        block = slice(start, start + at_once)
        read = ds.isel(time=block).load()
        values[block] = stack(read, side.channels, ("time", *side.dims))
    return values


class _Stream:
    """Samples read from the stores one step at a time."""

    def __init__(self, pairs: Pairs, pairing: Pairing) -> None:
        self.sides = _sides(pairs, pairing)
        self.windows: dict[int, tuple[xr.Dataset, ...]] = {}

    def read(
        self, steps: NDArray[np.intp], places: dict[str, NDArray[np.intp]]
    ) -> list[NDArray[np.float32]]:
        parts: list[xr.Dataset] = []
        for number, step in enumerate(steps):
            for side, ds in zip(self.sides, self._at(int(step)), strict=True):
                own = {dim: int(places[dim][number]) for dim in side.dims}
                parts.append(ds.isel(own))
        # a worker is one of several: it reads by itself
        options = {"scheduler": "synchronous"} if get_worker_info() else {}
        read = dask.compute(*parts, **options)
        return [
            np.concatenate([stack(ds, side.channels, ("time",)) for ds in read[number::2]])
            for number, side in enumerate(self.sides)
        ]

    def _at(self, step: int) -> tuple[xr.Dataset, ...]:
        """Cut one step, from the task graph of those around it."""
        number, place = divmod(step, _WINDOW)
        if number not in self.windows:
            window = slice(number * _WINDOW, (number + 1) * _WINDOW)
            parts = [side.ds.isel(time=window) for side in self.sides]
            self.windows[number] = tuple(dask.optimize(*parts))
        return tuple(ds.isel(time=[place]) for ds in self.windows[number])
