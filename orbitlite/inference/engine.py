"""Engine: the network at work on windows of a grid, in any thread or process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orbitlite.batch import Batch
from orbitlite.data.pairs import core_of
from orbitlite.data.tiles import (
    Tile,
    TilePlan,
    places_of,
    scaled,
    surrounded,
    take,
    window_places,
)
from orbitlite.errors import InputError
from orbitlite.grids.grid import Places
from orbitlite.inference.excess import Excess
from orbitlite.inference.options import Precision, PredictOptions
from orbitlite.inference.plan import WorkItem, choose_tiles, together
from orbitlite.inference.queues import Prefetcher
from orbitlite.inference.region import Region
from orbitlite.inference.statistics import Statistic, statistics_of
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.ensemble import Ensemble
from orbitlite.model.noise import Draw
from orbitlite.model.quadtree import check_tokens, feasible
from orbitlite.notice import notice, warn
from orbitlite.progress import bar

if TYPE_CHECKING:
    from orbitlite.inference.prediction import Prediction

logger = logging.getLogger(__name__)

Array: TypeAlias = NDArray[np.float32]
Times: TypeAlias = NDArray[np.float64]

# The network uses all cores by itself: blocks of one process go through it one after the other.
_TURN = threading.Lock()
_READ_AHEAD = 4  # pieces
_OF_STATISTICS = 16
"""Members that statistics are of where nothing else is asked for."""
PATIENCE = 1.0
"""Seconds for the piece at work when a job is interrupted."""


@dataclass(frozen=True)
class PlacedNetwork:
    """The network, placed and in evaluation mode, and what all samples share. Pickles.

    Attributes
    ----------
    model : Downscaler or Ensemble
    statics : Tensor of shape (1, S, fH, fW) or None
        With the context, where they are NaN.
    places : dict of str to ndarray
        Degrees, float64.
    plan : TilePlan
    batch_size : int
    device : str
    tokens : int, float or None
        Leaf budget in place of the model's.
    fill : bool
        Predict cells of which the inputs say nothing too.
    precision : {"float32", "bf16"}
        In which the network multiplies.
    draw : Draw, optional
        Members that a stochastic network draws.
    statistics : tuple of str
        Of the members, in place of them.
    ranges : mapping
        Smallest and largest value of each input in training; empty if not known.
    told : set
        What blocks that are computed apart have told of.
    copies : dict
        The same network on other devices of this process.
    """

    model: Downscaler | Ensemble
    statics: Tensor | None
    places: Places
    plan: TilePlan
    batch_size: int
    device: str
    tokens: float | None = None
    fill: bool = False
    precision: Precision = "float32"
    draw: Draw | None = None
    statistics: tuple[str, ...] = ()
    ranges: Mapping[str, Sequence[float]] = field(default_factory=dict)
    told: set[str] = field(default_factory=set, compare=False)
    copies: dict[str, PlacedNetwork] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(
        cls,
        model: Downscaler | Ensemble,
        region: Region,
        options: PredictOptions,
        south_first: bool = False,
        ranges: Mapping[str, Sequence[float]] | None = None,
    ) -> PlacedNetwork:
        """Place a network for the samples of a grid; the caller's own network stays as it is.

        Tiles are counted from the south, as the chunks of the source and of the output, if
        `south_first`.

        Raises
        ------
        InputError
            If there is no such device, or tiles or the leaf budget do not fit.
        """
        device = choose_device(options.device)
        plan, batch = choose_tiles(
            region.grid, model.config, options, device, south_first, region.context
        )
        _check_budget(model, plan, options.tokens)
        if model.training or next(model.parameters()).device != torch.device(device):
            model = deepcopy(model).to(device).eval()
        places = places_of(region.lattice, region.grid, region.fine_grid)
        statics = region.statics
        if statics is not None:
            values = surrounded(statics.numpy(), region.context, model.config.factor)
            statics = torch.from_numpy(values)
        return cls(
            model, statics, places, plan, batch, device, options.tokens, options.fill,
            options.precision, _draw(model, options),
            tuple(one.name for one in statistics_of(options.statistics)), ranges or {},
        )  # fmt: skip

    def at(self, device: str) -> PlacedNetwork:
        """Return it on a device; a copy is made once."""
        if device == self.device:
            return self
        with _TURN:
            if device not in self.copies:
                model = deepcopy(self.model).to(device)
                self.copies[device] = replace(self, model=model, device=device)
        return self.copies[device]

    @property
    def factor(self) -> int:
        """Fine cells per coarse cell along one axis."""
        return self.model.config.factor

    @property
    def members(self) -> int:
        """Members of a prediction."""
        return self.model.members if self.draw is None else len(self.draw)

    @property
    def outputs(self) -> int:
        """Fields of a target: one of each member, or of each statistic."""
        return len(self.statistics) or self.members

    @property
    def draws(self) -> list[slice]:
        """Members that make a piece: as many as fill a batch, or all that statistics are of."""
        if self.draw is None or self.statistics:
            return [slice(0, self.members)]
        return together(len(self.draw), self.batch_size)

    def excess(self) -> Excess:
        """Return what counts input values beyond those of training."""
        return Excess(self.model.config.inputs, self.ranges)

    def core(self, window: Array, tile: Tile, times: Times) -> Array:
        """Predict a tile's core from its window: (..., C, h, w) to (..., M, K, f h', f w').

        M members, or statistics of them.

        `times` are of a shape that broadcasts to that of the samples.
        """
        lead = window.shape[:-3]
        flat = np.broadcast_to(times, lead).ravel()
        windows = window.reshape(1, -1, *window.shape[-3:])
        found = [self.cores(windows, (tile,), flat, some)[0] for some in self.draws]
        whole = np.concatenate(found, axis=1)
        return whole.reshape(*lead, *whole.shape[1:])

    def cores(
        self, windows: Array, tiles: Sequence[Tile], times: Times, draws: slice = slice(None)
    ) -> list[Array]:
        """Predict the cores of g tiles, at most a batch of windows and members at once.

        Parameters
        ----------
        windows : ndarray of shape (g, n, C, h, w)
        tiles : sequence of Tile
        times : ndarray of shape (n,)
            Seconds since 1970-01-01.
        draws : slice
            Members that are drawn.

        Returns
        -------
        list of ndarray of shape (n, M, K, f h', f w')
            M members, or statistics of them.
        """
        if not self.statistics:
            return self._fields(windows, tiles, times, draws)
        groups = together(self.members, self.batch_size)
        parts = [self._fields(windows, tiles, times, some) for some in groups]
        made = [Statistic.named(name) for name in self.statistics]
        found = []
        for number in range(len(tiles)):
            members = np.concatenate([part[number] for part in parts], axis=1)
            found.append(np.stack([one.of(members) for one in made], axis=1))
        return found

    def _fields(
        self, windows: Array, tiles: Sequence[Tile], times: Times, draws: slice
    ) -> list[Array]:
        draw = None if self.draw is None else self.draw[draws]
        at_once = max(1, self.batch_size // (len(tiles) * (1 if draw is None else len(draw))))
        parts: list[list[Array]] = [[] for _ in tiles]
        for begin in range(0, windows.shape[1], at_once):
            some = windows[:, begin : begin + at_once]
            fine = self._predict(self.batch(some, tiles, times[begin : begin + at_once]), draw)
            fine = fine.reshape(*some.shape[:2], *fine.shape[1:])
            for part, tile, fields in zip(parts, tiles, fine, strict=True):
                rows, columns = (scaled(cells, self.factor) for cells in tile.kept)
                part.append(fields[..., rows, columns])
        return [np.concatenate(part) for part in parts]

    def batch(self, windows: Array, tiles: Sequence[Tile], times: Times | None = None) -> Batch:
        """Return what the network takes for the windows (g, n, C, h, w) of g tiles."""
        count = windows.shape[1]
        parts = [window_places(self.places, tile, self.factor) for tile in tiles]
        places: dict[str, Any] = {
            name: torch.from_numpy(np.repeat(np.stack([part[name] for part in parts]), count, 0))
            for name in self.places
        }
        statics = None
        if self.statics is not None:
            cut = np.stack([take(self.statics.numpy(), tile, self.factor) for tile in tiles])
            # Of one tile, one copy serves all windows.
            statics = torch.from_numpy(cut).expand(-1, count, -1, -1, -1).flatten(0, 1)
        coarse = np.ascontiguousarray(windows.reshape(-1, *windows.shape[2:]), np.float32)
        seconds = None if times is None else torch.from_numpy(np.tile(times, len(tiles)))
        return Batch(
            coarse=torch.from_numpy(coarse), statics=statics, time=seconds,
            core=core_of([tile for tile in tiles for _ in range(count)]), **places
        ).to(self.device)  # fmt: skip

    def _predict(self, batch: Batch, draw: Draw | None) -> Array:
        """Return the members (B, M, K, f h, f w) of a batch."""
        try:
            with _TURN, torch.inference_mode(), _multiplying(self.device, self.precision):
                drawn = {} if draw is None else {"draw": draw}
                fine: Tensor = self.model(batch, self.tokens, self.fill, **drawn)
                return fine.float().cpu().numpy()
        except torch.OutOfMemoryError as error:
            height, width = batch.coarse.shape[-2:]
            raise InputError(
                f"The device {self.device} has no memory for {len(batch)} windows of "
                f"{height} x {width} cells at once: choose a smaller batch size or tile."
            ) from error


@contextmanager
def _multiplying(device: str, precision: Precision) -> Iterator[None]:
    """Let matrix products of float32 be in TF32 where there is such, as in a fit, or in bf16."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    low = torch.autocast(torch.device(device).type, torch.bfloat16)
    try:
        with low if precision == "bf16" else nullcontext():
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _draw(model: Downscaler | Ensemble, options: PredictOptions) -> Draw | None:
    """Return the members that are asked for; of a deterministic model none are drawn."""
    if not model.stochastic:
        if options.members is not None or options.statistics is not None:
            raise InputError(
                "members and statistics: the model is deterministic and gives one field. Leave "
                "them out, or take a model that was trained with noise (model.network.noise: 4, "
                "model.loss: crps)"
            )
        return None
    count = options.members or (_OF_STATISTICS if options.statistics else 1)
    if options.members is None and options.statistics:
        notice(logger, f"The statistics are of {count} members (members says how many).")
    elif options.members is None:
        notice(
            logger,
            "The model draws members of an ensemble; this is one of them, with as much detail and "
            "as large extremes as the truth has, but not its best guess: members=10 gives ten.",
        )
    return Draw.of(options.seed, range(count))


