"""Panels: figures, and the drawing of a field on a map."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from orbitlite.grids.grid import Grid
from orbitlite.grids.latlon import LatLonGrid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

_MISSING = "0.82"


def blank_figure(width: float, height: float) -> Figure:
    """Return an empty figure with its own Agg canvas.

    Parameters
    ----------
    width, height : float
        In inches.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def panels(grid: Grid, across: int, down: int, width: float = 4.8) -> tuple[Figure, list[Axes]]:
    """Make a figure of maps that fits the shape of the region.

    Parameters
    ----------
    grid : Grid
    across, down : int
        Maps.
    width : float
        Of a map, in inches; of one that is taller than wide an inch less.
    """
    rows, columns = (a * b for a, b in zip(grid.spacing, grid.shape, strict=True))
    tall = min(max(rows / columns, 0.4), 1.6)
    width = width if tall < 1.0 else width - 1.0
    figure = blank_figure(across * (width + 0.4) + 1.0, down * (width * tall + 0.62) + 0.45)
    return figure, list(figure.subplots(down, across, squeeze=False).flat)


def draw(axis: Axes, grid: Grid, values: NDArray[Any], cmap: Colormap, norm: Normalize) -> Any:
    """Draw a field on a map; return what a colour bar is made for.

    Parameters
    ----------
    axis : Axes
    grid : Grid
    values : ndarray of shape (H, W)
        NaN where missing.
    cmap : Colormap
    norm : Normalize
    """
    x, y = _lines(grid)
    mesh = axis.pcolormesh(x, y, np.ma.masked_invalid(values), cmap=cmap, norm=norm)
    axis.set_facecolor(_MISSING)
    axis.set_aspect(_aspect(grid))
    if not isinstance(grid, LatLonGrid):
        _graticule(axis, grid)
        return mesh
    axis.xaxis.set_major_formatter(lambda value, _: _longitude(value))
    axis.yaxis.set_major_formatter(lambda value, _: _latitude(value))
    axis.xaxis.set_major_locator(_degrees(grid.lon_edges))
    axis.yaxis.set_major_locator(_degrees(grid.lat_edges))
    axis.tick_params(labelsize=8)
    return mesh


def coastlines(axes: list[Axes], grid: Grid, land: NDArray[Any] | None) -> None:
    """Draw where the land begins, if that is known.

    Parameters
    ----------
    axes : list of Axes
    grid : Grid
    land : ndarray of shape (H, W) or None
    """
    if land is not None:
        for axis in axes:
            middles = ((edges[1:] + edges[:-1]) / 2 for edges in _lines(grid))
            axis.contour(*middles, land, [0.5], colors="0.25", linewidths=0.7)


def _lines(grid: Grid) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return what columns and rows lie between: degrees, or numbers of cells of a mesh.

    A mesh is drawn in its own plane, its first row at the top.
    """
    if isinstance(grid, LatLonGrid):
        return grid.lon_edges, grid.lat_edges
    height, width = grid.shape
    return np.arange(width + 1.0), np.arange(height, -1.0, -1.0)


def _graticule(axis: Axes, grid: Grid) -> None:
    """Draw parallels and meridians, in the place of ticks."""
    height, width = grid.shape
    x, y = np.arange(width) + 0.5, height - np.arange(height) - 0.5
    lat, lon = grid.centres
    lon = np.unwrap(np.unwrap(lon, period=360.0, axis=1), period=360.0, axis=0)
    for values, written in ((lat, _latitude), (lon, _longitude)):
        levels = _degrees(np.array([values.min(), values.max()])).tick_values(
            values.min(), values.max()
        )
        lines = axis.contour(x, y, values, levels, colors="0.45", linewidths=0.5, alpha=0.8)
        axis.clabel(lines, fontsize=7, fmt=written)
    axis.set_xticks([])
    axis.set_yticks([])


def _aspect(grid: Grid) -> float:
    """Height over width of what a step along both axes of a map is, in the middle of the region."""
    if not isinstance(grid, LatLonGrid):
        rows, columns = grid.spacing
        return rows / columns
    middle = math.radians(0.5 * (grid.lat_edges[0] + grid.lat_edges[-1]))
    return 1.0 / max(math.cos(middle), 0.2)


def _degrees(edges: NDArray[Any]) -> MaxNLocator:
    """Tick at parts of 60 degrees on wide maps, at round numbers on others."""
    from matplotlib.ticker import MaxNLocator

    wide = abs(edges[-1] - edges[0]) > 60
    return MaxNLocator(nbins=7, steps=[1, 1.5, 3, 6, 10] if wide else [1, 2, 5, 10])


def _longitude(value: float) -> str:
    """Write a longitude with its letter.

    Examples
    --------
    >>> _longitude(350.0), _longitude(0.0), _longitude(7.5)
    ('10°W', '0°', '7.5°E')
    """
    turned = (value + 180.0) % 360.0 - 180.0
    if turned in (0.0, -180.0):
        return f"{abs(turned):g}°"
    return f"{abs(turned):g}°{'E' if turned > 0 else 'W'}"


def _latitude(value: float) -> str:
    return f"{abs(value):g}°{'N' if value > 0 else 'S' if value < 0 else ''}"
