"""Channel groups over ranks: each rank reads, holds and embeds only its own groups' channels.

D-CHAG (Tsaris et al. 2025) slices channels over ranks and gathers one token per rank. Here the
groups belong to the model, not to the ranks: any number of ranks up to that of groups computes the
same, and a checkpoint of one runs on another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from orbitlite.errors import InputError
from orbitlite.model.channels import Exchange
from orbitlite.model.config import DownscalerConfig
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.groups import of_one_group
from orbitlite.model.outline import outline

_PER_INPUT = ("input_mean", "input_std")
"""Statistics that a rank knows only of the channels it reads."""


def groups_of_rank(groups: int, size: int, rank: int) -> list[int]:
    """Return the groups that a rank owns: whole ones, in order, at most one more than another rank.

    Parameters
    ----------
    groups : int
        Number of channel groups.
    size : int
        Number of ranks.
    rank : int

    Raises
    ------
    InputError
        If there are more ranks than groups.

    Examples
    --------
    >>> [groups_of_rank(5, 3, rank) for rank in range(3)]
    [[0, 1], [2, 3], [4]]
    """
    if size > groups:
        raise InputError(
            f"channels over {size} ranks need at least {size} groups: channel_groups gives "
            f"{groups}; state more groups or use fewer ranks for channels"
        )
    least, more = divmod(groups, size)
    first = rank * least + min(rank, more)
    return list(range(first, first + least + (rank < more)))


def build_sharded(
    config: DownscalerConfig, group: dist.ProcessGroup, outlined: bool = False
) -> Downscaler:
    """Build the part of a network that this rank holds.

    Its `inputs` are the channels that the rank has to read: those of its groups, and the coarse
    fields of the targets. Everything behind the groups' tokens is the same on all ranks, which
    therefore must draw the same random numbers: seed them alike.

    Parameters
    ----------
    config : DownscalerConfig
    group : ProcessGroup
        The ranks that share the channels, such as `mesh["tensor_parallel"].get_group()`.
    outlined : bool
        Build it on the meta device; no random number is drawn.

    Raises
    ------
    InputError
        If there are more ranks than channel groups.
    """
    size, rank = dist.get_world_size(group), dist.get_rank(group)
    counts = [len(groups_of_rank(len(config.groups), size, r)) for r in range(size)]
    own = groups_of_rank(len(config.groups), size, rank)
    model = outline(config, own) if outlined else Downscaler(config, own)
    if size > 1:
        model.channels.exchange = GatherGroups(counts, group)
        model.presence.over_ranks = AnyRank(group)
    return model


def inputs_of_rank(config: DownscalerConfig, size: int, rank: int) -> list[str]:
    """Return the channels that a rank has to read: see `Downscaler.inputs`.

    Parameters
    ----------
    config : DownscalerConfig
    size : int
        Number of ranks that share the channels.
    rank : int
    """
    return outline(config, groups_of_rank(len(config.groups), size, rank)).inputs


def share_statistics(model: Downscaler, group: dist.ProcessGroup) -> None:
    """Let every rank know the statistics of the channels that others read."""
    parts: list[Any] = [None] * dist.get_world_size(group)
    rows = {name: model.get_buffer(name)[model.columns].cpu() for name in _PER_INPUT}
    dist.all_gather_object(parts, (model.columns, rows), group=group)
    for columns, rows in parts:
        for name, values in rows.items():
            buffer = model.get_buffer(name)
            buffer[columns] = values.to(buffer.device)


class GatherGroups(Exchange):
    """Gather the tokens of all groups on every rank.

    What crosses is one token per group and position, with a number that says whether the group has
    any channel there. Nothing crosses in the backward pass: what follows is computed alike on every
    rank, so each has the whole gradient of its own tokens already.

    Parameters
    ----------
    counts : list of int
        Groups per rank.
    group : ProcessGroup, optional
        None: all processes.
    """

    def __init__(self, counts: list[int], group: dist.ProcessGroup | None = None) -> None:
        super().__init__()
        self._counts, self._group = counts, group
        self._rank = dist.get_rank(group)

    def forward(self, tokens: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Turn tokens (B, L, g, D) and presence (B, L, g) of held groups into those of all."""
        packed = torch.cat([tokens, present.unsqueeze(-1).to(tokens.dtype)], dim=-1)
        whole = _Gather.apply(packed, self._counts, self._group, self._rank)
        return whole[..., :-1], whole[..., -1] > 0.5


class AnyRank(nn.Module):
    """True where it is so on any rank of a group; nothing to be learned crosses.

    Parameters
    ----------
    group : ProcessGroup
    """

    def __init__(self, group: dist.ProcessGroup) -> None:
        super().__init__()
        self._group = group

    def forward(self, flags: Tensor) -> Tensor:
        """Join flags of any shape, one byte each."""
        joined = flags.to(torch.uint8).contiguous()
        dist.all_reduce(joined, dist.ReduceOp.MAX, group=self._group)
        return joined.bool()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, part: Tensor, counts: list[int], group: dist.ProcessGroup | None, rank: int
    ) -> Tensor:
        ctx.first, ctx.count = sum(counts[:rank]), counts[rank]
        most = max(counts)
        b, length, held, width = part.shape
        sent = part.new_zeros(most, b, length, width)
        sent[:held] = part.permute(2, 0, 1, 3)
        got = part.new_empty(len(counts) * most, b, length, width)
        dist.all_gather(list(torch.split(got, most)), sent, group=group)
        rows = [r * most + i for r, count in enumerate(counts) for i in range(count)]
        return got[rows].permute(1, 2, 0, 3)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        return upstream[0][:, :, ctx.first : ctx.first + ctx.count].contiguous(), None, None, None


def full_state(model: Downscaler, group: dist.ProcessGroup) -> dict[str, Tensor]:
    """Collect the whole network's state on the first rank of the group, for a checkpoint.

    Parameters
    ----------
    model : Downscaler
        Of `build_sharded`.
    group : ProcessGroup

    Returns
    -------
    dict of str to Tensor
        On the CPU, in the order of an undivided network; empty on the other ranks.
    """
    state = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    own = {name: value for name, value in state.items() if of_one_group(name)}
    rows = {name: state[name][model.columns] for name in _PER_INPUT}
    first = dist.get_rank(group) == 0
    parts: list[Any] = [None] * dist.get_world_size(group)
    part = (own, model.columns, rows)
    dist.gather_object(part, parts if first else None, group=group, group_dst=0)
    if not first:
        return {}
    for own, columns, rows in parts:
        state |= own
        for name, values in rows.items():
            state[name][columns] = values
    return {name: state[name] for name in outline(model.config).state_dict()}


def load_part(model: Downscaler, state: Mapping[str, Tensor]) -> None:
    """Load from the whole network's state what this rank holds.

    Raises
    ------
    KeyError
        If something that it holds is not in the state.
    """
    model.load_state_dict({name: state[name] for name in model.state_dict()})
