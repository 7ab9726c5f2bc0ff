"""Axes of a parallel run: their sizes, what fits them, and this process's place on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor

from orbitlite.errors import SharedError
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.groups import of_one_group

ActivationCheckpointing = Literal["none", "selective", "full"]

AXES = ("replicate", "shard", "sequence", "tensor")
"""From the outermost to the innermost: neighbours share tensors, nodes replicate."""


@dataclass(frozen=True)
class ParallelConfig:
    """How a run is spread over processes.

    Attributes
    ----------
    data : int, optional
        Processes (times those below) that take different samples. None: all that are left.
    tensor : int
        Processes that share channel groups, attention heads, MLP columns and the decoder's head.
    sequence : int
        Processes that share the tokens of a sample: for long sequences.
    shard : int, optional
        Data ranks that share one copy of weights, gradients and optimiser state (FSDP2); a divisor
        of `data`, such as the GPUs of a node. None: all of them.
    activation_checkpointing : {"none", "selective", "full"}
        What is not kept for the backward pass: `selective` keeps the results of matrix products and
        attention of each block, `full` a block's input alone.
    compile : bool
        Compile the network; with several processes, each block.
    background_save : bool
        Write checkpoints while training goes on; it takes a copy of the weights in memory.
    """

    data: int | None = None
    tensor: int = 1
    sequence: int = 1
    shard: int | None = None
    activation_checkpointing: ActivationCheckpointing = "none"
    compile: bool = False
    background_save: bool = True


@dataclass(frozen=True)
class Layout:
    """Sizes of the axes.

    Attributes
    ----------
    data, tensor, sequence, shard : int
        As in `ParallelConfig`, all known.
    """

    data: int = 1
    tensor: int = 1
    sequence: int = 1
    shard: int = 1

    @property
    def world_size(self) -> int:
        """Number of processes."""
        return self.data * self.tensor * self.sequence

    def place(self, rank: int) -> tuple[int, int, int]:
        """Return the rank's position on the data, sequence and tensor axes.

        Examples
        --------
        >>> [Layout(data=2, tensor=2).place(rank) for rank in range(4)]
        [(0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 0, 1)]
        """
        rest, tensor = divmod(rank, self.tensor)
        data, sequence = divmod(rest, self.sequence)
        return data, sequence, tensor


def layout(config: ParallelConfig, world_size: int) -> Layout:
    """Find the sizes of all axes.

    Raises
    ------
    SharedError
        If they do not multiply to the number of processes.

    Examples
    --------
    >>> layout(ParallelConfig(tensor=2), 8)
    Layout(data=4, tensor=2, sequence=1, shard=4)
    """
    for name in ("data", "tensor", "sequence", "shard"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise SharedError(f"parallel.{name}: expected 1 or more, found {value}")
    if config.activation_checkpointing not in ("none", "selective", "full"):
        raise SharedError(
            "parallel.activation_checkpointing: expected none, selective or full, found "
            f"{config.activation_checkpointing!r}"
        )
    inner = config.tensor * config.sequence
    data = config.data or max(1, world_size // inner)
    if data * inner != world_size:
        raise SharedError(
            f"parallel: data {data} x tensor {config.tensor} x sequence {config.sequence} is "
            f"{data * inner} processes, but the run has {world_size} (trainer.devices x "
            "trainer.num_nodes); change one of them"
        )
    shard = config.shard or data
    if data % shard:
        raise SharedError(f"parallel.shard: expected a divisor of data {data}, found {shard}")
    return Layout(data, config.tensor, config.sequence, shard)


def check_network(config: DownscalerConfig, sizes: Layout) -> None:
    """Find out whether a network can be shared as a layout says.

    Raises
    ------
    SharedError
        If heads, channel groups, or columns of MLP or head do not divide; a trunk or a decoder is
        not of the package, which can be spread over samples alone; or a regression needs the
        channels that others hold.
    """
    tensor, both = sizes.tensor, sizes.tensor * sizes.sequence
    if config.foreign and both > 1:
        raise SharedError(
            f"parallel.tensor {tensor}, parallel.sequence {sizes.sequence}: only the trunk vit "
            f"with the decoder convolutional can be split so, found {config.foreign}; state 1 for "
            "both"
        )
    if config.num_heads % both:
        raise SharedError(
            f"num_heads {config.num_heads} should be a multiple of parallel.tensor x "
            f"parallel.sequence = {both}: each rank takes whole heads"
        )
    if tensor == 1:
        return
    if config.tasks is not None:
        raise SharedError(
            f"parallel.tensor {tensor}: the channels of a network with tasks are not split over "
            "processes; state 1"
        )
    if config.ridge is not None:
        raise SharedError(
            f"parallel.tensor {tensor}: a network with a regression (ridge) needs all channels on "
            "every process; state 1, or leave out model.network.ridge"
        )
    if len(config.groups) < tensor:
        raise SharedError(
            f"parallel.tensor {tensor} needs at least {tensor} channel groups, found "
            f"{len(config.groups)}: state model.network.channel_groups, or fewer tensor ranks"
        )
    if (hidden := int(config.embed_dim * config.mlp_ratio)) % tensor:
        raise SharedError(
            f"the MLP's {hidden} columns (embed_dim x mlp_ratio) should be a multiple of "
            f"parallel.tensor {tensor}"
        )
    if (columns := config.decoder_features * config.patch_size**2) % tensor:
        raise SharedError(
            f"the {columns} columns of the decoder's head (decoder_features x patch_size^2) should "
            f"be a multiple of parallel.tensor {tensor}"
        )


class Ranks:
    """A process and those that it works with; without a process group, itself alone.

    Parameters
    ----------
    sizes : Layout
    device : str
        `cpu` or `cuda`.

    Attributes
    ----------
    mesh : DeviceMesh or None
        Axes `AXES`; None for a single process without a process group.
    data_rank, sequence_rank, tensor_rank : int
    """

    def __init__(self, sizes: Layout | None = None, device: str = "cpu") -> None:
        self.sizes = sizes or Layout()
        self.mesh: DeviceMesh | None = None
        self.data_rank = self.sequence_rank = self.tensor_rank = 0
        if sizes is None:
            return
        shape = (sizes.data // sizes.shard, sizes.shard, sizes.sequence, sizes.tensor)
        self.mesh = init_device_mesh(device, shape, mesh_dim_names=AXES)
        self.data_rank, self.sequence_rank, self.tensor_rank = sizes.place(dist.get_rank())
        self._data = self.mesh["replicate", "shard"]._flatten("data")
        self.weights = self._weights_mesh()

    def _weights_mesh(self) -> DeviceMesh:
        """Processes with shards, or copies, of the same weights: (shards,) or (copies, shards)."""
        assert self.mesh is not None
        shards = self.mesh["shard", "sequence"]._flatten("weights")
        if self.sizes.shard == self.sizes.data:
            return shards
        return self.mesh["replicate", "weights"]

    def copies_of(self, name: str, parameter: Tensor) -> int:
        """Return how many processes hold the same part of a parameter of the network."""
        sizes = self.sizes
        copies = sizes.data // sizes.shard
        split = isinstance(parameter, DTensor) and "tensor" in (
            parameter.device_mesh.mesh_dim_names or ()
        )
        own = of_one_group(name)  # held by one rank of the tensor axis
        return copies if split or own else copies * sizes.tensor

    def group(self, axis: str) -> dist.ProcessGroup:
        """Return the processes that differ from this one on one axis alone."""
        assert self.mesh is not None
        return self.mesh[axis].get_group()

    def axes_of_groups(self) -> dict[str, str]:
        """Return the axis of each process group by the group's name."""
        if self.mesh is None:
            return {}
        names = {str(self.group(axis).group_name): axis for axis in ("tensor", "sequence")}
        shards = self.weights if self.weights.ndim == 1 else self.weights["weights"]
        if self.weights.ndim > 1:
            names[str(self.weights["replicate"].get_group().group_name)] = "replicate"
        names[str(self._data.get_group().group_name)] = "data"
        names[str(shards.get_group().group_name)] = "weights"
        return names

    def sum_over_data(self, values: Tensor) -> Tensor:
        """Add values (no gradient) of the ranks that take different samples."""
        values = values.detach().clone()
        if self.mesh is not None and self.sizes.data > 1:
            dist.all_reduce(values, group=self._data.get_group())
        return values

    def sum_over_all(self, values: Tensor) -> Tensor:
        """Add values (no gradient) of all processes."""
        values = values.detach().clone()
        if self.mesh is not None and self.sizes.world_size > 1:
            dist.all_reduce(values)
        return values

    def gather(self, value: object) -> list[object]:
        """Collect a plain value of every process."""
        if self.mesh is None:
            return [value]
        found: list[object] = [None] * self.sizes.world_size
        dist.all_gather_object(found, value)
        return found


def kind_of(parameter: Tensor) -> str:
    """Return the axes that a parameter lies on; optimisers take those of one kind at a time."""
    if not isinstance(parameter, DTensor):
        return ""
    return "/".join(parameter.device_mesh.mesh_dim_names or ())


def is_up() -> bool:
    """Tell whether this process has others to speak to."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def mesh_of_world(config: ParallelConfig, device: str = "cpu") -> Ranks:
    """Build the axes over all processes of the default group.

    Raises
    ------
    SharedError
        If the sizes do not multiply to their number.
    """
    return Ranks(layout(config, dist.get_world_size()), device)
