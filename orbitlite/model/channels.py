"""Hierarchical cross-channel attention in absorbed form: C channels of a patch become one token.

ClimaX (Nguyen et al. 2023, section 3.1), ORBIT-2 and D-CHAG (Tsaris et al. 2025) embed each
channel's patch as t_c = E_c x_c + e_c and let one learned query attend over the C tokens. Nothing
non-linear stands between E_c and the key and value projections, so both are folded into per-channel
weights that act on the patch itself, and the tokens (B, L, C, D), their keys and their values are
never formed.

Here t_c = E_c x_c + k_c e_c with the share k_c of the patch's cells that are there, one of whole
patches: else missing cells, zeros in x_c, would look like cells at the mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from orbitlite.model.absorbed import WORKSPACE, absorbed_attention
from orbitlite.model.columns import Columns
from orbitlite.model.cost import Cost, Flops, Pass, cost_of
from orbitlite.model.linear import Linear

Aggregation = Literal["attention", "linear"]
_UNSEEN = 24.0
"""How far the score of an ignored channel is below the others: it weighs e^-24, even where theirs
are ten below what is usual no more than 1e-6."""


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

    - the score of channel c in head a is s_{a,c} . x_c + k_c b_{a,c}, with s_{a,c} = E_c^T u_a and
      b_{a,c} = u_a . e_c;
    - the output of head a is sum_c alpha_{a,c} (W_V,a E_c x_c + k_c W_V,a e_c) + b_V,a: one product
      of the weighted, extended patches [x_c, k_c] (C (P + 1)) with a folded (C (P + 1), d) matrix.

    A key bias would shift every score alike and is left out; the query is a parameter, so a query
    projection would be redundant. Otherwise it equals `torch.nn.MultiheadAttention` on the tokens.

    To it a sum of the tokens is added, sum_c w_c t_c with learned w_c, in place of the residual
    connection of a transformer's block, which would add the query: what is linear in the channels
    does not have to pass through the softmax. It is folded as well.

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
        self.out = Linear(embed_dim, embed_dim)
        self.sum_weight = nn.Parameter(torch.full((channels,), 1 / math.sqrt(channels)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw fresh weights: tokens of unit size, Xavier projections, a query of unit size."""
        nn.init.normal_(self.embed_weight, std=1 / math.sqrt(self.embed_weight.shape[-1]))
        nn.init.normal_(self.embed_bias, std=0.5)
        nn.init.normal_(self.query)
        nn.init.xavier_uniform_(self.key_weight)
        nn.init.xavier_uniform_(self.value_weight)

    def forward(self, patches: Tensor, share: Tensor) -> Tensor:
        """Aggregate.

        Parameters
        ----------
        patches : Tensor of shape (B, L, C, P)
            Normalised values; missing cells hold zeros.
        share : Tensor of shape (B, L, C)
            Share of the valid cells of each patch: k; of patches that are whole or absent, bool
            does.

        Returns
        -------
        Tensor of shape (B, L, D)
            Without meaning where no channel is present.
        """
        score_weight, score_bias = self._folded_scores()
        heads = absorbed_attention(
            patches.flatten(0, 1), share.flatten(0, 1), score_weight, score_bias,
            self._folded_values(),
        )  # fmt: skip
        out: Tensor = self.out(heads.reshape(*patches.shape[:2], -1) + self.value_bias)
        return out + summed(patches, share, self.embed_weight, self.embed_bias, self.sum_weight)

    @torch.no_grad()
    def ignore(self, channels: Sequence[int]) -> None:
        """Set channels so that they change nothing where others are present, until they learn.

        Their part of the sum is zero, w_c = 0, whose gradient is not. Their score is below all
        others, whatever their values: E_c is made orthogonal to all u_a, and e_c is changed by the
        least that makes every u_a . e_c as low as it should be. As k_c is 1 / P at least, that is P
        times as low as a whole patch asks for.

        Parameters
        ----------
        channels : sequence of int
            Not all of the group.
        """
        queries = self.queries()
        inverse = torch.linalg.pinv(queries)  # (D, A)
        others = [c for c in range(len(self.embed_weight)) if c not in channels]
        least = (queries @ self.embed_bias[others].T).amin(1).clamp_max(0)
        low = inverse @ (self.embed_weight.shape[-1] * (least - _UNSEEN))
        for channel in channels:
            self.sum_weight[channel] = 0
            for own in (self.embed_weight, self.embed_bias):
                own[channel] -= inverse @ (queries @ own[channel])
            self.embed_bias[channel] += low

    def cost(self, size: Pass) -> Cost:
        """State what a pass takes: of the patches, values and shares are kept, and the output."""
        n, heads, (c, dim, p) = size.positions, self.num_heads, self.embed_weight.shape
        # Weighted patches are made anew in both passes; a chunk of them has three tensors.
        weighted = 4.0 * n * heads * c * (p + 1)
        # Weights are folded once a pass; patches need no gradient, scores are computed again.
        values = 2.0 * c * (p + 1) * dim
        folded = 2.0 * dim**2 + 2 * c * (p + 1) * dim * heads + values * dim
        scores, out = 2.0 * n * c * p * heads, 2.0 * n * dim**2
        forward, total = folded + scores + n * values + out, n * values
        low = size.low if size.half else 0  # of patches and shares, for the sum
        folds = 3.0 * 4 * c * (p + 1) * dim  # joined, transposed, folded
        return Cost(
            saved=(4 + low) * n * c * (p + 1) + n * dim * size.low + folds,
            touched=weighted,
            room=3.0 * min(weighted, WORKSPACE[size.device]),
            flops={"channels": Flops(forward + total, 2 * forward + total)},
        )

    def _folded_scores(self) -> tuple[Tensor, Tensor]:
        """Return s (A, C, P) and b (A, C)."""
        u = self.queries()
        return torch.einsum("cdp,ad->acp", self.embed_weight, u), u @ self.embed_bias.T

    def queries(self) -> Tensor:
        """Return what the tokens' scores are products with: u_a of each head, (A, D)."""
        return _folded_query(self.query, self.key_weight, self.num_heads)

    def _folded_values(self) -> Tensor:
        """Return W_V [E_c, e_c] as (A, C (P + 1), d)."""
        embedding = torch.cat([self.embed_weight, self.embed_bias.unsqueeze(-1)], dim=-1)
        flat = embedding.transpose(1, 2).flatten(0, 1)
        folded = flat @ self.value_weight.T
        return folded.view(len(folded), self.num_heads, -1).transpose(0, 1)


