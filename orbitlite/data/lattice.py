"""Lattice: coarse data on the blocks of fine cells, alike for training and prediction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orbitlite.data.regrid import Method, regrid
from orbitlite.errors import InputError
from orbitlite.grids.coarsening import coarsen
from orbitlite.grids.context import NO_CONTEXT, Context
from orbitlite.grids.grid import Grid
from orbitlite.grids.reading import read_grid
from orbitlite.variables import lookup


def covered(ds: xr.Dataset, lattice: Grid, method: Method) -> NDArray[np.bool_]:
    """Tell which cells of a lattice (H, W) get values of a dataset that is interpolated onto it.

    Parameters
    ----------
    ds : xarray.Dataset
        Canonical.
    lattice : Grid
        Made of blocks of fine cells.
    method : {"linear", "conservative"}

    Raises
    ------
    InputError
        If none does.
    """
    grid = read_grid(ds)
    ones = xr.Dataset({"there": (grid.dims, np.ones(grid.shape))}, ds.coords)
    there: NDArray[np.bool_] = np.isfinite(regrid(ones, lattice, method)["there"].values)
    if not there.any():
        raise InputError(no_common_cell(grid, lattice))
    return there


def no_common_cell(coarse: Grid, lattice: Grid) -> str:
    """Say that coarse data have nothing on a lattice."""
    return (
        f"The coarse data ({coarse.describe()}) and the blocks of the fine grid "
        f"({lattice.describe()}) have no cell in common."
    )


def static_inputs(
    coarse: xr.Dataset,
    fine: xr.Dataset,
    inputs: Sequence[str],
    lattice: Grid,
    factor: int,
    context: Context = NO_CONTEXT,
) -> dict[str, xr.Variable]:
    """Coarsen the static inputs that only the fine grid has.

    Parameters
    ----------
    coarse : xarray.Dataset
        On `lattice` with its context.
    fine : xarray.Dataset
        Fine statics, on the lattice refined by `factor`.
    inputs : sequence of str
        Channels of the network.
    lattice : Grid
    factor : int
    context : Context
        Around the lattice, where the fields are NaN.

    Returns
    -------
    dict
        Fields by name.
    """
    names = [n for n in inputs if lookup(n).static and n not in coarse and n in fine]
    found = coarsen(fine[names], lattice.refine(factor), factor)
    ends = dict(zip(lattice.dims, (context.rows, context.columns), strict=True))
    fields = {name: found[name].variable for name in names}
    return {name: field.pad(ends) if any(context) else field for name, field in fields.items()}
