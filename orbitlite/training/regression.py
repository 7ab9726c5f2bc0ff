"""Regression: the ridge regression of a region, solved before a fit."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from orbitlite.data.datamodule import PairDataModule
from orbitlite.errors import InputError
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.ridge import Ridge
from orbitlite.notice import notice

logger = logging.getLogger(__name__)

PENALTIES = (30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0, 30000.0, 100000.0)
"""Beside the sums of squares of standardised predictors."""
_BLOCKS = 5
_MOST = 2 * 10**8
"""Values of all predictors at all times, and of all fine cells."""


def check_whole(config: DownscalerConfig, data: PairDataModule) -> None:
    """Find out whether the regression of a network, if it has one, is of the grid of the data.

    Raises
    ------
    InputError
        If it is not.
    """
    if config.ridge is None:
        return
    whole, stated = list(data.grid.shape), list(config.ridge)
    if stated != whole:
        raise InputError(
            f"model.network.ridge: expected the shape of the coarse grid, {whole}, found {stated}"
        )
    if list(data.window) != whole:
        raise InputError(
            f"model.network.ridge needs whole grids of {whole} cells, found tiles of "
            f"{list(data.window)}: leave out data.tile or model.network.ridge"
        )


def regress(network: Downscaler, data: PairDataModule) -> None:
    """Solve the regression of a network, if it has one, on the training period.

    Raises
    ------
    InputError
        If there are too few samples, or they take too much memory.
    """
    if network.ridge is None:
        return
    dataset, device = data.dataset("train"), network.ridge.mean.device

    def samples() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for number in range(len(dataset)):
            batch = dataset[number].to(device)
            assert batch.fine is not None
            assert batch.time is not None
            yield batch.coarse, torch.where(network.known(batch), batch.fine, torch.nan), batch.time

    penalty = solve(network.ridge, samples(), len(dataset))
    notice(logger, f"The regression (ridge) is solved, with a penalty of {penalty:g}.")


@torch.no_grad()
def solve(ridge: Ridge, samples: Iterable[tuple[Tensor, Tensor, Tensor]], times: int) -> float:
    """Set the weights of a regression to those of the training period.

    Predictors are standardised per cell; the truth is an anomaly from the mean of each fine cell,
    zero where missing. The penalty is the one that predicts best what it has not seen: each fifth
    of the period, as a block, from the rest.

    Parameters
    ----------
    ridge : Ridge
    samples : iterable of tuple of Tensor
        Coarse values (B, ...), fine values (B, ...), NaN where missing, and times (B,), in any
        order.
    times : int
        How many, of all batches.

    Returns
    -------
    float
        The penalty.

    Raises
    ------
    InputError
        If there are too few samples, or predictors or truth take too much memory.
    """
    if times < 2 * _BLOCKS:
        raise InputError(f"a regression needs {2 * _BLOCKS} samples to learn from, found {times}")
    if (values := times * max(ridge.weight.shape)) > _MOST:
        raise InputError(
            f"a regression would hold {values:,} values of {times} samples, {_MOST:,} at most: it "
            "is for a region with few samples; leave it out (model.network.ridge null)"
        )
    columns = [torch.cat(column).cpu() for column in zip(*samples, strict=True)]
    order = columns[2].argsort()  # so that blocks are pieces of the period
    x, y = (column[order].flatten(1).double() for column in columns[:2])
    block = torch.arange(times) * _BLOCKS // times
    errors = torch.stack([_errors(x, y, block == held) for held in range(_BLOCKS)]).sum(0)
    penalty = PENALTIES[int(errors.argmin())]
    fitted = _Fitted(x, y)
    change = torch.nan_to_num(y - fitted.centre).abs().amax(0)
    found = {
        "mean": fitted.mean, "std": fitted.std, "centre": fitted.centre,
        "low": torch.where(torch.isfinite(x), x, fitted.mean).amin(0),
        "high": torch.where(torch.isfinite(x), x, fitted.mean).amax(0),
        "least": fitted.centre - 2 * change, "most": fitted.centre + 2 * change,
        "weight": fitted.patterns.T @ fitted.amplitudes(penalty),
    }  # fmt: skip
    for name, value in found.items():
        ridge.get_buffer(name).copy_(value)
    return penalty


class _Fitted:
    """Singular vectors of the predictors, which all penalties share."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.mean, spread = _moments(x)
        self.std = torch.where(spread > 0, spread, 1.0)
        self.centre, _ = _moments(y)
        u, self.singular, self.patterns = torch.linalg.svd(self.scaled(x), full_matrices=False)
        self.projected = u.T @ torch.nan_to_num(y - self.centre)

    def scaled(self, x: Tensor) -> Tensor:
        """Standardise predictors; the mean in place of what is missing."""
        return torch.nan_to_num((x - self.mean) / self.std)

    def amplitudes(self, penalty: float) -> Tensor:
        """Return what each pattern adds to the fine values, (R, Q)."""
        out: Tensor = (self.singular / (self.singular**2 + penalty))[:, None] * self.projected
        return out


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each column, of what is there; else zero."""
    there = torch.isfinite(x)
    count = there.sum(0).clamp_min(1)
    mean = torch.where(there, x, 0).sum(0) / count
    return mean, (torch.where(there, x - mean, 0).square().sum(0) / count).sqrt()


def _errors(x: Tensor, y: Tensor, held: Tensor) -> Tensor:
    """Return the sum of squared errors over samples held out, of each penalty."""
    fitted = _Fitted(x[~held], y[~held])
    scores = fitted.scaled(x[held]) @ fitted.patterns.T  # (T, R)
    wanted = y[held] - fitted.centre
    return torch.stack(
        [torch.nansum((scores @ fitted.amplitudes(one) - wanted).square()) for one in PENALTIES]
    )
