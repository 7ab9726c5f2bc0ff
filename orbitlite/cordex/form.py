"""Form: coordinates of the predictions of a domain, as a file of the benchmark has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orbitlite.cordex.task import TARGETS, UNITS
from orbitlite.data.naming import notes, rows
from orbitlite.data.source import open_source
from orbitlite.errors import InputError
from orbitlite.grids.grid import Grid
from orbitlite.grids.reading import read_grid
from orbitlite.notice import muted

_BOUNDS = ("bounds", "climatology")


@dataclass(frozen=True)
class Form:
    """How predictions are laid out.

    Attributes
    ----------
    path : Path
        The file that says so: a template, or a target.
    dims : tuple of str
        Of rows and columns.
    coordinates : mapping
        Variables as they stand in the file, without its time.
    grid : Grid
        Rows from north to south.
    turned : bool
        Rows of the file run from south to north.
    """

    path: Path
    dims: tuple[str, str]
    coordinates: Mapping[str, xr.Variable]
    grid: Grid
    turned: bool

    @classmethod
    def of(cls, path: Path) -> Form:
        """Read a file that holds precipitation on the grid.

        Raises
        ------
        InputError
            If it is absent, cannot be read, or holds none.
        """
        with muted():  # its values are not what is looked at
            ds = open_source(path, [TARGETS["pr"]], units=UNITS)
        with xr.open_dataset(path, decode_times=False) as raw:
            rain = raw["pr"]
            dims = tuple(str(dim) for dim in rain.dims if dim not in ("time", "member"))
            found = {str(n): v.variable.load() for n, v in rain.coords.items()
                     if set(v.dims) <= {*dims}}  # fmt: skip
        if len(dims) != 2:
            raise InputError(f"{path}: expected pr with time, rows and columns, found {rain.dims}")
        for variable in found.values():
            variable.attrs = {k: v for k, v in variable.attrs.items() if k not in _BOUNDS}
        return cls(path, (dims[0], dims[1]), found, read_grid(ds), bool(rows(ds) or _turned(ds)))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.grid.shape

    def arranged(self, fine: xr.Dataset, channel: str) -> NDArray[np.float32]:
        """Return the fields of a prediction in the order of the form.

        Parameters
        ----------
        fine : xr.Dataset
            As `orbitlite.predict` gives it.
        channel : str

        Returns
        -------
        ndarray of shape (M, T, H, W)
            M is 1 where there are no members.

        Raises
        ------
        InputError
            If its cells are not those of the form.
        """
        with muted():
            ds = open_source(fine, [channel], predicted=True)
        grid = read_grid(ds)
        if not grid.same_cells(self.grid):
            raise InputError(
                f"The model predicts {grid.describe()}, and {self.path} has "
                f"{self.grid.describe()}: fit it on the target of this domain, all of it (its "
                "cells should be a multiple of model.network.factor)."
            )
        field = ds[channel]
        if "realization" not in field.dims:
            field = field.expand_dims("realization")
        values: NDArray[np.float32] = field.transpose("realization", "time", *grid.dims).values
        return values[:, :, ::-1] if self.turned else values


def _turned(ds: xr.Dataset) -> bool:
    return any(called.turned for called in notes(ds).values())
