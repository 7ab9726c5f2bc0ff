"""Earth2Downscaler: a bundle as a diagnostic model of Earth2Studio.

It has the protocol `earth2studio.models.dx.DiagnosticModel` and imports nothing of that package.
Predictions are those of `orbitlite.predict`.
"""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import fields as fields_of
from functools import cached_property
from typing import Any, Unpack

import dask.array
import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor, nn

from orbitlite.api import load, predict
from orbitlite.earth2.arrays import coords_in, dataset_of, north_first, values_in
from orbitlite.earth2.field import given_as, read_as
from orbitlite.earth2.grid import Coords, coords_of, own_grids, same_points
from orbitlite.earth2.steps import Steps
from orbitlite.errors import InputError
from orbitlite.grids.grid import Grid
from orbitlite.inference.options import PredictKeywords, PredictOptions
from orbitlite.model.bundle import Bundle
from orbitlite.model.record import unseen_of
from orbitlite.notice import muted, notice, one_call
from orbitlite.suggest import did_you_mean

logger = logging.getLogger(__name__)

_ANY_TIME = np.array(["2000-01-01"], "datetime64[ns]")
_REFUSED = {
    "device": "move the model with .to(device)",
    "statistics": "take them of the members along `sample`",
    "between": "hand over the times that are wanted",
    "progress": "the workflow shows its own",
}