class LinearAggregation(nn.Module):
    """Aggregate the channels of each patch with one weight per channel, without softmax.

    The first level of D-CHAG-L (Tsaris et al. 2025): sum_c w_c (E_c x_c + k_c e_c) + bias over the
    present channels, as one product of the extended patches [x_c, k_c] with folded weights.

    Parameters
    ----------
    channels, patch_cells, embed_dim : int
        C, P and D.
    """

    def __init__(self, channels: int, patch_cells: int, embed_dim: int) -> None:
        super().__init__()
        self.embed_weight = nn.Parameter(torch.empty(channels, embed_dim, patch_cells))
        self.embed_bias = nn.Parameter(torch.empty(channels, embed_dim))
        self.channel_weight = nn.Parameter(torch.full((channels,), 1 / math.sqrt(channels)))
        self.bias = nn.Parameter(torch.zeros(embed_dim))
        nn.init.normal_(self.embed_weight, std=1 / math.sqrt(patch_cells))
        nn.init.normal_(self.embed_bias, std=0.5)

    def forward(self, patches: Tensor, share: Tensor) -> Tensor:
        """Aggregate; shapes as for `ChannelAttention`."""
        total = summed(patches, share, self.embed_weight, self.embed_bias, self.channel_weight)
        return total + self.bias

    @torch.no_grad()
    def ignore(self, channels: Sequence[int]) -> None:
        """Set channels so that they change nothing until they learn: w_c = 0."""
        self.channel_weight[list(channels)] = 0

    def cost(self, size: Pass) -> Cost:
        """State what a pass takes: of the patches, values and shares are kept."""
        c, dim, p = self.embed_weight.shape
        product = 2.0 * size.positions * c * (p + 1) * dim
        return Cost(
            saved=size.positions * c * (p + 1) * size.low,
            flops={"channels": Flops(product, product)},
        )


