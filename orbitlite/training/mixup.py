"""Mixup: training on weighted means of two samples."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from orbitlite.batch import Batch


def mixup(batch: Batch, concentration: float) -> Batch:
    """Replace each sample by a weighted mean of itself and another of the batch.

    x' = lambda x + (1 - lambda) x_partner, and the same of the truth, with one lambda ~ Beta(a, a)
    per sample (Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", equation 1), in
    physical units. It asks the network to be linear between samples: a strong regulariser where
    there are a few hundred of them.

    Parameters
    ----------
    batch : Batch
        With the truth, and edges. Fields of two samples are mixed only where both lie on the same
        cells, and only if both have some truth: the padding that fills an epoch up would
        otherwise take the truth of others away.
    concentration : float
        a > 0: 1 for lambda uniform in [0, 1], less to stay closer to the samples.

    Returns
    -------
    Batch
        With mixed `coarse`, `fine` and `regression`, NaN where either is; the rest as it was.
    """
    assert batch.fine is not None
    count = len(batch)
    # Drawn on the CPU, so that the numbers do not depend on the device.
    law = torch.distributions.Beta(torch.tensor(concentration), torch.tensor(concentration))
    own = law.sample(torch.Size([count])).to(batch.coarse.device)
    partner = torch.randperm(count).to(batch.coarse.device)
    known = torch.isfinite(batch.fine).flatten(1).any(dim=1)
    alike = known & known[partner]
    core = None if batch.core is None else batch.core.first
    for places in (batch.lat_edges, batch.lon_edges, batch.corners, core):
        if places is not None:
            alike &= (places == places[partner]).flatten(1).all(dim=1)
    own = torch.where(alike, own, torch.ones_like(own))[:, None, None, None]
    return replace(
        batch,
        coarse=_mean(batch.coarse, partner, own),
        fine=_mean(batch.fine, partner, own),
        regression=None if batch.regression is None else _mean(batch.regression, partner, own),
    )


def _mean(x: Tensor, partner: Tensor, own: Tensor) -> Tensor:
    # Where nothing is mixed, what the partner lacks does not count.
    return torch.where(own == 1, x, own * x + (1 - own) * x[partner])
