"""Pre-norm transformer blocks on scaled dot-product attention."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orbitlite.model.cost import Cost, Flops, Pass
from orbitlite.model.distance import HARMONICS, Distance, Nearness
from orbitlite.model.linear import Linear

_WORKSPACE = 2 * 2**20
"""Bytes of a sample inside an MLP at a time, in predictions on a CPU."""


class FusedAttention(nn.Module):
    """softmax(q k^T / sqrt(d) + log count + nearness) v through torch's fused kernel."""

    def forward(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        counts: Tensor | None,
        nearness: Nearness | None = None,
    ) -> Tensor:
        """Attend.

        Parameters
        ----------
        q, k, v : Tensor of shape (B, A, N, d)
        counts : Tensor of shape (B, N), optional
            How many tokens each stands for.
        nearness : Nearness, optional
            What the logits hold of distances.

        Returns
        -------
        Tensor of shape (B, A, N, d)
        """
        if counts is None and nearness is None:
            return F.scaled_dot_product_attention(q, k, v)
        logs = None if counts is None else counts.to(k.dtype).log()[:, None, None, :]
        if q.device.type == "cpu":  # its fused kernel takes one row for all queries
            if nearness is None:
                return F.scaled_dot_product_attention(q, k, v, attn_mask=logs)
            return _widened_attention(q, k, v, None, nearness, logs)
        return _widened_attention(q, k, v, logs, nearness)


class Attention(nn.Module):
    """Multi-head self-attention over tokens (B, N, D).

    No dropout inside the attention: it would rule the fused kernels out. The rows of `qkv` run head
    by head, (A, 3, d), so that any of the heads are a run of rows.

    Parameters
    ----------
    embed_dim, num_heads : int
        D and A.
    distances : bool
        Logits depend on how far apart places are, too (see `Distance`).
    """

    def __init__(self, embed_dim: int, num_heads: int, distances: bool = False) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = Linear(embed_dim, 3 * embed_dim)
        self.out = Linear(embed_dim, embed_dim)
        self.kernel: nn.Module = FusedAttention()
        self.distance = Distance(num_heads) if distances else None
        with torch.no_grad():  # drawn as query, key and value
            for drawn in (self.qkv.weight, self.qkv.bias):
                by_head = drawn.view(3, num_heads, embed_dim // num_heads, -1).transpose(0, 1)
                drawn.copy_(by_head.reshape(drawn.shape))

    def forward(
        self, x: Tensor, counts: Tensor | None = None, places: Tensor | None = None
    ) -> Tensor:
        """Return tokens of the same shape.

        Parameters
        ----------
        x : Tensor of shape (B, N, D)
        counts : Tensor of shape (B, N), optional
            How many tokens each stands for: it adds log(count) to the logits of a key.
        places : Tensor of shape (B, N, 8), optional
            Their `harmonics`, needed with distances.
        """
        b, n, _ = x.shape
        qkv = self.qkv(x).view(b, n, self.num_heads, 3, -1)
        q, k, v = qkv.permute(3, 0, 2, 1, 4).unbind(0)
        nearness = None
        if self.distance is not None:
            assert places is not None
            nearness = self.distance(places.to(q.dtype))
        mixed = self.kernel(q, k, v, counts, nearness)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(b, n, -1))
        return out

    def cost(self, size: Pass) -> Cost:
        """State what a pass takes, but for the linear layers' inputs from outside."""
        dim = self.qkv.weight.shape[1]
        own = self.qkv.weight.shape[0] // 3
        width = own // self.num_heads
        more = HARMONICS * (self.distance is not None)
        counted = size.counted and size.device != "cpu"
        widened = counted or more > 0
        if widened:
            width = _widened(width + more, counted)
        heads = self.num_heads / size.sequence
        # One of query, key, value and output inside; the logarithms of the sums of its weights.
        inside, sums = (size.batch * heads * size.tokens * n for n in (width * size.low, 4))
        given = size.own_tokens * own * size.low
        # Query, key and value are those of `qkv`, or wider; the output is a view, or copied.
        saved = (4 * inside if widened else inside + 3 * given) + sums
        if widened or size.sequence > 1:
            saved += given
        saved += 2 * size.batch * size.tokens * more * size.low  # what is known of places
        linear = 2.0 * size.own_tokens * 4 * dim * own
        product = 2.0 * size.batch * heads * size.tokens**2 * width
        return Cost(
            saved=saved,
            results=3 * given + inside + size.own_tokens * dim * size.low + sums,
            flops={
                "linear": Flops(linear, 2 * linear, linear),
                # Fused kernels keep no scores: five products backward (Dao et al. 2022,
                # FlashAttention).
                "attention": Flops(2 * product, 5 * product, 2 * product),
            },
        )