def summed(
    patches: Tensor, share: Tensor, embed_weight: Tensor, embed_bias: Tensor, weight: Tensor
) -> Tensor:
    """Return sum_c w_c (E_c x_c + k_c e_c), as two products with folded weights.

    Parameters
    ----------
    patches : Tensor of shape (B, L, C, P)
    share : Tensor of shape (B, L, C)
    embed_weight : Tensor of shape (C, D, P)
    embed_bias : Tensor of shape (C, D)
    weight : Tensor of shape (C,)

    Returns
    -------
    Tensor of shape (B, L, D)
    """
    folded = (embed_weight * weight[:, None, None]).transpose(1, 2).flatten(0, 1)  # (C P, D)
    biases = embed_bias * weight[:, None]
    low = patches.dtype
    return patches.flatten(2) @ folded.to(low) + share.to(low) @ biases.to(low)


class GroupAttention(nn.Module):
    """Aggregate the tokens of the groups: normalisation, then attention from one learned query.

    To it sum_g t_g / sqrt(G) is added, over the groups that are there, as in `ChannelAttention`.

    The query is folded into the key projection, and values are projected after the mixing, which
    costs G times less: sum_g alpha_g W_V t_g = W_V sum_g alpha_g t_g.

    Parameters
    ----------
    embed_dim, num_heads : int
        D and A.
    """

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(embed_dim)
        self.query = nn.Parameter(torch.randn(embed_dim))
        self.key_weight = nn.Parameter(torch.empty(embed_dim, embed_dim))
        self.value_weight = nn.Parameter(torch.empty(embed_dim, embed_dim))
        self.value_bias = nn.Parameter(torch.zeros(embed_dim))
        self.out = Linear(embed_dim, embed_dim)
        nn.init.xavier_uniform_(self.key_weight)
        nn.init.xavier_uniform_(self.value_weight)

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Aggregate tokens (B, L, G, D) where `present` (B, L, G) to (B, L, D)."""
        total = tokens.masked_fill(~present.unsqueeze(-1), 0).sum(2) / math.sqrt(tokens.shape[2])
        tokens = self.norm(tokens)
        query = _folded_query(self.query, self.key_weight, self.num_heads)
        scores = torch.einsum("blgd,ad->blag", tokens, query.to(tokens.dtype)).float()
        absent = ~present.unsqueeze(2)
        alpha = scores.masked_fill(absent, torch.finfo(scores.dtype).min).softmax(dim=-1)
        mixed = torch.einsum("blag,blgd->blad", alpha.to(tokens.dtype), tokens)
        value = self.value_weight.view(self.num_heads, -1, tokens.shape[-1]).to(tokens.dtype)
        heads = torch.einsum("blad,aed->blae", mixed, value).flatten(2)
        out: Tensor = self.out(heads + self.value_bias)
        return out + total

    def cost(self, size: Pass, groups: int) -> Cost:
        """State what a pass over the tokens of so many groups takes."""
        n, dim, heads = size.positions, len(self.query), self.num_heads
        # Normalisation before and behind, shares of the groups, the mix of each head, its values;
        # which groups are there.
        shares = heads * groups * (4 + (size.low if size.half else 0))
        width = groups * (size.wide + size.low) + (heads + 1) * size.low
        forward = 4.0 * n * groups * dim * heads + 4.0 * n * dim**2 + 2.0 * dim**2
        return Cost(
            saved=n * (width * dim + shares + groups),
            flops={"across": Flops(forward, 2 * forward)},
        )


class Exchange(nn.Module):
    """Where the tokens of groups that other ranks hold come in; here all groups are at hand."""

    def forward(self, tokens: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Turn tokens (B, L, g, D) and presence (B, L, g) of held groups into those of all."""
        return tokens, present


