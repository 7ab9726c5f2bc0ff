"""Held samples: those of a data set, decoded once for all processes of a node."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orbitlite.data.blocks import spans
from orbitlite.data.pairing import Pairing, Pairs
from orbitlite.data.sample_file import SampleFile, Shapes, node
from orbitlite.data.sharing import Sharing
from orbitlite.data.sides import Side, sides_of
from orbitlite.data.tiles import Tile, framed, scaled, take
from orbitlite.grids.grid import dims_of
from orbitlite.notice import notice, warn
from orbitlite.progress import bar

logger = logging.getLogger(__name__)

# What is read at a time while a store is decoded.
_BLOCK_BYTES = 2**26


class Held:
    """Samples from arrays `(T, *members, C, H, W)`, of this process or of all of its node.

    Parameters
    ----------
    pairs : Pairs
    pairing : Pairing
    file : SampleFile, optional
        That holds the arrays. None: they are read now.
    """

    def __init__(self, pairs: Pairs, pairing: Pairing, file: SampleFile | None = None) -> None:
        sides = sides_of(pairs, pairing)
        self.factor = pairing.factor
        self.dims = [side.dims for side in sides]
        self._file = file
        if file is None:
            self.arrays = [np.empty(side.shape, np.float32) for side in sides]
            _decode(sides, self.arrays)
        else:
            self.arrays = file.arrays()

    def __getstate__(self) -> dict[str, Any]:
        # Workers map the same pages; arrays of this process alone are copied.
        return self.__dict__ if self._file is None else {**self.__dict__, "arrays": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._file is not None:
            self.arrays = self._file.arrays()

    def read(
        self, steps: NDArray[np.intp], places: dict[str, NDArray[np.intp]], tiles: list[Tile]
    ) -> list[NDArray[np.float32]]:
        """Return coarse and fine fields of some samples: copies of their windows."""
        found: list[list[NDArray[np.float32]]] = [[], []]
        for number, (step, tile) in enumerate(zip(steps, tiles, strict=True)):
            coarse, fine = (
                array[(step, *(places[dim][number] for dim in dims))]
                for dims, array in zip(self.dims, self.arrays, strict=True)
            )
            found[0].append(take(coarse, tile))
            rows, columns = (scaled(cells, self.factor) for cells in tile.core)
            found[1].append(framed(fine[..., rows, columns], tile, self.factor))
        return [np.stack(part) for part in found]

    def replaced(self, pairs: Pairs, pairing: Pairing) -> Pairs:
        """Return the pairs with what changes in time replaced by views of the arrays."""
        fields = []
        for side, array in zip(sides_of(pairs, pairing), self.arrays, strict=True):
            horizontal = dims_of(side.ds)
            dims = ("time", *side.dims, *horizontal)
            views = {
                name: xr.Variable(dims, array[..., number, :, :], side.ds[name].attrs).transpose(
                    ..., "time", *horizontal
                )
                for number, name in enumerate(side.channels)
                if name in side.ds and "time" in side.ds[name].dims
            }
            fields.append(side.ds.assign(views))
        return replace(pairs, coarse=fields[0], fine=fields[1])


def hold(pairs: Pairs, pairing: Pairing, sharing: Sharing, folder: str | None) -> Held | None:
    """Decode samples once for all processes of a node, each a part of them.

    Parameters
    ----------
    pairs : Pairs
    pairing : Pairing
    sharing : Sharing
        Processes that have the same pairs; all of the run call this alike.
    folder : str, optional
        Where on a disk they are held. None: in memory.

    Returns
    -------
    Held or None
        None where the folder has no room. Where processes cannot share memory each has a copy.

    Raises
    ------
    InputError
        If a store cannot be read; on all processes.
    """
    sides = sides_of(pairs, pairing)
    shelf = _Shelf.of([side.shape for side in sides], sharing, folder)

    own: list[Held] = []

    def read() -> None:
        if shelf.file is not None:
            _decode(sides, shelf.file.arrays(writable=True), shelf.place, shelf.size)
        elif folder is None:
            own.append(Held(pairs, pairing))

    sharing.gather(read)
    if shelf.file is not None:
        return Held(pairs, pairing, shelf.file)
    return own[0] if own else None


@dataclass
class _Shelf:
    """The file of a node, and this process's place among those of the node.

    Attributes
    ----------
    file : SampleFile or None
        None where there is none to share.
    place, size : int
    """

    file: SampleFile | None
    place: int
    size: int

    @classmethod
    def of(cls, shapes: Shapes, sharing: Sharing, folder: str | None) -> _Shelf:
        """Make it on the first process of each node, and open it on the others."""
        nodes = sharing.gather(node)
        mates = [rank for rank, one in enumerate(nodes) if one == nodes[sharing.rank]]
        place, size = mates.index(sharing.rank), len(mates)
        needed = folder is not None or size > 1
        files: list[SampleFile] = []

        def attempt(first: bool, address: str | None = None) -> tuple[str | None, str | None]:
            """Make or open the file; return its address, or why there is none."""
            if not needed or first != (place == 0):
                return None, None
            try:
                if first:
                    files.append(SampleFile.new(shapes, folder))
                elif address is not None:
                    files.append(SampleFile.opened(address, shapes, "r+b"))
            except OSError as error:
                return None, error.strerror or str(error)
            return files[0].address if files else None, None

        made = sharing.gather(lambda: attempt(True))
        address, reason = made[mates[0]]
        joined = sharing.gather(lambda: attempt(False, address))
        reason = next((joined[mate][1] for mate in mates if joined[mate][1]), reason)
        amount = sum(4 * int(np.prod(shape)) for shape in shapes) / 2**20
        if reason is not None:
            files.clear()
            instead = (
                f"Each of the {size} processes of this node holds the samples ({amount:.0f} MiB)"
                if folder is None
                else "The samples are read from the stores in each epoch"
            )
            warn(logger, f"{instead}: {reason}.")
        elif folder is not None:
            notice(logger, f"{amount:.0f} MiB of decoded samples are held in {folder}.")
        elif size > 1:
            notice(logger, f"{size} processes share samples in memory ({amount:.0f} MiB).")
        return cls(files[0] if files else None, place, size)


def _decode(
    sides: tuple[Side, Side], arrays: list[NDArray[np.float32]], place: int = 0, size: int = 1
) -> None:
    """Read each block of two datasets, or this process's part of the blocks."""
    blocks = [(side, array, *block) for side, array in zip(sides, arrays, strict=True)
              for block in _blocks(side)]  # fmt: skip
    own = blocks[place::size]
    with bar("Samples", len(own), keep=False) as advance:
        for side, array, steps, rows in own:
            array[steps, ..., rows, :, :] = np.nan
            present = [(name, row) for row, name in enumerate(side.channels) if name in side.ds]
            names = {name: row for name, row in present if rows.start <= row < rows.stop}
            ds = side.ds[[*names]].isel(time=steps, missing_dims="ignore").load()
            for name, row in names.items():
                array[steps, ..., row, :, :] = _lined_up(ds[name], ("time", *side.dims))
            advance(1)


def _lined_up(field: xr.DataArray, dims: tuple[str, ...]) -> NDArray[np.float32]:
    """Return the values (*dims, H, W), with axes of length 1 for dims that there are none of."""
    horizontal = dims_of(field)
    own = [dim for dim in dims if dim in field.dims]
    values: NDArray[np.float32] = field.transpose(*own, *horizontal).values
    return np.expand_dims(values, [axis for axis, dim in enumerate(dims) if dim not in own])


def _blocks(side: Side) -> Iterator[tuple[slice, slice]]:
    """Yield what to read at a time: steps, and rows of channels, few where chunks are long."""
    steps, *_, channels, _, _ = side.shape
    if not channels:
        return
    field = 4 * int(np.prod(side.shape)) // steps // channels
    for span in spans(side.ds, max(1, _BLOCK_BYTES // (field * channels))):
        together = max(1, _BLOCK_BYTES // (field * (span.stop - span.start)))
        for first in range(0, channels, together):
            yield span, slice(first, first + together)
