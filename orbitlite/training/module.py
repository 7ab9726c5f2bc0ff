"""DownscalingModule: the network with its loss, optimiser and validation scores."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import lightning
import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from orbitlite.batch import Batch
from orbitlite.data.datamodule import PairDataModule
from orbitlite.data.loader import EpochLoader
from orbitlite.data.pair_source import Split
from orbitlite.errors import InputError, SharedError
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.geometry import Geometry
from orbitlite.model.quadtree import feasible
from orbitlite.model.tasks import task_in, without_tasks
from orbitlite.parallel.clipping import clip_gradients, local_part
from orbitlite.parallel.mesh import ParallelConfig, Ranks
from orbitlite.parallel.sharding import parallelize
from orbitlite.training.arguments import check_precision
from orbitlite.training.checkpoints import named_state
from orbitlite.training.endings import stop_at_loss
from orbitlite.training.expectation import Expectation
from orbitlite.training.fresh_weights import built
from orbitlite.training.lightning_compat import (
    begin_next_epoch,
    forget_steps,
    forget_train_loader,
)
from orbitlite.training.losses import Scale, Space, prepare
from orbitlite.training.masking import ReconstructionConfig
from orbitlite.training.normalisation import hold_samples, normalise, whole_ranges
from orbitlite.training.objective import Objective
from orbitlite.training.optimisation import Optimisation, Rate
from orbitlite.training.provenance import provenance
from orbitlite.training.randomness import capture, restore
from orbitlite.training.reading import Reading
from orbitlite.training.reconstruction import Reconstruction, freeze_decoder
from orbitlite.training.regression import HeldOut, check_whole, regress
from orbitlite.training.resumption import number_states, tell_options
from orbitlite.training.scoring import Scoring
from orbitlite.training.strategy import MeshStrategy
from orbitlite.training.tuning import Tuning
from orbitlite.training.unanswerable import Network, Unanswerable, answered
from orbitlite.training.variations import Variations

logger = logging.getLogger(__name__)


class DownscalingModule(lightning.LightningModule):
    """Train a `Downscaler`, or those of several tasks that share a trunk.

    Parameters
    ----------
    network : DownscalerConfig
        The network.
    optimisation : Optimisation
        Optimiser and schedule.
    loss : str
        What is minimised: of a network with noise `crps`, or another loss of members.
    structure : mapping of str to float, optional
        Losses that are added times a weight, such as `{spectral_crps: 0.1}`.
    members : int
        Members that a network with noise draws of each sample.
    reconstruction : ReconstructionConfig, optional
        How sources without truth are learned from. None: each source has its truth.
    loss_space : {"physical", "transformed"}
        `physical`: errors in the unit of the target, which is what an RMSE in mm measures.
        `transformed`: standardised errors, of log(1 + x) for the targets in `network.log1p`.
    target_weights : list of float, optional
        Weight of each target in the loss. None: all one. Not for several tasks.
    mixup : float
        Train on weighted means of two samples, the weight drawn from Beta(mixup, mixup): for a few
        hundred samples. 0: on the samples.
    mirror : bool
        Train on half of the batches with east and west swapped (see `mirror`).
    rescaling : float, optional
        Multiply the precipitation of half of the training samples by random factors of up to so
        much, and down to its inverse (see `Rescaling`). None: train on amounts as they are.
    """

    target_weights: Tensor

    def __init__(
        self,
        network: DownscalerConfig,
        optimisation: Optimisation | None = None,
        loss: str = "mse",
        loss_space: Space = "physical",
        target_weights: list[float] | None = None,
        mixup: float = 0.0,
        mirror: bool = False,
        rescaling: float | None = None,
        structure: dict[str, float] | None = None,
        members: int = 2,
        reconstruction: ReconstructionConfig | None = None,
    ) -> None:
        super().__init__()
        optimisation = optimisation or Optimisation()
        targets = {task: own.targets for task, own in network.of_tasks.items()}
        variations = Variations(network.inputs, targets, mixup, mirror, rescaling)
        if network.tasks and target_weights:
            raise InputError(
                "target_weights: each task has targets of its own, which all weigh the same; leave "
                "it out (weights of sources say how much a task counts)"
            )
        weights = target_weights or [1.0] * (1 if network.tasks else len(network.targets))
        if not network.tasks and (len(weights) != len(network.targets) or min(weights) < 0):
            raise InputError(
                f"target_weights: expected {len(network.targets)} values of zero or more, one per "
                f"target; found {target_weights}"
            )
        plain = {
            "network": network.to_dict(),
            "optimisation": optimisation.to_dict(),
            "loss": loss,
            "loss_space": loss_space,
            "target_weights": target_weights,
            "mixup": mixup,
            "mirror": mirror,
            "rescaling": rescaling,
            "structure": structure,
            "members": members,
            "reconstruction": None if reconstruction is None else asdict(reconstruction),
        }
        self.save_hyperparameters(plain, logger=False)
        self.network, self.fresh_weights = built(network)
        self.optimisation = optimisation
        self.objective = Objective(self.network, loss, structure, members)
        self.loss_space, self.variations = loss_space, variations
        self.register_buffer("target_weights", torch.tensor(weights), persistent=False)
        self.ranks, self.parallel = Ranks(), ParallelConfig()
        self.tuning: Tuning | None = None  # of a fit that begins with a bundle
        self.reconstruction: Reconstruction | None = None
        if reconstruction is not None:
            plain_network = without_tasks(self.network, "model.reconstruction")
            self.reconstruction = Reconstruction(reconstruction, plain_network)
        self._scores: Scoring | None = None
        # in training, and in validation or test
        self._unanswerable = {True: Unanswerable(), False: Unanswerable()}
        self._unread: list[tuple[Batch, Tensor, Reading]] = []
        self.expectation: Expectation | None = None  # known when a fit begins
        self._spread = False
        self._ranges: dict[str, list[float]] = {}
        self._held_out: HeldOut | None = None
        self._random: dict[str, Any] | None = None
        self._resumed = False

    @property
    def plain(self) -> Downscaler:
        """The network, where it has to be one without tasks.

        Raises
        ------
        InputError
            If it is not.
        """
        return without_tasks(self.network, "this")

    def check_grid(self, data: PairDataModule) -> None:
        """Find out whether leaf budget and regression fit the grid, or its tiles.

        Raises
        ------
        InputError
            If it does not.
        """
        config = self.network.config
        check_whole(config, data)
        if config.tokens is None:
            return
        for name, tile in data.tiles.items():
            h, w = (-(-cells // config.patch_size) for cells in tile.shape)
            with data.assignment.told(name):
                feasible(config.tokens, h, w, config.max_leaf)

    def configure_model(self) -> None:
        """Spread the network over the processes; take the normalisation when a fit begins.

        Raises
        ------
        SharedError
            If the trainer's precision would round what a batch holds.
        """
        check_precision(self.trainer.precision)
        strategy = self.trainer.strategy
        if isinstance(strategy, MeshStrategy):
            self.ranks, self.parallel = strategy.ranks, strategy.config
        if not self._spread:
            half = "bf16" in str(self.trainer.precision)
            self.network = parallelize(self.network, self.ranks, self.parallel, half)
            self._spread = True
            if self.fresh_weights is not None:
                self.fresh_weights.draw(self.plain)
            if self.tuning is not None:
                self.tuning.freeze(self.plain)
        data = getattr(self.trainer, "datamodule", None)
        fitting = self.trainer.state.fn == TrainerFn.FITTING
        if data is not None:
            hold_samples(data, self.ranks, fitting)
        if self.reconstruction is not None and data is not None:
            self.reconstruction.begin(self.plain, data)
        if fitting and data is not None:
            self.take_statistics(data)
            if not data.truthful:
                freeze_decoder(self.plain)

    def take_statistics(self, data: PairDataModule) -> None:
        """Give the network the normalisation of the training period."""
        normalise(self.network, data, self.ranks, self.tuning)
        self.expectation = Expectation.of(data, self.target_weights, self.reconstruction)
        self._ranges = whole_ranges(self.network, data, self.ranks)
        self._held_out = regress(self.network, data)

    def on_fit_start(self) -> None:
        """Let processes that take different samples draw different numbers."""
        if self.ranks.data_rank:
            torch.manual_seed(torch.initial_seed() + self.ranks.data_rank)

    def on_train_start(self) -> None:
        """Go on with the epoch and the random numbers of the checkpoint, and the own optimiser."""
        begin_next_epoch(self.trainer)
        if self._random is not None:
            restore(self._random)
            self._random = None
        if self._resumed:
            optimizer, schedule = self.optimizers(use_pl_optimizer=False), self.lr_schedulers()
            assert isinstance(optimizer, torch.optim.Optimizer)
            assert isinstance(schedule, LambdaLR)
            self.optimisation.prevail(optimizer, schedule)
            self._resumed = False

    def forward(self, batch: Batch) -> Tensor:
        """Predict, shape (B, M, K, fH, fW), physical units."""
        out: Tensor = self.network(batch)
        return out

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch: the mean over those of a step is that of all its samples.

        They are the batches of all processes, and those that the trainer accumulates.
        """
        total, step = self._expected_total(batch_idx, batch.source), self.global_step
        name, weight = "train_loss", 1.0
        if self.reconstruction is not None:
            forget_steps(self.trainer)  # a step logs one of two losses
        if batch.fine is None:
            assert self.reconstruction is not None
            name, weight = "train_reconstruction", self.reconstruction.config.weight
            loss = self.reconstruction.loss(self.plain, batch, total, step)
        else:
            batch, loss = self.loss_of(self.network, batch, total, step)
        whole = self._mean_over_data(loss)
        self._unread.append((batch, loss.detach(), Reading(whole)))
        self.log(name, whole, on_step=True, on_epoch=False, batch_size=len(batch))
        return weight * loss

    def on_after_backward(self) -> None:
        """Look at the loss before the weights move.

        Raises
        ------
        SharedError
            If it is not finite.
        """
        batch, loss, whole = self._unread.pop()
        if not math.isfinite(whole.value()):
            stop_at_loss(self.trainer, self.ranks, batch, loss)

    def loss_of(
        self,
        network: Network,
        batch: Batch,
        over_ranks: Callable[[Tensor], Tensor],
        step: int = 0,
    ) -> tuple[Batch, Tensor]:
        """Return a batch as it is trained on, and the loss of a network on it.

        Parameters
        ----------
        network : Network
            That of the module, or another of the same inputs and targets.
        batch : Batch
        over_ranks : callable
            Turns the sum of weights of the batch into what the loss is divided by.
        step : int
            Number of the step, which decides the members of a stochastic network.
        """
        if self._held_out is not None:
            batch = self._held_out.of(batch)
        shown, sizes = self.variations.draw(batch, self.network.inputs)
        draw = self.objective.draw(step)
        prediction, batch = answered(network, shown, self._unanswerable[self.training], draw)
        return batch, self._loss(prediction / sizes, batch, over_ranks)[0]

    def on_train_epoch_start(self) -> None:
        """Begin to count the truth that counts for nothing."""
        self._unanswerable[True] = Unanswerable()

    def on_train_epoch_end(self) -> None:
        """Say how much truth counted for nothing, after the first epoch."""
        if self.current_epoch == 0:
            self._unanswerable[True].tell("training", self.ranks, self.device)

    def on_train_end(self) -> None:
        """Make sure that the last step has left weights to predict with.

        Raises
        ------
        SharedError
            If it has not; every step before shows in the loss of the next.
        """
        parts = (local_part(weight.detach()) for weight in self.parameters())
        finite = [torch.isfinite(part).all() for part in parts]
        broken = torch.tensor(float(not all(map(bool, finite))), device=self.device)
        if bool(self.ranks.sum_over_all(broken)):
            raise SharedError(
                f"the weights are not finite after step {self.trainer.global_step}, nor are those "
                "of its checkpoint; lower model.optimisation.lr"
            )

    def _expected_total(self, batch_idx: int, source: int | None) -> Callable[[Tensor], Tensor]:
        """Return what turns a batch's sum of weights into what its loss is divided by."""
        if self.expectation is None:
            return self._mean_over_data
        loader, together = self.trainer.train_dataloader, self.trainer.accumulate_grad_batches
        assert isinstance(loader, EpochLoader)
        first = batch_idx // together * together
        stop = min(first + together, int(self.trainer.num_training_batches))
        share = together * self.ranks.sizes.data
        return self.expectation.total(loader.batches.samples(first, stop) / share, source)

    def _mean_over_data(self, value: Tensor) -> Tensor:
        return self.ranks.sum_over_data(value) / self.ranks.sizes.data

    def on_validation_epoch_start(self) -> None:
        """Begin the scores anew."""
        self._begin_scores("validate")

    def _begin_scores(self, split: Split) -> None:
        data = getattr(self.trainer, "datamodule", None)
        self._scores = Scoring(self.network, data, split)
        self._unanswerable[False] = Unanswerable()

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Add a batch to the scores."""
        assert self._scores is not None
        if batch.fine is None:
            assert self.reconstruction is not None
            early = self.current_epoch == 0
            found = self.reconstruction.compare(self.plain, batch, nearest=early)
            self._scores.reconstructed(batch, found)
            return
        draw = self.objective.draw(None)
        prediction, batch = answered(self.network, batch, self._unanswerable[False], draw)
        assert batch.fine is not None
        loss, total = self._loss(prediction, batch)
        areas = Geometry.of_core(batch).areas(task_in(self.network, batch).config.factor)
        self._scores.of(batch).update(prediction, batch.fine, areas, loss, total)

    def on_validation_epoch_end(self) -> None:
        """Log the loss over the period, and RMSE, MAE and bias of every target in its unit.

        Raises
        ------
        SharedError
            In a fit, if the score by which the best checkpoint is chosen is not finite.
        """
        assert self._scores is not None
        found = self._scores.compute(self.network, self.ranks, self.device)
        fitting = self.trainer.state.fn == TrainerFn.FITTING
        if fitting and not self.trainer.sanity_checking:
            self._scores.check(found, self.trainer.global_step)
            if self.objective.stochastic:
                self._scores.calibrate(self.network)
        for name, value in found.items():
            self.log(name, value, prog_bar=name in ("val_rmse", "val_crps", "val_reconstruction"))
        if not self.trainer.sanity_checking and self.current_epoch == 0:
            self._unanswerable[False].tell("the scores", self.ranks, self.device)

    def on_test_epoch_start(self) -> None:
        """Begin the scores anew."""
        self._begin_scores("test")

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Add a batch to the scores."""
        self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Log the scores under the names of validation."""
        self.on_validation_epoch_end()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW with a schedule per step."""
        optimizer = self.optimisation.optimizer(self.named_parameters(), self._rate)
        if self.tuning is not None:
            self.tuning.slow_rows(optimizer, self.named_parameters())
        total = int(self.trainer.estimated_stepping_batches)
        forget_train_loader(self.trainer)
        schedule = self.optimisation.scheduler(optimizer, total)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    @property
    def _rate(self) -> Rate | None:
        return None if self.tuning is None else self.tuning.rate

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
            told = None if self.tuning is None else self.tuning.told()
            checkpoint["provenance"] = provenance(self.network, data, self._ranges, told)
        if self.tuning is not None:
            checkpoint["initialisation"] = self.tuning.record()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Turn the optimiser's states by name into those of this process's weights.

        Raises
        ------
        SharedError
            If there are none, or the fit has passed the trainer's last epoch.
        """
        if self.trainer.state.fn != TrainerFn.FITTING:
            return
        if not checkpoint.get("optimizer_states"):
            raise SharedError(
                "a fit cannot go on from this checkpoint, which holds the weights alone "
                "(checkpoint.save_weights_only); `orbitlite export` makes a bundle of it"
            )
        try:
            done, most = int(checkpoint["epoch"]), self.trainer.max_epochs
            tell_options(self.optimisation, checkpoint["optimizer_states"][0]["options"])
            number_states(checkpoint, self.named_parameters(), self._rate)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise SharedError(
                f"a fit cannot go on from this checkpoint: its training state is none of a fit of "
                f"this network ({type(error).__name__}: {error})"
            ) from error
        if most is not None and 0 <= most <= done:
            raise SharedError(
                f"trainer.max_epochs {most}: the checkpoint is of epoch {done + 1}; state more"
            )
        self._resumed, self._random = True, checkpoint.get("random")

    def _loss(
        self,
        prediction: Tensor,
        batch: Batch,
        total: Callable[[Tensor], Tensor] = Tensor.detach,
    ) -> tuple[Tensor, Tensor]:
        """Return the loss, and the sum of weights that it is divided by."""
        assert batch.fine is not None
        network = task_in(self.network, batch)
        scale = Scale(
            network.log_target,
            network.get_buffer("target_mean"),
            network.get_buffer("target_std"),
            network.target_scale,
        )
        areas = Geometry.of_core(batch).areas(network.config.factor)
        fields = prepare(
            prediction, batch.fine, areas, scale, self.loss_space, self.target_weights, total
        )
        return self.objective(fields), fields.total
