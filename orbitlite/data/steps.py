"""Steps: fields of single steps of lazy datasets, by tasks that are listed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate, pairwise, product
from typing import Any, NamedTuple, TypeAlias

import dask
import dask.threaded
import numpy as np
import xarray as xr
from dask.base import get_scheduler
from dask.core import flatten
from dask.optimization import cull
from numpy.typing import NDArray
from torch.utils.data import get_worker_info

from orbitlite.grids.grid import dims_of

# Steps whose tasks are listed at a time: those of a whole archive take long, and much memory.
_WINDOW = 128

Index: TypeAlias = int | slice | NDArray[np.intp]

Cells: TypeAlias = Mapping[str, Index]
"""Of a grid's dims a slice or an array of cells, of any other dim one number."""


class Wanted(NamedTuple):
    """What to read: cells of one step of one of the datasets."""

    dataset: int
    step: int
    cells: Cells


class _Piece(NamedTuple):
    """What a block holds of a field: its number, what cuts it out, and where it goes."""

    block: tuple[int, ...]
    cut: Callable[[Any], NDArray[np.float32]]
    place: tuple[slice | NDArray[np.intp], ...]


class StepReader:
    """Reads steps of lazy datasets of the same times, in any order.

    To select from arrays of dask, and to fuse their tasks, takes longer for each variable than to
    decode a step. Here the tasks of a window of steps are listed once, and a read asks for blocks
    by their keys.

    Parameters
    ----------
    datasets : sequence of xr.Dataset
        Their dims besides time and those of the grid are read at one place each.
    channels : sequence of sequence of str
        Of each dataset, in the order in which they are returned.
    """

    def __init__(self, datasets: Sequence[xr.Dataset], channels: Sequence[Sequence[str]]) -> None:
        self._datasets, self._channels = list(datasets), list(channels)
        self._windows: dict[int, tuple[list[xr.Dataset], dict[Any, Any]]] = {}

    def read(self, wanted: Sequence[Wanted]) -> list[NDArray[np.float32]]:
        """Return the fields (C, h, w) of each; channels that a dataset lacks are NaN."""
        graph, keys = dict[Any, Any](), list[str]()
        found, targets = list[NDArray[np.float32]](), list[tuple[Any, Any]]()
        for one in wanted:
            number, place = divmod(one.step, _WINDOW)
            datasets, tasks = self._window(number)
            ds, channels = datasets[one.dataset], self._channels[one.dataset]
            cells = {**one.cells, "time": place}
            found.append(np.full((len(channels), *_shape(ds, cells)), np.nan, np.float32))
            blocks = []
            for block, cut, field, where in _pieces(ds, channels, cells, found[-1]):
                blocks.append(block)
                keys.append(f"piece-{len(keys)}")
                graph[keys[-1]] = (cut, block)
                targets.append((field, where))
            graph |= cull(tasks, blocks)[0]
        # a worker is one of several: it reads by itself
        options = {"scheduler": "synchronous"} if get_worker_info() else {}
        get = get_scheduler(**options) or dask.threaded.get
        for (field, where), piece in zip(targets, get(graph, keys), strict=True):
            field[where] = piece
        return found

    def _window(self, number: int) -> tuple[list[xr.Dataset], dict[Any, Any]]:
        """Return the steps of a window, and the tasks that make their blocks."""
        if number not in self._windows:
            steps = slice(number * _WINDOW, (number + 1) * _WINDOW)
            datasets = [ds.isel(time=steps) for ds in self._datasets]
            tasks = dict[Any, Any]()
            for array in (field.data for ds in datasets for field in ds.data_vars.values()):
                if dask.is_dask_collection(array):
                    tasks |= dict(array.dask.cull({*flatten(array.__dask_keys__())}))
            self._windows[number] = datasets, tasks
        return self._windows[number]


def _shape(ds: xr.Dataset, cells: Cells) -> list[int]:
    """Return the numbers of rows and columns that are read."""
    return [np.arange(ds.sizes[dim])[cells[dim]].size for dim in dims_of(ds)]


def _pieces(
    ds: xr.Dataset,
    channels: Sequence[str],
    cells: Cells,
    values: NDArray[np.float32],
) -> Iterator[tuple[Any, Any, NDArray[np.float32], Any]]:
    """Yield the key of each block, what cuts it, and the field (h, w) and place that it goes to.

    What is in memory is put into `values` (C, h, w) here.
    """
    horizontal = dims_of(ds)
    known: dict[Any, list[_Piece]] = {}
    for row, name in enumerate(channels):
        if name not in ds:
            continue
        variable = ds[name].variable
        own: dict[Any, Index] = {dim: cells[str(dim)] for dim in variable.dims}
        if variable.chunks is None:
            values[row] = variable.isel(own).transpose(*horizontal).values
            continue
        array: Any = variable.data
        layout = (variable.dims, array.chunks)
        if layout not in known:
            known[layout] = [*_of_blocks(array.chunks, [*own.values()])]
        axes = [dim for dim in variable.dims if dim in horizontal]
        target = values[row] if axes == [*horizontal] else values[row].T
        for piece in known[layout]:
            yield (array.name, *piece.block), piece.cut, target, piece.place


def _of_blocks(chunks: Sequence[tuple[int, ...]], wanted: Sequence[Index]) -> Iterator[_Piece]:
    """Yield what the blocks of an array hold of what is wanted along each axis."""
    single = tuple(axis for axis, index in enumerate(wanted) if isinstance(index, int))
    parts = [[*_along(*axis)] for axis in zip(chunks, wanted, strict=True)]
    for along in product(*parts):
        blocks, cuts, places = zip(*along, strict=True)
        place = tuple(part for axis, part in enumerate(places) if axis not in single)
        yield _Piece(blocks, partial(_cut, index=cuts, single=single), place)


def _along(sizes: tuple[int, ...], wanted: Index) -> Iterator[tuple[int, Any, Any]]:
    """Yield along one axis the number of a block, what is cut of it, and where that goes."""
    if isinstance(wanted, int):
        wanted = slice(wanted, wanted + 1)
    cells = np.arange(sum(sizes))[wanted]
    for block, (start, end) in enumerate(pairwise(accumulate(sizes, initial=0))):
        here = np.flatnonzero((start <= cells) & (cells < end))
        if here.size:
            yield block, _plain(cells[here] - start), _plain(here)


def _plain(places: NDArray[np.intp]) -> slice | NDArray[np.intp]:
    """Return a slice where places follow each other."""
    first, last = int(places[0]), int(places[-1])
    return slice(first, last + 1) if (np.diff(places) == 1).all() else places


def _cut(block: Any, index: tuple[Any, ...], single: tuple[int, ...]) -> NDArray[np.float32]:
    """Copy a part of a block, which is then done with, without the axes of one place."""
    return np.array(np.asarray(block)[index].squeeze(single))
