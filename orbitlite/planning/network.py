"""The network of one rank: its shapes, and the units in which its weights are sharded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Literal

from torch import nn

from orbitlite.model.config import DownscalerConfig
from orbitlite.model.cost import Cost, Pass
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.lora import LowRankLinear, adapt, is_adapter
from orbitlite.model.outline import outline
from orbitlite.parallel.channels import groups_of_rank
from orbitlite.parallel.sharding import units as modules_of_units
from orbitlite.parallel.tensor import share_heads, shared_layers, with_distances

Tune = Literal["full", "head", "lora"]


@lru_cache(maxsize=64)
def part(config: DownscalerConfig, tensor: int = 1, rank: int = 0) -> Downscaler:
    """Return the outline of what the first of so many tensor ranks, which holds most, computes.

    With adapters of a rank, if that is not 0.
    """
    if tensor == 1:
        network = outline(config)
        if rank:
            adapt(network, rank, 1.0)
        return network
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
def costs(config: DownscalerConfig, tensor: int, size: Pass, rank: int = 0) -> dict[str, Cost]:
    """Return what the modules of that part state of a pass, by stage: see `Downscaler.costs`."""
    network = part(config, tensor, rank)
    found = network.costs(size)
    if rank:
        for module in network.modules():
            if isinstance(module, LowRankLinear):
                found["blocks"] += module.cost(size)
    return found


@dataclass(frozen=True)
class Unit:
    """Weights that are gathered and let go together.

    Attributes
    ----------
    name : str
        `blocks`, `channels`, `decoder` or `rest`.
    shapes : tuple of tuple of int
    learning : tuple of tuple of int
        Those of them that learn.
    """

    name: str
    shapes: tuple[tuple[int, ...], ...]
    learning: tuple[tuple[int, ...], ...]

    @property
    def size(self) -> int:
        """Number of weights."""
        return sum(map(prod, self.shapes))

    def padded(self, shards: int, learning: bool = False) -> int:
        """Number of weights with each filled up so that its rows divide into `shards`.

        Of all, or of those that learn.
        """
        shapes = self.learning if learning else self.shapes
        return sum(-(-s[0] // shards) * shards * prod(s[1:]) for s in shapes)


@lru_cache(maxsize=64)
def units(
    config: DownscalerConfig, tensor: int = 1, tune: Tune = "full", rank: int = 0
) -> tuple[Unit, ...]:
    """Return the units of the first tensor rank.

    What `tune` other than full freezes is all but decoder and adapters, as where all of the bundle
    suits the network.
    """
    network = part(config, tensor, rank)
    names = {weight: name for name, weight in network.named_parameters()}
    known: set[nn.Parameter] = set()
    found = []
    for name, module in modules_of_units(network):
        own = [weight for weight in module.parameters() if weight not in known]
        known.update(own)
        learning = [w for w in own if tune == "full" or name == "decoder" or is_adapter(names[w])]
        shapes = (tuple(tuple(weight.shape) for weight in some) for some in (own, learning))
        found.append(Unit(name, *shapes))
    return tuple(found)


def count(config: DownscalerConfig, tensor: int = 1) -> int:
    """Return the number of weights of the first tensor rank."""
    return sum(unit.size for unit in units(config, tensor))