class HierarchicalChannels(nn.Module):
    """Channels to one token per group, groups to one token.

    Parameters
    ----------
    groups : sequence of sequence of int
        Positions of each group's channels among the model's inputs. One group: the flat form of
        ClimaX and ORBIT-2, without a second level.
    patch_cells, embed_dim, num_heads : int
        P, D and A.
    aggregation : {"attention", "linear"}
        First level.
    held : sequence of int, optional
        Groups whose parameters this instance holds, ascending; None: all. Fresh weights of a group
        are the same whichever groups are held.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[int]],
        patch_cells: int,
        embed_dim: int,
        num_heads: int,
        aggregation: Aggregation = "attention",
        held: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.held = list(range(len(groups)) if held is None else held)
        self.columns = sorted(column for g in self.held for column in groups[g])
        place = {column: local for local, column in enumerate(self.columns)}
        self._by_group = Columns([place[column] for g in self.held for column in groups[g]])
        self._sizes = [len(groups[g]) for g in self.held]
        seeds = torch.randint(2**31, (len(groups),), device="cpu").tolist()
        self.groups = nn.ModuleDict()
        for g in self.held:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seeds[g])
                count = len(groups[g])
                self.groups[str(g)] = (
                    ChannelAttention(count, patch_cells, embed_dim, num_heads)
                    if aggregation == "attention"
                    else LinearAggregation(count, patch_cells, embed_dim)
                )
        self.exchange: nn.Module = Exchange()
        self._count = len(groups)
        self.across = GroupAttention(embed_dim, num_heads) if self._count > 1 else None
        self.empty_token = nn.Parameter(torch.zeros(embed_dim))

    def forward(self, patches: Tensor, share: Tensor) -> Tensor:
        """Aggregate.

        Parameters
        ----------
        patches : Tensor of shape (B, L, C, P)
            Of the channels `columns`; missing cells hold zeros.
        share : Tensor of shape (B, L, C)
            Share of the valid cells of each patch; zero where a channel is absent.

        Returns
        -------
        Tensor of shape (B, L, D)
            Where no channel is present, the learned `empty_token`.
        """
        tokens, seen = self.level_one(patches, share)
        if self.across is None:
            out = tokens.squeeze(2)
        else:
            tokens, seen = self.exchange(tokens, seen)
            out = self.across(tokens, seen)
        known = seen.any(dim=-1)
        return torch.where(known.unsqueeze(-1), out, self.empty_token.to(out.dtype))

    def cost(self, size: Pass) -> Cost:
        """State what a pass takes."""
        whole = Cost(saved=size.positions)  # where there is any channel
        for unit in self.groups.values():
            whole += cost_of(unit, size)
        return whole if self.across is None else whole + self.across.cost(size, self._count)

    def level_one(self, patches: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tokens (B, L, g, D) of the held groups, and where they have any channel."""
        if len(self.held) == 1:
            (unit,) = self.groups.values()
            return unit(patches, share).unsqueeze(2), (share > 0).any(dim=-1, keepdim=True)
        parts, has = [], []
        own = (self._by_group(x, 2).split(self._sizes, dim=2) for x in (patches, share))
        for unit, values, there in zip(self.groups.values(), *own, strict=True):
            parts.append(unit(values, there))
            has.append((there > 0).any(dim=-1))
        return torch.stack(parts, dim=2), torch.stack(has, dim=2)


def _folded_query(query: Tensor, key_weight: Tensor, num_heads: int) -> Tensor:
    """Return u_a = W_K,a^T q_a / sqrt(d), shape (A, D)."""
    heads = query.view(num_heads, -1)
    key = key_weight.view(num_heads, -1, len(query))
    return torch.einsum("ai,aid->ad", heads / math.sqrt(heads.shape[1]), key)
