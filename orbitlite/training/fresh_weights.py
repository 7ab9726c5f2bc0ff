"""Fresh weights: of a whole network at once, of an outline when the processes know each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.outline import outline
from orbitlite.model.tasks import Tasks, network_of
from orbitlite.parallel.drawing import draw, draw_in_turn
from orbitlite.training.initialisation import Taken, give
from orbitlite.training.room import check_room
from orbitlite.training.tuning import InitConfig, adapt_blocks

_NODES: ContextVar[int | None] = ContextVar("_NODES", default=None)


@contextmanager
def outlined(nodes: int) -> Iterator[None]:
    """Let networks be built as outlines within: processes on so many nodes draw their parts later.

    Parameters
    ----------
    nodes : int
        Machines that hold the weights together.
    """
    token = _NODES.set(nodes)
    try:
        yield
    finally:
        _NODES.reset(token)


@dataclass
class FreshWeights:
    """What the weights of an outline are to be.

    Attributes
    ----------
    generator : Tensor
        State of torch's generator where a whole network would be built.
    source, taken : Downscaler and Taken, optional
        The network of a bundle, and what is taken of it.
    options : InitConfig
        Of a fit that begins with a bundle; it may ask for adapters.
    """

    generator: Tensor = field(default_factory=torch.get_rng_state)
    source: Downscaler | None = None
    taken: Taken = field(default_factory=Taken)
    options: InitConfig = field(default_factory=InitConfig)

    def draw(self, network: Downscaler) -> None:
        """Give an outline that is spread over processes its weights, those that one process has.

        Parameters
        ----------
        network : Downscaler
            Of `parallelize`; is changed.
        """
        torch.set_rng_state(self.generator)
        draw(network, self._change)
        self.source = None  # its memory is free

    def _change(self, prefix: str, module: nn.Module) -> None:
        if self.source is not None:
            give(self.taken, module, self.source.state_dict(), prefix)
        if not isinstance(module, Downscaler):
            return
        if self.source is not None:
            # One process drew them when it read the bundle, before the adapters.
            draw_in_turn(self.source.config, lambda *_: None)
        adapt_blocks(module, self.options, torch.device("cpu"))


def built(config: DownscalerConfig) -> tuple[Downscaler | Tasks, FreshWeights | None]:
    """Build a network; within `outlined` its outline, with what its weights are to be.

    One with tasks is always built as a whole.

    Parameters
    ----------
    config : DownscalerConfig

    Raises
    ------
    SharedError
        If the weights are more than the memory of the machines.
    """
    nodes = _NODES.get()
    check_room(config, nodes or 1)
    if nodes is None or config.tasks:
        return network_of(config), None
    return outline(config), FreshWeights()
