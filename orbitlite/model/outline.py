"""Outlines of networks: shapes and names of all weights, without their memory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.tasks import is_shared


def outline(config: DownscalerConfig, groups: Sequence[int] | None = None) -> Downscaler:
    """Build a network on the meta device; no random number is drawn.

    Parameters
    ----------
    config : DownscalerConfig
    groups : sequence of int, optional
        As for `Downscaler`.
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"), _Undrawn():
        return Downscaler(config, groups)


@lru_cache(maxsize=32)  # a fit asks at each checkpoint
def count_weights(config: DownscalerConfig) -> int:
    """Count the weights of a network; those of a trunk that tasks share count once."""
    counts = {
        name if is_shared(name) else f"{task}/{name}": weight.numel()
        for task, own in config.of_tasks.items()
        for name, weight in outline(own).named_parameters()
    }
    return sum(counts.values())


class _Undrawn(TorchFunctionMode):
    """Draws no normal weights: on the meta device torch would load its compiler, for seconds."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is nn.init.normal_:
            return kwargs.get("tensor", *args[:1])
        return function(*args, **kwargs)
