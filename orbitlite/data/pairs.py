"""Pairs: samples of coarse fields, with fine ones or without, whole or in tiles, as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from orbitlite.batch import Batch, Core
from orbitlite.data.amplification import amplification
from orbitlite.data.calendar import seconds_of
from orbitlite.data.held import Held, hold
from orbitlite.data.pairing import Pairing, Pairs
from orbitlite.data.sampling import PADDING
from orbitlite.data.sharing import Sharing
from orbitlite.data.sides import sides_of, stack
from orbitlite.data.steps import Cells, StepReader, Wanted
from orbitlite.data.tiles import (
    Tile,
    TilePlan,
    framed,
    places_of,
    scaled,
    surrounded,
    take,
    window_index,
    window_places,
)
from orbitlite.notice import muted


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
    tile, halo : int, optional
        Coarse cells of a tile's core along one axis, and of context on each side: (time, tile)
        pairs are the samples then, with truth in the core alone. None: whole grids.
    source : int, optional
        Which of several sources the samples are of, for their batches.
    task : str, optional
        Name of the task that they are for, where there are several.

    Attributes
    ----------
    pairs : Pairs or None
        The pairs of these times, decoded if cached; None in a worker.
    cached : bool
        The samples are decoded: in memory, or in a file.
    """

    def __init__(
        self,
        pairing: Pairing,
        positions: NDArray[np.intp],
        pairs: Pairs | None = None,
        *,
        cache: bool = False,
        tile: int | None = None,
        halo: int = 0,
        source: int | None = None,
        task: str | None = None,
    ) -> None:
        self.pairing, self.source, self.task = pairing, source, task
        self.positions = positions
        pairs = (pairs or pairing.open()).at(positions)
        self.members = pairs.members
        self.times = pairs.times
        grid = pairs.grid
        plan = TilePlan(*grid.shape, tile, halo, grid.wraps, context=pairs.context)
        self.tiles = plan.tiles
        # Where there is truth, it is missing in such cells.
        self._uneven = not (pairing.truthful or bool(counted_of(self.tiles).all()))
        self._places = places_of(pairs.lattice, grid, pairs.fine_grid)
        names = pairing.static_names if pairing.truthful else ()
        statics = stack(pairs.statics, names, ()) if names else None
        self._static = (
            None if statics is None else surrounded(statics, pairs.context, pairing.factor)
        )
        self._seconds = torch.from_numpy(seconds_of(self.times).astype(np.float64))
        self.cached = cache
        self._reader: Held | _Stream | None
        if cache:
            self._reader = Held(pairs, pairing)
            pairs = self._reader.replaced(pairs, pairing)
        else:
            self._reader = _Stream(pairs, pairing)
        self.pairs: Pairs | None = pairs

    def hold(self, sharing: Sharing, folder: str | None = None) -> None:
        """Decode the samples now, once for the processes of a node.

        Parameters
        ----------
        sharing : Sharing
            Processes with the same samples; all of the run call this alike.
        folder : str, optional
            Of a disk, to hold them there; without room they stay in the stores. None: memory.
        """
        assert self.pairs is not None, "a worker opens what its parent holds"
        held = hold(self.pairs, self.pairing, sharing, folder)
        if held is not None:
            self._reader, self.cached = held, True
            self.pairs = held.replaced(self.pairs, self.pairing)

    @property
    def amplification(self) -> float:
        """How many times each value is decoded in an epoch if it is read from the stores."""
        assert self.pairs is not None, "a worker does not ask"
        windows = [_windows(tile, self.pairs, self.pairing.factor) for tile in self.tiles]
        coarse, fine = zip(*windows, strict=True)
        return amplification([(self.pairs.coarse, coarse), (self.pairs.fine, fine)])

    def __len__(self) -> int:
        members = int(np.prod([*self.members.values()], dtype=int))
        return len(self.times) * members * len(self.tiles)

    def __getitem__(self, index: int) -> Batch:
        """Return one sample as a batch of one."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return self._batch([index % len(self)])

    def __getitems__(self, indices: list[int]) -> list[Batch]:
        """Read several samples at once: one batch in a list, for `Batch.collate`."""
        if indices == [PADDING]:
            padding = self._batch([0])
            if padding.fine is None:
                return [replace(padding, coarse=torch.full_like(padding.coarse, torch.nan))]
            return [replace(padding, fine=torch.full_like(padding.fine, torch.nan))]
        return [self._batch(indices)]

    def __getstate__(self) -> dict[str, Any]:
        state = {**self.__dict__, "pairs": None}
        return state if self.cached else {**state, "_reader": None}

    def _batch(self, indices: list[int]) -> Batch:
        if self._reader is None:
            with muted():  # the parent has said it
                self._reader = _Stream(self.pairing.open().at(self.positions), self.pairing)
        shape = (len(self.times), *self.members.values(), len(self.tiles))
        steps, *members, numbers = np.unravel_index(np.asarray(indices), shape)
        places = dict(zip(self.members, members, strict=True))
        tiles = [self.tiles[number] for number in numbers]
        coarse, fine = self._reader.read(steps, places, tiles)
        return Batch(
            coarse=torch.from_numpy(coarse),
            fine=torch.from_numpy(fine) if self.pairing.truthful else None,
            statics=self._statics(tiles),
            time=self._seconds[torch.from_numpy(steps)],
            core=core_of(tiles),
            source=self.source,
            sample=torch.tensor(indices),
            counted=counted_of(tiles) if self._uneven else None,
            task=self.task,
            **self._places_of(tiles),
        )

    def _places_of(self, tiles: list[Tile]) -> dict[str, Tensor]:
        factor = self.pairing.factor
        if len(self.tiles) == 1:  # one copy serves all samples
            whole = window_places(self._places, self.tiles[0], factor)
            return {
                name: torch.from_numpy(part)[None].expand(len(tiles), *part.shape)
                for name, part in whole.items()
            }
        parts = [window_places(self._places, tile, factor) for tile in tiles]
        return {name: torch.from_numpy(np.stack([p[name] for p in parts])) for name in parts[0]}

    def _statics(self, tiles: list[Tile]) -> Tensor | None:
        if self._static is None:
            return None
        if len(self.tiles) == 1:  # one copy serves all samples
            return torch.from_numpy(self._static).expand(len(tiles), -1, -1, -1)
        factor = self.pairing.factor
        return torch.from_numpy(np.stack([take(self._static, tile, factor) for tile in tiles]))


def core_of(tiles: Sequence[Tile]) -> Core | None:
    """Return what is decoded of each of some windows; None if that is all of every one."""
    if all(tile.whole for tile in tiles):
        return None
    firsts = [[cells.start for cells in tile.decoded] for tile in tiles]
    return Core(torch.tensor(firsts), tiles[0].core_shape)


def counted_of(tiles: Sequence[Tile]) -> Tensor:
    """Tell which decoded cells of some windows, (B, h, w), are of no other window.

    Those beside a core at the edge of a grid, which is smaller than others, are not.
    """
    found = torch.zeros(len(tiles), *tiles[0].core_shape, dtype=torch.bool)
    for own, tile in zip(found, tiles, strict=True):
        own[tile.kept] = True
    return found


def _windows(tile: Tile, pairs: Pairs, factor: int) -> tuple[Cells, Cells]:
    """Return which cells of the coarse and of the fine dataset a tile is, by dims of the grid."""
    dims = pairs.grid.dims
    core = dict(zip(dims, (scaled(cells, factor) for cells in tile.core), strict=True))
    return window_index(tile, pairs.lattice.shape[1], dims), core


class _Stream:
    """Samples read from the stores when they are asked for."""

    def __init__(self, pairs: Pairs, pairing: Pairing) -> None:
        sides = sides_of(pairs, pairing)
        self.factor, self.pairs = pairing.factor, pairs
        self.others = [side.dims for side in sides]
        self.steps = StepReader([side.ds for side in sides], [side.channels for side in sides])

    def read(
        self, steps: NDArray[np.intp], places: dict[str, NDArray[np.intp]], tiles: list[Tile]
    ) -> list[NDArray[np.float32]]:
        wanted = []
        for number, (step, tile) in enumerate(zip(steps, tiles, strict=True)):
            for which, window in enumerate(_windows(tile, self.pairs, self.factor)):
                own = {dim: int(places[dim][number]) for dim in self.others[which]}
                wanted.append(Wanted(which, int(step), {**own, **window}))
        read = self.steps.read(wanted)
        fine = [
            framed(core, tile, self.factor) for core, tile in zip(read[1::2], tiles, strict=True)
        ]
        return [np.stack(read[::2]), np.stack(fine)]
