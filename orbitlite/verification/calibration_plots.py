"""Pictures of an ensemble's calibration: ranks, reliability, spread against error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from orbitlite.verification.panels import blank_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from orbitlite.verification.results import Calibration, Result

_OURS = "#d62728"
_EVENTS = ("#9ecae1", "#3182bd", "#08306b")
_MOST_CLASSES = 10
_LEAST_SHARE = 2e-3


def ranks_figure(result: Result, found: Calibration) -> Figure:
    """Draw the rank histogram and the line that it lies on if truth and members are alike.

    Parameters
    ----------
    result : Result
    found : Calibration
    """
    from matplotlib.ticker import MaxNLocator

    figure = blank_figure(6.8, 4.4)
    axes = figure.subplots()
    axes.bar(np.arange(len(found.ranks)), found.ranks, width=0.9, color=_OURS, alpha=0.75)
    flat = 1 / len(found.ranks)
    axes.axhline(flat, color="black", linestyle="--", label=f"flat: {flat:.3g}")
    figure.suptitle(f"{result.quantity.long_name}: rank of the truth among the members")
    axes.set(xlabel=f"Members below the truth, of {found.members}", ylabel="Frequency")
    axes.set_xlim(-0.7, found.members + 0.7)
    axes.set_ylim(0, max(1.15 * found.ranks.max(initial=0.0), 1.6 * flat))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True))
    axes.grid(True, axis="y", alpha=0.25)
    axes.legend(frameon=False)
    return figure


def reliability_figure(result: Result, found: Calibration) -> Figure:
    """Draw how often events are observed where they are forecast with a probability.

    Below, how often each probability is forecast. Probabilities of many members are grouped into
    ten classes.

    Parameters
    ----------
    result : Result
    found : Calibration
    """
    figure = blank_figure(6.2, 7.4)
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1]})
    colours = [_EVENTS[place % len(_EVENTS)] for place in range(len(found.events))]
    width = 0.8 / min(found.members, _MOST_CLASSES) / len(found.events)
    for place, ((event, shares), colour) in enumerate(
        zip(found.events.items(), colours, strict=True)
    ):
        probability, forecast, observed = _classes(shares)
        label = f"{event:g} {result.quantity.unit}"
        upper.plot(probability, observed, marker="o", markersize=4, color=colour, label=label)
        shift = (place - (len(found.events) - 1) / 2) * width
        lower.bar(probability + shift, forecast, width, color=colour)
    upper.plot([0, 1], [0, 1], color="black", linewidth=1, label="1 : 1", zorder=0)
    figure.suptitle(f"{result.quantity.long_name}: reliability of {found.members} members")
    upper.set(ylabel="Observed frequency", xlim=(-0.06, 1.06), ylim=(-0.03, 1.03))
    lower.set(
        xlabel="Forecast probability", ylabel="Share of forecasts", yscale="log", ylim=(None, 1)
    )
    for axes in (upper, lower):
        axes.grid(True, alpha=0.25)
    upper.legend(frameon=False, loc="upper left", title="At least")
    return figure


def _classes(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return mean probability, share of forecasts and observed frequency of classes that occur.

    Parameters
    ----------
    shares : ndarray of shape (2, M + 1)
        As in `Calibration.events`.

    Returns
    -------
    ndarray of shape (3, classes)

    Examples
    --------
    >>> _classes(np.array([[0.5, 0.0, 0.5], [0.125, 0.0, 0.5]])).tolist()
    [[0.0, 1.0], [0.5, 0.5], [0.25, 1.0]]
    """
    members = shares.shape[1] - 1
    probability = np.arange(members + 1) / members
    group = np.rint(probability * min(members, _MOST_CLASSES)).astype(int)
    forecast, both, total = (
        np.bincount(group, share) for share in (*shares, shares[0] * probability)
    )
    held = forecast > 0
    return np.stack([total[held] / forecast[held], forecast[held], both[held] / forecast[held]])


def spread_figure(result: Result, found: Calibration) -> Figure:
    """Draw the error of the mean against the spread of the members, and how often each spread is.

    Parameters
    ----------
    result : Result
    found : Calibration
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = blank_figure(6.2, 7.4)
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1]})
    spread, error, share = found.spread
    still = spread == 0
    # A bin of a few values has an error of chance.
    used = ~still & (share >= _LEAST_SHARE) & (error > 0)
    spread, error = spread[used], error[used]
    upper.plot(spread, error, marker="o", markersize=4, color=_OURS, label="members")
    lower.bar(spread, share[used], 0.16 * spread, color=_OURS, alpha=0.75)
    unit = f" [{result.quantity.unit}]" if result.quantity.unit != "1" else ""
    figure.suptitle(f"{result.quantity.long_name}: spread against error of the mean")
    upper.set(xscale="log", yscale="log", ylabel=f"RMSE of the mean of members{unit}")
    spread_of = r"Standard deviation of the $M$ members $\times\,\sqrt{(M + 1) / M}$"
    lower.set(xlabel=f"{spread_of}{unit}", ylabel="Share of values")
    _diagonal(upper, [*spread, *error])
    if still.any():
        text = f"{share[still].sum():.1%} of the values: no spread"
        upper.text(0.98, 0.03, text, transform=upper.transAxes, ha="right", color="0.3")
    for axes in (upper, lower):
        axes.grid(True, alpha=0.25)
    for axis in (lower.xaxis, upper.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    upper.legend(frameon=False, loc="upper left")
    return figure


def _diagonal(axes: Axes, values: list[float]) -> None:
    """Draw the line on which spread and error are equal, over all that is shown."""
    ends = [min(values, default=0.1), max(values, default=1.0)]
    axes.plot(ends, ends, color="black", linewidth=1, label="1 : 1")
