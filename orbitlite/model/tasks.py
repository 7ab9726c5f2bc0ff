"""Tasks: networks of several decoders that share one trunk."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from orbitlite.batch import Batch
from orbitlite.errors import InputError
from orbitlite.model.channels import HierarchicalChannels
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.noise import Draw
from orbitlite.model.transformer import Blocks
from orbitlite.model.trunk import TRUNKS, Trunk
from orbitlite.model.vit import VisionTransformer
from orbitlite.tasks import task_of

PREFIX = "tasks."
"""Of the names of weights that are of one task alone."""
_OWN = ("decoder.", "blend", "noise_size", "target_", "static_", "ridge.")
"""What the names of the same weights begin with in an ordinary network."""


class Tasks(nn.Module):
    """One trunk, and the decoders of several tasks.

    Each task is a `Downscaler` of its own targets, fine statics and factor. Trunk and normalisation
    of the inputs are here, once, under the names that they have in a network of one task; what is a
    task's own is under `tasks.NAME`. A batch goes to the task that it names.

    Parameters
    ----------
    config : DownscalerConfig
        With `tasks`.

    Attributes
    ----------
    tasks : ModuleDict of Downscaler
        By name.
    trunk : VisionTransformer
    inputs : list of str
        Channels of a batch.

    Examples
    --------
    >>> config = DownscalerConfig(
    ...     inputs=["2m_temperature"], targets=["2m_temperature"], statics=[], embed_dim=32,
    ...     depth=1, tasks={"near": {"factor": 2}, "far": {"factor": 4}})
    >>> batch = Batch(
    ...     coarse=torch.rand(1, 1, 6, 7), lat_edges=torch.linspace(46, 40, 7)[None],
    ...     lon_edges=torch.linspace(3, 10, 8)[None], task="far")
    >>> Tasks(config)(batch).shape
    torch.Size([1, 1, 1, 24, 28])
    """

    trunk: Trunk
    channels: HierarchicalChannels
    blocks: Blocks
    """These two are of the trunk."""

    def __init__(self, config: DownscalerConfig) -> None:
        super().__init__()
        self.config, self.inputs = config, list(config.inputs)
        first = next(iter(config.of_tasks.values()))
        trunk = TRUNKS.built(first.trunk, first.trunk_options, first)
        assert isinstance(trunk, VisionTransformer)
        for name, part in trunk.named_children():  # as in a network of one task
            self.add_module(name, part)
        self.__dict__["trunk"] = trunk
        self.register_buffer("input_mean", torch.zeros(len(config.inputs)))
        self.register_buffer("input_std", torch.ones(len(config.inputs)))
        own = {name: Downscaler(one, shared=self) for name, one in config.of_tasks.items()}
        self.tasks = nn.ModuleDict(own)

    @property
    def stochastic(self) -> bool:
        """Whether members are drawn: as many as are asked for."""
        return self.config.noise > 0

    @property
    def members(self) -> int:
        """Members that a prediction of any task has by itself."""
        return min(network.members for network in networks_of(self).values())

    def of(self, batch: Batch) -> Downscaler:
        """Return the network of the task that a batch is for.

        Raises
        ------
        InputError
            If it names none, and there are several, or one that is not there.
        """
        name = task_of(batch.task, self.config.of_tasks, "the network", "batch.task")
        return networks_of(self)[name]

    def forward(
        self,
        batch: Batch,
        tokens: int | float | None = None,
        fill: bool = False,
        draw: Draw | None = None,
    ) -> Tensor:
        """Predict the targets of the batch's task; see `Downscaler.forward`."""
        out: Tensor = self.of(batch)(batch, tokens, fill, draw)
        return out

    def known(self, batch: Batch) -> Tensor:
        """Tell the fine cells of which the inputs say something, (B, K, f h, f w), bool."""
        return self.of(batch).known(batch)

    def alone(self, task: str) -> Downscaler:
        """Return a copy of a task with the trunk: an ordinary network."""
        network = Downscaler(self.config.of_tasks[task])
        network.load_state_dict(weights_of(self.state_dict(), task))
        return network.train(self.training)


def network_of(config: DownscalerConfig) -> Downscaler | Tasks:
    """Build the network of a config."""
    return Downscaler(config) if config.tasks is None else Tasks(config)


def task_in(network: Downscaler | Tasks, batch: Batch) -> Downscaler:
    """Return what of a network a batch is for: its task, or all of it."""
    return network.of(batch) if isinstance(network, Tasks) else network


def without_tasks(network: Downscaler | Tasks, what: str) -> Downscaler:
    """Return a network that has no tasks.

    Raises
    ------
    InputError
        If it has: `what` is not for such.
    """
    if isinstance(network, Tasks):
        raise InputError(
            f"{what} is for networks of one task, and model.network.tasks has "
            f"{', '.join(network.config.of_tasks)}: leave one of the two out"
        )
    return network


def networks_of(network: Downscaler | Tasks) -> dict[str, Downscaler]:
    """Return the networks of all tasks by name; one without tasks without a name."""
    if isinstance(network, Downscaler):
        return {"": network}
    return {n: one for n, one in network.tasks.items() if isinstance(one, Downscaler)}


def weights_of(state: Mapping[str, Tensor], task: str) -> dict[str, Tensor]:
    """Return of the state of `Tasks` that of one of them, as an ordinary network has it."""
    own = f"{PREFIX}{task}."
    shared = {name: value for name, value in state.items() if not name.startswith(PREFIX)}
    return shared | {
        name.removeprefix(own): value for name, value in state.items() if name.startswith(own)
    }


def is_shared(name: str) -> bool:
    """Tell whether a weight of an ordinary network is one that tasks have in common."""
    return not name.startswith(_OWN)
