"""Weights of one rank, by the units in which they are sharded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod

import torch

from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.parallel.channels import groups_of_rank

_COLUMNS = ("attention.qkv.weight", "attention.qkv.bias", "mlp.0.weight", "mlp.0.bias")
_ROWS = ("attention.out.weight", "mlp.2.weight")


@dataclass(frozen=True)
class Unit:
    """Weights that are gathered and let go together.

    Attributes
    ----------
    name : str
        `blocks`, `channels`, `decoder` or `rest`.
    shapes : tuple of tuple of int
    """

    name: str
    shapes: tuple[tuple[int, ...], ...]

    @property
    def size(self) -> int:
        """Number of weights."""
        return sum(map(prod, self.shapes))

    def padded(self, shards: int) -> int:
        """Number of weights with each filled up so that its rows divide into `shards`."""
        return sum(-(-s[0] // shards) * shards * prod(s[1:]) for s in self.shapes)


@lru_cache(maxsize=64)
def units(config: DownscalerConfig, tensor: int = 1) -> tuple[Unit, ...]:
    """Return the units of the first tensor rank, which holds most.

    They are those of a network without storage, and so are exact whatever the network is.

    Parameters
    ----------
    config : DownscalerConfig
    tensor : int
        Ranks that share groups, heads and columns.
    """
    with torch.device("meta"):
        model = Downscaler(config, groups=groups_of_rank(len(config.groups), tensor, 0))
    found: dict[str, list[tuple[int, ...]]] = {}
    for name, parameter in model.named_parameters():
        part, _, inner = name.partition(".")
        unit = part if part in ("channels", "decoder") else "rest"
        if part == "blocks":
            number, _, inner = inner.partition(".")
            unit = f"blocks.{number}"
        found.setdefault(unit, []).append(_cut(inner, tuple(parameter.shape), part, tensor))
    return tuple(Unit(name.split(".")[0], tuple(shapes)) for name, shapes in found.items())


def _cut(name: str, shape: tuple[int, ...], part: str, ranks: int) -> tuple[int, ...]:
    if (part == "blocks" and name in _COLUMNS) or (part == "decoder" and name.startswith("head.")):
        return (-(-shape[0] // ranks), *shape[1:])
    if part == "blocks" and name in _ROWS:
        return (shape[0], shape[1] // ranks)
    return shape


def count(config: DownscalerConfig, tensor: int = 1) -> int:
    """Return the number of weights of the first tensor rank."""
    return sum(unit.size for unit in units(config, tensor))
