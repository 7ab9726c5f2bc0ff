"""The catalogue of scores: what each is called, in which unit, and which value is best."""

from __future__ import annotations

import math
from collections.abc import Mapping

import orbitlite.verification.ensembles
import orbitlite.verification.fractions
import orbitlite.verification.pools
import orbitlite.verification.probabilities
import orbitlite.verification.ranks
import orbitlite.verification.scores
import orbitlite.verification.similarity  # noqa: F401  (they register scores)
from orbitlite.verification.ensemble_score import ENSEMBLE_SCORES
from orbitlite.verification.indices import Indices
from orbitlite.verification.quantity import Quantity
from orbitlite.verification.score import SCORES, Entry
from orbitlite.verification.scorer import Distribution

_COUNTS = {
    "cells": Entry("Values scored", "none", place=10),
    "skipped_cells": Entry("Values skipped (missing)", "none", place=10),
}


def catalogue() -> dict[str, Entry]:
    """Return the entries of all scores that are known, in the order of the table."""
    kinds = [*SCORES.values(), *ENSEMBLE_SCORES.values()]
    found = [*(kind.entries for kind in kinds), Distribution.entries, Indices.entries, _COUNTS]
    entries = [entry for part in found for entry in part.items()]
    return dict(sorted(entries, key=lambda entry: entry[1].place))


def label(name: str, quantity: Quantity) -> str:
    """Return what people call a score of a quantity, with its unit.

    Examples
    --------
    >>> label("csi_10mm", Quantity.of("total_precipitation_24hr"))
    'CSI at 10 mm/day'
    """
    score = catalogue()[name]
    wet = quantity.thresholds.wet if quantity.thresholds else math.nan
    text = score.label.format(unit=quantity.unit, wet=wet)
    unit = quantity.unit if score.unit == "data" else score.unit
    return f"{text} ({unit})" if unit and unit != "1" else text


def best_of(name: str, values: Mapping[str, float]) -> frozenset[str]:
    """Return the systems with the best value of a score; several only if they tie.

    Parameters
    ----------
    name : str
        A key of the catalogue.
    values : mapping
        From system to value.

    Examples
    --------
    >>> sorted(best_of("rmse", {"a": 2.0, "b": 1.0, "c": float("nan")}))
    ['b']
    """
    entry = catalogue()[name]
    distances = {system: entry.distance(value) for system, value in values.items()}
    least = min(distances.values(), default=math.inf)
    if least == math.inf:
        return frozenset()
    return frozenset(system for system, distance in distances.items() if distance == least)
