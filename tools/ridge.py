"""Ridge regression per fine cell on all coarse predictors: what a network on small data must beat.

python tools/ridge.py configs/iberia.yaml

The strength of the penalty is chosen on the validation period; printed is the area-weighted RMSE.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from orbitlite.data.datamodule import PairDataModule
from orbitlite.training.sources import data_of_config

STRENGTHS = (30, 100, 300, 1000, 3000, 10000)
Array = NDArray[np.float64]


def arrays(data: PairDataModule, split: str) -> tuple[Array, Array]:
    """Return predictors (T, C H W) and the first target (T, fH fW)."""
    dataset = data.dataset(split)  # type: ignore[arg-type]
    samples = [dataset[i] for i in range(len(dataset))]
    x = np.stack([sample.coarse[0].numpy().ravel() for sample in samples])
    y = np.stack([sample.fine[0, 0].numpy().ravel() for sample in samples])
    return x.astype(float), y.astype(float)


def rmse(prediction: Array, truth: Array, weights: Array) -> float:
    """Return the area-weighted RMSE over valid cells."""
    known = np.isfinite(truth)
    error = np.where(known, prediction - truth, 0) ** 2
    return float(np.sqrt((error * weights).sum() / (known * weights).sum()))


def main(config: str) -> None:
    """Fit and print."""
    data = data_of_config(config)
    data.setup("fit")
    weights = data.fine_grid.weights.ravel()
    (x, y), (xv, yv), (xt, yt) = (arrays(data, split) for split in ("train", "validate", "test"))
    mean, scale = x.mean(0), x.std(0) + 1e-9
    known = np.isfinite(y)
    centre = np.where(known, y, 0).sum(0) / np.maximum(known.sum(0), 1)
    filled = np.where(known, y - centre, 0)
    standard = (x - mean) / scale
    best = (np.inf, 0.0, 0)
    for strength in STRENGTHS:
        gram = standard.T @ standard + strength * np.eye(x.shape[1])
        weight = np.linalg.solve(gram, standard.T @ filled)
        scores = [
            rmse(np.maximum((part - mean) / scale @ weight + centre, 0), truth, weights)
            for part, truth in ((xv, yv), (xt, yt))
        ]
        best = min(best, (scores[0], scores[1], strength))
        print(f"strength {strength:6d}: validation {scores[0]:.3f}, test {scores[1]:.3f}")
    print(f"chosen {best[2]}: test {best[1]:.3f}")


if __name__ == "__main__":
    main(sys.argv[1])
