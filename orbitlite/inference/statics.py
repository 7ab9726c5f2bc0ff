"""Fine statics of a region: the user's, or those that the model was trained with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from orbitlite.data.grid import LatLonGrid
from orbitlite.errors import InputError
from orbitlite.model.bundle import Bundle, Statics


def available_statics(bundle: Bundle, statics: xr.Dataset | None) -> Statics | None:
    """Return the fine statics at hand.

    Parameters
    ----------
    bundle : Bundle
    statics : xarray.Dataset, optional
        Canonical, with the model's fine statics; None: the bundle's own.

    Returns
    -------
    Statics or None
        None if the model has no fine statics.

    Raises
    ------
    InputError
        If there are none, though the model needs them.
    """
    names = list(bundle.model.config.fine_statics)
    if not names:
        return None
    if statics is not None:
        return _from_dataset(statics, names)
    if bundle.statics is None:
        raise InputError(
            f"The model needs {', '.join(names)} on the fine grid and carries none: pass statics."
        )
    return bundle.statics


def cut(statics: Statics, fine: LatLonGrid) -> NDArray[np.float32] | None:
    """Cut statics to a grid, (S, fH, fW); None if a cell is not there.

    Longitudes may differ by whole turns.

    Parameters
    ----------
    statics : Statics
    fine : LatLonGrid
    """
    rows, columns = grid_of(statics).find(fine)
    if not (rows.same.all() and columns.same.all()):
        return None
    values: NDArray[np.float32] = statics.values.float().numpy()[:, rows.index][:, :, columns.index]
    return values


def served(
    statics: Statics, grid: LatLonGrid, factor: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """Tell which rows and columns of a coarse grid the statics hold all fine cells of.

    Parameters
    ----------
    statics : Statics
    grid : LatLonGrid
        Coarse.
    factor : int

    Returns
    -------
    tuple of ndarray of bool, shapes (H,) and (W,), or None
        None if the grids do not nest: if a cell that lies within the
        statics as a whole is not made of theirs.
    """
    served = list[NDArray[np.bool_]]()
    for found in grid_of(statics).find(grid.refine(factor)):
        same, within = (
            np.all(flags.reshape(-1, factor), axis=1) for flags in (found.same, found.within)
        )
        if (within & ~same).any():
            return None
        served.append(same)
    rows, columns = served
    return rows, columns


def grid_of(statics: Statics) -> LatLonGrid:
    """Return the grid of statics."""
    return LatLonGrid.from_edges(statics.lat_edges.numpy(), statics.lon_edges.numpy())


def _from_dataset(statics: xr.Dataset, names: Sequence[str]) -> Statics:
    grid = LatLonGrid.from_dataset(statics)
    values = np.stack([statics[name].transpose("lat", "lon").values for name in names])
    return Statics(
        torch.from_numpy(np.ascontiguousarray(values)),
        torch.from_numpy(grid.lat_edges.copy()),
        torch.from_numpy(grid.lon_edges.copy()),
    )
