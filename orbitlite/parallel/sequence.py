"""Sequence parallelism over tokens.

Between the exchanges each rank holds a run of a sample's tokens, of leaves in Z-order where they
are compressed. For attention the ranks change from tokens of all heads to heads of all tokens and
back (Jacobs et al. 2023, DeepSpeed-Ulysses, section 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from orbitlite.model.distance import Nearness
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.tasks import Tasks
from orbitlite.parallel.collectives import exchange, gather_from, scatter_to


@dataclass
class Span:
    """How many tokens the whole sample has in this pass."""

    length: int = 0


class UlyssesAttention(nn.Module):
    """Attention on some heads of all tokens, between two exchanges.

    Parameters
    ----------
    kernel : nn.Module
        Attention on whole sequences.
    span : Span
    group : ProcessGroup
    """

    def __init__(self, kernel: nn.Module, span: Span, group: dist.ProcessGroup) -> None:
        super().__init__()
        self.kernel = kernel
        self._span, self._group, self._size = span, group, dist.get_world_size(group)

    def forward(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        counts: Tensor | None,
        nearness: Nearness | None = None,
    ) -> Tensor:
        """Attend; q, k, v and the result are (B, A, n, d) of the own tokens.

        Counts (B, N) and nearness are of all.
        """
        ranks, length = self._size, self._span.length
        b, heads, n, width = q.shape
        parts = torch.stack([q, k, v]).view(3, b, ranks, heads // ranks, n, width)
        tokens = exchange(parts.movedim(2, 0), self._group)
        # What fills the last ranks up stands at the end: it is cut off and attends to nothing.
        q, k, v = tokens.permute(1, 2, 3, 0, 4, 5).flatten(3, 4)[..., :length, :].unbind(0)
        if nearness is not None:
            mine = nearness.queries.chunk(ranks, dim=1)[dist.get_rank(self._group)]
            nearness = Nearness(mine, nearness.keys)
        mixed = F.pad(self.kernel(q, k, v, counts, nearness), (0, 0, 0, ranks * n - length))
        mixed = mixed.view(b, heads // ranks, ranks, n, width).movedim(2, 0)
        return exchange(mixed, self._group).movedim(0, 1).reshape(b, heads, n, width)


class TokenDropout(nn.Module):
    """Dropout that one process would draw: for all tokens, of which the own ones are kept."""

    def __init__(self, dropout: nn.Dropout, span: Span, group: dist.ProcessGroup) -> None:
        super().__init__()
        self.p = dropout.p
        self._span, self._group = span, group

    def forward(self, x: Tensor) -> Tensor:
        """Drop from (B, n, D)."""
        if not (self.training and self.p):
            return x
        whole = F.dropout(x.new_ones(len(x), self._span.length, x.shape[-1]), self.p)
        n, rank = x.shape[1], dist.get_rank(self._group)
        mine = whole[:, rank * n : (rank + 1) * n]
        return x * F.pad(mine, (0, 0, 0, n - mine.shape[1]))


def share_tokens(model: Downscaler | Tasks, group: dist.ProcessGroup) -> None:
    """Split positions and tokens of each sample over the ranks of a group, in place."""
    span, positions = Span(), Span()
    for block in model.blocks:
        parts: Any = block
        parts.attention.kernel = UlyssesAttention(parts.attention.kernel, span, group)
        parts.dropout = TokenDropout(parts.dropout, span, group)
    _hold_own(model.channels, 2, positions, group)
    _hold_own(model.blocks, 1, span, group)


def _hold_own(module: nn.Module, count: int, span: Span, group: dist.ProcessGroup) -> None:
    """Let a module work on this rank's run of axis 1 of its first inputs; its output is whole."""

    def enter(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        span.length = inputs[0].shape[1]
        return *(scatter_to(tensor, group) for tensor in inputs[:count]), *inputs[count:]

    def leave(module: nn.Module, inputs: Any, tokens: Tensor) -> Tensor:
        return gather_from(tokens, span.length, group)

    module.register_forward_pre_hook(enter)
    module.register_forward_hook(leave)
