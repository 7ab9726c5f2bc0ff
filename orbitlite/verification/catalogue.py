"""The catalogue of scores: what each is called, in which unit, and which value is best."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from orbitlite.verification.quantity import Quantity
from orbitlite.verification.thresholds import THRESHOLDS

FRACTIONS_WIDTHS = (3, 5, 9)
TAILS = (68.27, 95.45, 99.73)
PERCENTILES = (95.0, 99.0, 99.9)

Best = Literal["high", "low", "zero", "one", "none"]


@dataclass(frozen=True)
class Score:
    """One row of the score table.

    Attributes
    ----------
    label : str
        Name for people; `{unit}` and `{wet}` stand for those of the quantity.
    best : {"high", "low", "zero", "one", "none"}
        Where the best value lies; "none" for counts, which are not compared.
    unit : str
        "data" for the unit of the variable, else the unit itself (empty: dimensionless).
    """

    label: str
    best: Best
    unit: str = ""

    def distance(self, value: float) -> float:
        """Return how far a value is from the best one; smaller is better.

        Ratios count by their logarithm, so that half and double are equally far from one.

        Examples
        --------
        >>> SCORES["bias"].distance(-0.5)
        0.5
        >>> SCORES["p99_ratio"].distance(0.5) == SCORES["p99_ratio"].distance(2.0)
        True
        """
        if math.isnan(value):
            return math.inf
        if self.best == "high":
            return -value
        if self.best == "low":
            return value
        if self.best == "zero":
            return abs(value)
        if self.best == "one":
            return abs(math.log(value)) if value > 0 else math.inf
        return math.inf


def _build() -> Mapping[str, Score]:
    rows = {
        "bias": Score("Bias", "zero", "data"),
        "rmse": Score("RMSE", "low", "data"),
        "mae": Score("MAE", "low", "data"),
        "r2": Score("R2", "high"),
        "pearson": Score("Pearson correlation", "high"),
        "rmse_log1p": Score("RMSE of log1p", "low"),
        "r2_log1p": Score("R2 of log1p", "high"),
        "pearson_log1p": Score("Pearson correlation of log1p", "high"),
        "ssim": Score("SSIM", "high"),
        "psnr": Score("PSNR", "high", "dB"),
    }
    for tail in TAILS:
        rows[f"rmse_above_p{tail:g}"] = Score(f"RMSE above truth's p{tail:g}", "low", "data")
    for name, label in (("wet_day", "Wet-day"), ("wet", "Wet")):
        rows[f"{name}_frequency"] = Score(label + " frequency (>= {wet:g} {unit})", "none")
        rows[f"{name}_frequency_ratio"] = Score(f"{label} frequency, ratio to truth", "one")
    for level in PERCENTILES:
        rows[f"p{level:g}_ratio"] = Score(f"Percentile {level:g}, ratio to truth", "one")
    periods = THRESHOLDS.values()
    for event in sorted({event for period in periods for event in period.events}):
        rows[f"csi_{event:g}mm"] = Score(f"CSI at {event:g} {{unit}}", "high")
    for event in sorted({period.fractions for period in periods}):
        for width in FRACTIONS_WIDTHS:
            label = f"FSS at {event:g} {{unit}}, {width} cells"
            rows[f"fss_{event:g}mm_{width}cells"] = Score(label, "high")
    rows["spectrum_distance"] = Score("Distance of the power spectra", "low", "dB")
    rows["cells"] = Score("Values scored", "none")
    rows["skipped_cells"] = Score("Values skipped (missing)", "none")
    return MappingProxyType(rows)


SCORES: Mapping[str, Score] = _build()


def label(name: str, quantity: Quantity) -> str:
    """Return what people call a score of a quantity, with its unit.

    Examples
    --------
    >>> label("csi_10mm", Quantity.of("total_precipitation_24hr"))
    'CSI at 10 mm/day'
    """
    score = SCORES[name]
    wet = quantity.thresholds.wet if quantity.thresholds else math.nan
    text = score.label.format(unit=quantity.unit, wet=wet)
    unit = quantity.unit if score.unit == "data" else score.unit
    return f"{text} ({unit})" if unit and unit != "1" else text


def best_of(name: str, values: Mapping[str, float]) -> frozenset[str]:
    """Return the systems with the best value of a score; several only if they tie.

    Parameters
    ----------
    name : str
        A key of `SCORES`.
    values : mapping
        From system to value.

    Examples
    --------
    >>> sorted(best_of("rmse", {"a": 2.0, "b": 1.0, "c": float("nan")}))
    ['b']
    """
    distances = {system: SCORES[name].distance(value) for system, value in values.items()}
    least = min(distances.values(), default=math.inf)
    if least == math.inf:
        return frozenset()
    return frozenset(system for system, distance in distances.items() if distance == least)
