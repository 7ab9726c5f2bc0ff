"""Score: what is computed of a system's fields, and how it is called and compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from torch import Tensor

from orbitlite.registry import Registry
from orbitlite.verification.quantity import Quantity
from orbitlite.verification.timeline import Timeline
from orbitlite.verification.truth import TruthSummary

Best = Literal["high", "low", "zero", "one", "none"]


@dataclass(frozen=True)
class Entry:
    """One row of the score table.

    Attributes
    ----------
    label : str
        Name for people; `{unit}` and `{wet}` stand for those of the quantity.
    best : {"high", "low", "zero", "one", "none"}
        Where the best value lies; "none" for counts, which are not compared.
    unit : str
        "data" for the unit of the variable, else the unit itself (empty: dimensionless).
    place : int
        Rows of a lower place stand above it.
    """

    label: str
    best: Best
    unit: str = ""
    place: int = 8

    def distance(self, value: float) -> float:
        """Return how far a value is from the best one; smaller is better.

        Ratios count by their logarithm, so that half and double are equally far from one.

        Examples
        --------
        >>> Entry("Bias", "zero", "data").distance(-0.5)
        0.5
        >>> ratio = Entry("Ratio to truth", "one")
        >>> ratio.distance(0.5) == ratio.distance(2.0)
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


@dataclass(frozen=True)
class Setting:
    """What a score may depend on, beside the fields.

    Attributes
    ----------
    quantity : Quantity
    truth : TruthSummary
        What a pass over the whole truth has found.
    wraps : bool
        Whether the grid is periodic in longitude.
    shape : tuple of int
        (H, W) of the fine grid.
    days : Timeline or None
        Of a daily series.
    """

    quantity: Quantity
    truth: TruthSummary
    wraps: bool
    shape: tuple[int, int]
    days: Timeline | None


class Values:
    """One or several values, each a row of the table.

    Attributes
    ----------
    entries : mapping
        The row of each value that `compute` may return, by its name.
    """

    entries: ClassVar[Mapping[str, Entry]] = {}

    def compute(self) -> dict[str, float]:
        """Return values by name; NaN where there is none."""
        raise NotImplementedError

    def known(self) -> dict[str, float]:
        """Return what `compute` returns.

        Raises
        ------
        ValueError
            If a value is not among the entries.
        """
        found = self.compute()
        if unknown := set(found) - set(self.entries):
            raise ValueError(
                f"{type(self).__name__} computes {', '.join(sorted(unknown))}: no entry of it"
            )
        return found


class Score(Values):
    """One or several values of a system's fields, fed with chunks of time."""

    @classmethod
    def of(cls, setting: Setting) -> Self | None:
        """Begin the score of a system; None where it makes no sense for the quantity."""
        return cls()

    def update(self, prediction: Tensor, truth: Tensor, weights: Tensor) -> None:
        """Add a chunk.

        Parameters
        ----------
        prediction, truth, weights : Tensor of shape (T, H, W)
            float64, in the unit of the quantity; weight zero marks a skipped value, which is finite
            and means nothing.
        """
        raise NotImplementedError


SCORES = Registry[type[Score]]("score")
"""By name; what `orbitlite evaluate` computes."""
