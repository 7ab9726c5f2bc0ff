"""Drawing: fresh weights of a network that is spread already, block by block.

A rank holds its shards and, for a while, one whole block: never the whole network. The numbers are
those that one process draws, since all ranks draw the same ones, in the same order, and each keeps
its part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_module_registration_hook

from orbitlite.model.channels import ChannelAttention, LinearAggregation
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.reconstruction import ReconstructionHead
from orbitlite.model.transformer import Block, Blocks
from orbitlite.parallel.clipping import local_part
from orbitlite.parallel.folder import part_of

Change: TypeAlias = Callable[[str, nn.Module], None]
"""Told of the prefix of the names of some weights, and of the module that has them."""


def draw(model: Downscaler, change: Change | None = None) -> None:
    """Make room for the weights of an outline that is spread over processes, and draw them.

    All processes have to be seeded alike. Afterwards torch's generator is where it would be had the
    network been built as a whole.

    Parameters
    ----------
    model : Downscaler
        Of `parallelize`, on the meta device; is changed.
    change : callable
        Told of whole modules with fresh weights, before they are cut into parts: of each block
        (`blocks.0.`) and each channel group (`channels.groups.0.`), and at last of the network (an
        empty prefix), in which those are on the meta device. It may change weights in place.

    Raises
    ------
    RuntimeError
        If the network has weights of which none were drawn.
    """
    model.to_empty(device=_device_of(model))
    undrawn = dict(model.named_parameters())

    def take(prefix: str, module: nn.Module) -> None:
        if change is not None:
            change(prefix, module)
        for name, whole in module.named_parameters():
            if not whole.is_meta:
                _fill(undrawn.pop(prefix + name), whole)

    drawn = draw_in_turn(model.config, take, None if model.config.foreign else model.channels.held)
    if model.reconstruction is not None:  # made right after the network
        drawn.reconstruction = ReconstructionHead(model.config)
    take("", drawn)
    for name, buffer in model.named_buffers():
        buffer.copy_(drawn.get_buffer(name))
    if undrawn:
        raise RuntimeError(f"no weights were drawn of {', '.join(undrawn)}")


def draw_in_turn(
    config: DownscalerConfig, take: Change, groups: list[int] | None = None
) -> Downscaler:
    """Build a network of whose blocks and channel groups one at a time has memory.

    Parameters
    ----------
    config : DownscalerConfig
        With a trunk or a decoder that is not of the package, nothing is given away in between.
    take : callable
        Told of each as soon as its weights are drawn.
    groups : list of int, optional
        As for `Downscaler`.

    Returns
    -------
    Downscaler
        With blocks and channel groups on the meta device.
    """
    if config.foreign:
        return Downscaler(config, groups)
    with _given_away(take):
        return Downscaler(config, groups)


@contextmanager
def _given_away(take: Change) -> Iterator[None]:
    """Let each block and channel group go when the network that is being built gets it."""

    def hook(parent: nn.Module, name: str, module: Any) -> None:
        if isinstance(module, Block) and isinstance(parent, Blocks):
            prefix = f"blocks.{name}."
        elif isinstance(module, (ChannelAttention, LinearAggregation)):
            prefix = f"channels.groups.{name}."
        else:
            return
        take(prefix, module)
        module.to("meta")

    handle = register_module_module_registration_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def _fill(weight: Tensor, whole: Tensor) -> None:
    """Copy what this process holds of a weight."""
    own = weight.detach()
    local_part(own).copy_(local_part(part_of(whole.detach(), own)))


def _device_of(model: Downscaler) -> torch.device:
    """Return where the shards of a network belong."""
    mesh = getattr(next(model.parameters()), "device_mesh", None)
    if mesh is None or mesh.device_type == "cpu":
        return torch.device("cpu")
    return torch.device(mesh.device_type, torch.cuda.current_device())
