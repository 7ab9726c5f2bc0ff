"""Mapped: the interpolated field, quantile-mapped, with residuals of random days."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from orbitlite.batch import Batch
from orbitlite.benchmark.archive import Archive, hashes
from orbitlite.errors import InputError
from orbitlite.model.noise import Draw
from orbitlite.verification.baselines import fit_quantile_map, interpolate


class Mapped:
    """BCSD (see `QuantileMap`) of each cell, plus what it missed on a day of the training period.

    Parameters
    ----------
    archive : Archive
    columns : sequence of int or None
        Of each target, its place among the inputs.
    amounts : Tensor of shape (K,), bool
        Targets without negative values.
    factor : int
    wraps : bool
        The grid is periodic in longitude.

    Raises
    ------
    InputError
        If a target is no input.
    """

    stochastic = True

    def __init__(
        self,
        archive: Archive,
        columns: Sequence[int | None],
        amounts: Tensor,
        factor: int,
        wraps: bool,
    ) -> None:
        self.columns = [column for column in columns if column is not None]
        if len(self.columns) < len(columns):
            raise InputError("it maps coarse targets, and not all of them are inputs")
        self.factor, self.wraps, self.amounts = factor, wraps, amounts[:, None, None]
        coarse = archive.coarse[:, self.columns]
        self.maps = [
            fit_quantile_map(
                lambda rows, k=k: coarse[:, k, rows],  # type: ignore[misc]
                lambda rows, k=k: archive.fine[:, k, rows],  # type: ignore[misc]
                (len(archive), *coarse.shape[-2:]), factor, wraps, bool(amounts[k]),
            )
            for k in range(len(columns))
        ]  # fmt: skip
        self.residuals = (archive.fine - self._mapped(coarse)).nan_to_num()

    def members(self, batch: Batch, draw: Draw) -> Tensor:
        """Return (B, M, K, fH, fW) in physical units; NaN where the coarse target is missing."""
        mapped = self._mapped(batch.coarse[:, self.columns].cpu())
        picked = hashes(batch, draw).remainder(len(self.residuals))
        found = mapped[:, None] + self.residuals[picked]
        return torch.where(self.amounts, found.clamp_min(0), found)

    def _mapped(self, coarse: Tensor) -> Tensor:
        """Map coarse targets (T, K, H, W) to (T, K, fH, fW)."""
        parts = [
            one.apply(interpolate(coarse[:, k], self.factor, self.wraps, "bilinear"))
            for k, one in enumerate(self.maps)
        ]
        return torch.stack(parts, dim=1)
