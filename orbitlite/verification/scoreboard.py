"""Scoreboard: the scores of all systems, gathered chunk by chunk."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from orbitlite.verification.catalogue import catalogue
from orbitlite.verification.chunk import Chunk, Counts
from orbitlite.verification.ensemble_scorer import EnsembleScorer
from orbitlite.verification.indices import Indices
from orbitlite.verification.probabilities import Probabilities
from orbitlite.verification.ranks import RankHistogram
from orbitlite.verification.results import MEMBERS, OURS, TRUTH, Calibration
from orbitlite.verification.score import Setting
from orbitlite.verification.scorer import Distribution, Scorer
from orbitlite.verification.spectra import Transform
from orbitlite.verification.spread import CrpsMap, SpreadBins


class Scoreboard:
    """Scores of every system and, if the prediction is an ensemble, of its members.

    A system of several members is scored by their mean. Where ours is an ensemble, its members
    are a further system, each a sample of its own, and every system has the scores of ensembles.
    Daily precipitation has indices of climate.

    Parameters
    ----------
    setting : Setting
    transform : PlanarTransform or SphericalTransform
    members : int
        M of the prediction.
    """

    def __init__(self, setting: Setting, transform: Transform, members: int) -> None:
        self._setting, self._transform, self._members = setting, transform, members
        self._truth = Distribution(transform)
        self._scorers: dict[str, Scorer] = {}
        self._ensembles: dict[str, EnsembleScorer] = {}
        self._indices: dict[str, Indices] = {}
        self._spread, self._map = SpreadBins(), CrpsMap(setting.shape)

    def update(self, chunk: Chunk, weights: Tensor) -> None:
        """Add a chunk.

        Parameters
        ----------
        chunk : Chunk
        weights : Tensor of shape (T, H, W)
            Share of the area; zero where a value is missing in one of the systems.
        """
        valid = weights > 0
        truth = torch.where(valid, chunk.truth, 0.0)
        self._truth.update(truth, weights)
        self._index(TRUTH, truth[:, None], weights, chunk.window)
        for name, found in chunk.systems.items():
            members = torch.where(valid[:, None], found, 0.0)
            mean = members.mean(1)
            self._scorer(name).update(mean, truth, weights)
            self._index(name, mean[:, None], weights, chunk.window)
            if self._members == 1:
                continue
            if name not in self._ensembles:
                self._ensembles[name] = EnsembleScorer(self._setting, members.shape[1])
            self._ensembles[name].update(members, truth, weights)
            if name == OURS:
                self._spread.update(members, truth, weights)
                self._map.update(members, truth, weights)
                each = (x[:, None].expand_as(members).flatten(0, 1) for x in (truth, weights))
                self._scorer(MEMBERS).update(members.flatten(0, 1), *each)
                self._index(MEMBERS, members, weights, chunk.window)

    def _scorer(self, name: str) -> Scorer:
        if name not in self._scorers:
            self._scorers[name] = Scorer(self._setting, self._transform)
        return self._scorers[name]

    def _index(self, name: str, fields: Tensor, weights: Tensor, window: slice) -> None:
        """Add a chunk of fields (T, M, H, W) to the indices of a system or of the truth."""
        days, limits = self._setting.days, self._setting.quantity.thresholds
        if days is None or limits is None:
            return
        if name not in self._indices:
            series = len(fields) // (window.stop - window.start)
            self._indices[name] = Indices(days, limits.wet, (series, *fields.shape[1:]))
        self._indices[name].update(fields, weights, window)

    def compute(self, counts: Counts) -> dict[str, dict[str, float]]:
        """Return `{system: {score: value}}`, scores in the order of the table.

        Parameters
        ----------
        counts : Counts
            Of the chunks.
        """
        scores = {}
        for name, scorer in self._scorers.items():
            found = scorer.compute(self._truth)
            if name in self._ensembles:
                found |= self._ensembles[name].compute()
            if name in self._indices:
                found |= self._indices[name].compute(self._indices[TRUTH])
            cells = counts.cells(self._members if name == MEMBERS else 1)
            scores[name] = _ordered(found | cells)
        return scores

    def distributions(self) -> dict[str, Distribution]:
        """Return how the values of each system and of the truth are spread."""
        found = {name: scorer.distribution for name, scorer in self._scorers.items()}
        return found | {TRUTH: self._truth}

    def calibration(self) -> Calibration | None:
        """Return how the members lie about the truth; None if there is one only."""
        ours = self._ensembles.get(OURS)
        ranks = ours.part(RankHistogram) if ours else None
        if ours is None or ranks is None:
            return None
        events = ours.part(Probabilities)
        shares = events.reliability() if events else {}
        return Calibration(
            ranks.frequencies().numpy(),
            {event: share.numpy() for event, share in shares.items()},
            self._spread.bins().numpy(),
            self._map.mean().numpy(),
        )


def _ordered(scores: Mapping[str, float]) -> dict[str, float]:
    order = {name: place for place, name in enumerate(catalogue())}
    return dict(sorted(scores.items(), key=lambda score: order[score[0]]))
