"""Climatology: days of the training period as members."""

from __future__ import annotations

import torch
from torch import Tensor

from orbitlite.batch import Batch
from orbitlite.benchmark.archive import Archive, day_of_year, hashes
from orbitlite.model.noise import Draw

_DAYS, _YEAR = 45.0, 365.25
_SEASONS = 2 * 365 * 86400.0
"""Seconds of a training period from which on days are of the same season."""


class Climatology:
    """Draw days of the training period that lie within 45 days of the day of the year.

    Any day, where the period has less than two years or none of that season. A field's missing
    values are the mean of their cell.

    Parameters
    ----------
    archive : Archive
    """

    stochastic = True

    def __init__(self, archive: Archive) -> None:
        self.days = day_of_year(archive.times)
        self.seasons = bool(archive.times[-1] - archive.times[0] >= _SEASONS)
        mean = archive.fine.nanmean(0).nan_to_num()
        self.fields = torch.where(archive.fine.isfinite(), archive.fine, mean)

    def members(self, batch: Batch, draw: Draw) -> Tensor:
        """Return (B, M, K, fH, fW) in physical units."""
        assert batch.time is not None
        drawn = []
        for day, keys in zip(day_of_year(batch.time.cpu()), hashes(batch, draw), strict=True):
            offered = self.offered(float(day))
            drawn.append(self.fields[offered[keys.remainder(len(offered))]])
        return torch.stack(drawn)

    def offered(self, day: float) -> Tensor:
        """Return which samples are drawn from on a day of the year."""
        every = torch.arange(len(self.days))
        if not self.seasons:
            return every
        apart = (self.days - day).abs()
        near = torch.minimum(apart, _YEAR - apart) <= _DAYS
        return every[near] if bool(near.any()) else every
