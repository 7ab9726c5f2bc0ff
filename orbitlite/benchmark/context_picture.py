"""The picture of `orbitlite benchmark context`: scores against what is around a region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from matplotlib.figure import Figure

Row = Mapping[str, Any]
_SCORES = {"deterministic": ("rmse_mean", "RMSE"), "ours": ("crps", "CRPS of members")}


def draw_context(figure: Figure, rows: Sequence[Row]) -> None:
    """Draw means over seeds, which are points, against the cells on each side.

    Parameters
    ----------
    figure : Figure
    rows : sequence of mapping
        Of the first target those of the longest training are drawn.
    """
    figure.set_size_inches(8, 3.5)
    longest = max(row["budget_seconds"] for row in rows)
    rows = [
        row for row in rows
        if row["target"] == rows[0]["target"] and row["budget_seconds"] == longest
    ]  # fmt: skip
    for axes, (variant, (score, text)) in zip(figure.subplots(1, 2), _SCORES.items(), strict=True):
        own = [row for row in rows if row["variant"] == variant]
        cells = sorted({row["context"] for row in own})
        values = [[row[score] for row in own if row["context"] == count] for count in cells]
        axes.plot(cells, [mean(found) for found in values], color="C0")
        for count, found in zip(cells, values, strict=True):
            axes.plot([count] * len(found), found, "o", color="black", markersize=4)
        axes.set_xticks(cells)
        axes.set_xlabel("coarse cells around the region")
        axes.set_ylabel(text)
        axes.grid(alpha=0.3)
    figure.suptitle(f"{rows[0]['target']}, {rows[0]['period']} period, {longest:g} s of training")
