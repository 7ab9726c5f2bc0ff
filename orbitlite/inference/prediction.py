"""Prediction: all that is needed to compute fine fields, and what they will be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import xarray as xr

from orbitlite.data.grid import LatLonGrid
from orbitlite.data.naming import Called, give_back, notes, rows
from orbitlite.data.regrid import Method
from orbitlite.data.tiles import TilePlan
from orbitlite.inference.device import choose_device
from orbitlite.inference.inputs import check_targets, stack
from orbitlite.inference.job import Job
from orbitlite.inference.layout import layout
from orbitlite.inference.metadata import describe
from orbitlite.inference.output import Output
from orbitlite.inference.pieces import Piece, pieces
from orbitlite.inference.region import check_modes, place
from orbitlite.model.bundle import Bundle


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
    grid : LatLonGrid
        Coarse.
    job : Job
    """

    source: xr.Dataset
    bundle: Bundle
    coarse: xr.Variable
    grid: LatLonGrid
    job: Job

    @classmethod
    def of(
        cls,
        ds: xr.Dataset,
        bundle: Bundle,
        *,
        statics: xr.Dataset | None = None,
        interpolate: Method | None = None,
        tile: int | None = None,
        halo: int | None = None,
        tokens: float | None = None,
        batch_size: int | None = None,
        device: str | None = None,
        fill: bool = False,
    ) -> Prediction:
        """Lay a prediction out; see `orbitlite.inference.predictor.predict_dataset`.

        Raises
        ------
        InputError
            If no input is there, or no coarse target though the model has them as inputs (unless
            cells are to be filled), statics are lacking for the region, an option does not fit, or
            the network has modes and the grid is not that of its training.
        """
        config, device = bundle.model.config, choose_device(device)
        region = place(ds, bundle, statics, interpolate)
        check_modes(bundle, region.grid)
        coarse = stack(region.coarse, config.inputs, len(config.targets) * config.factor**2)
        check_targets(region.coarse, config, fill)
        plan, batch = layout(
            region.grid, config, tile, halo, tokens, batch_size, device,
            south_first=bool(rows(ds)),
        )  # fmt: skip
        job = Job.of(bundle.model, region.grid, region.statics, plan, batch, device, tokens, fill)
        return cls(ds, bundle, coarse, region.grid, job)

    @property
    def plan(self) -> TilePlan:
        """The tiles."""
        return self.job.plan

    @property
    def lead(self) -> dict[str, int]:
        """Sizes of the dims before the fields, time last."""
        return {str(dim): self.coarse.sizes[dim] for dim in self.coarse.dims[:-3]}

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the fine fields: `(..., time, K, lat, lon)`."""
        config = self.bundle.model.config
        fine = (config.factor * cells for cells in self.grid.shape)
        return (*self.lead.values(), len(config.targets), *fine)

    @cached_property
    def pieces(self) -> list[Piece]:
        """What goes through the network at once, in order; the same for the same job and data."""
        sizes = tuple(self.lead.values())
        config = self.bundle.model.config
        return pieces(sizes, self.plan, self.job.batch_size, len(config.inputs), config.factor)

    @property
    def timeless(self) -> bool:
        """True if the output has no time dimension, as the source has none."""
        dim = notes(self.source).get("time", Called("time", "time")).dim
        return not dim or "time" not in self.source.dims

    def outputs(self, arrays: Mapping[Any, Any]) -> list[Output]:
        """Return the targets among the arrays of an output, rows counted from the north."""
        turned = bool(rows(self.source))
        return [Output(arrays[name], turned) for name in self.bundle.model.config.targets]

    def dataset(self, fine: Any) -> xr.Dataset:
        """Make the output, with CF metadata, of fine fields of shape `shape`.

        Its coordinates are called as in the source, their bounds alike, rows run as there, and a
        time that was a scalar there is one here. Longitudes go on from those of the source.
        Channels and units are those of the table of variables.
        """
        lead = [*self.lead]
        names = self.bundle.model.config.targets
        out = xr.Dataset(
            {name: ((*lead, "lat", "lon"), fine[..., k, :, :]) for k, name in enumerate(names)}
        )
        coords = self.source.coords
        there = {*lead, "bnds"}  # with the bounds of time
        kept = {name: coords[name] for name in coords if set(coords[name].dims) <= there}
        grid = self.grid.refine(self.job.factor)
        out = out.assign_coords(kept).assign_coords(grid.coordinates())
        out = describe(out, self.source, self.bundle)
        if "time" not in self.source.dims:
            out = out.isel(time=0)
        return give_back(out, notes(self.source))