class Earth2Downscaler(nn.Module):
    """A bundle as a diagnostic model of Earth2Studio: coarse fields in, fine fields out.

    Variables have the names and units of Earth2Studio's lexicon, both ways (`t2m` in K, `z500` in
    m2 s-2, `tp24` in m). Values are those that `ds.orbitlite.predict(bundle)` gives for the same
    fields; a target whose unit differs there (mm) is converted.

    `input_coords` leaves `lat` and `lon` free: where a model states a grid, workflows such as
    `earth2studio.run.diagnostic` take the nearest point of another one and do not say so. The
    coordinates that come with the data are compared with the cells of the model, as `predict` does:
    of larger data the region is cut out, with its context, and other cells are an error, unless
    `regrid` is set or the model was trained so. `grid` says what the model's own cells are. Winds
    on grids of two dimensions are refused: some sources have them along the axes, and do not say
    so.

    Times are `time` plus `lead_time`. A stochastic model gives its first member, or with `members`
    a dimension `sample` in front of `variable`. Each member of an input with a dimension
    `ensemble` has draws of its own: the one of number n those of the seed `seed + n`.

    A model of windows (`resample`, or trained so) takes all steps of its windows at once, along
    `time`, and gives the beginnings of the windows.

    Parameters
    ----------
    bundle : Bundle
        Its network is moved by `to`, as any module.
    names : mapping of str to str, optional
        Variable of an input by its channel: `{"total_precipitation": "tp"}`. Also the variable of a
        target that the lexicon has no name for.
    units : mapping of str to str, optional
        Units by variable, of those that the lexicon does not have or whose source has others:
        `{"sf": "m"}`.
    without : sequence of str
        Inputs, by channel, that are not to be had: the network does without them.
    **options
        Those of `orbitlite.predict`, but for device, statistics, between and progress.
        `accumulation_period` is that of amounts whose name does not say it (`tp`).

    Raises
    ------
    InputError
        If a channel has no variable, a unit or a period is not known, or an option does not fit.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        names: Mapping[str, str] | None = None,
        units: Mapping[str, str] | None = None,
        without: Sequence[str] = (),
        **options: Unpack[PredictKeywords],
    ) -> None:
        super().__init__()
        for name, way in _REFUSED.items():
            if name in options:
                raise InputError(f"{name} is no option of Earth2Downscaler: {way}")
        chosen = PredictOptions.of(options)
        if chosen.members is not None and not bundle.model.stochastic:
            raise InputError(
                "members: the model is deterministic and gives one field; leave it out"
            )
        self.bundle, self.network = copy(bundle), bundle.model
        self.members, self.seed = chosen.members, chosen.seed
        given, stated = dict(names or {}), dict(units or {})
        config = bundle.model.config
        _check_keys("names", given, [*config.inputs, *config.targets], "input or target")
        wanted = _wanted(bundle)
        _check_keys("without", without, wanted, "input that is asked for")
        self.inputs = [
            read_as(name, given, stated, chosen.accumulation_period)
            for name in wanted
            if name not in without
        ]
        self.targets = [given_as(n, given, stated) for n in config.targets]
        known = [one.variable for one in (*self.inputs, *self.targets)]
        _check_keys("units", stated, known, "variable of the model")
        self.window = chosen.resample or bundle.metadata.get("training", {}).get("accumulate")
        apart = ("accumulation_period", "members", "seed", *_REFUSED)
        self.options: dict[str, Any] = {
            option.name: getattr(chosen, option.name)
            for option in fields_of(chosen)
            if option.name not in apart
        }
        self.eval()

    @classmethod
    def load(
        cls,
        bundle: Bundle | str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        names: Mapping[str, str] | None = None,
        units: Mapping[str, str] | None = None,
        without: Sequence[str] = (),
        **options: Unpack[PredictKeywords],
    ) -> Earth2Downscaler:
        """Load a bundle as a diagnostic model.

        Parameters
        ----------
        bundle : Bundle, str or Path, or a list of paths
            What `orbitlite.load` takes, or gives; the network of a bundle that is handed over is
            copied.
        names, units, without, **options
            As those of the class.

        Raises
        ------
        InputError
            If it cannot be loaded, or as the class.

        Examples
        --------
        >>> Earth2Downscaler.load("runs/demo/bundle")  # doctest: +SKIP
        """
        if isinstance(bundle, Bundle):
            found = copy(bundle)
            found.model = deepcopy(bundle.model)
        else:
            found = load(bundle, options.get("task"))
        return cls(found, names=names, units=units, without=without, **options)

    @property
    def grid(self) -> Coords:
        """`lat` and `lon` of the model's own coarse cells, from north to south.

        Raises
        ------
        InputError
            If the model has no grid of its own.
        """
        return self._own_coords(0)

    def input_coords(self) -> Coords:
        """Return what the model takes: its variables; all else is free."""
        free = {name: np.empty(0) for name in ("batch", "time", "lead_time")}
        variables = np.array(list(dict.fromkeys(one.variable for one in self.inputs)))
        space = {name: np.empty(0) for name in ("lat", "lon")}
        return OrderedDict(**free, variable=variables, **space)

    @one_call()
    def output_coords(self, input_coords: Coords) -> Coords:
        """Return what the model gives for coordinates.

        Parameters
        ----------
        input_coords : Coords
            `(..., variable, lat, lon)`. Free latitudes and longitudes stand for the model's own
            cells.

        Returns
        -------
        Coords
            `(..., [sample], variable, lat, lon)`, from north to south.

        Raises
        ------
        InputError
            If variables are missing, or the model cannot serve the cells.
        """
        steps = Steps.of(input_coords)
        self._check(steps)
        lat, lon = input_coords["lat"], input_coords["lon"]
        if not lat.size and not lon.size:
            return self._coords(steps, self._own_coords(1))
        times = steps.valid_times(0) if self.window else None
        if times is None or not times.size:
            times = _ANY_TIME
        zeros = dask.array.zeros((1, len(times), len(input_coords["variable"]), *steps.cells))
        with muted():  # the prediction says it
            out = self._predict(zeros, times, input_coords, self.seed)
        return self._coords(steps, coords_in(out), out["time"].values if self.window else None)

    @one_call()
    def __call__(self, x: Tensor, coords: Coords) -> tuple[Tensor, Coords]:
        """Downscale.

        Parameters
        ----------
        x : Tensor
            `(..., variable, lat, lon)`, in the units of Earth2Studio's lexicon.
        coords : Coords
            Of `x`.

        Returns
        -------
        Tensor
            `(..., [sample], variable, lat, lon)`, float32, on the device of `x`.
        Coords

        Raises
        ------
        InputError
            If variables are missing, or the model cannot serve the cells.
        """
        steps = Steps.of(coords, x.shape)
        self._check(steps)
        values = x.detach().cpu()
        parts = steps.front((values if values.dtype == torch.float64 else values.float()).numpy())
        seeds, pieces = [self.seed], [parts]
        if self.network.stochastic:
            seeds, pieces = [self.seed + number for number in steps.numbers], [*parts[:, None]]
        made = []
        for seed, piece in zip(seeds, pieces, strict=True):
            outs = [
                self._predict(piece[:, lead], steps.valid_times(lead), coords, seed)
                for lead in range(piece.shape[1])
            ]
            made.append(np.stack([values_in(out, self.targets) for out in outs], axis=1))
        fine = torch.from_numpy(steps.back(np.concatenate(made)).copy()).to(x.device)
        times = outs[0]["time"].values if self.window else None
        return fine, self._coords(steps, coords_in(outs[0]), times)

    @cached_property
    def _own(self) -> tuple[Grid, Grid] | None:
        return own_grids(self.bundle)

    def _own_coords(self, which: int) -> Coords:
        if self._own is None:
            raise InputError(
                "The model has no grid of its own: expected lat and lon of the data in the "
                "coordinates, found none"
            )
        return coords_of(self._own[which])

    def _check(self, steps: Steps) -> None:
        """Refuse what lacks a variable, or the steps that make windows; tell what is not used."""
        wanted = dict.fromkeys(one.variable for one in self.inputs)
        found = [str(name) for name in steps.coords["variable"]]
        if missing := [name for name in wanted if name not in found]:
            raise InputError(
                f"coords: the model takes {', '.join(wanted)}: {', '.join(missing)} not found "
                f"among {', '.join(found) or 'no variables'}"
            )
        if extra := [name for name in found if name not in wanted]:
            notice(logger, f"Not an input of the model, and not used: {', '.join(extra)}.")
        sizes = steps.sizes
        if self.window and (sizes.get("time", 1) == 1 or sizes.get("lead_time", 1) > 1):
            raise InputError(
                f"The model is of windows of {self.window}: expected all steps of its windows "
                f"along time, and one lead time at most, found {sizes}"
            )

    def _predict(
        self, values: Any, times: NDArray[Any] | None, coords: Coords, seed: int
    ) -> xr.Dataset:
        """Predict (E, T, V, H, W), with the dimensions `member` and `time` where there are any."""
        ds = dataset_of(values, times, coords, self.inputs)
        device = str(next(self.network.parameters()).device)
        drawn: dict[str, Any] = {}
        if self.network.stochastic:
            drawn = {"members": self.members, "seed": seed}
        out = predict(ds, self.bundle, device=device, progress=False, **self.options, **drawn)
        out = north_first(out)
        # a step of the input is one of the output, in any order
        return out if times is None or self.window else out.sel(time=times)

    def _coords(self, steps: Steps, space: Coords, times: NDArray[Any] | None = None) -> Coords:
        """Return the coordinates of the output; `times` where they are not those of the input."""
        lead = OrderedDict((dim, steps.coords[dim]) for dim in steps.sizes)
        if times is not None:
            lead["time"] = steps.starts(times)
        if self.members is not None:
            lead["sample"] = np.arange(self.members)
        if self._own is not None and same_points(own := coords_of(self._own[1]), space):
            space = own  # not a rounding apart from those that were announced
        variables = np.array([one.variable for one in self.targets])
        return OrderedDict(**lead, variable=variables, **space)


def _wanted(bundle: Bundle) -> list[str]:
    """Return the inputs that a workflow has to give: not those that the bundle makes itself."""
    config = bundle.model.config
    own = {"latitude", *config.statics, *unseen_of(bundle.metadata, config.inputs)}
    return [name for name in config.inputs if name not in own]


def _check_keys(option: str, given: Iterable[str], known: Sequence[str], what: str) -> None:
    for name in given:
        if name not in known:
            raise InputError(f"{option}: {name!r} is no {what}{did_you_mean(name, known)}")
