"""Regression: the ridge regression of a region, solved before a fit."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from orbitlite.batch import Batch
from orbitlite.data.datamodule import PairDataModule
from orbitlite.errors import InputError
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.ridge import Ridge
from orbitlite.model.tasks import Tasks
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
    if len(data.parts) > 1:
        raise InputError(
            f"model.network.ridge belongs to one grid, and data.sources has {len(data.parts)} "
            "sources: leave out one of the two"
        )
    if any(data.pairs.context):
        raise InputError(
            "model.network.ridge regresses on the coarse cells of the fine grid alone, and "
            f"data.context is {data.pairing.context}: leave out one of the two"
        )
    whole, stated = list(data.grid.shape), list(config.ridge)
    if stated != whole:
        raise InputError(
            f"model.network.ridge: expected the shape of the coarse grid, {whole}, found {stated}"
        )
    window = list(data.first.first_tile().shape)
    if window != whole:
        raise InputError(
            f"model.network.ridge needs whole grids of {whole} cells, found tiles of "
            f"{window}: leave out data.tile or model.network.ridge"
        )


@dataclass(frozen=True)
class HeldOut:
    """What regressions say of training samples that they have not seen.

    A stochastic network begins at the regression. On the samples that the regression was solved on
    its errors are too small: a network that learns from them would trust it too much.

    Attributes
    ----------
    times : Tensor of shape (T,)
        Ascending.
    fields : Tensor of shape (T, K, fH, fW)
    """

    times: Tensor
    fields: Tensor

    def of(self, batch: Batch) -> Batch:
        """Return a batch of training samples with their regression."""
        assert batch.time is not None
        places = torch.searchsorted(self.times, batch.time.to(self.times.device))
        return replace(batch, regression=self.fields[places].to(batch.coarse.device))


def regress(network: Downscaler | Tasks, data: PairDataModule) -> HeldOut | None:
    """Solve the regression of a network, if it has one, on the training period.

    Returns
    -------
    HeldOut or None
        What a stochastic network with a regression is trained on.

    Raises
    ------
    InputError
        If there are too few samples, or they take too much memory.
    """
    if isinstance(network, Tasks) or network.ridge is None:
        return None
    dataset, device = data.dataset("train"), network.ridge.mean.device

    def samples() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for number in range(len(dataset)):
            batch = dataset[number].to(device)
            assert batch.fine is not None
            assert batch.time is not None
            yield batch.coarse, torch.where(network.known(batch), batch.fine, torch.nan), batch.time

    penalty = solve(network.ridge, samples(), len(dataset))
    notice(logger, f"The regression (ridge) is solved, with a penalty of {penalty:g}.")
    return held_out(samples(), penalty) if network.stochastic else None


@torch.no_grad()
def held_out(samples: Iterable[tuple[Tensor, Tensor, Tensor]], penalty: float) -> HeldOut:
    """Predict each fifth of the training period, as a block, by a regression on the rest.

    Parameters
    ----------
    samples : iterable of tuple of Tensor
        As for `solve`, fine values of shape (B, K, fH, fW).
    penalty : float

    Raises
    ------
    InputError
        If several samples are of one time: they could not be told apart.
    """
    x, y, times, shape = _ordered(samples)
    if not bool((times.diff() > 0).all()):
        raise InputError(
            "a regression (ridge) under a network with noise needs one sample for each time, found "
            "several, as of members: leave ridge out (model.network.ridge null)"
        )
    block, found = _block(len(times)), torch.empty_like(y)
    for held in range(_BLOCKS):
        unseen = block == held
        fitted = _Fitted(x[~unseen], y[~unseen])
        scores = fitted.scaled(x[unseen]) @ fitted.patterns.T
        found[unseen] = scores @ fitted.amplitudes(penalty) + fitted.centre
    return HeldOut(times, found.float().view(-1, *shape))


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
    x, y, *_ = _ordered(samples)
    block = _block(times)
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


def _ordered(
    samples: Iterable[tuple[Tensor, Tensor, Tensor]],
) -> tuple[Tensor, Tensor, Tensor, torch.Size]:
    """Return predictors (T, P) and truth (T, Q) in the order of their times (T,); a truth's shape.

    Blocks are pieces of the period then.
    """
    columns = [torch.cat(column).cpu() for column in zip(*samples, strict=True)]
    order = columns[2].argsort()
    x, y = (column[order].flatten(1).double() for column in columns[:2])
    return x, y, columns[2][order], columns[1].shape[1:]


def _block(times: int) -> Tensor:
    return torch.arange(times) * _BLOCKS // times


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
