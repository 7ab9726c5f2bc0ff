"""Cross-channel attention in absorbed form: C channels of a patch become one token.

ClimaX (Nguyen et al. 2023, section 3.1), ORBIT-2 and D-CHAG embed each channel's patch as
t_c = E_c x_c + e_c and let one learned query attend over the C tokens. Nothing non-linear stands
between E_c and the key and value projections, so both are folded into per-channel weights that act
on the patch itself, and the tokens (B, L, C, D), their keys and their values are never formed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def to_patches(fields: Tensor, patch_size: int) -> Tensor:
    """Cut fields into patches.

    Parameters
    ----------
    fields : Tensor of shape (B, C, H, W)
        H and W are multiples of `patch_size`.
    patch_size : int

    Returns
    -------
    Tensor of shape (B, L, C, P)
        L runs row by row over the H/p x W/p patches, P row by row inside each.
    """
    b, c, height, width = fields.shape
    p = patch_size
    cut = fields.reshape(b, c, height // p, p, width // p, p)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(b, -1, c, p * p)


class ChannelAttention(nn.Module):
    """Aggregate the channels of each patch by attention from one learned query.

    With head width d = D / A and u_a = W_K,a^T q_a / sqrt(d):

    - the score of channel c in head a is s_{a,c} . x_c + b_{a,c}, with s_{a,c} = E_c^T u_a and
      b_{a,c} = u_a . e_c;
    - the output of head a is sum_c alpha_{a,c} (W_V,a E_c x_c + W_V,a e_c) + b_V,a: one product of
      the weighted, one-extended patches (C (P + 1)) with a folded (C (P + 1), d) matrix.

    A key bias would shift every score alike and is left out; the query is a parameter, so a query
    projection would be redundant. Otherwise it equals `torch.nn.MultiheadAttention` on the tokens.

    Parameters
    ----------
    channels : int
        Number of channels C.
    patch_cells : int
        Cells of a patch, P.
    embed_dim : int
        Width D.
    num_heads : int
        Heads A.
    """

    def __init__(self, channels: int, patch_cells: int, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.embed_weight = nn.Parameter(torch.empty(channels, embed_dim, patch_cells))
        self.embed_bias = nn.Parameter(torch.empty(channels, embed_dim))
        self.query = nn.Parameter(torch.empty(embed_dim))
        self.key_weight = nn.Parameter(torch.empty(embed_dim, embed_dim))
        self.value_weight = nn.Parameter(torch.empty(embed_dim, embed_dim))
        self.value_bias = nn.Parameter(torch.zeros(embed_dim))
        self.out = nn.Linear(embed_dim, embed_dim)
        self.empty_token = nn.Parameter(torch.zeros(embed_dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw fresh weights: tokens of unit size, Xavier projections, a query of unit size."""
        nn.init.normal_(self.embed_weight, std=1 / math.sqrt(self.embed_weight.shape[-1]))
        nn.init.normal_(self.embed_bias, std=0.5)
        nn.init.normal_(self.query)
        nn.init.xavier_uniform_(self.key_weight)
        nn.init.xavier_uniform_(self.value_weight)

    def forward(self, patches: Tensor, present: Tensor) -> Tensor:
        """Aggregate.

        Parameters
        ----------
        patches : Tensor of shape (B, L, C, P)
            Normalised values; missing cells hold zeros.
        present : Tensor of shape (B, L, C), bool
            Which channels have at least one valid cell in the patch.

        Returns
        -------
        Tensor of shape (B, L, D)
            Where no channel is present, the learned `empty_token`.
        """
        score_weight, score_bias = self._folded_scores()
        scores = torch.einsum("blcp,acp->blac", patches, score_weight) + score_bias
        absent = ~present.unsqueeze(2)
        # A finite fill keeps the gradient of an all-absent patch free of NaN.
        alpha = scores.masked_fill(absent, torch.finfo(scores.dtype).min).softmax(dim=-1)
        ones = torch.ones_like(patches[..., :1])
        extended = torch.cat([patches, ones], dim=-1).flatten(-2)
        weighted = alpha.repeat_interleave(patches.shape[-1] + 1, dim=-1) * extended.unsqueeze(2)
        heads = torch.einsum("blak,akd->blad", weighted, self._folded_values())
        out: Tensor = self.out(heads.flatten(-2) + self.value_bias)
        return torch.where(present.any(dim=-1, keepdim=True), out, self.empty_token.to(out.dtype))

    def _folded_scores(self) -> tuple[Tensor, Tensor]:
        """Return s (A, C, P) and b (A, C)."""
        width = self.query.shape[0] // self.num_heads
        query = self.query.view(self.num_heads, width) / math.sqrt(width)
        key = self.key_weight.view(self.num_heads, width, -1)
        u = torch.einsum("ai,aid->ad", query, key)
        return torch.einsum("cdp,ad->acp", self.embed_weight, u), u @ self.embed_bias.T

    def _folded_values(self) -> Tensor:
        """Return W_V [E_c, e_c] as (A, C (P + 1), d)."""
        embedding = torch.cat([self.embed_weight, self.embed_bias.unsqueeze(-1)], dim=-1)
        channels, dim, extended = embedding.shape
        flat = embedding.transpose(1, 2).reshape(channels * extended, dim)
        folded = flat @ self.value_weight.T
        return folded.view(channels * extended, self.num_heads, -1).transpose(0, 1)
