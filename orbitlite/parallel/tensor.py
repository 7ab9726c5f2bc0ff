"""Tensor parallelism: attention heads, MLP columns and the decoder's head over ranks.

The splitting of Shoeybi et al. 2019 (Megatron-LM, section 3): a layer by its columns, the next by
its rows, one sum behind both, to which the bias is added once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard

from orbitlite.model.distance import Distance
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.linear import linear
from orbitlite.model.transformer import Block
from orbitlite.parallel.collectives import copy_to, gather_last, reduce_from


class ColumnLinear(nn.Module):
    """Computes this rank's columns of a linear layer.

    Parameters
    ----------
    linear : nn.Linear
        The whole layer; alike on all ranks.
    mesh : DeviceMesh
        The tensor axis.
    join : bool
        Give the columns of all ranks instead of the own ones.
    """

    def __init__(self, linear: nn.Linear, mesh: DeviceMesh, join: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(_part(linear.weight, mesh, 0))
        self.bias = nn.Parameter(_part(linear.bias, mesh, 0))
        self._group, self._join = mesh.get_group(), join

    def forward(self, x: Tensor) -> Tensor:
        """Turn features (..., D), alike on all ranks, into columns."""
        out = linear(copy_to(x, self._group), _local(self.weight), _local(self.bias))
        return gather_last(out, self._group) if self._join else out


class RowLinear(nn.Module):
    """Computes this rank's rows of a linear layer, and adds those of all ranks.

    Parameters
    ----------
    linear : nn.Linear
        The whole layer; alike on all ranks.
    mesh : DeviceMesh
        The tensor axis.
    """

    def __init__(self, linear: nn.Linear, mesh: DeviceMesh) -> None:
        super().__init__()
        self.weight = nn.Parameter(_part(linear.weight, mesh, 1))
        self.bias = nn.Parameter(linear.bias.detach().clone())
        self._group: dist.ProcessGroup = mesh.get_group()

    def forward(self, x: Tensor) -> Tensor:
        """Turn this rank's features (..., D / T) into the whole layer's output."""
        out = reduce_from(linear(x, _local(self.weight)), self._group)
        return out + self.bias.to(out.dtype)


class HeadsDistance(Distance):
    """Computes this rank's heads of a `Distance`.

    Parameters
    ----------
    distance : Distance
        Of all heads; alike on all ranks.
    mesh : DeviceMesh
        The tensor axis.
    """

    def __init__(self, distance: Distance, mesh: DeviceMesh) -> None:
        super().__init__(len(distance.weight))
        self.weight = nn.Parameter(_part(distance.weight, mesh, 0))

    def own_weight(self) -> Tensor:
        """Return the weights of this rank's heads."""
        return _local(self.weight)


def share_columns(model: Downscaler, mesh: DeviceMesh) -> None:
    """Split heads, MLP columns and the decoder's head over the tensor axis, in place."""
    for owner, name, axis in shared_layers(model):
        whole = getattr(owner, name)
        join = owner is model.decoder
        part = RowLinear(whole, mesh) if axis else ColumnLinear(whole, mesh, join)
        setattr(owner, name, part)
    for attention in with_distances(model):
        attention.distance = HeadsDistance(attention.distance, mesh)
    share_heads(model, mesh.size())


def shared_layers(model: Downscaler) -> Iterator[tuple[nn.Module, str, int]]:
    """Give the linear layers that ranks share: owner, name there, and the axis that is cut."""
    for block in model.blocks:
        assert isinstance(block, Block)
        yield from (
            (block.attention, "qkv", 0), (block.attention, "out", 1),
            (block.mlp, "0", 0), (block.mlp, "2", 1),
        )  # fmt: skip
    yield model.decoder, "head", 0


def with_distances(model: Downscaler) -> Iterator[Any]:
    """Give the attentions that know distances, by weights of their heads."""
    for block in model.blocks:
        assert isinstance(block, Block)
        if block.attention.distance is not None:
            yield block.attention


def share_heads(model: Downscaler, ranks: int) -> None:
    """Let each block count the heads of one of so many ranks."""
    for block in model.blocks:
        assert isinstance(block, Block)
        block.attention.num_heads //= ranks


def _part(whole: Tensor, mesh: DeviceMesh, axis: int) -> DTensor:
    """Return this rank's equal part of a tensor, told as part of the whole."""
    mine = whole.detach().chunk(mesh.size(), dim=axis)[mesh.get_local_rank()]
    mine = mine.contiguous() if mine.is_meta else mine.to(mesh.device_type, copy=True)
    return DTensor.from_local(mine, mesh, [Shard(axis)], run_check=False)


def _local(parameter: Tensor) -> Tensor:
    return parameter.to_local() if isinstance(parameter, DTensor) else parameter
