"""The picture of `orbitlite benchmark skill`: the error of each network over its training time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from matplotlib.figure import Figure

Row = Mapping[str, Any]
_GAP = 0.05
"""Least distance of two labels, as a share of the height."""


def draw_skill(figure: Figure, rows: Sequence[Row]) -> None:
    """Draw the median over seeds with its range; what is not trained is a level of its own.

    Parameters
    ----------
    figure : Figure
    rows : sequence of mapping
        Of the first target those are drawn, of two periods those of the test.
    """
    figure.set_size_inches(8, 5)
    axes = figure.subplots()
    target, period = rows[0]["target"], min(row["period"] for row in rows)
    rows = [row for row in rows if (row["target"], row["period"]) == (target, period)]
    ends = list[tuple[float, str, str]]()
    for number, name in enumerate(dict.fromkeys(row["network"] for row in rows)):
        own, color = [row for row in rows if row["network"] == name], f"C{number}"
        if own[0]["budget_seconds"] is None:
            axes.axhline(own[0]["rmse"], color=color, linestyle="--", linewidth=1)
            ends.append((own[0]["rmse"], name, color))
            continue
        budgets = sorted({row["budget_seconds"] for row in own})
        found = [[row["rmse"] for row in own if row["budget_seconds"] == b] for b in budgets]
        middle = [median(values) for values in found]
        around = [
            [m - min(values) for m, values in zip(middle, found, strict=True)],
            [max(values) - m for m, values in zip(middle, found, strict=True)],
        ]
        width = 2.5 if name == "ours" else 1.5
        axes.errorbar(budgets, middle, around, fmt="o-", color=color, linewidth=width, capsize=3)
        ends.append((middle[-1], name, color))
    axes.set(xscale="log", xlabel="training time (s of the processor)", ylabel="RMSE")
    low, high = axes.get_ylim()
    for place, (_, name, color) in zip(
        spread([(value - low) / (high - low) for value, *_ in sorted(ends)]),
        sorted(ends), strict=True,
    ):  # fmt: skip
        axes.text(1.02, place, name, color=color, transform=axes.transAxes, va="center")
    ticks = sorted({row["budget_seconds"] for row in rows} - {None})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
    axes.set_xticks([], minor=True)
    axes.grid(alpha=0.3, which="both")
    axes.set_title(f"{rows[0]['target']}, {rows[0]['period']} period, range over seeds")


def spread(places: Sequence[float]) -> list[float]:
    """Move ascending places up so that labels there do not cover each other.

    Examples
    --------
    >>> spread([0.1, 0.125, 0.5])
    [0.1, 0.15000000000000002, 0.5]
    """
    found = list[float]()
    for place in places:
        found.append(max(place, found[-1] + _GAP) if found else place)
    return found
