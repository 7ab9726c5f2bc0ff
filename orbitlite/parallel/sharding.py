"""One function that spreads a built network over processes, in a fixed order."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn
from torch.distributed.fsdp import (
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)

from orbitlite.errors import SharedError
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.tasks import Tasks, networks_of
from orbitlite.model.vit import VisionTransformer
from orbitlite.parallel.channels import build_sharded, load_part
from orbitlite.parallel.checkpointing import checkpoint_activations
from orbitlite.parallel.mesh import ParallelConfig, Ranks, check_network
from orbitlite.parallel.sequence import share_tokens
from orbitlite.parallel.tensor import share_columns

Network = TypeVar("Network", bound=Downscaler | Tasks)


def parallelize(
    model: Network, ranks: Ranks, config: ParallelConfig, half: bool = False
) -> Network:
    """Spread a network over processes.

    In this order: channel groups, heads and columns over the tensor axis; tokens over the sequence
    axis; activation checkpointing; compilation, of each block where there are several processes;
    weights, gradients and optimiser state over the data and sequence axes (FSDP2). The loss and the
    gradients stay those of one process: gradients come out as the mean over the data axis.

    Parameters
    ----------
    model : Downscaler or Tasks
        Whole, and alike on all ranks; or the outline of a Downscaler, whose weights are drawn
        afterwards (`orbitlite.parallel.drawing.draw`).
    ranks : Ranks
        Those of `mesh_of_world`.
    config : ParallelConfig
    half : bool
        Blocks compute with weights in bfloat16; gradients are added in float32.

    Returns
    -------
    Downscaler or Tasks
        With this rank's part of the weights. It takes the channels `inputs` alone.

    Raises
    ------
    InputError
        If the network cannot be shared in such parts.
    """
    sizes = ranks.sizes
    check_network(model.config, sizes)
    if sizes.tensor > 1 and isinstance(model, Downscaler):
        assert ranks.mesh is not None
        model = _share_channels(model, ranks)  # type: ignore[assignment]
        share_columns(model, ranks.mesh["tensor"])
    if sizes.sequence > 1:
        share_tokens(model, ranks.group("sequence"))
    blocks = model.blocks if isinstance(model.trunk, VisionTransformer) else None
    if blocks is not None:
        checkpoint_activations(blocks, config.activation_checkpointing)
    elif config.activation_checkpointing != "none":
        raise SharedError(
            f"parallel.activation_checkpointing {config.activation_checkpointing} is for the "
            f"blocks of the trunk vit, found {model.config.foreign}; state none"
        )
    if config.compile:
        # Where weights are gathered block by block, a block is what stays in one piece.
        alone = [model.trunk] if blocks is None else blocks
        for part in [model] if ranks.mesh is None else alone:
            compile_part(part)
    if ranks.mesh is not None:
        _shard_weights(model, ranks, half)
    return model


def compile_part(part: nn.Module) -> None:
    """Compile a network or a part of it, when it is called, for each size of fields by itself.

    The structure of the tokens follows the sizes: a graph that leaves them open takes several times
    as long to make and is made anew for the next size all the same.
    """
    part.compile(dynamic=False)


def _share_channels(model: Downscaler, ranks: Ranks) -> Downscaler:
    device = next(model.parameters()).device
    outlined = device.type == "meta"
    part = build_sharded(model.config, ranks.group("tensor"), outlined)
    if not outlined:
        load_part(part, model.state_dict())
    return part.to(device).train(model.training)


def _shard_weights(model: Downscaler | Tasks, ranks: Ranks, half: bool) -> None:
    low = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for name, unit in units(model):
        policy = low if half and name == "blocks" else MixedPrecisionPolicy()
        # The root too: what follows a forward pass finds shards everywhere.
        fully_shard(unit, mesh=ranks.weights, reshard_after_forward=True, mp_policy=policy)
    if isinstance(model, Downscaler):
        register_fsdp_forward_method(model, "reconstruct")  # it gathers weights as `forward` does


def units(model: Downscaler | Tasks) -> list[tuple[str, nn.Module]]:
    """Return the modules whose weights are gathered and let go together, by stage.

    `blocks` (each one) and `channels`, or a trunk of another kind as a whole; `decoder`; and at
    last the root, for the `rest`. Of several tasks each has a decoder: those that a step does not
    take are not gathered, and as all processes take samples of one source, they leave out the same.
    """
    if isinstance(model.trunk, VisionTransformer):
        trunk = [*(("blocks", block) for block in model.blocks), ("channels", model.channels)]
    else:
        trunk = [("trunk", model.trunk)]
    decoders = [("decoder", one.decoder) for one in networks_of(model).values()]
    return [*trunk, *decoders, ("rest", model)]
