"""Peer: a network of the literature that takes batches and gives fields as ours does."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from orbitlite.batch import Batch
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.geometry import Geometry
from orbitlite.model.interpolation import upsample
from orbitlite.model.noise import Draw
from orbitlite.model.transform import log1p


class Peer(nn.Module):
    """Physical units in and out around a body: a correction of the bilinear coarse targets.

    The body gets standardised inputs and statics, log(1 + x) where the config says so, zero where
    missing. Statistics, the constraint and what is missing are those of our network.

    Parameters
    ----------
    frame : Downscaler
        With the statistics; its weights are not used.
    body : Module
        From (B, C, H, W) and (B, S, fH, fW) to (B, K, fH, fW), in units of `target_scale`.
    linear : bool
        Of a regression: inputs are linear in amounts, and amounts are cut off at zero at the end.

    Attributes
    ----------
    interpolated : bool
        The bilinear field is added; else zero.
    """

    def __init__(self, frame: Downscaler, body: nn.Module, linear: bool = False) -> None:
        super().__init__()
        self.__dict__["_frame"] = frame  # no part of it: a peer has its own weights alone
        self.body, self.linear, self.interpolated = body, linear, True

    @property
    def frame(self) -> Downscaler:
        """The network that gives statistics and constraint."""
        found: Downscaler = self.__dict__["_frame"]
        return found

    def known(self, batch: Batch) -> Tensor:
        """Tell the fine cells of which the inputs say something, (B, K, fH, fW), bool."""
        return self.frame.known(batch)

    def forward(self, batch: Batch, fill: bool = False, draw: Draw | None = None) -> Tensor:
        """Predict, shape (B, M, K, fH, fW); see `Downscaler.forward`.

        Without noise all members that are drawn are the same field.
        """
        scale = self.frame.target_scale[:, None, None]
        fine = self.base(batch)[:, None] + self.corrections(batch, draw) * scale
        if self.linear:
            amount = self.frame.get_buffer("nonnegative_target")[:, None, None]
            fine = torch.where(amount, fine.clamp_min(0), fine)
        else:
            fine = self.frame.constrain(batch, fine, scale)
        if draw is not None:
            fine = fine.expand(-1, len(draw), *fine.shape[2:])
        return fine if fill else torch.where(self.known(batch)[:, None], fine, torch.nan)

    def corrections(self, batch: Batch, draw: Draw | None) -> Tensor:
        """Return what the body adds, (B, M, K, fH, fW) in units of `target_scale`."""
        out: Tensor = self.body(*self.seen(batch))
        return out[:, None]

    def seen(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return standardised inputs (B, C, H, W) and fine statics (B, S, fH, fW)."""
        config, factor = self.frame.config, self.frame.config.factor
        coarse = self._standard(batch.coarse, config.inputs, "input")
        if batch.statics is None:
            height, width = coarse.shape[-2:]
            return coarse, coarse.new_zeros(len(coarse), 0, factor * height, factor * width)
        return coarse, self._standard(batch.statics, config.statics, "static")

    def _standard(self, x: Tensor, names: Sequence[str], kind: str) -> Tensor:
        log = [name in (self.frame.config.log1p or ()) for name in names]
        logs = torch.tensor(log, device=x.device)[:, None, None]
        mean, std = (
            self.frame.get_buffer(f"{kind}_{part}")[:, None, None] for part in ("mean", "std")
        )
        if self.linear:  # the same of the amounts, as far as those of their logarithm tell
            low = mean.clamp_min(0)
            std = torch.where(logs, torch.expm1(low + std) - torch.expm1(low), std)
            mean = torch.where(logs, torch.expm1(low), mean)
        else:
            x = torch.where(logs, log1p(x), x)
        return torch.nan_to_num((x - mean) / std, nan=0.0, posinf=0.0, neginf=0.0)

    def base(self, batch: Batch) -> Tensor:
        """Return the bilinear coarse targets (B, K, fH, fW), what is typical where there is none.

        Zero, where nothing is interpolated.
        """
        config = self.frame.config
        if not self.interpolated:
            return batch.coarse.new_zeros(1)
        mean, log = self.frame.get_buffer("target_mean"), self.frame.log_target
        typical = torch.where(log, torch.expm1(mean.clamp_min(0)), mean)[:, None, None]
        nowhere = torch.full_like(batch.coarse[:, 0], torch.nan)
        columns = [
            batch.coarse[:, config.inputs.index(name)] if name in config.inputs else nowhere
            for name in config.targets
        ]
        coarse = torch.stack(columns, dim=1)
        fine = upsample(coarse, config.factor, Geometry.of(batch).borders.wraps)
        return torch.where(torch.isfinite(fine), fine, typical)
