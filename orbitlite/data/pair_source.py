"""Pair source: the pairs of one source, its periods, samples and sums."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from inspect import signature
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from orbitlite.data.conversion import period_hours
from orbitlite.data.known_statistics import known_moments
from orbitlite.data.labels import TimeWindow
from orbitlite.data.pairing import Pairing, Pairs
from orbitlite.data.pairs import PairDataset
from orbitlite.data.regrid import Method
from orbitlite.data.resampling import bounded
from orbitlite.data.sharing import ALONE, Sharing
from orbitlite.data.sides import stack
from orbitlite.data.source import check_source, files_of
from orbitlite.data.splits import Period, positions, read_periods, shares
from orbitlite.data.statistics import Moments
from orbitlite.data.tiles import Tile, TilePlan
from orbitlite.errors import InputError
from orbitlite.grids.grid import Grid
from orbitlite.notice import notice, one_call

logger = logging.getLogger(__name__)

Split = Literal["train", "validate", "test", "predict"]
Role = Literal["inputs", "targets", "statics"]

SPLITS: tuple[Split, ...] = ("train", "validate", "test", "predict")
CACHE_BYTES = 2**30
"""Samples of less than that are held in memory."""
AMPLIFICATION = 4
"""It is told where each value is decoded so many times in an epoch, or more."""


class PairSource:
    """A fine source with its coarse one, or a coarse one alone, divided by time, as samples.

    Parameters are those of `PairDataModule`, which checks what concerns all sources.

    Parameters
    ----------
    names : tuple of tuple of str
        Inputs, targets and fine statics.
    factor : int
    log1p : sequence of str
        Channels whose sums are those of log(1 + x).
    number : int, optional
        Which of several sources it is; inputs and fine statics that it lacks are missing then.
    called : str
        Its name among them.
    task : str, optional
        Which of several tasks of the network its samples are for.

    Attributes
    ----------
    pairing : Pairing
    periods : dict
        First and last time of each split.
    tile, halo, batch_size : int
    sharing : dict
        Of inputs and the like, the processes that sum them together; else this one alone.
    statistics : str, optional
        File that the sums are read from.
    one_of_several : bool
        Other processes have the same samples: what is held in memory waits for `hold`.
    """

    def __init__(
        self,
        names: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]],
        factor: int,
        log1p: Sequence[str],
        number: int | None = None,
        called: str = "",
        task: str | None = None,
        *,
        fine: Any | None = None,
        coarse: Any | None = None,
        statics: Any | None = None,
        regrid: Method | None = None,
        resample: str | None = None,
        accumulation_period: str | None = None,
        units: dict[str, str] | None = None,
        train: list[str | int] | None = None,
        validate: list[str | int] | None = None,
        test: list[str | int] | None = None,
        predict: list[str | int] | None = None,
        tile: int | None = None,
        halo: int = 8,
        context: int = 0,
        batch_size: int = 8,
        cache: bool | Literal["auto"] = "auto",
        world: dict[str, Any] | None = None,
    ) -> None:
        if accumulation_period is not None:
            period_hours(accumulation_period)
        if resample is not None:
            TimeWindow.read(resample)
        for name, value, least in (("batch_size", batch_size, 1), ("context", context, 0)):
            if value < least:
                raise InputError(f"{name} should be {least} or more, not {value}.")
        if fine is None and world is not None:
            notice(logger, "data.fine is not stated and data.world is: the embedded world is read.")
            fine = "world"
        if fine is None and coarse is None:
            raise InputError(
                "data.fine: expected a source, found none. State a path, a URL, a glob or a list "
                "of these; or the word world, for the embedded synthetic world. Of coarse fields "
                "that have no truth state data.coarse alone."
            )
        if fine is None:
            _check_alone({"statics": statics, "regrid": regrid, "context": context or None})
        if context and coarse is None:
            raise InputError(
                f"data.context is {context} and data.coarse is not stated: around the fine grid "
                "there are no inputs. State a coarse source that reaches beyond it, or leave "
                "context out."
            )
        for name, source in (("fine", fine), ("coarse", coarse), ("statics", statics)):
            if source is not None:
                check_source(f"data.{name}", source)
        if not (world is None or isinstance(world, dict)):
            raise InputError(f"data.world: expected keys and values, found {world!r}.")
        if world is not None and not _is_world(fine):
            raise InputError(
                f"data.world holds arguments of the embedded world, and data.fine is {fine!r}: "
                "state fine: world, or leave world out."
            )
        self.pairing = Pairing(
            fine, coarse, statics, *names, factor, regrid, resample, accumulation_period, context,
            called, units or {},
        )  # fmt: skip
        self.log1p, self.number, self.task = log1p, number, task
        self.periods = read_periods({"train": train, "validate": validate, "test": test})
        self.periods |= read_periods({"predict": predict})
        TilePlan(1, 1, tile, halo)
        self.tile, self.halo = tile, halo
        self.batch_size, self.cache = batch_size, cache
        self.world = world or {}
        self._datasets: dict[str, PairDataset] = {}
        self._moments: dict[Role, Moments] = {}
        self.sharing: dict[Role, Sharing] = {}
        self.statistics: str | None = None
        self.one_of_several = False

    @cached_property
    @one_call()
    def pairs(self) -> Pairs:
        """The sources, opened and brought together: all times."""
        if _is_world(self.pairing.fine):
            from orbitlite.data.world import generate

            known = signature(generate).parameters
            if unknown := [name for name in self.world if name not in known]:
                raise InputError(
                    f"data.world has no argument {unknown[0]!r}; it has {', '.join(known)}."
                )
            self.pairing = replace(self.pairing, fine=generate(**self.world))
        pairs = self.pairing.open()
        if not {"train", "validate", "test"} & {*self.periods}:
            self.periods |= shares(pairs.times)
            spans = (
                f"{name} {a:%Y-%m-%d %H:%M} to {b:%Y-%m-%d %H:%M}"
                for name, (a, b) in self.periods.items()
            )
            notice(logger, f"No period is stated; the times were divided: {', '.join(spans)}.")
        return pairs

    def restrict(self, inputs: Sequence[str]) -> None:
        """Read only these inputs from now on: what one rank needs where ranks share the channels.

        Raises
        ------
        RuntimeError
            If the sources were opened before.
        """
        if "pairs" in self.__dict__:
            raise RuntimeError("restrict the inputs before the sources are opened")
        self.pairing = replace(self.pairing, inputs=tuple(inputs))

    @property
    def has_truth(self) -> bool:
        """Whether it has fine fields."""
        return self.pairing.fine is not None

    def files(self) -> list[str]:
        """Name the local files that it is read from."""
        pairing = self.pairing
        fine = None if _is_world(pairing.fine) else pairing.fine
        return [path for one in (fine, pairing.coarse, pairing.statics) for path in files_of(one)]

    def check_targets(self) -> None:
        """Refuse targets of which nothing can be learned: cells without inputs have no truth."""
        if not self.has_truth:
            return
        inputs, present = self.pairing.inputs, self.pairs.coarse
        lost = [name for name in self.pairing.targets if name in inputs and name not in present]
        if lost:
            raise InputError(
                "A target that is among the inputs is predicted from its coarse field, and no "
                f"source has that of {', '.join(lost)}: add it to the coarse source, or take it "
                "out of model.network.inputs, to be predicted from the others (which constraint "
                "conserve does not go with)."
            )

    def dataset(self, split: Split) -> PairDataset:
        """Return the samples of a split.

        Raises
        ------
        InputError
            If the split has no period, or there is no time in it.
        """
        if split not in self._datasets:
            found = self._positions(split)
            self._datasets[split] = PairDataset(
                self.pairing, found, self.pairs, cache=self._cached and not self.one_of_several,
                tile=None if split == "predict" else self.tile, halo=self.halo, source=self.number,
                task=self.task,
            )  # fmt: skip
        return self._datasets[split]

    def hold(self, sharing: Sharing, fitting: bool, scratch: str | None) -> None:
        """Decode the samples of all splits that are open, once for the processes of a node.

        Parameters
        ----------
        sharing : Sharing
            Processes with the same samples; all of the run call this alike.
        fitting : bool
            Those of training and validation are read in several epochs.
        scratch : str, optional
            Folder for these if they are not held in memory.
        """
        for split, dataset in self._datasets.items():
            if dataset.cached:
                continue
            if self._cached:
                dataset.hold(sharing)
            elif fitting and split in ("train", "validate") and scratch is not None:
                dataset.hold(sharing, scratch)
            if fitting and split == "train" and not dataset.cached:
                self._tell_amplification(dataset.amplification)

    def _tell_amplification(self, times: float) -> None:
        """Say where chunks of the stores are much larger than samples."""
        if times >= AMPLIFICATION:
            notice(
                logger,
                f"Chunks of the stores hold about {times:.0f} times what a sample needs, and are "
                "decoded anew for each. State data.scratch, a folder on a disk of the node, where "
                "samples are held decoded, or store the data in chunks of one step.",
            )

    def samples(self, split: Split) -> int:
        """Return the number of samples of a split."""
        grid, context = self.pairs.grid, self.pairs.context
        tile = None if split == "predict" else self.tile
        tiles = TilePlan(*grid.shape, tile, self.halo, grid.wraps, context=context).tiles
        members = int(np.prod([*self.pairs.members.values()], dtype=int))
        return len(self._positions(split)) * members * len(tiles)

    def times(self, split: Split) -> pd.DatetimeIndex:
        """Return the times of a split."""
        return self.pairs.times[self._positions(split)]

    def coarse_dataset(self, split: Split, context: bool = False) -> xr.Dataset:
        """Return the inputs of a split, if asked with their context; lazy unless in memory."""
        pairs = self._pairs_of(split)
        return self._bounded(pairs.coarse if context else pairs.core)

    def all_coarse(self) -> xr.Dataset:
        """Return the inputs of all times, without their context."""
        return self._bounded(self.pairs.core)

    def fine_dataset(self, split: Split) -> xr.Dataset:
        """Return the targets of a split; lazy unless held in memory.

        Raises
        ------
        InputError
            If there are none.
        """
        if not self.has_truth:
            raise InputError("data.fine: expected a source of the targets, found none; state it.")
        return self._bounded(self._pairs_of(split).fine)

    def _bounded(self, ds: xr.Dataset) -> xr.Dataset:
        """Say how long windows are."""
        window = self.pairing.resample
        return ds if window is None else bounded(ds, window)

    @property
    def inputs(self) -> list[str]:
        """Names of the inputs that it has."""
        return [str(name) for name in self.pairs.coarse.data_vars]

    def first_tile(self) -> Tile:
        """Return the first of its windows, which all have one size."""
        grid, context = self.pairs.grid, self.pairs.context
        return TilePlan(*grid.shape, self.tile, self.halo, grid.wraps, context=context).tiles[0]

    @property
    def statics(self) -> NDArray[np.float32]:
        """Fine statics `(S, fH, fW)`, rows from north to south."""
        names = self.pairing.static_names
        if not (names and self.has_truth):
            return np.zeros((0, *self.pairs.fine_grid.shape), np.float32)
        return stack(self.pairs.statics, names, ())

    def moments(self, role: Role) -> Moments:
        """Return sums over the training period; of the statics, over their fields."""
        if role not in self._moments:
            self._moments[role] = self._summed(role)
        return self._moments[role]

    def _summed(self, role: Role) -> Moments:
        if self.statistics is not None:
            return known_moments(self.statistics, self, role)
        sharing = self.sharing.get(role, ALONE)
        return Moments.of(*self.fields(role), self.log1p, sharing=sharing)

    def fields(self, role: Role) -> tuple[xr.Dataset, tuple[str, ...], Grid]:
        """Return the dataset of the training period, or of the statics, its channels and grid."""
        pairing, pairs = self.pairing, self.pairs if role == "statics" else self._pairs_of("train")
        found = {
            "inputs": (pairs.coarse, pairing.inputs, pairs.lattice),
            "targets": (pairs.fine, pairing.targets, pairs.fine_grid),
            "statics": (pairs.statics, pairing.static_names, pairs.fine_grid),
        }
        return found[role]

    def period(self, split: str) -> Period | None:
        """Return first and last time of a split; that of the test serves predictions."""
        other = self.periods.get("test") if split == "predict" else None
        return self.periods.get(split, other)

    def _positions(self, split: Split) -> NDArray[np.intp]:
        pairs = self.pairs
        period = self.period(split)
        if period is None:
            raise InputError(
                f"The split {split} has no period: state {split}: [start, end] in the data section."
            )
        return positions(split, period, pairs.times)

    def _pairs_of(self, split: Split) -> Pairs:
        pairs = self.dataset(split).pairs
        assert pairs is not None, "a data module is not for workers"
        return pairs

    @cached_property
    def _cached(self) -> bool:
        """Whether the samples are held in memory."""
        if self.cache != "auto":
            return self.cache
        steps = sum(len(self._positions(split)) for split in SPLITS if split in self.periods)
        per_step = sum(ds.nbytes for ds in (self.pairs.coarse, self.pairs.fine))
        size = per_step * steps // len(self.pairs.times)
        if size < CACHE_BYTES:
            notice(logger, f"The samples are held in memory ({size / 2**20:.0f} MiB).")
        return size < CACHE_BYTES


def _check_alone(others: dict[str, Any]) -> None:
    """Refuse what coarse fields without truth have no use for."""
    for name, value in others.items():
        if value is not None:
            raise InputError(
                f"data.{name} is for a source with truth, and there is data.coarse alone, which is "
                f"taken on its own grid: state data.fine, or leave {name} out."
            )


def _is_world(fine: Any) -> bool:
    return isinstance(fine, str) and fine == "world"
