"""Fine statics of a region: the user's, or those that the model was trained with."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from orbitlite.data.grid import LatLonGrid
from orbitlite.errors import InputError
from orbitlite.model.bundle import Bundle, Statics

# Edges coincide when they differ by less than this share of a cell.
_TOLERANCE = 0.02


def fine_statics(bundle: Bundle, fine: LatLonGrid, statics: xr.Dataset | None) -> Tensor | None:
    """Return the fine statics of a grid.

    Parameters
    ----------
    bundle : Bundle
    fine : LatLonGrid
        North first.
    statics : xarray.Dataset, optional
        Canonical statics that contain the region; None: the bundle's own.

    Returns
    -------
    Tensor of shape (1, S, fH, fW), or None if the model has no fine statics

    Raises
    ------
    InputError
        If they do not cover the region cell by cell.
    """
    names = list(bundle.model.config.fine_statics)
    if not names:
        return None
    if statics is not None:
        own = _from_dataset(statics, names)
        where = "The statics given"
    elif bundle.statics is not None:
        own = bundle.statics
        where = "The model's own statics"
    else:
        raise InputError(
            f"The model needs the fine statics {', '.join(names)} and carries none: pass statics=."
        )
    rows = _match(own.lat_edges.numpy(), fine.lat_edges, period=None)
    columns = _match(own.lon_edges.numpy(), fine.lon_edges, period=360.0)
    if rows is None or columns is None:
        raise InputError(
            f"{where} do not cover this region cell by cell. They span "
            f"{_span(own.lat_edges.numpy(), own.lon_edges.numpy())}; the fine grid asked for spans "
            f"{_span(fine.lat_edges, fine.lon_edges)}. Pass {', '.join(names)} of that grid as "
            "statics=."
        )
    values = own.values[:, torch.from_numpy(rows)][:, :, torch.from_numpy(columns)]
    return values[None].float()


def _from_dataset(statics: xr.Dataset, names: list[str]) -> Statics:
    grid = LatLonGrid.from_dataset(statics)
    stacked = np.stack([statics[name].transpose("lat", "lon").values for name in names])
    north = grid.north_first()
    stacked = stacked[:, ::-1] if grid.ascending else stacked
    return Statics(
        torch.from_numpy(np.ascontiguousarray(stacked)),
        torch.from_numpy(north.lat_edges.copy()),
        torch.from_numpy(north.lon_edges.copy()),
    )


def _match(
    own: NDArray[np.float64], wanted: NDArray[np.float64], period: float | None
) -> NDArray[np.intp] | None:
    """Positions in `own` of the wanted cells; None if one is not there."""
    centres, targets = (own[1:] + own[:-1]) / 2, (wanted[1:] + wanted[:-1]) / 2
    sizes, target_sizes = np.abs(np.diff(own)), np.abs(np.diff(wanted))
    distance = centres[None, :] - targets[:, None]
    if period is not None:
        distance = (distance + period / 2) % period - period / 2
    index = np.abs(distance).argmin(axis=1)
    off = np.abs(distance[np.arange(len(targets)), index])
    fits = (off < _TOLERANCE * target_sizes) & (
        np.abs(sizes[index] - target_sizes) < _TOLERANCE * target_sizes
    )
    return index if bool(fits.all()) else None


def _span(lat: NDArray[np.float64], lon: NDArray[np.float64]) -> str:
    return (
        f"latitude {min(lat):g} to {max(lat):g} and longitude {min(lon):g} to {max(lon):g} with "
        f"cells of {abs(lat[-1] - lat[0]) / (len(lat) - 1):.4g} by "
        f"{abs(lon[-1] - lon[0]) / (len(lon) - 1):.4g} degrees"
    )
