"""Pictures of an evaluation. Figures are made without pyplot, so no global state is touched."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from orbitlite.notice import warn
from orbitlite.verification import calibration_plots, maps
from orbitlite.verification.panels import blank_figure
from orbitlite.verification.results import LEVELS, MEMBERS, OURS, TRUTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from orbitlite.grids.grid import Grid
    from orbitlite.verification.results import Calibration, Result, Results

logger = logging.getLogger(__name__)

_STYLE: dict[str, dict[str, Any]] = {
    TRUTH: {"color": "black", "linewidth": 2.2, "zorder": 3},
    OURS: {"color": "#d62728", "linewidth": 2.0, "zorder": 4},
    MEMBERS: {"color": "#d62728", "linewidth": 1.6, "zorder": 4, "linestyle": (0, (4, 1.5))},
    "nearest": {"color": "#7f7f7f", "linewidth": 1.2, "linestyle": ":"},
    "bilinear": {"color": "#1f77b4", "linewidth": 1.4, "linestyle": "--"},
    "bicubic": {"color": "#17a2b8", "linewidth": 1.2, "linestyle": "-."},
    "quantile_mapped": {"color": "#2ca02c", "linewidth": 1.6},
}
_MARKED = (0.5, 0.9, 0.95, 0.99, 0.999)


def _style(system: str) -> dict[str, Any]:
    """Return how a system is drawn; one that has no style of its own in the next colour."""
    return _STYLE.get(system, {"linewidth": 1.4})


def figures(evaluation: Results) -> Iterator[tuple[str, Figure]]:
    """Yield a file name (without suffix) and a figure for every picture of the report.

    Parameters
    ----------
    evaluation : Results
    """
    for name, result in evaluation.results.items():
        for day in result.days:
            kind = day.kind.replace(" ", "_")
            yield f"{name}_{kind}_{result.step}", maps.day_figure(evaluation, result, day)
            if day.members is not None:
                figure = maps.members_figure(evaluation, result, day, day.members)
                yield f"{name}_members_{result.step}", figure
        if (result.spectra[TRUTH].power > 0).any():
            yield f"{name}_spectra", spectra_figure(evaluation, result)
        else:
            warn(logger, f"{name}: no picture of spectra, as the truth is the same everywhere.")
        yield f"{name}_quantiles", quantile_figure(result)
        if result.calibration is not None:
            yield from _calibration(evaluation, name, result, result.calibration)


def _calibration(
    evaluation: Results, name: str, result: Result, found: Calibration
) -> Iterator[tuple[str, Figure]]:
    yield f"{name}_ranks", calibration_plots.ranks_figure(result, found)
    if found.events:
        yield f"{name}_reliability", calibration_plots.reliability_figure(result, found)
    yield f"{name}_spread", calibration_plots.spread_figure(result, found)
    yield f"{name}_crps_map", maps.crps_figure(evaluation, result, found)


def spectra_figure(evaluation: Results, result: Result) -> Figure:
    """Draw the mean power spectra, and below them their ratio to the truth's.

    Parameters
    ----------
    evaluation : Results
    result : Result
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = blank_figure(7.2, 6.6)
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [2.4, 1]})
    truth = result.spectra[TRUTH]
    for system in _ordered(result):
        spectrum = result.spectra[system]
        used = (spectrum.power > 0) & (truth.power > 0)
        upper.plot(
            spectrum.wavelength[used], spectrum.power[used], label=_name(system), **_style(system)
        )
        ratio = spectrum.power[used] / truth.power[used]
        lower.plot(spectrum.wavelength[used], ratio, **_style(system))
    squared = f"({result.quantity.unit})²" if result.quantity.unit != "1" else "dimensionless"
    kind = "spherical harmonics" if truth.spherical else "cosine transform"
    figure.suptitle(f"{result.quantity.long_name}: power spectrum ({kind})")
    upper.set(xscale="log", yscale="log", ylabel=f"Mean power of a mode [{squared}]")
    lower.set(yscale="log", xlabel="Wavelength [km]", ylabel="Ratio to truth")
    for axes in (upper, lower):
        axes.grid(True, which="both", alpha=0.25)
    if evaluation.coarse_grid is not None:
        _mark_coarse(upper, lower, evaluation.coarse_grid)
    low, high = lower.get_ylim()
    lower.set_ylim(max(low, 1e-3), min(max(high, 2.0), 1e3))
    lower.set_xlim(truth.wavelength.max() * 1.1, truth.wavelength.min() / 1.1)
    lower.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    lower.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    for axis in (lower.xaxis, lower.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    upper.legend(frameon=False, loc="lower left")
    return figure


def _mark_coarse(upper: Axes, lower: Axes, grid: Grid) -> None:
    """Mark the shortest wave that the coarse grid holds: two of its cells."""
    wavelength = 2 * grid.kilometres[0]
    for axes in (upper, lower):
        axes.axvline(wavelength, color="0.4", linewidth=1, linestyle=(0, (1, 1)), zorder=0)
    upper.text(
        wavelength, 0.98, " two coarse cells", transform=upper.get_xaxis_transform(),
        va="top", fontsize=8, color="0.4",
    )  # fmt: skip


def quantile_figure(result: Result) -> Figure:
    """Draw the quantiles of each system against the truth's, up to the 99.99th percentile.

    Parameters
    ----------
    result : Result
    """
    figure = blank_figure(6.4, 6.2)
    axes = figure.subplots()
    truth = result.quantiles[TRUTH]
    unit = f" [{result.quantity.unit}]" if result.quantity.unit != "1" else ""
    low, high = float(truth[0]), float(truth[-1])
    axes.plot([low, high], [low, high], color="black", linewidth=1, label="1 : 1")
    for system in _ordered(result):
        if system != TRUTH:
            axes.plot(truth, result.quantiles[system], label=_name(system), **_style(system))
    marks = dict(zip(_MARKED, np.interp(_MARKED, LEVELS, truth), strict=True))
    # From the top down, so that marks too close to read give way to higher ones.
    for level in sorted(marks, reverse=True)[1:]:
        above = min(value for other, value in marks.items() if other > level)
        if above - marks[level] < 0.05 * (high - low):
            del marks[level]
    top = axes.secondary_xaxis("top")
    top.set_xticks(list(marks.values()), [f"{100 * level:g}" for level in marks], fontsize=8)
    top.set_xlabel("Percentile of the truth", fontsize=9)
    for value in marks.values():
        axes.axvline(value, color="0.85", linewidth=0.8, zorder=0)
    figure.suptitle(f"{result.quantity.long_name}: quantiles over all {result.step}s and cells")
    axes.set(xlabel=f"Truth{unit}", ylabel=f"Prediction{unit}", aspect="equal")
    axes.grid(True, alpha=0.25)
    axes.legend(frameon=False)
    return figure


def _ordered(result: Result) -> list[str]:
    """Put the truth and ours first, as in the legend."""
    first = [TRUTH, OURS, *([MEMBERS] if MEMBERS in result.spectra else [])]
    return first + [name for name in result.spectra if name not in first]


def _name(system: str) -> str:
    return system.replace("_", " ")
