"""Averaged weights."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from orbitlite.batch import Batch
from orbitlite.errors import InputError
from orbitlite.parallel.clipping import local_part
from orbitlite.training.lightning_compat import stepped


class WeightEMA(Callback):
    """Exponential moving average of the weights; validation and bundles use the average.

    A checkpoint holds the averages as its weights, and those in training under `current`. Shards
    are averaged where they are.

    Parameters
    ----------
    decay : float
        Share of the old average that a step keeps; lower in the first steps,
        min(decay, (1 + n) / (10 + n)). 0: no averaging.
    """

    def __init__(self, decay: float = 0.99) -> None:
        if not 0 <= decay < 1:
            raise InputError(f"ema.decay: expected a share in [0, 1), found {decay}")
        self.decay = decay
        self._averages: dict[str, Tensor] = {}
        self._updates = 0
        self._swapped = False

    def state_dict(self) -> dict[str, int]:
        """Return the number of updates."""
        return {"updates": self._updates}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on counting updates."""
        self._updates = state_dict.get("updates", 0)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin with the weights, unless a checkpoint brought averages."""
        if self.decay and not self._averages:
            self._averages = _copies(pl_module)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Move the averages after a step of the optimiser."""
        if not self.decay or not stepped(trainer):
            return
        # A short run would otherwise average its random beginning in.
        kept = min(self.decay, (1 + self._updates) / (10 + self._updates))
        self._updates += 1
        with torch.no_grad():
            pairs = [(self._averages[name], p) for name, p in pl_module.named_parameters()]
            averages, weights = zip(*(map(local_part, pair) for pair in pairs), strict=True)
            torch._foreach_lerp_(averages, weights, 1 - kept)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validate the averages."""
        self._swap(pl_module, to_averages=True)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Train on with the weights."""
        self._swap(pl_module, to_averages=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the averages as the weights."""
        self._swap(pl_module, to_averages=True)
        self._averages, self._swapped = {}, False

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Make the averages the checkpoint's weights."""
        if not self._averages:
            return
        weights = checkpoint["state_dict"]
        # While the two are swapped, the averages are the weights already.
        own = {name: weights[name] for name in self._averages}
        kept = {name: self._averages[name] for name in self._averages}
        averages, current = (own, kept) if self._swapped else (kept, own)
        checkpoint["state_dict"] = weights | averages
        checkpoint["current"] = current

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take the averages from the weights, and the weights from `current`."""
        if trainer.state.fn != TrainerFn.FITTING or "current" not in checkpoint:
            return
        with torch.no_grad():
            self._averages = _copies(pl_module) if self.decay else {}
            for name, parameter in pl_module.named_parameters():
                parameter.copy_(checkpoint["current"][name])

    def _swap(self, pl_module: LightningModule, to_averages: bool) -> None:
        if not self._averages or self._swapped == to_averages:
            return
        self._swapped = to_averages
        with torch.no_grad():
            for name, parameter in pl_module.named_parameters():
                other = self._averages[name]
                held = parameter.detach().clone()
                parameter.copy_(other)
                other.copy_(held)


def _copies(pl_module: LightningModule) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in pl_module.named_parameters()}
