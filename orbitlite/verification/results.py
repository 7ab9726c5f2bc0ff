"""What an evaluation finds. Plain arrays: importing this does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from orbitlite.grids.grid import Grid
from orbitlite.verification.quantity import Quantity

if TYPE_CHECKING:
    from orbitlite.verification.spectra import Spectrum

OURS = "orbitlite"
MEMBERS = "members"
TRUTH = "truth"
LEVELS = tuple(np.round(1.0 - np.logspace(0, -4, 81), 10)[1:].tolist())


@dataclass(frozen=True)
class Day:
    """The fields of one day, or one time, for the pictures: rows north to south, NaN where missing.

    Attributes
    ----------
    time : str
    kind : str
        Why this day: `wettest` (highest area mean) or `median`.
    coarse : ndarray of shape (h, w) or None
    prediction, truth : ndarray of shape (H, W)
        Of an ensemble, the mean.
    members : ndarray of shape (n, H, W) or None
        A few of the ensemble.
    names : tuple of str
        What the prediction calls them.
    """

    time: str
    kind: str
    coarse: NDArray[np.float32] | None
    prediction: NDArray[np.float32]
    truth: NDArray[np.float32]
    members: NDArray[np.float32] | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Calibration:
    """How the members of an ensemble lie about the truth, for the pictures.

    Attributes
    ----------
    ranks : ndarray of shape (M + 1,)
        How often the truth has each rank among the members.
    events : dict
        By threshold, of each number of members with the event, 0 to M: the share of all values,
        and the share of all values where the truth has the event too; shape (2, M + 1).
    spread : ndarray of shape (3, bins)
        Root of the mean squared spread, root mean squared error of the mean, share of the values.
    crps : ndarray of shape (H, W)
        Mean of each cell over the times, NaN where none was scored.
    """

    ranks: NDArray[np.float64]
    events: dict[float, NDArray[np.float64]]
    spread: NDArray[np.float64]
    crps: NDArray[np.float64]

    @property
    def members(self) -> int:
        """M."""
        return len(self.ranks) - 1


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
    step : str
        What a time is called: `day`, or `time` where there are several a day.
    calibration : Calibration or None
        Of an ensemble.
    """

    quantity: Quantity
    scores: dict[str, dict[str, float]]
    spectra: dict[str, Spectrum]
    quantiles: dict[str, NDArray[np.float64]]
    days: list[Day]
    notes: list[str]
    step: str = "day"
    calibration: Calibration | None = None


@dataclass(frozen=True, repr=False)
class Results:
    """What was found for each variable, and the grids that it was found on.

    Attributes
    ----------
    results : dict
        `{variable: Result}`.
    grid : Grid
        North to south.
    coarse_grid : Grid or None
    land : ndarray of shape (H, W) or None
        Land-sea mask of the truth, for coastlines.
    """

    results: dict[str, Result]
    grid: Grid
    coarse_grid: Grid | None = None
    land: NDArray[np.float32] | None = None

    @property
    def scores(self) -> dict[str, dict[str, dict[str, float]]]:
        """`{variable: {system: {score: value}}}`."""
        return {name: result.scores for name, result in self.results.items()}

    def __repr__(self) -> str:
        """Name the variables and the RMSE of every system, in a line or two."""
        shown = [
            f"{name} {', '.join(_rmse(system, row) for system, row in result.scores.items())} "
            f"{result.quantity.unit}"
            for name, result in list(self.results.items())[:2]
        ]
        more = len(self.results) - len(shown)
        rest = f"; {more} more variable{'s' if more > 1 else ''}" if more else ""
        return f"<{type(self).__name__}, RMSE of {'; '.join(shown)}{rest}>"


def _rmse(system: str, row: dict[str, float]) -> str:
    return f"{system} {row['rmse']:.3g}"
