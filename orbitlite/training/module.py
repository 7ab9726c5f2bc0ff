"""DownscalingModule: the network with its loss, optimiser and validation scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from orbitlite.batch import Batch
from orbitlite.data.datamodule import PairDataModule
from orbitlite.errors import InputError, SharedError
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.decoder import row_shares
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.quadtree import feasible
from orbitlite.parallel.channels import share_statistics
from orbitlite.parallel.clipping import clip_gradients
from orbitlite.parallel.mesh import ParallelConfig, Ranks, kind_of
from orbitlite.parallel.sharding import parallelize
from orbitlite.training.checkpoints import named_state, numbered_state
from orbitlite.training.losses import LOSSES, LossName, Scale, Space, prepare
from orbitlite.training.mixup import mixup
from orbitlite.training.provenance import provenance
from orbitlite.training.randomness import capture, restore
from orbitlite.training.schedule import SCHEDULES, ScheduleName
from orbitlite.training.strategy import MeshStrategy
from orbitlite.verification.scores import Errors


@dataclass
class Optimisation:
    """Optimiser and schedule: AdamW, linear warm-up, then a cosine or a constant rate, per step.

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
    schedule : {"cosine", "constant"}
        What follows. `constant` goes with a long average of the weights (`ema.decay`).
    """

    lr: float = 5e-4
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    warmup: float = 0.05
    schedule: ScheduleName = "cosine"


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
    mixup : float
        Train on weighted means of two samples, the weight drawn from Beta(mixup, mixup): for a few
        hundred samples. 0: on the samples.
    """

    def __init__(
        self,
        network: DownscalerConfig,
        optimisation: Optimisation | None = None,
        loss: LossName = "mse",
        loss_space: Space = "physical",
        target_weights: list[float] | None = None,
        mixup: float = 0.0,
    ) -> None:
        super().__init__()
        optimisation = optimisation or Optimisation()
        if loss not in LOSSES:
            raise InputError(f"loss: expected one of {', '.join(LOSSES)}, found {loss!r}")
        if optimisation.schedule not in SCHEDULES:
            raise InputError(
                f"optimisation.schedule: expected one of {', '.join(SCHEDULES)}, found "
                f"{optimisation.schedule!r}"
            )
        if not 0 <= mixup < float("inf"):
            raise InputError(f"mixup: expected a number of 0 or more, found {mixup}")
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
                "schedule": optimisation.schedule,
            },
            "loss": loss,
            "loss_space": loss_space,
            "target_weights": target_weights,
            "mixup": mixup,
        }
        self.save_hyperparameters(plain, logger=False)
        self.network = Downscaler(network)
        self.optimisation = optimisation
        self.loss, self.loss_space, self.mixup = loss, loss_space, mixup
        self.register_buffer("target_weights", torch.tensor(weights), persistent=False)
        self.ranks, self.parallel = Ranks(), ParallelConfig()
        self._errors: list[Errors] = []
        self._spread = False
        self._random: dict[str, Any] | None = None

    def check_grid(self, data: PairDataModule) -> None:
        """Find out whether leaf budget and modes fit the grid, or its tiles.

        Raises
        ------
        InputError
            If it does not.
        """
        config = self.network.config
        if config.modes and tuple(data.window) != tuple(data.grid.shape):
            raise InputError(
                f"model.network.modes {config.modes} needs whole grids of {data.grid.shape} cells, "
                f"found tiles of {tuple(data.window)}: leave out data.tile, or set modes to 0"
            )
        if config.tokens is None:
            return
        h, w = (-(-cells // config.patch_size) for cells in data.window)
        feasible(config.tokens, h, w, config.max_leaf)

    def configure_model(self) -> None:
        """Spread the network over the processes; take the normalisation when a fit begins."""
        strategy = self.trainer.strategy
        if isinstance(strategy, MeshStrategy):
            self.ranks, self.parallel = strategy.ranks, strategy.config
        if not self._spread:
            half = "bf16" in str(self.trainer.precision)
            self.network = parallelize(self.network, self.ranks, self.parallel, half)
            self._spread = True
        data = getattr(self.trainer, "datamodule", None)
        if self.trainer.state.fn == TrainerFn.FITTING and data is not None:
            self._take_statistics(data)

    def _take_statistics(self, data: PairDataModule) -> None:
        self.network.set_statistics(
            input_mean=data.input_statistics.mean,
            input_std=data.input_statistics.std,
            target_mean=data.target_statistics.mean,
            target_std=data.target_statistics.std,
        )
        if self.ranks.sizes.tensor > 1:
            share_statistics(self.network, self.ranks.group("tensor"))
        if self.network.config.fine_statics:
            self.network.set_statistics(
                static_mean=data.static_statistics.mean, static_std=data.static_statistics.std
            )

    def on_fit_start(self) -> None:
        """Let processes that take different samples draw different numbers."""
        if self.ranks.data_rank:
            torch.manual_seed(torch.initial_seed() + self.ranks.data_rank)

    def on_train_start(self) -> None:
        """Go on with the epoch and the random numbers of the checkpoint."""
        loop: Any = self.trainer.fit_loop
        epoch = loop.epoch_progress.current
        if epoch.started == epoch.processed:
            # A checkpoint of an epoch's last batch or of its end: else Lightning would not count
            # the next epoch as begun, or pass an empty one before it.
            if loop.restarted_on_epoch_end:
                loop.epoch_loop.restarting = False
                epoch.completed = epoch.processed
            loop.reset_restart_stage()
        if self._random is not None:
            restore(self._random)
            self._random = None

    def forward(self, batch: Batch) -> Tensor:
        """Predict, shape (B, K, fH, fW), physical units."""
        out: Tensor = self.network(batch)
        return out

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch: its mean over processes is that of the global batch."""
        if self.mixup:
            batch = mixup(batch, self.mixup)
        loss = self._loss(self(batch), batch, self._mean_over_data)[0]
        whole = self._mean_over_data(loss)
        if not bool(torch.isfinite(whole)):
            self._stop(batch, loss)
        self.log("train_loss", whole, on_step=True, on_epoch=False, batch_size=len(batch))
        return loss

    def _mean_over_data(self, value: Tensor) -> Tensor:
        return self.ranks.sum_over_data(value) / self.ranks.sizes.data

    def _stop(self, batch: Batch, loss: Tensor) -> None:
        """End a fit whose loss is not finite, with a checkpoint of before the step."""
        own = [] if bool(torch.isfinite(loss)) or batch.time is None else batch.time.tolist()
        parts: list[Any] = self.ranks.gather(own)
        seconds = sorted({time for part in parts for time in part})
        times = ", ".join(str(np.datetime64(int(time), "s")) for time in seconds)
        keeper = self.trainer.checkpoint_callback
        folder = getattr(keeper, "dirpath", None) or f"{self.trainer.default_root_dir}/checkpoints"
        kept = ""
        if not getattr(self.trainer, "fast_dev_run", False):
            self.trainer.save_checkpoint(f"{folder}/before_nan.ckpt")
            kept = f" The state before the step is in {folder}/before_nan.ckpt."
        raise SharedError(
            f"the loss is not finite at step {self.trainer.global_step}; the samples are of "
            f"{times or 'unknown times'}.{kept} Look at the input and the truth of these times, or "
            "lower model.optimisation.lr"
        )

    def on_validation_epoch_start(self) -> None:
        """Begin the scores anew."""
        self._errors = [Errors() for _ in self.network.config.targets]
        self._val_loss = torch.zeros(2, dtype=torch.float64, device=self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the scores."""
        prediction = self(batch)
        assert batch.fine is not None
        loss, total = self._loss(prediction, batch)
        self._val_loss += torch.stack([loss * total, total]).double()
        rows = _row_areas(batch, self.network.config.factor).double()
        for k, errors in enumerate(self._errors):
            truth = batch.fine[:, k].double()
            valid = torch.isfinite(truth)
            weights = (valid * rows[:, :, None]).cpu()
            truth = torch.where(valid, truth, torch.zeros_like(truth)).cpu()
            errors.update(prediction[:, k].double().cpu(), truth, weights)

    def on_validation_epoch_end(self) -> None:
        """Log the loss over the period, and RMSE, MAE and bias of every target in its unit."""
        value, weight = self.ranks.sum_over_data(self._val_loss)
        self.log("val_loss", (value / weight).float())
        mean = []
        for name, errors in zip(self.network.config.targets, self._errors, strict=True):
            errors.merge(self._sum_over_data)
            found = errors.compute()
            for score in ("rmse", "mae", "bias", "pearson"):
                self.log(f"val_{score}/{name}", found[score])
            mean.append(found["rmse"])
        relative = torch.tensor(mean) / self.network.target_scale.cpu()
        self.log("val_rmse", relative.mean(), prog_bar=True)

    def _sum_over_data(self, values: Tensor) -> Tensor:
        return self.ranks.sum_over_data(values.to(self.device)).cpu()

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
        """AdamW with a schedule per step."""
        options = self.optimisation
        members: dict[str, list[Tensor]] = {kind: [] for kind in self._names_by_kind()}
        for name, parameter in self.named_parameters():
            members[_kind(name, parameter)].append(parameter)
        optimizer = torch.optim.AdamW(
            [
                {
                    "params": parameters,
                    "kind": kind.split()[0],
                    "weight_decay": options.weight_decay if kind.startswith("decayed") else 0.0,
                }
                for kind, parameters in members.items()
            ],
            lr=options.lr,
            betas=(options.betas[0], options.betas[1]),
        )
        total = int(self.trainer.estimated_stepping_batches)
        # That made the loader, before a checkpoint could tell where in an epoch it stands.
        self.trainer.fit_loop._combined_loader = None
        warmup = max(1, int(options.warmup * total))
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: SCHEDULES[options.schedule](step, warmup, total)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by the norm of the gradient of the whole network, however it is spread."""
        if gradient_clip_val is None:
            return
        if gradient_clip_algorithm not in (None, "norm"):
            raise InputError(
                f"trainer.gradient_clip_algorithm: expected norm, found {gradient_clip_algorithm!r}"
            )
        clip_gradients(self.network.named_parameters(), gradient_clip_val, self.ranks)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Name the optimiser's states, and add what a bundle and a resumed fit need."""
        names = {parameter: name for name, parameter in self.named_parameters()}
        if checkpoint.get("optimizer_states"):
            optimizer = self.optimizers(use_pl_optimizer=False)
            assert isinstance(optimizer, torch.optim.Optimizer)
            checkpoint["optimizer_states"] = [named_state(optimizer, names)]
        checkpoint["random"] = capture()
        data = getattr(self.trainer, "datamodule", None)
        if data is not None:
            checkpoint["provenance"] = provenance(self.network, data)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Turn the optimiser's states by name into those of this process's weights."""
        if self.trainer.state.fn != TrainerFn.FITTING:
            return
        self._random = checkpoint.get("random")
        by_kind = self._names_by_kind()
        kinds, names = [kind.split()[0] for kind in by_kind], list(by_kind.values())
        states = checkpoint.get("optimizer_states") or []
        checkpoint["optimizer_states"] = [numbered_state(kinds, names, s) for s in states]
        for schedule in checkpoint.get("lr_schedulers", []):
            for key in ("base_lrs", "_last_lr", "lr_lambdas"):
                schedule[key] = schedule[key][:1] * len(kinds)

    def _names_by_kind(self) -> dict[str, list[str]]:
        """Return the weights of each group of the optimiser: decay or not, and what they lie on."""
        found: dict[str, list[str]] = {}
        for name, parameter in self.named_parameters():
            found.setdefault(_kind(name, parameter), []).append(name)
        return dict(sorted(found.items()))

    def _loss(
        self,
        prediction: Tensor,
        batch: Batch,
        over_ranks: Callable[[Tensor], Tensor] = Tensor.detach,
    ) -> tuple[Tensor, Tensor]:
        """Return the loss, and the sum of weights that it is divided by."""
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
        fields = prepare(prediction, batch.fine, rows, scale, self.loss_space, weights, over_ranks)
        return LOSSES[self.loss](fields), fields.total


def _kind(name: str, parameter: Tensor) -> str:
    matrix = parameter.ndim > 1 and not name.endswith("embed_bias")
    return f"{'decayed' if matrix else 'spared'} {kind_of(parameter)}"


def _row_areas(batch: Batch, factor: int) -> Tensor:
    """Area of a fine cell in each fine row, (B, fH), relative to a coarse cell at the equator.

    So the tiles of a grid weigh like the same cells of the whole.
    """
    assert batch.lat_edges is not None
    edges = torch.deg2rad(batch.lat_edges.double())
    spacing = (edges[:, 1:] - edges[:, :-1]).abs().amax(dim=1, keepdim=True)
    coarse = (edges[:, 1:].sin() - edges[:, :-1].sin()).abs() / spacing
    return (coarse.repeat_interleave(factor, dim=1) * row_shares(batch.lat_edges, factor)).float()
