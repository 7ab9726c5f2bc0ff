"""What an evaluation finds. Plain arrays: importing this does not import torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from orbitlite.data.grid import LatLonGrid
from orbitlite.verification import report
from orbitlite.verification.quantity import Quantity

if TYPE_CHECKING:
    from rich.table import Table

    from orbitlite.verification.spectra import Spectrum

OURS = "orbitlite"
TRUTH = "truth"
LEVELS = tuple(np.round(1.0 - np.logspace(0, -4, 81), 10)[1:].tolist())


@dataclass(frozen=True)
class Day:
    """The fields of one day for the pictures, rows north to south, NaN where missing.

    Attributes
    ----------
    time : str
    kind : str
        Why this day: `wettest` (highest area mean) or `median`.
    coarse : ndarray of shape (h, w) or None
    prediction, truth : ndarray of shape (H, W)
    """

    time: str
    kind: str
    coarse: NDArray[np.float32] | None
    prediction: NDArray[np.float32]
    truth: NDArray[np.float32]


@dataclass(frozen=True)
class Result:
    """All that was found for one variable.

    Attributes
    ----------
    quantity : Quantity
    scores : dict
        `{system: {score: value}}`.
    spectra : dict
        Mean spectrum of each system and of `truth`.
    quantiles : dict
        Quantiles at `LEVELS` of each system and of `truth`.
    days : list of Day
    notes : list of str
        What the reader of the table must know.
    """

    quantity: Quantity
    scores: dict[str, dict[str, float]]
    spectra: dict[str, Spectrum]
    quantiles: dict[str, NDArray[np.float64]]
    days: list[Day]
    notes: list[str]


@dataclass(frozen=True)
class Evaluation:
    """Scores of a prediction and of the baselines.

    Attributes
    ----------
    results : dict
        `{variable: Result}`.
    grid : LatLonGrid
        North to south.
    coarse_grid : LatLonGrid or None
    land : ndarray of shape (H, W) or None
        Land-sea mask of the truth, for coastlines.
    """

    results: dict[str, Result]
    grid: LatLonGrid
    coarse_grid: LatLonGrid | None = None
    land: NDArray[np.float32] | None = field(default=None, repr=False)

    @property
    def scores(self) -> dict[str, dict[str, dict[str, float]]]:
        """`{variable: {system: {score: value}}}`."""
        return {name: result.scores for name, result in self.results.items()}

    def table(self) -> Table:
        """Return the scores as a rich table with the best value of each row marked."""
        return report.table(self)

    def to_json(self, path: str | Path) -> None:
        """Write the scores as JSON; values that are not finite become null."""
        report.write_json(self, Path(path))

    def report(self, folder: str | Path) -> list[Path]:
        """Write the scores (JSON and text) and the pictures (PNG); return the paths."""
        return report.write(self, Path(folder))
