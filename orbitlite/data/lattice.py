"""Lattice: coarse data on the blocks of fine cells, alike for training and prediction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orbitlite.data.regrid import Method, regrid
from orbitlite.errors import InputError
from orbitlite.grids.coarsening import coarsen
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
        raise InputError(
            f"The coarse data ({grid.describe()}) and the blocks of the fine grid "
            f"({lattice.describe()}) have no cell in common."
        )
    return there


def static_inputs(
    coarse: xr.Dataset, fine: xr.Dataset, inputs: Sequence[str], lattice: Grid, factor: int
) -> dict[str, xr.Variable]:
    """Coarsen the static inputs that only the fine grid has.

    Parameters
    ----------
    coarse : xarray.Dataset
        On `lattice`.
    fine : xarray.Dataset
        Fine statics, on the lattice refined by `factor`.
    inputs : sequence of str
        Channels of the network.
    lattice : Grid
    factor : int

    Returns
    -------
    dict
        Fields by name.
    """
    names = [n for n in inputs if lookup(n).static and n not in coarse and n in fine]
    found = coarsen(fine[names], lattice.refine(factor), factor)
    return {name: found[name].variable for name in names}
