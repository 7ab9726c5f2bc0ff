"""Maps: input, prediction, truth and difference of one day, its members, and the CRPS."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from orbitlite.verification.colours import difference_colours, shared_colours, ticks
from orbitlite.verification.panels import coastlines, draw, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from orbitlite.grids.grid import Grid
    from orbitlite.verification.results import Calibration, Day, Result, Results


def day_figure(evaluation: Results, result: Result, day: Day) -> Figure:
    """Draw input, prediction and truth with shared limits, and prediction minus truth.

    Parameters
    ----------
    evaluation : Results
    result : Result
    day : Day
    """
    fine, coarse = evaluation.grid, evaluation.coarse_grid
    unit = _unit(result)
    found = result.calibration
    ours, short = (f"Mean of {found.members} members", "Mean") if found else ("Prediction",) * 2
    # Where there is no truth there is nothing to compare.
    prediction = np.where(np.isfinite(day.truth), day.prediction, np.nan)
    means = [f"mean {_mean(fine, values):.4g} {unit}" for values in (prediction, day.truth)]
    fields: list[tuple[str, Grid, NDArray[Any]]] = [
        (f"{ours}: {means[0]}", fine, prediction),
        (f"Truth: {means[1]}", fine, day.truth),
    ]
    if day.coarse is not None and coarse is not None:
        fields.insert(0, (f"Input: {_spacing(coarse)} to {_spacing(fine)}", coarse, day.coarse))
    figure, axes = panels(fine, *((2, 2) if len(fields) == 3 else (3, 1)))
    cmap, norm = shared_colours(result, [values for _, _, values in fields])
    for axis, (title, grid, values) in zip(axes, fields, strict=False):
        mesh = draw(axis, grid, values, cmap, norm)
        axis.set_title(title, fontsize=11)
    extend = "max" if result.quantity.precipitation else "neither"
    figure.colorbar(mesh, ax=axes[:2], label=unit, extend=extend, **ticks(norm))
    difference = prediction - day.truth
    drawn = draw(axes[-1], fine, difference, *difference_colours(result, difference))
    rmse = math.sqrt(_mean(fine, difference**2))
    axes[-1].set_title(f"{short} minus truth: RMSE {rmse:.3g} {unit}", fontsize=11)
    label = f"difference, {unit}".rstrip(", ")
    figure.colorbar(drawn, ax=axes[2:], label=label, extend="both", aspect=20, pad=0.015)
    coastlines(axes, fine, evaluation.land)
    title = f"{result.quantity.long_name}, {day.time} ({day.kind} {result.step})"
    figure.suptitle(title, fontsize=13)
    return figure


def members_figure(
    evaluation: Results, result: Result, day: Day, members: NDArray[np.float32]
) -> Figure:
    """Draw truth, mean and a few members of a day with one colour scale.

    Parameters
    ----------
    evaluation : Results
    result : Result
    day : Day
    members : ndarray of shape (n, H, W)
    """
    grid, unit = evaluation.grid, _unit(result)
    there = np.isfinite(day.truth)
    fields = [("Truth", day.truth), ("Mean of all members", day.prediction)]
    fields += [(f"Member {name}", field) for name, field in zip(day.names, members, strict=False)]
    shown = [(title, np.where(there, values, np.nan)) for title, values in fields]
    down = 2 if len(shown) > 3 else 1
    across = math.ceil(len(shown) / down)
    figure, axes = panels(grid, across, down, width=2.6)
    # The layout does not count labels that the upper maps do without.
    figure.set_layout_engine("constrained", rect=(0.0, 0.04, 1.0, 0.96))
    cmap, norm = shared_colours(result, [values for _, values in shown])
    for place, (axis, (title, values)) in enumerate(zip(axes, shown, strict=False)):
        mesh = draw(axis, grid, values, cmap, norm)
        mean = _mean(grid, values)
        axis.set_title(f"{title}\nmean {mean:.3g} {unit}".rstrip(), fontsize=11)
        # Small maps: few ticks, and labels on the outer ones only.
        axis.locator_params(nbins=4)
        below, left = place + across < len(shown), place % across > 0
        axis.tick_params(labelsize=10, labelbottom=not below, labelleft=not left)
    for axis in axes[len(shown) :]:
        axis.set_axis_off()
    extend = "max" if result.quantity.precipitation else "neither"
    figure.colorbar(mesh, ax=axes, label=unit, extend=extend, **ticks(norm))
    coastlines(axes[: len(shown)], grid, evaluation.land)
    title = f"{result.quantity.long_name}: members\n{day.time} ({day.kind} {result.step})"
    figure.suptitle(title, fontsize=13)
    return figure


def crps_figure(evaluation: Results, result: Result, found: Calibration) -> Figure:
    """Draw the mean CRPS of each cell.

    Parameters
    ----------
    evaluation : Results
    result : Result
    found : Calibration
    """
    import matplotlib
    from matplotlib.colors import Normalize

    grid, unit = evaluation.grid, _unit(result)
    figure, axes = panels(grid, 1, 1)
    values = found.crps[np.isfinite(found.crps)]
    # A few cells that are far off must not take the colours from the others.
    top = float(np.quantile(values, 0.995)) if values.size else 0.0
    norm = Normalize(0.0, top if top > 0 else 1.0)
    mesh = draw(axes[0], grid, found.crps, matplotlib.colormaps["viridis"], norm)
    extend = "max" if values.size and values.max() > norm.vmax else "neither"
    label = f"fair CRPS, {unit}".rstrip(", ")
    figure.colorbar(mesh, ax=axes, label=label, extend=extend, **ticks(norm))
    coastlines(axes, grid, evaluation.land)
    figure.suptitle(
        f"{result.quantity.long_name}: mean fair CRPS of {found.members} members", fontsize=11
    )
    return figure


def _unit(result: Result) -> str:
    return result.quantity.unit if result.quantity.unit != "1" else ""


def _spacing(grid: Grid) -> str:
    return f"{grid.spacing[0]:.3g}°"


def _mean(grid: Grid, values: NDArray[Any]) -> float:
    valid = np.isfinite(values)
    weights = grid.weights * valid
    total = weights.sum()
    return float(np.where(valid, values, 0.0).ravel() @ weights.ravel() / total) if total else 0.0
