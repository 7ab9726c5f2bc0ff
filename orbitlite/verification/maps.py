"""Maps of one day: input, prediction, truth and difference."""

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
    from orbitlite.verification.results import Day, Result, Results

_SMALL_STEPS = (0.1, 0.2, 0.5)
_RAIN_STEPS = (0.1, 1, 2, 5, 10, 15, 20, 30, 40, 50, 75, 100, 150, 200, 300, 500)
_MISSING = "0.82"
_DRY = "#fcfcf8"


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


def day_figure(evaluation: Results, result: Result, day: Day) -> Figure:
    """Draw input, prediction and truth with shared limits, and prediction minus truth.

    Parameters
    ----------
    evaluation : Results
    result : Result
    day : Day
    """
    fine, coarse = evaluation.grid, evaluation.coarse_grid
    unit = result.quantity.unit if result.quantity.unit != "1" else ""
    # Where there is no truth there is nothing to compare.
    prediction = np.where(np.isfinite(day.truth), day.prediction, np.nan)
    means = [f"mean {_mean(fine, values):.4g} {unit}" for values in (prediction, day.truth)]
    panels: list[tuple[str, LatLonGrid, NDArray[Any]]] = [
        (f"Prediction: {means[0]}", fine, prediction),
        (f"Truth: {means[1]}", fine, day.truth),
    ]
    if day.coarse is not None and coarse is not None:
        panels.insert(0, (f"Input: {_spacing(coarse)} to {_spacing(fine)}", coarse, day.coarse))
    figure, axes = _panels(fine, len(panels) + 1)
    cmap, norm = _shared_colours(result, [values for _, _, values in panels])
    for axis, (title, grid, values) in zip(axes, panels, strict=False):
        mesh = _map(axis, grid, values, cmap, norm)
        axis.set_title(title, fontsize=11)
    extend = "max" if result.quantity.precipitation else "neither"
    figure.colorbar(mesh, ax=axes[:2], label=unit, extend=extend, **_ticks(norm))
    difference = prediction - day.truth
    drawn = _map(axes[-1], fine, difference, *_difference_colours(result, difference))
    rmse = math.sqrt(_mean(fine, difference**2))
    axes[-1].set_title(f"Prediction minus truth: RMSE {rmse:.3g} {unit}", fontsize=11)
    label = f"difference, {unit}".rstrip(", ")
    figure.colorbar(drawn, ax=axes[2:], label=label, extend="both", aspect=20, pad=0.015)
    if evaluation.land is not None:
        for axis in axes:
            axis.contour(fine.lon, fine.lat, evaluation.land, [0.5], colors="0.25", linewidths=0.7)
    title = f"{result.quantity.long_name}, {day.time} ({day.kind} {result.step})"
    figure.suptitle(title, fontsize=13)
    return figure


def _ticks(norm: Normalize) -> dict[str, Any]:
    """Label every step of a stepped colour bar."""
    layout: dict[str, Any] = {"aspect": 20, "pad": 0.015}
    steps = getattr(norm, "boundaries", None)
    return layout if steps is None else {**layout, "ticks": steps, "format": "{x:g}"}


def _panels(grid: LatLonGrid, count: int) -> tuple[Figure, list[Axes]]:
    """Make a figure that fits the shape of the region: two by two panels, or three in a row."""
    rows = abs(grid.lat_edges[-1] - grid.lat_edges[0]) * _aspect(grid)
    columns = grid.lon_edges[-1] - grid.lon_edges[0]
    tall = min(max(rows / columns, 0.4), 1.6)
    across, down = (2, 2) if count == 4 else (3, 1)
    width = 4.8 if tall < 1.0 else 3.8
    figure = blank_figure(across * (width + 0.4) + 1.0, down * (width * tall + 0.62) + 0.45)
    return figure, list(figure.subplots(down, across, squeeze=False).flat)


def _aspect(grid: LatLonGrid) -> float:
    """Length of a degree of latitude over one of longitude in the middle of the region."""
    middle = math.radians(0.5 * (grid.lat_edges[0] + grid.lat_edges[-1]))
    return 1.0 / max(math.cos(middle), 0.2)


def _map(
    axis: Axes, grid: LatLonGrid, values: NDArray[Any], cmap: Colormap, norm: Normalize
) -> Any:
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


def _spacing(grid: LatLonGrid) -> str:
    spacing = abs(grid.lat_edges[-1] - grid.lat_edges[0]) / grid.shape[0]
    return f"{spacing:.3g}°"


def _mean(grid: LatLonGrid, values: NDArray[Any]) -> float:
    valid = np.isfinite(values)
    weights = grid.weights * valid
    total = weights.sum()
    return float(np.where(valid, values, 0.0).ravel() @ weights.ravel() / total) if total else 0.0


def _shared_colours(result: Result, fields: list[NDArray[Any]]) -> tuple[Colormap, Normalize]:
    """Return colour map and limits for all fields of a variable on one day.

    Precipitation has steps that widen with the amount, and white where it is dry; other variables
    run from the lowest to the highest value, winds evenly around zero.
    """
    import matplotlib
    from matplotlib.colors import BoundaryNorm, Normalize

    values = np.concatenate([field[np.isfinite(field)] for field in fields])
    cmap = matplotlib.colormaps[result.quantity.cmap]
    if result.quantity.precipitation:
        whole = _RAIN_STEPS if result.quantity.daily else (*_SMALL_STEPS, *_RAIN_STEPS[1:])
        top = float(values.max(initial=1.0))
        count = next((n for n, step in enumerate(whole) if step > top), len(whole) - 1)
        steps = whole[: max(count + 1, 4)]
        return cmap.with_extremes(under=_DRY), BoundaryNorm(steps, cmap.N)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    if result.quantity.cmap == "RdBu_r":
        high = max(abs(low), abs(high))
        low = -high
    return cmap, Normalize(low, high)


def _difference_colours(result: Result, difference: NDArray[Any]) -> tuple[Colormap, Normalize]:
    """Return a diverging map centred on zero: brown too dry, green too wet; blue to red else."""
    import matplotlib
    from matplotlib.colors import Normalize

    sizes = np.abs(difference[np.isfinite(difference)])
    limit = float(np.quantile(sizes, 0.995)) if sizes.size else 1.0
    cmap = matplotlib.colormaps["BrBG" if result.quantity.precipitation else "RdBu_r"]
    return cmap, Normalize(-limit, limit) if limit > 0 else Normalize(-1.0, 1.0)
