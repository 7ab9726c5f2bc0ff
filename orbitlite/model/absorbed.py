"""The kernel of absorbed channel attention: bounded memory, recomputed in the backward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

WORKSPACE = {"cpu": 4 * 2**20, "cuda": 256 * 2**20}
"""Bytes that the weighted patches of a chunk may take: a cache's worth, or few kernel launches."""


def absorbed_attention(
    patches: Tensor,
    share: Tensor,
    score_weight: Tensor,
    score_bias: Tensor,
    values: Tensor,
    workspace: int | None = None,
) -> Tensor:
    """Mix the channels of each patch by folded scores and values.

    score[n, a, c] = score_weight[a, c] . x[n, c] + score_bias[a, c] k[n, c], alpha = softmax over
    the channels with k > 0, out[n, a] = sum_c alpha[n, a, c] [x[n, c], k[n, c]] . values[a, c].

    Positions are taken in chunks and nothing but the inputs is kept for the backward pass, so that
    memory beyond inputs and output is bounded by `workspace`, whatever the number of channels and
    positions. Scores and their softmax are in float32 also under autocast.

    Parameters
    ----------
    patches : Tensor of shape (n, C, P)
        Zeros where missing.
    share : Tensor of shape (n, C)
        k: share of the patch's cells that are there; one of whole patches.
    score_weight : Tensor of shape (A, C, P)
    score_bias : Tensor of shape (A, C)
    values : Tensor of shape (A, C (P + 1), d)
    workspace : int, optional
        Bytes for the weighted patches of a chunk; a chunk has at least one position. None: that of
        `WORKSPACE` for the device.

    Returns
    -------
    Tensor of shape (n, A, d)
        Zeros weigh alike where no channel is present: overwrite such positions.
    """
    device = patches.device.type
    size = workspace or WORKSPACE.get(device, WORKSPACE["cuda"])
    low = patches.dtype
    if torch.is_autocast_enabled(device):
        low = torch.get_autocast_dtype(device)
    with torch.autocast(device, enabled=False):
        wide = torch.promote_types(patches.dtype, torch.float32)
        out: Tensor = _AbsorbedAttention.apply(
            patches.to(wide), share.to(wide), score_weight.to(wide), score_bias.to(wide),
            values.to(low), size,
        )  # fmt: skip
    return out


class _AbsorbedAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        patches: Tensor,
        share: Tensor,
        score_weight: Tensor,
        score_bias: Tensor,
        values: Tensor,
        workspace: int,
    ) -> Tensor:
        ctx.save_for_backward(patches, share, score_weight, score_bias, values)
        ctx.workspace = workspace
        parts = []
        for rows in _chunks(patches, values, workspace):
            extended, _, weighted = _weigh(
                patches[rows], share[rows], score_weight, score_bias, values.dtype
            )
            del extended
            # (A, n, C (P + 1)) @ (A, C (P + 1), d)
            parts.append(torch.bmm(weighted, values).transpose(0, 1))
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        patches, share, score_weight, score_bias, values = ctx.saved_tensors
        heads, channels, cells = score_weight.shape
        to_patches = []
        to_weight, to_bias = torch.zeros_like(score_weight), torch.zeros_like(score_bias)
        to_values = torch.zeros_like(values, dtype=patches.dtype)
        for rows in _chunks(patches, values, ctx.workspace):
            extended, alpha, weighted = _weigh(
                patches[rows], share[rows], score_weight, score_bias, values.dtype
            )
            gradient = upstream[0][rows].transpose(0, 1)
            to_values += torch.bmm(weighted.transpose(1, 2), gradient)
            del weighted
            # What reaches each weighted patch, (A, n, C, P + 1).
            mixed = torch.bmm(gradient, values.transpose(1, 2)).to(patches.dtype)
            mixed = mixed.view(heads, -1, channels, cells + 1)
            to_alpha = (mixed * extended).sum(-1)
            to_score = alpha * (to_alpha - (alpha * to_alpha).sum(-1, keepdim=True))
            to_bias += (to_score * share[rows]).sum(1)
            # Batched over channels: (C, A, n) @ (C, n, P)
            columns = patches[rows].transpose(0, 1)
            to_weight += torch.bmm(to_score.permute(2, 0, 1), columns).transpose(0, 1)
            if ctx.needs_input_grad[0]:
                direct = (alpha.unsqueeze(-1) * mixed[..., :-1]).sum(0)
                to_patches.append(direct + torch.einsum("anc,acp->ncp", to_score, score_weight))
        return (
            torch.cat(to_patches) if to_patches else None,
            None, to_weight, to_bias, to_values.to(values.dtype), None,
        )  # fmt: skip


def _chunks(patches: Tensor, values: Tensor, workspace: int) -> list[slice]:
    heads, width = values.shape[:2]
    step = max(1, workspace // (heads * width * patches.element_size()))
    return [slice(start, start + step) for start in range(0, patches.shape[0], step)]


def _weigh(
    patches: Tensor, share: Tensor, score_weight: Tensor, score_bias: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Return [x, k] (n, C, P + 1), alpha (A, n, C) and alpha [x, k] (A, n, C (P + 1))."""
    # Batched over channels: (C, n, P) @ (C, P, A)
    scores = torch.bmm(patches.transpose(0, 1), score_weight.permute(1, 2, 0)).permute(2, 1, 0)
    scores = scores + score_bias.unsqueeze(1) * share
    # A finite fill keeps positions without any channel free of NaN.
    alpha = scores.masked_fill(share == 0, torch.finfo(scores.dtype).min).softmax(dim=-1)
    extended = torch.cat([patches, share.unsqueeze(-1)], dim=-1)
    weighted = (alpha.unsqueeze(-1) * extended).flatten(2)
    return extended, alpha, weighted.to(dtype)
