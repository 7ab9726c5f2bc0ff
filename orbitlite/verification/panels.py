"""Panels: figures, and the drawing of a field on a map."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    from orbitlite.data.grid import LatLonGrid

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


def panels(grid: LatLonGrid, across: int, down: int) -> tuple[Figure, list[Axes]]:
    """Make a figure of maps that fits the shape of the region.

    Parameters
    ----------
    grid : LatLonGrid
    across, down : int
        Maps.
    """
    rows = abs(grid.lat_edges[-1] - grid.lat_edges[0]) * _aspect(grid)
    columns = grid.lon_edges[-1] - grid.lon_edges[0]
    tall = min(max(rows / columns, 0.4), 1.6)
    width = 4.8 if tall < 1.0 else 3.8
    figure = blank_figure(across * (width + 0.4) + 1.0, down * (width * tall + 0.62) + 0.45)
    return figure, list(figure.subplots(down, across, squeeze=False).flat)


def draw(
    axis: Axes, grid: LatLonGrid, values: NDArray[Any], cmap: Colormap, norm: Normalize
) -> Any:
    """Draw a field on a map; return what a colour bar is made for.

    Parameters
    ----------
    axis : Axes
    grid : LatLonGrid
    values : ndarray of shape (H, W)
        NaN where missing.
    cmap : Colormap
    norm : Normalize
    """
    mesh = axis.pcolormesh(
        grid.lon_edges, grid.lat_edges, np.ma.masked_invalid(values), cmap=cmap, norm=norm
    )
    axis.set_facecolor(_MISSING)
    axis.set_aspect(_aspect(grid))
    axis.xaxis.set_major_formatter(lambda value, _: _longitude(value))
    axis.yaxis.set_major_formatter(lambda value, _: _latitude(value))
    axis.xaxis.set_major_locator(_degrees(grid.lon_edges))
    axis.yaxis.set_major_locator(_degrees(grid.lat_edges))
    axis.tick_params(labelsize=8)
    return mesh


def coastlines(axes: list[Axes], grid: LatLonGrid, land: NDArray[Any] | None) -> None:
    """Draw where the land begins, if that is known.

    Parameters
    ----------
    axes : list of Axes
    grid : LatLonGrid
    land : ndarray of shape (H, W) or None
    """
    if land is not None:
        for axis in axes:
            axis.contour(grid.lon, grid.lat, land, [0.5], colors="0.25", linewidths=0.7)


def _aspect(grid: LatLonGrid) -> float:
    """Length of a degree of latitude over one of longitude in the middle of the region."""
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
