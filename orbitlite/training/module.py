"""DownscalingModule: the network with its loss, optimiser and validation scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from orbitlite.batch import Batch
from orbitlite.data.datamodule import PairDataModule
from orbitlite.data.tiles import TilePlan
from orbitlite.errors import InputError
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.decoder import row_shares
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.quadtree import feasible
from orbitlite.training.losses import LOSSES, LossName, Scale, Space, prepare
from orbitlite.training.provenance import provenance
from orbitlite.training.schedule import warmup_cosine
from orbitlite.verification.scores import Errors


@dataclass
class Optimisation:
    """Optimiser and schedule: AdamW, linear warm-up and cosine per step.

    Attributes
    ----------
    lr : float
        Peak learning rate.
    weight_decay : float
        Decay of matrices; biases, norms and embeddings are spared.
    betas : tuple of float
        Decay rates of AdamW's moments.
    warmup : float
        Share of the steps with rising learning rate.
    """

    lr: float = 5e-4
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    warmup: float = 0.05


class DownscalingModule(lightning.LightningModule):
    """Train a `Downscaler`.

    Parameters
    ----------
    network : DownscalerConfig
        The network.
    optimisation : Optimisation
        Optimiser and schedule.
    loss : {"mse", "mae", "huber", "bayesian_tv", "heavy_rain"}
        What is minimised.
    loss_space : {"physical", "transformed"}
        `physical`: errors in the unit of the target, which is what an RMSE in mm measures.
        `transformed`: errors of log(1 + x) for precipitation, standardised.
    target_weights : list of float, optional
        Weight of each target in the loss. None: all one.
    """

    def __init__(
        self,
        network: DownscalerConfig,
        optimisation: Optimisation | None = None,
        loss: LossName = "mse",
        loss_space: Space = "physical",
        target_weights: list[float] | None = None,
    ) -> None:
        super().__init__()
        optimisation = optimisation or Optimisation()
        if loss not in LOSSES:
            raise InputError(f"loss: expected one of {', '.join(LOSSES)}, found {loss!r}")
        weights = target_weights or [1.0] * len(network.targets)
        if len(weights) != len(network.targets) or min(weights) < 0:
            raise InputError(
                f"target_weights: expected {len(network.targets)} values of zero or more, one per "
                f"target; found {target_weights}"
            )
        plain = {
            "network": network.to_dict(),
            "optimisation": {
                "lr": optimisation.lr,
                "weight_decay": optimisation.weight_decay,
                "betas": list(optimisation.betas),
                "warmup": optimisation.warmup,
            },
            "loss": loss,
            "loss_space": loss_space,
            "target_weights": target_weights,
        }
        self.save_hyperparameters(plain, logger=False)
        self.network = Downscaler(network)
        self.optimisation = optimisation
        self.loss, self.loss_space = loss, loss_space
        self.register_buffer("target_weights", torch.tensor(weights), persistent=False)
        self._errors: list[Errors] = []

    def check_grid(self, data: PairDataModule) -> None:
        """Find out whether the leaf budget fits the grid, or its tiles.

        Raises
        ------
        InputError
            If it does not.
        """
        config = self.network.config
        if config.tokens is None:
            return
        tile = TilePlan(*data.grid.shape, data.tile, data.halo, data.grid.wraps).tiles[0]
        h, w = (-(-cells // config.patch_size) for cells in (tile.height, tile.width))
        feasible(config.tokens, h, w, config.max_leaf)

    def setup(self, stage: str) -> None:
        """Take the normalisation from the training period when a fit begins."""
        data = getattr(self.trainer, "datamodule", None)
        if stage != "fit" or data is None:
            return
        self.network.set_statistics(
            input_mean=data.input_statistics.mean,
            input_std=data.input_statistics.std,
            target_mean=data.target_statistics.mean,
            target_std=data.target_statistics.std,
        )
        if self.network.config.fine_statics:
            self.network.set_statistics(
                static_mean=data.static_statistics.mean, static_std=data.static_statistics.std
            )

    def forward(self, batch: Batch) -> Tensor:
        """Predict, shape (B, K, fH, fW), physical units."""
        out: Tensor = self.network(batch)
        return out

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        loss = self._loss(self(batch), batch)
        self.log("train_loss", loss, on_step=True, on_epoch=False, batch_size=len(batch))
        return loss

    def on_validation_epoch_start(self) -> None:
        """Begin the scores anew."""
        self._errors = [Errors() for _ in self.network.config.targets]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the scores."""
        prediction = self(batch)
        assert batch.fine is not None
        loss = self._loss(prediction, batch)
        self.log("val_loss", loss, on_epoch=True, batch_size=len(batch), sync_dist=True)
        rows = _row_areas(batch, self.network.config.factor).double()
        for k, errors in enumerate(self._errors):
            truth = batch.fine[:, k].double()
            valid = torch.isfinite(truth)
            weights = (valid * rows[:, :, None]).cpu()
            truth = torch.where(valid, truth, torch.zeros_like(truth)).cpu()
            errors.update(prediction[:, k].double().cpu(), truth, weights)

    def on_validation_epoch_end(self) -> None:
        """Log RMSE, MAE and bias of every target in its unit."""
        mean = []
        for name, errors in zip(self.network.config.targets, self._errors, strict=True):
            found = errors.compute()
            for score in ("rmse", "mae", "bias", "pearson"):
                self.log(f"val_{score}/{name}", found[score], sync_dist=True)
            mean.append(found["rmse"])
        unit = self.network.target_scale.cpu()
        relative = torch.tensor(mean) / unit
        self.log("val_rmse", relative.mean(), prog_bar=True, sync_dist=True)

    def on_test_epoch_start(self) -> None:
        """Begin the scores anew."""
        self.on_validation_epoch_start()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the scores."""
        self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Log the scores under the names of validation."""
        self.on_validation_epoch_end()

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Predict a batch, on the CPU."""
        out: Tensor = self(batch).float().cpu()
        return out

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW with warm-up and cosine per step."""
        decayed: list[Tensor] = []
        spared: list[Tensor] = []
        for name, parameter in self.network.named_parameters():
            matrix = parameter.ndim > 1 and not name.endswith("embed_bias")
            (decayed if matrix else spared).append(parameter)
        options = self.optimisation
        optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": options.weight_decay},
                {"params": spared, "weight_decay": 0.0},
            ],
            lr=options.lr,
            betas=(options.betas[0], options.betas[1]),
        )
        total = int(self.trainer.estimated_stepping_batches)
        warmup = max(1, int(options.warmup * total))
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: warmup_cosine(step, warmup, total)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what a bundle needs, so that a checkpoint can be exported alone."""
        data = getattr(self.trainer, "datamodule", None)
        if data is not None:
            checkpoint["provenance"] = provenance(self.network, data)

    def _loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        assert batch.fine is not None
        network = self.network
        scale = Scale(
            network.log_target,
            network.get_buffer("target_mean"),
            network.get_buffer("target_std"),
            network.target_scale,
        )
        rows = _row_areas(batch, network.config.factor)
        weights = self.get_buffer("target_weights")
        fields = prepare(prediction, batch.fine, rows, scale, self.loss_space, weights)
        return LOSSES[self.loss](fields)


def _row_areas(batch: Batch, factor: int) -> Tensor:
    """Area of a fine cell in each fine row, (B, fH), relative to a coarse cell at the equator.

    So the tiles of a grid weigh like the same cells of the whole.
    """
    assert batch.lat_edges is not None
    edges = torch.deg2rad(batch.lat_edges.double())
    spacing = (edges[:, 1:] - edges[:, :-1]).abs().amax(dim=1, keepdim=True)
    coarse = (edges[:, 1:].sin() - edges[:, :-1].sin()).abs() / spacing
    return (coarse.repeat_interleave(factor, dim=1) * row_shares(batch.lat_edges, factor)).float()
