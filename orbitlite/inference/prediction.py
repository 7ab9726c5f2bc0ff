"""Prediction: all that is needed to compute fine fields, and what they will be."""

from __future__ import annotations

import logging
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from orbitlite.addresses import without_secrets
from orbitlite.data.axes import MEMBERS
from orbitlite.data.calendar import seconds_of, times_of
from orbitlite.data.naming import Called, give_back, note, notes, rows
from orbitlite.data.tiles import TilePlan
from orbitlite.errors import InputError
from orbitlite.grids.grid import GRID_COORDINATES, Grid, dims_of
from orbitlite.inference.engine import Array, PlacedNetwork, Times
from orbitlite.inference.inputs import check_targets, seen, stack
from orbitlite.inference.options import PredictOptions
from orbitlite.inference.plan import ReadBlock, WorkItem, read_blocks, work_items
from orbitlite.inference.region import check_ridge, region_for
from orbitlite.inference.statistics import Statistic
from orbitlite.model.bundle import Bundle
from orbitlite.model.record import check_decoder, ranges_of
from orbitlite.remote import reason
from orbitlite.variables import cf_attributes

logger = logging.getLogger(__name__)

_OPTION = re.compile(r"((?:--?[\w.-]+=)?)(.*)", re.DOTALL)
"""A word of a command: an option with its value, or one of both."""


@dataclass(frozen=True)
class Column:
    """A variable of the output.

    Attributes
    ----------
    name : str
    target : int
        Place among the targets.
    place : int
        Among the statistics; zero where there are none.
    attributes : dict
        By the CF conventions.
    """

    name: str
    target: int
    place: int
    attributes: dict[str, str]


