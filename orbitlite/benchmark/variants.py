"""The variants of `orbitlite benchmark ensembles`: what is trained or fitted for each of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from orbitlite.benchmark.analogs import Analogs
from orbitlite.benchmark.archive import Archive
from orbitlite.benchmark.climatology import Climatology
from orbitlite.benchmark.comparison import Network
from orbitlite.benchmark.mapped import Mapped
from orbitlite.benchmark.peers.noisyvit import NoisyPeer, NoisyViT
from orbitlite.benchmark.peers.size import Size
from orbitlite.benchmark.rainfarm import RainFARM
from orbitlite.benchmark.system import System
from orbitlite.benchmark.task import Task
from orbitlite.model.geometry import Geometry
from orbitlite.training.losses import LOSSES
from orbitlite.verification.quantity import Quantity

_NOISE, _MEMBERS = 4, 2
_SPECTRAL = 0.1
"""Weight that deep4downscaling gives the CRPS of coefficients that are not normalised."""


def ours(task: Task) -> Task:
    """Return the training of the config's network as a stochastic one.

    What the config states of it, if it is one already. Else four maps of noise and the CRPS of two
    members, without what keeps a deterministic fit from learning by heart: dropout, mixup.
    """
    config = task.frame.config
    if config.noise:
        return task
    network = replace(config, noise=_NOISE, dropout=0.0)
    return task.changed(network=network, loss="crps", structure=None, members=_MEMBERS, mixup=0.0)


def deterministic(task: Task) -> Task:
    """Return the training of the config's network; without noise, by squares, if it has any."""
    config = task.frame.config
    if not config.noise:
        return task
    changes: dict[str, Any] = {"network": replace(config, noise=0), "structure": None}
    if hasattr(LOSSES[task.settings.objective.loss], "of_members"):
        changes["loss"] = "mse"
    return task.changed(**changes)


def noisyvit(task: Task) -> Task:
    """Return the training of NoisyViT: fair CRPS and 0.1 of that of Fourier coefficients.

    The registered one is of coefficients over the root of the number of cells: hence its weight.
    """
    fine = math.prod(task.data.fine_grid.shape)
    return ours(task).changed(
        loss="fair_crps", structure={"spectral_crps": _SPECTRAL * math.sqrt(fine)},
        members=_MEMBERS, mixup=0.0,
    )  # fmt: skip


def _noisyvit(task: Task) -> Network:
    frame = task.frame
    return NoisyPeer(frame, NoisyViT(Size.of(task.data), frame.config.patch_size))


TRAINED: dict[str, tuple[Callable[[Task], Task], Callable[[Task], Network]]] = {
    "ours": (ours, lambda task: task.fresh().plain),
    "deterministic": (deterministic, lambda task: task.fresh().plain),
    "noisyvit": (noisyvit, _noisyvit),
}
"""Of each name: how it is trained, and the network."""


def analog(task: Task, nearest: int) -> System:
    """Fit regression and residuals."""
    areas = Geometry.of_core(task.data.dataset("train")[0]).areas(task.frame.config.factor)[0]
    return Analogs(Archive.of(task), amounts(task), areas, task.frame.target_scale.cpu(), nearest)


def climatology(task: Task, nearest: int) -> System:
    """Hold the training period."""
    return Climatology(Archive.of(task))


def mapped(task: Task, nearest: int) -> System:
    """Fit the maps."""
    grid, factor = task.data.grid, task.frame.config.factor
    return Mapped(Archive.of(task), columns(task), amounts(task), factor, grid.wraps)


def rainfarm(task: Task, nearest: int) -> System:
    """Take the coarse precipitation."""
    return RainFARM(rain(task), task.frame.config.factor)


METHODS: dict[str, Callable[[Task, int], System]] = {
    "analog": analog, "climatology": climatology, "mapped": mapped, "rainfarm": rainfarm,
}  # fmt: skip
"""Without a network: made of the task, and of how many days count as near."""


def amounts(task: Task) -> torch.Tensor:
    """Tell which targets have no negative values, (K,), bool."""
    return task.frame.get_buffer("nonnegative_target").cpu()


def columns(task: Task) -> list[int | None]:
    """Return the place of each target among the inputs, None if it is none."""
    inputs: Sequence[str] = list(task.frame.config.inputs)
    return [inputs.index(n) if n in inputs else None for n in task.frame.config.targets]


def rain(task: Task) -> list[int | None]:
    """Return the place of each target among the inputs, None if it is none or not of rain."""
    names = task.frame.config.targets
    return [
        column if Quantity.of(name).precipitation else None
        for name, column in zip(names, columns(task), strict=True)
    ]
