"""PeriodScores: loss and scores over all samples of a period and all processes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from orbitlite.parallel.mesh import Ranks
from orbitlite.verification.ensembles import Members
from orbitlite.verification.scores import Errors

_SCORES = ("rmse", "mae", "bias", "pearson")
_OF_MEMBERS = ("crps", "spread_skill")


def score_names(targets: Sequence[str], stochastic: bool = False) -> list[str]:
    """Return the names of the scores of a period.

    Examples
    --------
    >>> score_names(["snow"])[:3]
    ['val_loss', 'val_rmse', 'val_rmse/snow']
    >>> score_names(["snow"], stochastic=True)[2]
    'val_crps'
    """
    scores = (*_SCORES, *(_OF_MEMBERS if stochastic else ()))
    own = [f"val_{score}/{name}" for name in targets for score in scores]
    return ["val_loss", "val_rmse", *(["val_crps"] if stochastic else []), *own]


class PeriodScores:
    """Sums that grow batch by batch, on the CPU in float64, and are joined over processes.

    Parameters
    ----------
    targets : sequence of str
    stochastic : bool
        Score members too: their fair CRPS, and their spread over the error of their mean.

    Attributes
    ----------
    unscored : list of str
        Targets of which no cell was scored; known once `compute` was called.
    """

    def __init__(self, targets: Sequence[str], stochastic: bool = False) -> None:
        self.unscored: list[str] = []
        self._members = {name: Members() for name in targets} if stochastic else {}
        self._errors = {name: Errors() for name in targets}
        self._cells = torch.zeros(len(targets), dtype=torch.float64)
        self._loss = torch.zeros(2, dtype=torch.float64)

    def update(
        self, prediction: Tensor, truth: Tensor, areas: Tensor, loss: Tensor, total: Tensor
    ) -> None:
        """Add a batch.

        Parameters
        ----------
        prediction : Tensor of shape (B, M, K, fH, fW)
            Physical units. What is scored is the mean over members.
        truth : Tensor of shape (B, K, fH, fW)
            NaN where there is none.
        areas : Tensor of shape (B, fH, 1) or (B, fH, fW)
            Of the cells.
        loss, total : Tensor
            Of the batch, and the sum of weights that it is divided by.
        """
        self._loss += torch.stack([loss * total, total]).double().cpu()
        mean = prediction.mean(1)
        area = areas.double().cpu()
        for k, errors in enumerate(self._errors.values()):
            expected = truth[:, k].double().cpu()
            valid = torch.isfinite(expected)
            self._cells[k] += valid.sum()
            expected = torch.where(valid, expected, torch.zeros_like(expected))
            errors.update(mean[:, k].double().cpu(), expected, valid * area)
        for k, scores in enumerate(self._members.values()):
            expected = truth[:, k].double().cpu()
            weights = torch.isfinite(expected) * area
            found = prediction[:, :, k].double().cpu()
            scores.update(found, torch.nan_to_num(expected, nan=0.0), weights)

    def compute(self, ranks: Ranks, device: torch.device, scale: Tensor) -> dict[str, float]:
        """Return the loss, RMSE, MAE, bias and Pearson's r of every target in its unit, by name.

        Parameters
        ----------
        ranks : Ranks
        device : device
            Where the processes exchange.
        scale : Tensor of shape (K,)
            Unit of each target in `val_rmse`, the mean of all.
        """

        def over_data(values: Tensor) -> Tensor:
            return ranks.sum_over_data(values.to(device)).cpu()

        value, weight = over_data(self._loss)
        scores = {"val_loss": float(value / weight)}
        cells = over_data(self._cells).tolist()
        self.unscored = [n for n, count in zip(self._errors, cells, strict=True) if not count]
        relative = 0.0
        for (name, errors), unit in zip(self._errors.items(), scale.tolist(), strict=True):
            errors.merge(over_data)
            found = errors.compute()
            for score in _SCORES:
                scores[f"val_{score}/{name}"] = found[score]
            relative += found["rmse"] / unit / len(self._errors)
        scores["val_rmse"] = relative
        if self._members:
            scores["val_crps"] = 0.0
        for (name, members), unit in zip(self._members.items(), scale.tolist(), strict=False):
            members.merge(over_data)
            found = members.compute()
            for score in _OF_MEMBERS:
                scores[f"val_{score}/{name}"] = found[score]
            scores["val_crps"] += found["crps"] / unit / len(self._members)
        return scores


class SourceScores:
    """Scores of each of several sources, and their mean.

    Parameters
    ----------
    shares : mapping of str to float
        By name, what each source that is scored counts in the mean; of one source the name may be
        empty. There may be none.
    targets : mapping of str to sequence of str
        Of each of them.
    stochastic : bool
        Score members too.
    """

    def __init__(
        self,
        shares: Mapping[str, float],
        targets: Mapping[str, Sequence[str]],
        stochastic: bool = False,
    ) -> None:
        self._parts = {name: PeriodScores(targets[name], stochastic) for name in shares}
        total = sum(shares.values())
        self._shares = {name: share / total for name, share in shares.items()}
        self._found: dict[str, dict[str, float]] = {}

    @property
    def unscored(self) -> list[str]:
        """Targets of which a source has no cell that was scored; known once computed."""
        return list(dict.fromkeys(n for part in self._parts.values() for n in part.unscored))

    def of(self, name: str) -> PeriodScores:
        """Return the sums of a source."""
        return self._parts[name]

    def compute(
        self, ranks: Ranks, device: torch.device, scale: Mapping[str, Tensor]
    ) -> dict[str, float]:
        """Return the scores by name: means over the sources, and `source/score` of each.

        See `PeriodScores.compute`. The scale is that of each source. A mean is over the sources
        that have the score: that of a target over those whose task makes it.
        """
        self._found = {
            name: part.compute(ranks, device, scale[name]) for name, part in self._parts.items()
        }
        if not self._found:
            return {}
        means = self.means(self._found)
        if list(self._found) == [""]:
            return means
        parts = self._found.items()
        return means | {f"{name}/{score}": v for name, one in parts for score, v in one.items()}

    def means(self, names: Collection[str]) -> dict[str, float]:
        """Return the means over some of the sources, once they are computed, by share."""
        parts = {name: self._found[name] for name in self._found if name in names}
        if len(parts) == 1:
            return dict(*parts.values())
        means = {}
        for score in dict.fromkeys(score for one in parts.values() for score in one):
            having = [name for name, one in parts.items() if score in one]
            mean = sum(self._shares[name] * parts[name][score] for name in having)
            every = len(having) == len(self._shares)
            means[score] = mean if every else mean / sum(self._shares[name] for name in having)
        return means
