"""The network of one rank: its shapes, and the units in which its weights are sharded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod

from torch import nn

from orbitlite.model.config import DownscalerConfig
from orbitlite.model.cost import Cost, Pass
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.outline import outline
from orbitlite.parallel.channels import groups_of_rank
from orbitlite.parallel.sharding import units as modules_of_units
from orbitlite.parallel.tensor import share_heads, shared_layers, with_distances


@lru_cache(maxsize=64)
def part(config: DownscalerConfig, tensor: int = 1) -> Downscaler:
    """Return the outline of what the first of so many tensor ranks, which holds most, computes."""
    if tensor == 1:
        return outline(config)
    network = outline(config, groups_of_rank(len(config.groups), tensor, 0))
    if tensor == 1:
        return network
    for owner, name, axis in shared_layers(network):
        layer = getattr(owner, name)
        layer.weight = nn.Parameter(layer.weight.chunk(tensor, axis)[0])
        if axis == 0:
            layer.bias = nn.Parameter(layer.bias.chunk(tensor)[0])
    for attention in with_distances(network):
        own = attention.distance
        own.weight = nn.Parameter(own.weight.chunk(tensor)[0])
    share_heads(network, tensor)
    return network


@lru_cache(maxsize=1024)
def costs(config: DownscalerConfig, tensor: int, size: Pass) -> dict[str, Cost]:
    """Return what the modules of that part state of a pass, by stage: see `Downscaler.costs`."""
    return part(config, tensor).costs(size)


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
    """Return the units of the first tensor rank."""
    known: set[nn.Parameter] = set()
    found = []
    for name, module in modules_of_units(part(config, tensor)):
        own = [weight for weight in module.parameters() if weight not in known]
        known.update(own)
        found.append(Unit(name, tuple(tuple(weight.shape) for weight in own)))
    return tuple(found)


def count(config: DownscalerConfig, tensor: int = 1) -> int:
    """Return the number of weights of the first tensor rank."""
    return sum(unit.size for unit in units(config, tensor))
