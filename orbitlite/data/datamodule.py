"""The Lightning data module: sources, splits and loaders."""

from __future__ import annotations

import logging
import multiprocessing
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from inspect import signature
from typing import Any, Literal

import lightning
import numpy as np
import pandas as pd
import torch
import xarray as xr
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from orbitlite.batch import Batch
from orbitlite.data.conversion import period_hours
from orbitlite.data.labels import TimeWindow
from orbitlite.data.loader import EpochLoader
from orbitlite.data.pairing import Pairing, Pairs
from orbitlite.data.pairs import PairDataset, stack
from orbitlite.data.regrid import Method
from orbitlite.data.resampling import bounded
from orbitlite.data.sampling import EpochBatches
from orbitlite.data.source import check_source
from orbitlite.data.splits import Period, positions, read_periods, shares
from orbitlite.data.statistics import Statistics, statistics
from orbitlite.data.tiles import TilePlan
from orbitlite.errors import InputError
from orbitlite.grids.grid import Grid
from orbitlite.notice import notice, one_call
from orbitlite.variables import Declaration, declare_variables, log1p_channels

logger = logging.getLogger(__name__)

Split = Literal["train", "validate", "test", "predict"]

# The splits of a trainer's stage; it cannot do without the first.
_STAGES: dict[str, tuple[Split, ...]] = {
    "fit": ("train", "validate"),
    "validate": ("validate",),
    "test": ("test",),
    "predict": ("predict",),
}
_SPLITS: tuple[Split, ...] = ("train", "validate", "test", "predict")
_CACHE_BYTES = 2**30


