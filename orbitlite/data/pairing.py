"""Pairing: a coarse and a fine dataset of the same times, on nested grids, from their sources."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from orbitlite.data.bounds import check_same_times
from orbitlite.data.calendar import comparable, standard_calendar
from orbitlite.data.lattice import covered, no_common_cell, static_inputs
from orbitlite.data.members import extra_dims, partners
from orbitlite.data.naming import note, rows
from orbitlite.data.nesting import Nesting, nest, surround, tell_lack
from orbitlite.data.regrid import Method, regrid
from orbitlite.data.resampling import resample
from orbitlite.data.source import Source, open_source
from orbitlite.data.store import chunked
from orbitlite.errors import InputError
from orbitlite.grids.coarsening import coarsen
from orbitlite.grids.context import NO_CONTEXT, Context
from orbitlite.grids.grid import Grid
from orbitlite.grids.reading import read_grid
from orbitlite.notice import notice, warn
from orbitlite.variables import declare_variables, declared, lookup

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Coarse and fine fields of the same times on nested grids. Rows run from north to south.

    Attributes
    ----------
    coarse : xr.Dataset
        The inputs that there are, `(..., time, lat, lon)`, statics `(lat, lon)`, on `lattice`;
        lazy.
    fine : xr.Dataset
        The targets on the fine grid, lazy; none where there is no truth. How the store has its rows
        is noted (see `naming`).
    statics : xr.Dataset
        The fine statics, `(lat, lon)`, in memory.
    grid, fine_grid : Grid
        Of the coarse cells that the fine ones are parts of, and of the fine ones.
    lattice : Grid
        `grid` with its context.
    context : Context
    """

    coarse: xr.Dataset
    fine: xr.Dataset
    statics: xr.Dataset
    grid: Grid
    fine_grid: Grid
    lattice: Grid
    context: Context = NO_CONTEXT

    @property
    def core(self) -> xr.Dataset:
        """The inputs without their context, on `grid`."""
        if not any(self.context):
            return self.coarse
        cells = dict(zip(self.grid.dims, self.context.core(self.grid.shape), strict=True))
        located = [name for name in self.coarse.coords if {*cells} & {*self.coarse[name].dims}]
        return self.coarse.drop_vars(located).isel(cells).assign_coords(self.grid.coordinates())

    @property
    def times(self) -> pd.DatetimeIndex:
        """Times of the pairs."""
        return pd.DatetimeIndex(self.coarse.indexes["time"])

    @property
    def members(self) -> dict[str, int]:
        """Sizes of the extra dims, such as `number`."""
        sizes: dict[str, int] = {}
        for ds in (self.coarse, self.fine):
            for dim in extra_dims(ds):
                size = ds.sizes[dim]
                if sizes.setdefault(dim, size) != size:
                    raise InputError(
                        f"The dimension {dim!r} has {sizes[dim]} values in the coarse store and "
                        f"{size} in the fine store: select the same ones in both."
                    )
        return sizes

    def at(self, positions: NDArray[np.intp]) -> Pairs:
        """Keep the times at `positions`, lazily."""
        steps: Any = positions
        if positions.size and (np.diff(positions) == 1).all():
            steps = slice(int(positions[0]), int(positions[-1]) + 1)
        return replace(self, coarse=self.coarse.isel(time=steps), fine=self.fine.isel(time=steps))