def _widened_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    logs: Tensor | None,
    nearness: Nearness | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Attend with more in the logits, through kernels that take no mask, or one for all queries.

    Features of queries and keys do it, whose products are added: those of `nearness`, and one for
    `logs` (B, 1, 1, N), one in the query and log(count) in the key. Zeros fill the width up to a
    multiple of eight, as the kernels want it.
    """
    width = q.shape[-1]
    root = width**0.5  # by which the kernel divides
    queries, keys = [q], [k]
    if nearness is not None:
        queries.append(root * nearness.queries)
        keys.append(nearness.keys.expand(-1, k.shape[1], -1, -1))
    if logs is not None:
        queries.append(torch.full_like(q[..., :1], root))
        keys.append(logs.transpose(2, 3).expand(-1, k.shape[1], -1, -1))
    used = sum(part.shape[-1] for part in queries)
    spare = _widened(used - (logs is not None), logs is not None) - used
    zeros = torch.zeros_like(q[..., :1]).expand(-1, -1, -1, spare)
    q, k = torch.cat([*queries, zeros], dim=-1), torch.cat([*keys, zeros], dim=-1)
    v = F.pad(v, (0, used + spare - width))
    return F.scaled_dot_product_attention(q, k, v, mask, scale=1 / root)[..., :width]


def _widened(width: int, counted: bool = True) -> int:
    """Return the next multiple of eight, with room for a count."""
    return -(-(width + counted) // 8) * 8


class Mlp(nn.Sequential):
    """Two linear layers with a GELU between, hidden width `ratio` times D."""

    def __init__(self, embed_dim: int, ratio: float) -> None:
        hidden = int(embed_dim * ratio)
        super().__init__(Linear(embed_dim, hidden), nn.GELU(), Linear(hidden, embed_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens of the same shape, (B, N, D)."""
        if torch.is_grad_enabled() or x.device.type != "cpu" or torch.compiler.is_compiling():
            return self._whole(x)
        # Where nothing is kept of it, what is inside stays in the cache, some tokens at a time.
        first: Any = self[0]
        inside = x.shape[1] * first.weight.shape[0] * x.element_size()
        parts = x.chunk(max(1, math.ceil(inside / _WORKSPACE)), dim=1)
        return torch.cat([self._whole(part) for part in parts], dim=1)

    def _whole(self, x: Tensor) -> Tensor:
        out: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
        return out

    def cost(self, size: Pass) -> Cost:
        """State what a pass takes, but for the input."""
        first: Any = self[0]
        hidden, dim = first.weight.shape
        wide, product = size.own_tokens * hidden * size.low, 2.0 * size.own_tokens * dim * hidden
        return Cost(
            saved=2 * wide,  # before and behind the GELU
            room=2 * wide,
            results=wide + size.own_tokens * dim * size.low,
            # Nothing needs the output of a block's last product again.
            flops={"linear": Flops(2 * product, 4 * product, product)},
        )


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)); dropout on both branches."""

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        mlp_ratio: float,
        dropout: float,
        distances: bool = False,
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(embed_dim)
        self.attention = Attention(embed_dim, num_heads, distances)
        self.mlp_norm = nn.LayerNorm(embed_dim)
        self.mlp = Mlp(embed_dim, mlp_ratio)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, counts: Tensor | None = None, places: Tensor | None = None
    ) -> Tensor:
        """Return tokens of the same shape, (B, N, D); other parameters as for `Attention`."""
        x = x + self.dropout(self.attention(self.attention_norm(x), counts, places))
        out: Tensor = x + self.dropout(self.mlp(self.mlp_norm(x)))
        return out

    def cost(self, size: Pass) -> Cost:
        """State what a pass takes."""
        entries = size.own_tokens * self.attention_norm.weight.shape[0]
        saved = 2.0 * entries * (size.wide + size.low)  # before and behind each normalisation
        if self.dropout.p:
            saved += 2 * entries * (size.low if size.device == "cpu" else 1)  # masks
        mlp = self.mlp.cost(size)
        own = Cost(saved=saved, room=mlp.room + 2 * entries * size.low)
        return own + self.attention.cost(size) + mlp


class Blocks(nn.ModuleList):
    """Blocks one after the other."""

    def forward(
        self, x: Tensor, counts: Tensor | None = None, places: Tensor | None = None
    ) -> Tensor:
        """Return tokens of the same shape, (B, N, D); other parameters as for `Attention`."""
        for block in self:
            x = block(x, counts, places)
        return x
