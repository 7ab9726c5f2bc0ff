"""The Lightning data module: one source or several, their batches and what they have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Literal

import lightning
import numpy as np
import pandas as pd
import torch
import xarray as xr
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from orbitlite.batch import Batch
from orbitlite.data.assignment import Assignment, Wanted, channels_of
from orbitlite.data.joint import JointDataset
from orbitlite.data.joint_statistics import JointStatistics
from orbitlite.data.loader import EpochLoader, place_of
from orbitlite.data.mixture import KEYS, check_shared, is_plain, read_sources, shares_of
from orbitlite.data.pair_source import SPLITS, PairSource, Role, Split
from orbitlite.data.pairing import Pairing, Pairs
from orbitlite.data.pairs import PairDataset
from orbitlite.data.regrid import Method
from orbitlite.data.sample_file import scratch_folder
from orbitlite.data.sampling import EpochBatches, MixedBatches
from orbitlite.data.sharing import ALONE, Sharing
from orbitlite.data.splits import Period
from orbitlite.data.statistics import Statistics
from orbitlite.data.tiles import Tile
from orbitlite.errors import InputError
from orbitlite.grids.grid import Grid
from orbitlite.tasks import task_of
from orbitlite.variables import Declaration, declare_variables, log1p_channels

# The splits of a trainer's stage; it cannot do without the first.
_STAGES: dict[str, tuple[Split, ...]] = {
    "fit": ("train", "validate"),
    "validate": ("validate",),
    "test": ("test",),
    "predict": ("predict",),
}


class PairDataModule(lightning.LightningDataModule):
    """Pairs of coarse inputs and fine targets, split by time.

    Pairs come from a coarse and a fine source on nested grids, or from a fine source that is
    coarsened on the fly (conservative). A coarse source alone has no truth: it is taken on its own
    grid, and serves reconstruction. A source is a path, a URL, a glob or a list of these: NetCDF,
    Zarr or GRIB; from Python also an xarray object.

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
    context : int
        Coarse cells around the fine grid, on each side, that inputs are taken of: of a coarse
        source that reaches beyond. What rains in a region is decided around it too. Where the
        source has no such cells they are missing; beyond a pole there are none, and the half cells
        of a grid that has points at the poles are left out, which is told.
    batch_size : int
        Samples per batch (per process).
    num_workers : int
        Processes that read ahead. 0: read in the main process.
    cache : bool or "auto"
        Hold all samples in memory, once per node. `auto`: if they take less than 1 GiB.
    scratch : str, optional
        Folder on a disk of the node, such as `$TMPDIR`: samples that are not held in memory are
        decoded into a file there when a fit begins, once per node, in place of in every epoch. It
        has no name and ends with the fit.
    seed : int
        Seed of the order of the training samples.
    world : dict, optional
        Arguments of the embedded world, such as `{days: 400, seed: 0}`.
    sources : dict, optional
        Several sources in place of one, by name: `{world: {fine: world, weight: 1}, nrcan: {fine:
        nrcan.nc, train: [...], weight: 2}}`. Each states its stores, and what it has of its own of
        the settings here; inputs and fine statics that it lacks are missing values. A batch is of
        one source; they take turns in proportion to their weights, or, without weights, so that
        each sample counts once per epoch. Those that state `coarse` and not `fine` have no truth.
        What is exported and predicted belongs to the first that has.
    statistics : str, optional
        File of `orbitlite statistics`, which holds what a fit else reads its training period for.
    tasks : dict, optional
        Several tasks of the network, by name, as `model.network.tasks` states them; each source
        then states its `task`, whose targets, fine statics and factor are its own. Exports are of
        all tasks, each with its first source.

    Attributes
    ----------
    parts : dict
        Each `PairSource` by name; without `sources` one, whose name is empty.
    assignment : Assignment
        Which task each of them is for.

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
        context: int = 0,
        batch_size: int = 8,
        num_workers: int = 0,
        cache: bool | Literal["auto"] = "auto",
        scratch: str | None = None,
        seed: int = 0,
        world: dict[str, Any] | None = None,
        sources: dict[str, dict[str, Any]] | None = None,
        statistics: str | None = None,
        tasks: dict[str, dict[str, Any]] | None = None,
    ) -> None:
        own = {key: value for key, value in locals().items() if key in KEYS}
        super().__init__()
        declare_variables(variables or {})
        for name, value, least in (("factor", factor, 1), ("num_workers", num_workers, 0)):
            if value < least:
                raise InputError(f"{name} should be {least} or more, not {value}.")
        if not -(2**63) <= seed < 2**63:
            raise InputError(f"data.seed: expected a number of 64 bits, found {seed}.")
        self.num_workers, self.seed, self.scratch = num_workers, seed, scratch
        settings: dict[str, dict[str, Any]] = {"": own}
        weights: dict[str, float | None] = {"": None}
        stated: dict[str, Any] = {"": None}
        if sources is not None:
            settings, weights = read_sources(sources, own)
            stated = {name: one.get("task") for name, one in sources.items()}
        self.assignment = Assignment(
            tasks, Wanted(tuple(targets), tuple(static_names), factor), stated
        )
        self.log1p = log1p_channels((*inputs, *channels_of(self.assignment.wanted)), log1p)
        self.parts: dict[str, PairSource] = {}
        for number, (name, one) in enumerate(settings.items()):
            wanted = self.assignment.of(name)
            with self.assignment.told(name):
                self.parts[name] = PairSource(
                    (tuple(inputs), wanted.targets, wanted.static_names), wanted.factor,
                    self.log1p, None if sources is None else number, name,
                    self.assignment.tasks[name] or None, **one,
                )  # fmt: skip
            self.parts[name].statistics = statistics
        self._weights = list(weights.values())
        self._share, self._alone = (0, 1), True
        self._task: str | None = None
        stores = ("fine", "coarse", "statics")
        if all(is_plain(one.get(key)) for one in settings.values() for key in stores):
            # those of a fit of one task are what they ever were
            self.save_hyperparameters(ignore=["tasks"] if tasks is None else [], logger=False)

    @property
    def first(self) -> PairSource:
        """The source that predictions, bundles and reports are of: the first with truth."""
        return self.first_of(self._task)

    @property
    def truthful(self) -> dict[str, PairSource]:
        """The sources that have truth; of the others the coarse fields alone are known."""
        return {name: part for name, part in self.parts.items() if part.has_truth}

    def first_of(self, task: str | None = None) -> PairSource:
        """Return the first source that has truth, or the first one of a task."""
        names = [*self.parts] if task is None else self.assignment.sources(task)
        return self.parts[next(iter([*(n for n in names if n in self.truthful), *names]))]

    def choose(self, task: str | None, option: str = "task") -> str:
        """Let the first source be that of a task, which has to be stated if there are several.

        Raises
        ------
        InputError
            If it is not, or there is no such task.
        """
        self._task = task_of(task, self.assignment.wanted, "the config", option)
        return self._task

    @property
    def pairing(self) -> Pairing:
        """How the pairs of the first source come about."""
        return self.first.pairing

    @pairing.setter
    def pairing(self, pairing: Pairing) -> None:
        self.first.pairing = pairing

    @property
    def pairs(self) -> Pairs:
        """The first source, opened and brought together: all times."""
        return self.first.pairs

    @property
    def periods(self) -> dict[str, Period]:
        """First and last time of each split of the first source."""
        return self.first.periods

    @property
    def tile(self) -> int | None:
        """Coarse cells of a tile's core in the first source."""
        return self.first.tile

    @tile.setter
    def tile(self, tile: int | None) -> None:
        self.first.tile = tile

    @property
    def batch_size(self) -> int:
        """Samples per batch of the first source."""
        return self.first.batch_size

    def share(self, rank: int, size: int) -> None:
        """Take this process's share of the samples of each split; it is one of several.

        Samples in memory and statistics wait until it knows the others (`hold`,
        `share_statistics`).

        Parameters
        ----------
        rank, size : int
            This process, and how many take different samples.
        """
        self._share, self._alone = (rank, size), False
        for part in self.parts.values():
            part.one_of_several = True

    def share_statistics(self, sharing: Mapping[Role, Sharing]) -> None:
        """Read for the statistics no more than this process's part of the training period.

        Parameters
        ----------
        sharing : mapping
            Of inputs, targets and statics, the processes that read them together.
        """
        for part in self.parts.values():
            part.sharing = dict(sharing)

    def hold(self, sharing: Sharing, fitting: bool) -> None:
        """Decode the samples once for all processes of a node: into memory or, of a fit, `scratch`.

        Parameters
        ----------
        sharing : Sharing
            Processes that read the same channels; all of the run call this alike.
        fitting : bool
            They are read in several epochs.
        """
        folder = scratch_folder(self.scratch) if fitting and self.scratch is not None else None
        for part in self.parts.values():
            part.hold(sharing, fitting, folder)

    def restrict(self, inputs: Sequence[str]) -> None:
        """Read only these inputs from now on: what one rank needs where ranks share the channels.

        Raises
        ------
        RuntimeError
            If the sources were opened before.
        """
        for part in self.parts.values():
            part.restrict(inputs)

    def setup(self, stage: str | None = None) -> None:
        """Open the sources and make the data sets of a stage (called by the trainer)."""
        splits = _STAGES.get(stage or "", SPLITS)
        several = len(self.parts) > 1
        every = stage != "predict"
        parts = {n: part for n, part in self.parts.items() if every or part is self.first}
        for name, part in parts.items():
            with self.assignment.told(name):
                _ = part.pairs
                for split in splits:
                    # of several sources not each has to be scored
                    optional = several and stage in ("validate", "test")
                    needed = stage in _STAGES and split == splits[0] and not optional
                    if needed or part.period(split) is not None:
                        part.dataset(split)
                if stage == "fit":
                    part.check_targets()
        if stage in ("validate", "test") and not any(p.period(stage) for p in parts.values()):
            self.first.dataset(splits[0])  # says what lacks
        if stage == "fit":
            check_shared({name: part.inputs for name, part in self.parts.items()})
            self.assignment.tell_unscored(
                [name for name, part in self.parts.items() if part.period("validate") is not None]
            )
            if self._alone:
                self.hold(ALONE, fitting=True)
                for read in self.joint.to_read:
                    read()

    def dataset(self, split: Split) -> PairDataset:
        """Return the samples of a split of the first source.

        Raises
        ------
        InputError
            If the split has no period, or there is no time in it.
        """
        return self.first.dataset(split)

    def times(self, split: Split) -> pd.DatetimeIndex:
        """Return the times of a split of the first source."""
        return self.first.times(split)

    def coarse_dataset(self, split: Split, context: bool = False) -> xr.Dataset:
        """Return the inputs of a split, if asked with their context; lazy unless in memory."""
        return self.first.coarse_dataset(split, context)

    def all_coarse(self) -> xr.Dataset:
        """Return the inputs of all times, without their context."""
        return self.first.all_coarse()

    def fine_dataset(self, split: Split) -> xr.Dataset:
        """Return the targets of a split; lazy unless held in memory."""
        return self.first.fine_dataset(split)

    @property
    def grid(self) -> Grid:
        """The nested coarse grid of the first source."""
        return self.pairs.grid

    @property
    def fine_grid(self) -> Grid:
        """The fine grid of the first source."""
        return self.pairs.fine_grid

    @property
    def tiles(self) -> dict[str, Tile]:
        """A window of each source: of grid or tile, with context and halo."""
        return {name: part.first_tile() for name, part in self.parts.items()}

    @property
    def largest(self) -> PairSource:
        """The source whose batches have the most cells."""

        def cells(part: PairSource) -> int:
            tile = part.first_tile()
            return part.batch_size * tile.height * tile.width

        return max(self.parts.values(), key=cells)

    @property
    def statics(self) -> NDArray[np.float32]:
        """Fine statics `(S, fH, fW)` of the first source, rows from north to south."""
        return self.first.statics

    @property
    def shares(self) -> list[float]:
        """Share of each source in the samples of an epoch."""
        return shares_of(self._weights, [self._samples(part) for part in self.parts.values()])

    def _samples(self, part: PairSource) -> int:
        """Return the training samples of a source, without reading them; one if weights count."""
        return 1 if None not in self._weights else part.samples("train")

    def scored(self, split: Split) -> dict[str, float]:
        """Return the sources that have a split, with what each counts in means over them.

        Scores are of those with truth; the reconstruction is scored on the others.
        """
        if len(self.parts) == 1:
            return dict.fromkeys(self.parts, 1.0)
        shares = zip(self.parts.items(), self.shares, strict=True)
        return {name: share for (name, part), share in shares if part.period(split) is not None}

    @cached_property
    def joint(self) -> JointStatistics:
        """Statistics of the training periods; of targets and fine statics by task."""
        return JointStatistics(self.parts, self.assignment, lambda: self.shares)

    @property
    def input_statistics(self) -> Statistics:
        """Statistics of the inputs, from the training periods of all sources.

        Absent ones have the mean 0, the standard deviation 1, and a range that holds nothing:
        from infinity down to minus infinity.
        """
        return self.joint.inputs

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Send a batch: from page-locked memory while the device works."""
        return batch.to(device, non_blocking=True)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of the training periods, in another order every epoch."""
        datasets = [part.dataset("train") for part in self.parts.values()]
        batches = [
            EpochBatches(len(dataset), part.batch_size, self.seed + number, *self._share)
            for number, (dataset, part) in enumerate(
                zip(datasets, self.parts.values(), strict=True)
            )
        ]
        if len(batches) == 1:
            return self._loader(datasets[0], batches[0], follow=True)
        mixed = MixedBatches(batches, self.shares)
        return self._loader(JointDataset(datasets), mixed, follow=True)

    def val_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """Batches of the validation period; a list of those of several sources that have one."""
        return self._in_order("validate", optional=True)

    def test_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """Batches of the test period; a list of those of several sources."""
        return self._in_order("test", optional=len(self.parts) > 1)

    def _in_order(self, split: Split, optional: bool = False) -> DataLoader[Batch] | list[Any]:
        parts = [p for p in self.parts.values() if not optional or p.period(split) is not None]
        found = []
        for part in parts:
            dataset = part.dataset(split)
            batches = EpochBatches(len(dataset), part.batch_size, None, *self._share)
            found.append(self._loader(dataset, batches))
        return found[0] if len(self.parts) == 1 and found else found

    def _loader(
        self,
        dataset: PairDataset | JointDataset,
        batches: EpochBatches | MixedBatches,
        follow: bool = False,
    ) -> DataLoader[Batch]:
        """Make a loader; one that is to follow the trainer goes on where its epoch stands."""
        place = partial(place_of, self.trainer) if follow and self.trainer is not None else None
        if place is not None:
            # Workers read ahead before Lightning states the epoch that a resumed fit begins with.
            batches.set_epoch(place()[0])
        return EpochLoader(dataset, batches, place, self.num_workers)