@dataclass(frozen=True, eq=False)
class Pairing:
    """How pairs come from their sources: plain arguments, so that a worker can open for itself.

    Attributes
    ----------
    fine : source, optional
        Holds the targets, and all inputs if there is no coarse source. None: the coarse fields have
        no truth, and their own grid.
    coarse : source, optional
        Holds the inputs. None: the fine source is coarsened.
    statics : source, optional
        Holds fine statics.
    inputs, targets, static_names : tuple of str
        Channels.
    factor : int
    regrid : {"linear", "conservative"}, optional
        Bring the coarse source onto the nested grid.
    resample : str, optional
        Window (see `orbitlite.data.resampling.resample`).
    accumulation_period : str, optional
        Accumulation period of amounts that state none.
    context : int
        Coarse cells around those of the targets, on each side, that inputs are taken of.
    source : str
        Its name, of one of several: fine statics that it lacks are missing values, as inputs are.
    units : mapping
        Units of variables that state none, by their names in the sources.
    """

    fine: Source | Sequence[Source] | None
    coarse: Source | Sequence[Source] | None
    statics: Source | Sequence[Source] | None
    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    static_names: tuple[str, ...]
    factor: int
    regrid: Method | None = None
    resample: str | None = None
    accumulation_period: str | None = None
    context: int = 0
    source: str = ""
    units: Mapping[str, str] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        # A worker may not know what this process was told of its channels.
        channels = (*self.inputs, *self.targets, *self.static_names)
        return {**self.__dict__, "declared": declared(channels)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        declare_variables(state["declared"])
        self.__dict__.update({key: value for key, value in state.items() if key != "declared"})

    @property
    def truthful(self) -> tuple[str, ...]:
        """The targets that there is truth of: all, or none."""
        return () if self.fine is None else self.targets

    def open(self) -> Pairs:
        """Open the sources and bring them together, lazily.

        Raises
        ------
        InputError
            If a channel or a static is missing, the grids do not nest, or no time is common.
        """
        if self.fine is None:
            return self._open_alone()
        names = list(dict.fromkeys([*self.static_names, *self._static_inputs()]))
        separate = self._open_statics(names)
        whole = self._open_fine([name for name in names if name not in separate])
        statics = self._collect(separate, whole, names)
        if self.coarse is None:
            nesting = nest(read_grid(whole), self.factor)
            cut = nesting.cut_fine(whole)
            present = [name for name in self.inputs if name in whole and name not in statics]
            coarse = coarsen(cut[present], nesting.fine_grid, self.factor)
            lattice, context = nesting.grid, NO_CONTEXT
        else:
            nesting, lattice, context, coarse = self._open_coarse(read_grid(whole))
            cut = nesting.cut_fine(whole)
        statics = nesting.cut_fine(statics).compute()
        coarse = self._with_statics(coarse, statics, nesting, context)
        timeless = [name for name in coarse.data_vars if "time" not in coarse[name].dims]
        coarse = coarse.assign({name: coarse[name].compute() for name in timeless})
        coarse, fine = _match_times(coarse, cut[list(self.targets)], self.resample)
        check_same_times(coarse, fine, ("coarse store", "fine store"))
        fine = partners(fine, coarse, ("fine store", "coarse store"))
        return Pairs(
            coarse.assign_coords(lattice.coordinates()),
            note(fine.assign_coords(nesting.fine_grid.coordinates()), rows(whole)),
            statics[list(self.static_names)],
            nesting.grid,
            nesting.fine_grid,
            lattice,
            context,
        )

    def _open_alone(self) -> Pairs:
        """Open coarse fields without truth, on their own grid."""
        assert self.coarse is not None
        ds = self._open(self.coarse, self.inputs, self.inputs, regular=True)
        if "time" not in ds.dims:
            raise InputError("The coarse source has none of the inputs that change with time.")
        grid = read_grid(ds)
        fine = grid.refine(self.factor)
        coarse = self._named(ds)
        timeless = [name for name in coarse.data_vars if "time" not in coarse[name].dims]
        coarse = coarse.assign({name: coarse[name].compute() for name in timeless})
        nothing = xr.Dataset(coords=fine.coordinates())
        return Pairs(
            coarse.assign_coords(grid.coordinates()),
            note(nothing.assign_coords(time=coarse["time"]), rows(ds)),
            nothing,
            grid,
            fine,
            grid,
        )

    def _static_inputs(self) -> list[str]:
        return [name for name in self.inputs if lookup(name).static]

    def _open_fine(self, statics: list[str]) -> xr.Dataset:
        assert self.fine is not None
        others = [*statics, *(self.inputs if self.coarse is None else ())]
        for name in self.targets:
            if lookup(name).static:
                raise InputError(f"{name} has no time and cannot be a target.")
        channels = list(dict.fromkeys([*self.targets, *others]))
        optional = [name for name in others if name not in self.targets]
        return self._open(self.fine, channels, optional, regular=True)

    def _open_coarse(self, fine_grid: Grid) -> tuple[Nesting, Grid, Context, xr.Dataset]:
        assert self.coarse is not None
        regular = self.regrid is None
        ds = self._open(self.coarse, self.inputs, self.inputs, regular=regular)
        if "time" not in ds.dims:
            raise InputError("The coarse source has none of the inputs that change with time.")
        if self.regrid is None:
            grid = read_grid(ds)
            nesting = nest(fine_grid, self.factor, grid)
            around = surround(nesting.grid, grid, nesting.rows, nesting.columns, self.context)
            self._tell_room(around.context)
            return nesting, around.lattice, around.context, around.cut(ds)
        nesting = nest(fine_grid, self.factor)
        context = nesting.grid.room(self.context)
        self._tell_room(context)
        lattice = nesting.grid.surround(context)
        there = covered(ds, lattice, self.regrid)
        core = there[context.core(nesting.grid.shape)]
        if not core.any():
            raise InputError(no_common_cell(read_grid(ds), nesting.grid))
        if not core.all():
            warn(
                logger,
                f"The coarse store covers {core.sum()} of the {core.size} coarse cells of the "
                "fine region: the others are NaN.",
            )
        tell_lack(there, context, nesting.grid.shape)
        return nesting, lattice, context, regrid(ds, lattice, self.regrid)

    def _tell_room(self, context: Context) -> None:
        """Say where the globe leaves no room for the context that is asked for."""
        if self.context and not any(context):
            notice(
                logger,
                f"data.context is {self.context}, and the fine grid is the whole globe: it has no "
                "surroundings.",
            )

    def _open(
        self,
        source: Source | Sequence[Source],
        channels: Sequence[str],
        optional: Sequence[str],
        regular: bool,
    ) -> xr.Dataset:
        """Open a source at the steps of its pairs."""
        ds = open_source(
            _lazy(source), channels, optional=optional, regular=regular,
            accumulation_period=self.accumulation_period, rates=self.resample is not None,
            units=self.units,
        )  # fmt: skip
        bare = [str(name) for name in ds.data_vars if not lookup(str(name)).static]
        if bare and "time" not in ds.dims:
            raise InputError(f"{', '.join(bare)} has no time: expected a time coordinate.")
        if self.resample is not None and "time" in ds.dims:
            ds = note(resample(ds, self.resample), rows(ds))
        return standard_calendar(ds)

    def _open_statics(self, names: list[str]) -> xr.Dataset:
        """Open the source of statics; an empty dataset without one."""
        if self.statics is None or not names:
            return xr.Dataset()
        regular = self.regrid is None
        return open_source(self.statics, names, optional=names, regular=regular, units=self.units)

    def _collect(self, separate: xr.Dataset, fine: xr.Dataset, names: list[str]) -> xr.Dataset:
        """Bring statics together on the grid of `fine`: those of their own source first."""
        grid = read_grid(fine)
        found = {name: fine[name] for name in names if name in fine}
        if separate.data_vars:
            aligned = self._onto(grid, separate)
            found |= {name: aligned[name] for name in names if name in aligned}
        missing = [name for name in self.static_names if name not in found]
        if missing and self.source:
            text = f"Fine statics that {self.source} lacks are missing values: "
            warn(logger, f"{text}{', '.join(missing)}.")
            nothing = xr.DataArray(np.full(grid.shape, np.nan, np.float32), dims=grid.dims)
            found |= dict.fromkeys(missing, nothing)
        elif missing:
            raise InputError(
                f"The fine static {', '.join(map(repr, missing))} is in neither the static nor the "
                "fine source: add a source, or take it out of model.network.statics."
            )
        return xr.Dataset(found, grid.coordinates())

    def _onto(self, grid: Grid, statics: xr.Dataset) -> xr.Dataset:
        own = read_grid(statics)
        try:
            nesting = nest(grid, 1, own)
        except InputError as error:
            if self.regrid is None:
                raise InputError(
                    f"The static source ({own.describe()}) is not on the fine grid "
                    f"({grid.describe()}): set regrid to linear or conservative."
                ) from error
            return regrid(statics, grid, self.regrid)
        return nesting.cut(statics).assign_coords(grid.coordinates())

    def _with_statics(
        self, coarse: xr.Dataset, fine: xr.Dataset, nesting: Nesting, context: Context
    ) -> xr.Dataset:
        """Add static inputs that only the fine grid has."""
        found = static_inputs(coarse, fine, self.inputs, nesting.grid, self.factor, context)
        return self._named(coarse.assign(found))

    def _named(self, coarse: xr.Dataset) -> xr.Dataset:
        """Keep the inputs, and name those that are nowhere."""
        absent = [name for name in self.inputs if name not in coarse]
        if absent:
            who = f"{self.source} lacks" if self.source else "no source has"
            warn(logger, f"Inputs that {who} are missing values: {', '.join(absent)}.")
        return coarse[[name for name in self.inputs if name in coarse]]


def _match_times(
    coarse: xr.Dataset, fine: xr.Dataset, window: str | None
) -> tuple[xr.Dataset, xr.Dataset]:
    """Keep the times that both have."""
    if "time" not in coarse.dims:
        raise InputError("None of the inputs that change with time is in the source.")
    coarse, fine = comparable([coarse, fine])
    ours, theirs = (pd.DatetimeIndex(ds.indexes["time"]) for ds in (coarse, fine))
    common = ours.intersection(theirs)
    if not len(common):
        hint = "check accumulation_period" if window else "state a window with resample"
        raise InputError(
            f"No time is in both stores: the coarse one has {len(ours)} from {ours[0]} to "
            f"{ours[-1]}, the fine one {len(theirs)} from {theirs[0]} to {theirs[-1]}. If their "
            f"steps differ, {hint}."
        )
    if len(common) < max(len(ours), len(theirs)):
        warn(
            logger,
            f"{len(common)} times are in both stores; {len(ours) - len(common)} of the coarse and "
            f"{len(theirs) - len(common)} of the fine store have no partner and are not used.",
        )
    return _at(coarse, common), _at(fine, common)


def _at(ds: xr.Dataset, times: pd.DatetimeIndex) -> xr.Dataset:
    return ds if len(times) == ds.sizes["time"] else ds.sel(time=times)


def _lazy(source: Source | Sequence[Source]) -> list[Source]:
    """Back xarray objects with dask, so that what is done to them waits until a step is read."""
    single = isinstance(source, (str, os.PathLike, xr.Dataset, xr.DataArray))
    items: Sequence[Source] = [source] if single else source  # type: ignore[assignment,list-item]
    return [_chunked(item) if isinstance(item, xr.Dataset) else item for item in items]


def _chunked(ds: xr.Dataset) -> xr.Dataset:
    return ds.assign(chunked(ds, [name for name in ds.data_vars if not ds[name].chunks]))