class PairDataModule(lightning.LightningDataModule):
    """Pairs of coarse inputs and fine targets, split by time.

    Pairs come from a coarse and a fine source on nested grids, or from a fine source that is
    coarsened on the fly (conservative). A source is a path, a URL, a glob or a list of these:
    NetCDF, Zarr or GRIB; from Python also an xarray object.

    Parameters
    ----------
    fine : str or list of str
        Source of the targets on the fine grid, and of the inputs if there is no `coarse`. The word
        `world`: the embedded synthetic world; it may be left out where `world` states arguments.
    coarse : str or list of str, optional
        Source of the inputs on the coarse grid. None: `fine` is coarsened by `factor`.
    statics : str or list of str, optional
        Source of the fine statics, where `fine` lacks them.
    inputs : list of str
        Input channels, in the model's order. Those that no source has are missing values.
    targets : list of str
        Target channels.
    static_names : list of str
        Static channels of the fine grid.
    factor : int
        Fine cells per coarse cell along one axis.
    log1p : list of str, optional
        Channels whose statistics are those of log(1 + x): those that the network takes so. None:
        those of which the table of variables says so.
    variables : mapping or str, optional
        Channels that the table of variables does not have, or a YAML file that holds them; see
        `orbitlite.declare_variables`.
    regrid : {"linear", "conservative"}, optional
        Interpolate a coarse source whose cells do not nest in the fine grid onto cells that do.
        None: such a source is an error.
    resample : str, optional
        Window such as `24h`, or `24h+9h` for days that begin at 09 UTC: sub-daily amounts are
        summed and other channels averaged over windows of that length, and times are matched by
        window (see `orbitlite.data.resampling.resample`). None: times match exactly.
    accumulation_period : str, optional
        Accumulation period of amounts whose source does not state it, such as `1h`.
    units : dict, optional
        Units of variables whose source states none, by their names there: `{pr: mm day-1}`. What a
        source states counts.
    train : list of str or int, optional
        First and last time of the training period, both included: `[1982-12, 1992-03]`. With no
        period given at all, the times are divided in order: 70 % train, 15 % validate, 15 % test.
    validate : list of str or int, optional
        Period of validation. Periods must not overlap.
    test : list of str or int, optional
        Period of the test.
    predict : list of str or int, optional
        Period to predict. None: that of the test.
    tile : int, optional
        Coarse cells of a tile's core along one axis: (time, tile) pairs are the samples of
        training, validation and test, so that a batch takes no more memory than its tiles, and
        reads no more. None: whole grids.
    halo : int
        Coarse cells of context on each side of a tile.
    batch_size : int
        Samples per batch (per process).
    num_workers : int
        Processes that read ahead. 0: read in the main process.
    cache : bool or "auto"
        Hold all samples in memory. `auto`: if they take less than 1 GiB.
    seed : int
        Seed of the order of the training samples.
    world : dict, optional
        Arguments of the embedded world, such as `{days: 400, seed: 0}`.

    Raises
    ------
    InputError
        If an argument, a source, a grid or a period is not as described.
    """

    def __init__(
        self,
        fine: str | list[str] | Any | None = None,
        coarse: str | list[str] | Any | None = None,
        statics: str | list[str] | Any | None = None,
        *,
        inputs: list[str],
        targets: list[str],
        static_names: list[str],
        factor: int,
        log1p: list[str] | None = None,
        variables: Declaration | str | None = None,
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
        batch_size: int = 8,
        num_workers: int = 0,
        cache: bool | Literal["auto"] = "auto",
        seed: int = 0,
        world: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        declare_variables(variables or {})
        if accumulation_period is not None:
            period_hours(accumulation_period)
        if resample is not None:
            TimeWindow.read(resample)
        numbers = {"factor": factor, "batch_size": batch_size, "num_workers": num_workers}
        for name, value in numbers.items():
            least = 0 if name == "num_workers" else 1
            if value < least:
                raise InputError(f"{name} should be {least} or more, not {value}.")
        if fine is None and world is not None:
            notice(logger, "data.fine is not stated and data.world is: the embedded world is read.")
            fine = "world"
        if fine is None:
            raise InputError(
                "data.fine: expected a source, found none. State a path, a URL, a glob or a list "
                "of these; or the word world, for the embedded synthetic world."
            )
        if not -(2**63) <= seed < 2**63:
            raise InputError(f"data.seed: expected a number of 64 bits, found {seed}.")
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
            fine, coarse, statics, tuple(inputs), tuple(targets),
            tuple(static_names), factor, regrid, resample, accumulation_period, units or {},
        )  # fmt: skip
        self.log1p = log1p_channels((*inputs, *targets, *static_names), log1p)
        self.periods = read_periods({"train": train, "validate": validate, "test": test})
        self.periods |= read_periods({"predict": predict})
        TilePlan(1, 1, tile, halo)
        self.tile, self.halo = tile, halo
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.cache = cache
        self.seed = seed
        self.world = world or {}
        self._share = 0, 1
        self._datasets: dict[str, PairDataset] = {}
        if all(_plain(source) for source in (fine, coarse, statics)):
            self.save_hyperparameters(logger=False)

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

    def share(self, rank: int, size: int) -> None:
        """Take this process's share of the samples of each split.

        Parameters
        ----------
        rank, size : int
            This process, and how many take different samples.
        """
        self._share = rank, size

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

    def setup(self, stage: str | None = None) -> None:
        """Open the sources and make the data sets of a stage (called by the trainer)."""
        _ = self.pairs
        splits = _STAGES.get(stage or "", _SPLITS)
        for split in splits:
            needed = stage in _STAGES and split == splits[0]
            if needed or self._period(split) is not None:
                self.dataset(split)
        if stage == "fit":
            _ = self.input_statistics, self.target_statistics, self.static_statistics

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
                self.pairing, found, self.pairs, cache=self._cached,
                tile=None if split == "predict" else self.tile, halo=self.halo,
            )  # fmt: skip
        return self._datasets[split]

    def times(self, split: Split) -> pd.DatetimeIndex:
        """Return the times of a split."""
        return self.pairs.times[self._positions(split)]

    def coarse_dataset(self, split: Split) -> xr.Dataset:
        """Return the inputs of a split; lazy unless held in memory."""
        return self._bounded(self._pairs_of(split).coarse)

    def all_coarse(self) -> xr.Dataset:
        """Return the inputs of all times."""
        return self._bounded(self.pairs.coarse)

    def fine_dataset(self, split: Split) -> xr.Dataset:
        """Return the targets of a split; lazy unless held in memory."""
        return self._bounded(self._pairs_of(split).fine)

    def _bounded(self, ds: xr.Dataset) -> xr.Dataset:
        """Say how long windows are."""
        window = self.pairing.resample
        return ds if window is None else bounded(ds, window)

    @property
    def grid(self) -> Grid:
        """The nested coarse grid."""
        return self.pairs.grid

    @property
    def fine_grid(self) -> Grid:
        """The fine grid."""
        return self.pairs.fine_grid

    @property
    def window(self) -> tuple[int, int]:
        """Coarse cells of a sample: of the grid, or of a tile with its halo."""
        height, width = self.grid.shape
        tile = TilePlan(height, width, self.tile, self.halo, self.grid.wraps).tiles[0]
        return tile.height, tile.width

    @property
    def statics(self) -> NDArray[np.float32]:
        """Fine statics `(S, fH, fW)`, rows from north to south."""
        names = self.pairing.static_names
        if not names:
            return np.zeros((0, *self.pairs.fine_grid.shape), np.float32)
        return stack(self.pairs.statics, names, ())

    @cached_property
    def input_statistics(self) -> Statistics:
        """Statistics of the inputs, from the training period.

        Absent ones have the mean 0, the standard deviation 1, and a range that holds nothing:
        from infinity down to minus infinity.
        """
        pairs = self._pairs_of("train")
        present = [name for name in self.pairing.inputs if name in pairs.coarse]
        known = statistics(pairs.coarse, present, pairs.grid, self.log1p)
        where = [self.pairing.inputs.index(name) for name in present]

        def whole(values: NDArray[np.float64], absent: float) -> NDArray[np.float64]:
            found = np.full(len(self.pairing.inputs), absent)
            found[where] = values
            return found

        return Statistics(
            whole(known.mean, 0.0), whole(known.std, 1.0), whole(known.valid, 0.0),
            whole(known.low, np.inf), whole(known.high, -np.inf),
        )  # fmt: skip

    @cached_property
    def target_statistics(self) -> Statistics:
        """Statistics of the targets, from the training period."""
        pairs = self._pairs_of("train")
        return statistics(pairs.fine, self.pairing.targets, pairs.fine_grid, self.log1p)

    @cached_property
    def static_statistics(self) -> Statistics:
        """Statistics of the fine statics."""
        pairs, names = self.pairs, self.pairing.static_names
        return statistics(pairs.statics, names, pairs.fine_grid, self.log1p)

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Send a batch: from page-locked memory while the device works."""
        return batch.to(device, non_blocking=True)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of the training period, in another order every epoch."""
        return self._loader(self.dataset("train"), shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """Batches of the validation period; none if there is no such period."""
        return [] if self._period("validate") is None else self._loader(self.dataset("validate"))

    def test_dataloader(self) -> DataLoader[Batch]:
        """Batches of the test period."""
        return self._loader(self.dataset("test"))

    def _period(self, split: str) -> Period | None:
        other = self.periods.get("test") if split == "predict" else None
        return self.periods.get(split, other)

    def _positions(self, split: Split) -> NDArray[np.intp]:
        pairs = self.pairs
        period = self._period(split)
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
        steps = sum(len(self._positions(split)) for split in _SPLITS if split in self.periods)
        per_step = sum(ds.nbytes for ds in (self.pairs.coarse, self.pairs.fine))
        size = per_step * steps // len(self.pairs.times)
        if size < _CACHE_BYTES:
            notice(logger, f"The samples are held in memory ({size / 2**20:.0f} MiB).")
        return size < _CACHE_BYTES

    def _loader(self, dataset: PairDataset, shuffle: bool = False) -> DataLoader[Batch]:
        seed = self.seed if shuffle else None
        batches = EpochBatches(len(dataset), self.batch_size, seed, *self._share)
        if shuffle and self.trainer is not None:
            # Workers read ahead before Lightning states the epoch that a resumed fit begins with.
            batches.set_epoch(self._progress()[0])
        return EpochLoader(
            dataset,
            batches,
            self._progress if shuffle else None,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0,
            multiprocessing_context=_context(dataset) if self.num_workers else None,
        )

    def _progress(self) -> tuple[int, int]:
        """Return the trainer's epoch (between two, the next), how many of its batches are done."""
        assert self.trainer is not None
        loop: Any = self.trainer.fit_loop
        epoch = loop.epoch_progress.current
        within = epoch.started > epoch.processed
        return epoch.processed, loop.epoch_loop.batch_progress.current.processed if within else 0


def _context(dataset: PairDataset) -> str | None:
    """Choose how workers start: threads of open stores do not survive a fork, arrays do."""
    methods = multiprocessing.get_all_start_methods()
    if dataset.cached:
        return "fork" if sys.platform == "linux" else None
    return "forkserver" if "forkserver" in methods else "spawn"


def _is_world(fine: Any) -> bool:
    return isinstance(fine, str) and fine == "world"


def _plain(source: Any) -> bool:
    """Tell whether a source can stand in a file of hyper-parameters."""
    parts = source if isinstance(source, (list, tuple)) else [source]
    return all(part is None or isinstance(part, str) for part in parts)
