"""Pictures of the leaves: where the spatial compression looks closely."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from orbitlite.grids.cells import Floats
from orbitlite.grids.grid import Grid
from orbitlite.grids.latlon import LatLonGrid
from orbitlite.inference.engine import PlacedNetwork
from orbitlite.inference.inputs import stack
from orbitlite.inference.options import PredictOptions
from orbitlite.inference.region import region_for
from orbitlite.model.bundle import Bundle
from orbitlite.model.quadtree import Leaves
from orbitlite.variables import lookup


def draw_leaves(
    ds: xr.Dataset, bundle: Bundle, path: str | Path, tokens: float = 0.25, days: int = 3
) -> Path:
    """Draw the leaves of some days over the saliency and over the first target's coarse field.

    Parameters
    ----------
    ds : xarray.Dataset
        Canonical coarse fields `(time, lat, lon)`, on a region of the bundle's statics.
    bundle : Bundle
    path : str or Path
        PNG file.
    tokens : int or float
        Leaf budget: a count, or a share of the patches.
    days : int
        Number of times, evenly spread.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If the model cannot serve the data, or the budget does not fit the grid.
    """
    from matplotlib.figure import Figure

    region = region_for(ds, bundle, None, None)
    config = bundle.model.config
    options = PredictOptions(tile=max(region.lattice.shape), tokens=tokens, device="cpu")
    network = PlacedNetwork.of(bundle.model, region, options)
    fields = stack(region.coarse, config.inputs, 1)
    chosen = np.unique(np.linspace(0, fields.shape[0] - 1, days).round().astype(int))
    values = np.asarray(fields[chosen].values, np.float32)
    with torch.inference_mode():
        leaves, score = network.model.leaves(
            network.batch(values[None], network.plan.tiles), tokens
        )
    name = next((name for name in config.targets if name in config.inputs), config.inputs[0])
    shown = values[:, config.inputs.index(name)]
    figure = Figure(figsize=(13, 3.1 * len(chosen)), layout="constrained")
    axes = figure.subplots(len(chosen), 2, squeeze=False)
    lat, lon = _lines(region.lattice)
    extent = (float(lon[0]), float(lon[-1]), float(lat[-1]), float(lat[0]))
    for i, number in enumerate(chosen):
        day = str(ds["time"].values[number])[:16]
        panels = (("saliency", score[i].numpy(), "cividis"), (name, shown[i], "Blues"))
        for axis, (title, field, colours) in zip(axes[i], panels, strict=True):
            top = np.nanquantile(field, 0.995)
            mesh = axis.imshow(field, extent=extent, aspect="auto", cmap=colours, vmax=top)
            line = "white" if title == "saliency" else "0.2"
            axis.add_collection(_borders(leaves, i, (lat, lon), config.patch_size, line))
            axis.set_title(f"{title}, {day}", fontsize=10)
            unit = "" if title == "saliency" else lookup(name).units
            figure.colorbar(mesh, ax=axis, label=unit, extend="max")
    count, patches = leaves.level.shape[1], leaves.index.shape[1]
    figure.suptitle(f"{count} leaves for {patches} patches ({config.saliency})")
    figure.savefig(path, dpi=110)
    return Path(path)


def _lines(grid: Grid) -> tuple[Floats, Floats]:
    """Return what rows and columns lie between: degrees, or numbers of cells of a mesh."""
    if isinstance(grid, LatLonGrid):
        return grid.lat_edges, grid.lon_edges
    height, width = grid.shape
    return np.arange(height, -1.0, -1.0), np.arange(width + 1.0)


def _borders(
    leaves: Leaves, sample: int, lines: tuple[Floats, Floats], patch_size: int, colour: str
) -> object:
    """Return the outlines of a sample's leaves."""
    from matplotlib.collections import PolyCollection

    lat, lon = lines
    size = 2 ** leaves.level[sample].numpy()
    first, left = leaves.row[sample].numpy(), leaves.column[sample].numpy()

    def at(edges: NDArray[np.float64], number: NDArray[np.int64]) -> NDArray[np.float64]:
        return edges[np.minimum(number * patch_size, len(edges) - 1)]

    north, south = at(lat, first), at(lat, first + size)
    west, east = at(lon, left), at(lon, left + size)
    corners = ((west, north), (east, north), (east, south), (west, south))
    outlines = np.stack([np.stack(corner, axis=-1) for corner in corners], axis=1)
    return PolyCollection(list(outlines), facecolors="none", edgecolors=colour, linewidths=0.5)