def _check_budget(model: Downscaler | Ensemble, plan: TilePlan, tokens: float | None) -> None:
    check_tokens(tokens)
    budget = model.config.tokens if tokens is None else tokens
    if budget is None:
        return
    for shape in {(tile.height, tile.width) for tile in plan.tiles}:
        h, w = (-(-cells // model.config.patch_size) for cells in shape)
        feasible(budget, h, w, model.config.max_leaf)


def choose_device(name: str | None) -> str:
    """Return a device's name; None: a GPU if there is one.

    Raises
    ------
    InputError
        If there is no such device.
    """
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"The device {name!r} is not available here ({reason}).") from error
    return name


class Missing:
    """Counts output values that are left out, to say once how many there are."""

    def __init__(self) -> None:
        self.missing, self.total = 0, 0

    def update(self, fine: Array) -> None:
        """Add fine fields of any shape."""
        self.total += fine.size
        self.missing += int(np.isnan(fine).sum())

    def tell(self, where: str = "the prediction") -> None:
        """Say how many values are missing, if any are."""
        if self.missing:
            share = self.missing / self.total
            warn(
                logger,
                f"{self.missing:,} of {self.total:,} values of {where} ({share:.1%}) are missing: "
                "the coarse target, or every input that changes with time, is missing there. Set "
                "fill to let the network make them up.",
            )


class Work:
    """Pieces of a prediction that go through the network in order; the next are read meanwhile.

    Iterates once, over (piece, windows, cores): a `WorkItem`, what was read for it (g, n, C, h, w),
    and the fields (n, M, K, f h', f w') of each of its g tiles.
    """

    def __init__(
        self,
        prediction: Prediction,
        ahead: Prefetcher[tuple[WorkItem, Array]],
        left: int,
        advance: Callable[[int], None],
    ) -> None:
        self._prediction, self._ahead, self._left = prediction, ahead, left
        self._advance = advance

    @classmethod
    @contextmanager
    def on(
        cls,
        prediction: Prediction,
        pieces: Sequence[WorkItem],
        text: str,
        progress: bool,
        total: int | None = None,
    ) -> Iterator[Work]:
        """Begin with some pieces.

        Parameters
        ----------
        prediction : Prediction
        pieces : sequence of WorkItem
            Those that are left to do, in their order.
        text : str
            Said beside the progress bar.
        progress : bool
            Show a bar on a terminal.
        total : int, optional
            Pieces with those that are done. None: all of the prediction.
        """
        ahead = Prefetcher(prediction.windows(pieces), _READ_AHEAD)
        total = len(prediction.work_items) if total is None else total
        try:
            with bar(text, total, progress, total - len(pieces)) as advance:
                yield cls(prediction, ahead, len(pieces), advance)
        finally:
            ahead.close(PATIENCE)

    def __iter__(self) -> Iterator[tuple[WorkItem, Array, list[Array]]]:
        missing, excess = Missing(), self._prediction.network.excess()
        for piece, windows in self._ahead:
            times = self._prediction.seconds[piece.steps]
            cores = self._prediction.network.cores(windows, piece.tiles, times, piece.draws)
            for core, fields, tile in zip(cores, windows, piece.tiles, strict=True):
                missing.update(core)
                if piece.draws.start == 0:  # the others are of the same input
                    excess.update(fields, tile)
            yield piece, windows, cores
            self._advance(1)
        whole = self._left == len(self._prediction.work_items)
        missing.tell("the prediction" if whole else "what was predicted now")
        excess.tell("The input" if whole else "The input of what was predicted now")

    @property
    def waited(self) -> float:
        """Seconds in which the network waited for input."""
        return self._ahead.waited
