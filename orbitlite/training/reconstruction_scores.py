"""Scores of the reconstruction of hidden inputs over a period and all processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from orbitlite.parallel.mesh import Ranks
from orbitlite.training.reconstruction import Compared

SCORE = "val_reconstruction"
"""What a fit without any truth is judged by."""
_YARDSTICKS = ("_mean", "_nearest")


def reconstruction_names(sources: Sequence[str]) -> list[str]:
    """Return the names of the scores of sources without truth; of one alone the name may be empty.

    Examples
    --------
    >>> reconstruction_names(["ncep"])[:4:3]
    ['val_reconstruction', 'ncep/val_reconstruction']
    """
    if not sources:
        return []
    names = [SCORE, *(f"{SCORE}{end}" for end in _YARDSTICKS)]
    return names + [f"{source}/{name}" for source in sources if source for name in names]


class ReconstructionScores:
    """Mean squared errors of hidden inputs, by source, on the CPU in float64.

    Beside that of the network stand those of the mean of the training data, and of the nearest
    value that is visible (see `nearest_visible`), if it is given.

    Parameters
    ----------
    shares : mapping of str to float
        By name, what each source without truth counts in the mean; one alone may have no name.
    """

    def __init__(self, shares: Mapping[str, float]) -> None:
        self._shares = dict(shares)
        self._sums = {name: torch.zeros(4, dtype=torch.float64) for name in shares}
        self._yardsticks = False

    def update(self, name: str, found: Compared) -> None:
        """Add a batch of a source."""
        weights, target = (part.double().cpu() for part in (found.weights, found.target))

        def over_cells(squares: Tensor) -> Tensor:
            return (squares * weights).sum()

        said = found.prediction.double().cpu()
        errors = (said - target[:, None]).square().mean(1)
        beside = torch.zeros_like(target)
        if found.nearest is not None:
            beside, self._yardsticks = found.nearest.double().cpu() - target, True
        parts = (errors, target.square(), beside.square(), torch.ones_like(target))
        self._sums[name] += torch.stack([over_cells(part) for part in parts])

    def compute(self, ranks: Ranks, device: torch.device) -> dict[str, float]:
        """Return the scores by name: means over the sources, and `source/score` of each.

        Parameters
        ----------
        ranks : Ranks
        device : device
            Where the processes exchange.
        """
        names = [SCORE, *(f"{SCORE}{end}" for end in _YARDSTICKS if self._yardsticks)]
        means, own = dict.fromkeys(names, 0.0), dict[str, float]()
        for source, sums in self._sums.items():
            *parts, weight = ranks.sum_over_data(sums.to(device)).tolist()
            for name, part in zip(names, parts, strict=False):
                value = part / weight if weight else float("nan")
                means[name] += value * self._shares[source] / sum(self._shares.values())
                if source:
                    own[f"{source}/{name}"] = value
        return means | own if self._sums else {}
