"""Exchanges between ranks that gradients pass through.

Each says what it does forward and what that means backward; the names are those of Megatron-LM
(Shoeybi et al. 2019, section 3; Korthikanti et al. 2022, section 4.2). What stands between
`copy_to` and `reduce_from` is computed in parts; what stands elsewhere is computed alike on every
rank of the group, so that its gradient is whole there already.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as funcol
import torch.nn.functional as F
from torch import Tensor

# torch 2.14 has another name for it.
_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor


def copy_to(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """Give every rank the same tensor to compute a part of; backward their gradients are added."""
    out: Tensor = _CopyTo.apply(x, group)
    return out


def reduce_from(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """Add what the ranks computed in parts; backward each takes the whole gradient."""
    out: Tensor = _ReduceFrom.apply(x, group)
    return out


def gather_last(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """Put parts of the last axis together; backward each takes its own part."""
    out: Tensor = _GatherLast.apply(x, group)
    return out


def scatter_to(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """Take this rank's part of axis 1, filled up with zeros to equal parts.

    Backward the parts of the gradient are put together and divided by their number: gradients
    inside count that many times, because the mean over ranks is taken of weights' gradients where
    their sum is due.
    """
    out: Tensor = _ScatterTo.apply(x, group)
    return out


def gather_from(x: Tensor, length: int, group: dist.ProcessGroup) -> Tensor:
    """Put the parts of axis 1 together, without padding; the reverse of `scatter_to`."""
    out: Tensor = _GatherFrom.apply(x, length, group)
    return out


def exchange(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """Send entry r of axis 0 to rank r; entry r of the result came from rank r."""
    out: Tensor = _Exchange.apply(x, group)
    return out


class _CopyTo(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        return _all_reduce(upstream[0], ctx.group), None


class _ReduceFrom(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        return _all_reduce(x, group)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        return upstream[0], None


class _GatherLast(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.rank, ctx.width = dist.get_rank(group), x.shape[-1]
        return _all_gather(x, group).movedim(0, -2).flatten(-2)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        return upstream[0].narrow(-1, ctx.rank * ctx.width, ctx.width).contiguous(), None


class _ScatterTo(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group, ctx.length = group, x.shape[1]
        return _cut(x, group)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        whole = _all_gather(upstream[0], ctx.group).movedim(0, 1).flatten(1, 2)
        return whole[:, : ctx.length] / dist.get_world_size(ctx.group), None


class _GatherFrom(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, length: int, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        parts, step = _all_gather(x, group), x.shape[1]
        return torch.cat([part[:, : max(0, length - r * step)] for r, part in enumerate(parts)], 1)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        return _cut(upstream[0], ctx.group) * dist.get_world_size(ctx.group), None, None


class _Exchange(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        return _all_to_all(x, group)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        return _all_to_all(upstream[0], ctx.group), None


def _cut(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    size, rank = dist.get_world_size(group), dist.get_rank(group)
    step = -(-x.shape[1] // size)
    mine = x[:, rank * step : (rank + 1) * step]
    missing = step - mine.shape[1]
    fill = [0, 0] * (x.ndim - 2) + [0, missing]
    return F.pad(mine, fill) if missing else mine.contiguous()


def _all_reduce(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    found = funcol.all_reduce(x.contiguous(), "sum", group)
    out: Tensor = funcol.wait_tensor(found)  # type: ignore[no-untyped-call]
    return out


def _all_gather(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """Return the tensors of all ranks along a new first axis."""
    found = x.new_empty(dist.get_world_size(group), *x.shape)
    _gather(found.view(-1), x.contiguous().view(-1), group=group)
    return found


def _all_to_all(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    flat = funcol.all_to_all_single(x.contiguous().flatten(), None, None, group)
    out: Tensor = funcol.wait_tensor(flat)  # type: ignore[no-untyped-call]
    return out.view(x.shape)
