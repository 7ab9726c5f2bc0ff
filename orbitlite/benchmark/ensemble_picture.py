"""The picture of `orbitlite benchmark ensembles`: CRPS and spread of each variant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

Row = Mapping[str, Any]


def draw_ensembles(figure: Figure, rows: Sequence[Row]) -> None:
    """Draw bars of means over seeds, which are points; sorted by CRPS.

    Parameters
    ----------
    figure : Figure
    rows : sequence of mapping
        Of the first target, those that need no training and those of the longest are drawn.
    """
    figure.set_size_inches(9, 4)
    rows = [row for row in rows if row["target"] == rows[0]["target"]]
    longest = max((row["budget_seconds"] or 0.0 for row in rows), default=0.0)
    rows = [row for row in rows if row["budget_seconds"] in (None, longest)]
    names = dict.fromkeys(row["variant"] for row in rows)
    order = sorted(names, key=lambda name: mean(_values(rows, name, "crps")), reverse=True)
    left, right = figure.subplots(1, 2, sharey=True)
    _bars(left, rows, order, "crps")
    _bars(right, rows, order, "spread_skill")
    left.set_xlabel("CRPS (less is better)")
    right.set_xlabel("spread over error (one is best)")
    right.axvline(1.0, color="black", linestyle="--", linewidth=1)
    trained = f", {longest:g} s of training" if longest else ""
    figure.suptitle(f"{rows[0]['target']}, {rows[0]['period']} period{trained}")


def _bars(axes: Axes, rows: Sequence[Row], order: Sequence[str], score: str) -> None:
    for place, name in enumerate(order):
        values = _values(rows, name, score)
        axes.barh(place, mean(values), color="C0" if name == "ours" else "0.75")
        axes.plot(values, [place] * len(values), "o", color="black", markersize=4)
    axes.set_yticks(range(len(order)), order)
    axes.grid(alpha=0.3, axis="x")


def _values(rows: Sequence[Row], name: str, score: str) -> list[float]:
    return [row[score] for row in rows if row["variant"] == name]