@dataclass(frozen=True)
class Prediction:
    """A prediction that is laid out and not computed yet.

    Attributes
    ----------
    source : xarray.Dataset
        Canonical coarse fields, as they came.
    bundle : Bundle
    coarse : xarray.Variable
        `(..., time, channel, lat, lon)`, float32, the model's inputs on `grid`; may be lazy.
    grid : Grid
        Coarse.
    network : PlacedNetwork
    fine_grid : Grid
        Of the output.
    labelled : bool
        The output has a dimension `realization`.
    """

    source: xr.Dataset
    bundle: Bundle
    coarse: xr.Variable
    grid: Grid
    network: PlacedNetwork
    fine_grid: Grid
    labelled: bool = False

    @classmethod
    def of(
        cls,
        ds: xr.Dataset,
        bundle: Bundle,
        options: PredictOptions,
        statics: xr.Dataset | None = None,
    ) -> Prediction:
        """Lay a prediction out.

        Parameters
        ----------
        ds : xarray.Dataset
            Canonical (see `open_source`): some or all of the model's inputs, `(..., time, lat,
            lon)`.
        bundle : Bundle
        options : PredictOptions
            Those of opening sources were applied before.
        statics : xarray.Dataset, optional
            Canonical fine statics; None: the bundle's own.

        Raises
        ------
        InputError
            If no input is there, or no coarse target though the model has them as inputs (unless
            cells are to be filled), statics are lacking for the region, an option does not fit, the
            network has a regression and the grid is not that of its training, or its decoder has
            learned nothing.
        """
        check_decoder(bundle.metadata)
        config = bundle.model.config
        region = region_for(ds, bundle, statics, options.regrid)
        check_ridge(bundle, region.grid)
        if dims_of(ds) != region.grid.dims:  # it was brought to a grid of another kind
            there = [name for name in notes(ds) if name in GRID_COORDINATES]
            ds = note(ds, {name: Called(name, name) for name in there})
        network = PlacedNetwork.of(
            bundle.model, region, options, bool(rows(ds)), ranges_of(bundle.metadata)
        )
        outputs = network.outputs * len(config.targets) * config.factor**2
        fields = seen(region.coarse, bundle)
        coarse = stack(fields, config.inputs, outputs)
        check_targets(fields, config, options.fill)
        asked = options.members is not None or network.members > 1
        labelled = asked and not network.statistics
        if labelled and {"realization"} & {*ds.dims, *ds.coords}:
            raise InputError(
                f"The data have a realization, and so have the {network.members} members that the "
                "model draws: rename that of the data."
            )
        return cls(ds, bundle, coarse, region.grid, network, region.fine_grid, labelled)

    @property
    def plan(self) -> TilePlan:
        """The tiles."""
        return self.network.plan

    @property
    def lead(self) -> dict[str, int]:
        """Sizes of the dims before the fields, time last."""
        return {str(dim): self.coarse.sizes[dim] for dim in self.coarse.dims[:-3]}

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the fine fields: `(..., time, M, K, lat, lon)`, M members or statistics."""
        config = self.bundle.model.config
        fine = (config.factor * cells for cells in self.grid.shape)
        return (*self.lead.values(), self.network.outputs, len(config.targets), *fine)

    @property
    def columns(self) -> list[Column]:
        """Variables of the output."""
        targets, statistics = self.bundle.model.config.targets, self.network.statistics
        if not statistics:
            return [Column(name, k, 0, cf_attributes(name)) for k, name in enumerate(targets)]
        alone = statistics == ("mean",)
        return [
            Column(
                name if alone else f"{name}_{one}", k, place, Statistic.named(one).attributes(name)
            )
            for k, name in enumerate(targets) for place, one in enumerate(statistics)
        ]  # fmt: skip

    @cached_property
    def seconds(self) -> Times:
        """Seconds since 1970-01-01 of each step; zero where there is no time. Shape (T,)."""
        steps = self.coarse.shape[-4]
        if "time" not in self.source.coords:
            return np.zeros(steps)
        return np.broadcast_to(seconds_of(times_of(self.source)).astype(np.float64), steps)

    @cached_property
    def work_items(self) -> list[WorkItem]:
        """What goes through the network at once, in order; the same for the same job and data."""
        sizes = tuple(self.lead.values())
        config = self.bundle.model.config
        return work_items(
            sizes, self.plan, self.network.batch_size, len(config.inputs), config.factor,
            self.network.draws,
        )  # fmt: skip

    def windows(self, pieces: Sequence[WorkItem]) -> Iterator[tuple[WorkItem, Array]]:
        """Read the windows (g, n, C, h, w) of pieces, in their order.

        Raises
        ------
        InputError
            If the input cannot be read.
        """
        row = 4 * self.coarse.sizes["channel"] * self.coarse.shape[-1]
        for block in read_blocks(pieces, row):
            fields = self._read(block)
            for piece in block.pieces:
                yield piece, block.windows(fields, piece)

    def _read(self, block: ReadBlock) -> Array:
        """Read the input of a block, (n, C, rows, W)."""
        fields = self.coarse[*block.member, block.steps, :, block.rows].data
        try:
            values = fields.compute(scheduler="synchronous") if hasattr(fields, "dask") else fields
        except InputError:
            raise
        except Exception as error:  # libraries behind a store raise exceptions of every kind
            logger.debug("The input could not be read.", exc_info=True)
            raise InputError(
                f"the input cannot be read ({reason(error)}); is the source whole?"
            ) from error
        return np.asarray(values, np.float32)

    @property
    def timeless(self) -> bool:
        """True if the output has no time dimension, as the source has none."""
        dim = notes(self.source).get("time", Called("time", "time")).dim
        return not dim or "time" not in self.source.dims

    def dataset(self, fine: Any) -> xr.Dataset:
        """Make the output, with CF metadata, of fine fields of shape `shape`.

        Its coordinates are called as in the source, their bounds alike, rows run as there, and a
        time that was a scalar there is one here. Longitudes go on from those of the source.
        Channels and units are those of the table of variables.
        """
        lead = [*self.lead]
        dims = (*lead, "realization", *self.fine_grid.dims)
        if not self.labelled:
            out = xr.Dataset(
                {one.name: (dims[:-3] + dims[-2:], fine[..., one.place, one.target, :, :])
                 for one in self.columns}
            )  # fmt: skip
        else:
            out = xr.Dataset({one.name: (dims, fine[..., one.target, :, :])
                              for one in self.columns})  # fmt: skip
            out = out.transpose(*lead[:-1], "realization", "time", *self.fine_grid.dims)
            out = out.assign_coords(realization=np.arange(self.network.members))
        coords = self.source.coords
        there = {*lead, "bnds"}  # with the bounds of time
        kept = {name: coords[name] for name in coords if set(coords[name].dims) <= there}
        out = out.assign_coords(kept).assign_coords(self.fine_grid.coordinates())
        attributes = {one.name: one.attributes for one in self.columns}
        out = _described(out, self.source, self.bundle, attributes)
        if "time" not in self.source.dims:
            out = out.isel(time=0)
        called = notes(self.source)
        out = give_back(out, called)
        mapping = called.get("crs", Called("crs", "crs")).name
        if mapping in out.coords:
            for one in self.columns:
                out[one.name].encoding["grid_mapping"] = mapping
        return out


def _described(
    fine: xr.Dataset, coarse: xr.Dataset, bundle: Bundle, attributes: dict[str, dict[str, str]]
) -> xr.Dataset:
    """Attach attributes: CF names and units, where the data come from, which model made them.

    Parameters
    ----------
    fine : xarray.Dataset
        The prediction, with coordinates.
    coarse : xarray.Dataset
        Its input; global attributes are kept.
    bundle : Bundle
    attributes : dict
        Of each variable.

    Returns
    -------
    xarray.Dataset
        With fresh encoding: a packed input would clip the prediction.
    """
    for column, own in attributes.items():
        fine[column].attrs = dict(own)
    for name in fine.coords:
        if name in MEMBERS:
            attrs = {"standard_name": "realization", "units": "1"}
            fine = fine.assign_coords({name: fine[name].assign_attrs(attrs | fine[name].attrs)})
    if "time" in fine.coords:
        attrs = {"standard_name": "time", "long_name": "time", "axis": "T"}
        fine["time"].attrs = attrs | fine["time"].attrs
    ours = version("orbitlite")
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    note = f"{now} downscaled with orbitlite {ours}: {_command()}"
    history = f"{note}\n{coarse.attrs.get('history', '')}"
    fine.attrs = {
        **coarse.attrs,
        "Conventions": "CF-1.11",
        "history": history.rstrip(),
        "orbitlite_version": ours,
        "orbitlite_model": _paths(bundle) or "in memory",
        **({"orbitlite_model_id": bundle.identity} if bundle.identity else {}),
        "downscaling_factor": bundle.model.config.factor,
    }
    for variable in fine.variables.values():
        variable.encoding = {}
    return fine


def _paths(bundle: Bundle) -> str:
    """Return where a model, or each of several, is; without secrets, as all that is written."""
    return " + ".join(map(without_secrets, bundle.path.split(" + ")))


def _command() -> str:
    """Return what was typed, or the call if it came from elsewhere."""
    name = Path(sys.argv[0]).name
    if name != "orbitlite":
        return "orbitlite.predict"
    parts = [_OPTION.fullmatch(word) for word in sys.argv[1:]]
    return shlex.join([name, *(p[1] + without_secrets(p[2]) for p in parts if p)])
