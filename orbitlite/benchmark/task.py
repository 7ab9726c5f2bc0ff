"""Task: what the config of a fit asks of a network, whatever the network."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
import xarray as xr
from torch import Tensor
from torch.utils.data import DataLoader

from orbitlite.batch import Batch
from orbitlite.benchmark.peers.peer import Peer
from orbitlite.data.datamodule import PairDataModule
from orbitlite.errors import InputError
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.geometry import Geometry
from orbitlite.notice import notice, warn
from orbitlite.parallel.mesh import Ranks
from orbitlite.training.averaging import WeightEMA
from orbitlite.training.module import DownscalingModule
from orbitlite.training.optimisation import Optimisation
from orbitlite.training.periods import PeriodScores
from orbitlite.training.sources import data_of_config, network_of_config, section_of_config
from orbitlite.verification.evaluation import Evaluation, evaluate

logger = logging.getLogger(__name__)

Period = Literal["validate", "test"]
_FOLLOWED = ("gradient_clip_val", "max_epochs", "default_root_dir")
"""Settings of the trainer: the first is taken, the others have no meaning here."""


@dataclass(frozen=True)
class Task:
    """Pairs, loss, scores and what else all networks share.

    Attributes
    ----------
    config : Path
        Of `orbitlite fit`.
    data : PairDataModule
        Set up; its samples are whole grids.
    device : device
    changes : mapping of str to object
        Arguments of `DownscalingModule` in place of those of the config.
    """

    config: Path
    data: PairDataModule
    device: torch.device
    changes: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, config: str | Path, device: torch.device) -> Task:
        """Read a config and its data.

        Raises
        ------
        InputError
            If one is wrong, or there is no validation period.
        """
        data = data_of_config(config)
        if data.pairing.context:
            warn(logger, "data.context is left out: networks are compared without surroundings.")
            data.pairing = replace(data.pairing, context=0)
        return cls.on(config, data, device)

    @classmethod
    def on(cls, config: str | Path, data: PairDataModule, device: torch.device) -> Task:
        """Take the settings of a config, and its data or others.

        Raises
        ------
        InputError
            If one is wrong, or there is no validation period.
        """
        if len(data.parts) > 1:
            raise InputError(
                f"{config}: data.sources has {len(data.parts)} sources, and benchmarks are of one; "
                "take a config of one of them"
            )
        _check_kind(config, data)
        if data.tile is not None:
            warn(logger, "data.tile is left out: networks are compared on whole grids.")
            data.tile = None
        data.num_workers = 0  # their time would not be counted
        data.setup("fit")
        if not data.val_dataloader():
            raise InputError(f"{config}: choices need a validation period; state data.validate")
        if not data.dataset("train").cached:
            warn(logger, "The samples are not held in memory: to read them counts as training.")
        others = [key for key in section_of_config(config, "trainer") if key not in _FOLLOWED]
        if others:
            notice(logger, f"Settings of the trainer that are left out: {', '.join(others)}.")
        found = cls(Path(config), data, device)
        _ = found.settings  # before anything is seeded: it draws random numbers
        return found

    def changed(self, **changes: Any) -> Task:
        """Return the same pairs with other arguments of `DownscalingModule`.

        Raises
        ------
        InputError
            If they do not fit together.
        """
        found = replace(self, changes={**self.changes, **changes})
        _ = found.settings
        return found

    def fresh(self) -> DownscalingModule:
        """Build the network of the config with its training, as a fit does, untrained."""
        section = section_of_config(self.config, "model")
        section["network"] = network_of_config(self.config)
        if "optimisation" in section:
            section["optimisation"] = Optimisation(**section["optimisation"])
        module = DownscalingModule(**{**section, **self.changes})
        module.check_grid(self.data)
        module.take_statistics(self.data)
        return module.to(self.device)

    @cached_property
    def settings(self) -> DownscalingModule:
        """The training of the config, with its network, which has the statistics."""
        return self.fresh()

    @property
    def frame(self) -> Downscaler:
        """The network of the config, untrained, with its statistics."""
        return self.settings.plain

    @cached_property
    def decay(self) -> float:
        """Decay of the averaged weights, zero if there are none."""
        return WeightEMA(**section_of_config(self.config, "ema")).decay

    @cached_property
    def clip(self) -> float | None:
        """Largest norm of the gradient; None: any."""
        found = section_of_config(self.config, "trainer").get("gradient_clip_val", 1.0)
        return None if found is None else float(found)

    def loss(self, network: Downscaler | Peer, batch: Batch, step: int = 0) -> Tensor:
        """Return the loss of the config, as `DownscalingModule.training_step` does."""
        settings = self.settings
        assert settings.expectation is not None
        total = settings.expectation.total(len(batch))
        return settings.loss_of(network, batch, total, step)[1]

    def predict(self, network: Downscaler | Peer, batch: Batch, fill: bool = False) -> Tensor:
        """Return the members (B, M, K, fH, fW) that validation draws; one, if none are drawn."""
        draw = self.settings.objective.draw(None)
        found: Tensor = (
            network(batch, fill=fill) if draw is None else network(batch, fill=fill, draw=draw)
        )
        return found

    def truth(self, network: Downscaler | Peer, batch: Batch) -> Tensor:
        """Return the truth (B, K, fH, fW), NaN also where the inputs say nothing of it."""
        assert batch.fine is not None
        return torch.where(network.known(batch), batch.fine, torch.nan)

    def loader(self, period: Period) -> DataLoader[Batch] | list[Any]:
        """Return the batches of a period, in order."""
        data = self.data
        return data.val_dataloader() if period == "validate" else data.test_dataloader()

    @torch.no_grad()
    def validate(self, network: Downscaler | Peer) -> float:
        """Return `val_rmse` of a fit: RMSE over the validation period, in units of the targets.

        Where members are drawn it is `val_crps`, their fair CRPS, since the RMSE of their mean does
        not tell whether they differ as they should; our noise is calibrated by it. Infinite where
        it is not a number.
        """
        network.eval()
        frame, drawn = self.frame, self.settings.objective.stochastic
        scores = PeriodScores(frame.config.targets, drawn)
        for batch in self.data.val_dataloader():
            batch = batch.to(self.device)
            areas, one = Geometry.of_core(batch).areas(frame.config.factor), torch.ones(())
            fields, truth = self.predict(network, batch, fill=True), self.truth(network, batch)
            scores.update(fields, truth, areas, one, one)
        every = scores.compute(Ranks(), torch.device("cpu"), frame.target_scale.cpu())
        if drawn and isinstance(network, Downscaler):  # as a fit does
            targets = frame.config.targets
            network.calibrate([every[f"val_spread_skill/{name}"] for name in targets])
        found = every["val_crps" if drawn else "val_rmse"]
        return found if found == found else float("inf")

    @torch.no_grad()
    def evaluate(self, network: Downscaler | Peer, period: Period) -> Evaluation:
        """Score a network over a period as `orbitlite evaluate` does, beside the interpolations.

        Of members that are drawn their mean.
        """
        network.eval()
        data, dataset, loader = self.data, self.data.dataset(period), self.loader(period)
        fields = [self.predict(network, batch.to(self.device)).mean(1).cpu() for batch in loader]
        sizes = (len(dataset.times), *dataset.members.values())
        values = torch.cat(fields).numpy().reshape(*sizes, *fields[0].shape[1:])
        truth = data.fine_dataset(period)
        dims = ("time", *dataset.members, *self.data.fine_grid.dims)
        prediction = xr.Dataset(
            {
                name: (dims, values[..., number, :, :])
                for number, name in enumerate(data.pairing.targets)
            },
            truth.coords,
        )
        return evaluate(prediction, truth, data.coarse_dataset(period), progress=False)


def _check_kind(config: str | Path, data: PairDataModule) -> None:
    """Refuse what networks are not compared on."""
    if "" not in data.assignment.wanted:
        raise InputError(
            f"{config}: benchmarks are of networks without named tasks; state targets, statics and "
            "factor in model.network, and leave model.network.tasks out"
        )
    if not data.truthful:
        raise InputError(
            f"{config}: benchmarks compare with truth, and data.fine is not stated; state it"
        )
    if section_of_config(config, "model").get("reconstruction") is not None:
        raise InputError(
            f"{config}: model.reconstruction is for sources without truth; leave it out"
        )
