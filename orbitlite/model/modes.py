"""Modes: a linear response of the whole fine field to patterns of the whole coarse field."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orbitlite.model.channels import Exchange
from orbitlite.model.columns import Columns
from orbitlite.model.cost import Cost, Flops, Pass
from orbitlite.model.position import FEATURES, sphere_features

# Anomalies cancel in a mean over the grid; this brings moments back to the size of one. The second
# lets the response grow as fast as the rest of the network learns.
_MOMENT, _RESPONSE = 30.0, 20.0


class GroupAmplitudes(nn.Module):
    """Share of a group's channels in the amplitudes of the modes.

    Parameters
    ----------
    channels, modes : int
        Channels of the group and number of modes R.
    """

    def __init__(self, channels: int, modes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(modes, channels, modes + 1))
        nn.init.normal_(self.weight, std=1 / math.sqrt(channels * (modes + 1)))

    def forward(self, moments: Tensor) -> Tensor:
        """Turn moments (B, c, R + 1) into amplitudes (B, R)."""
        return torch.einsum("bck,rck->br", moments, self.weight)


class Modes(nn.Module):
    """Add to each fine cell a linear function of all coarse fields.

    Each channel is projected on R patterns and on its mean over the grid,
    m_{c,k} = sum_j w_j phi_k(j) x_{c,j} with areas w_j that sum to one; the moments make R
    amplitudes a = W m; the response at a fine cell i is sum_r psi_r(i) a_r. The patterns phi and
    psi are small networks of the place (and, for psi, of the fine statics): the trunk of a DeepONet
    (Lu et al. 2021, equation 2) whose branch is linear. It is a regression of the fine field on the
    coarse one of at most rank R. Being linear it goes on beyond the amounts of the training period,
    where a transformer bends; and the mean over the grid belongs to one region.

    Parameters
    ----------
    groups : sequence of sequence of int
        Channel groups, of which each holds its own weights.
    statics, targets, modes : int
        S, K and R.
    held : sequence of int, optional
        Groups held here, ascending; None: all.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[int]],
        statics: int,
        targets: int,
        modes: int,
        held: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        kept = range(len(groups)) if held is None else held
        columns = sorted(column for g in kept for column in groups[g])
        self._by_group = Columns([columns.index(column) for g in kept for column in groups[g]])
        self._sizes = [len(groups[g]) for g in kept]
        seeds = torch.randint(2**31, (len(groups),), device="cpu").tolist()
        self.groups = nn.ModuleDict()
        for g in kept:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seeds[g])
                self.groups[str(g)] = GroupAmplitudes(len(groups[g]), modes)
        self.exchange: nn.Module = Exchange()
        self.coarse = nn.Linear(FEATURES, modes)
        self.fine = nn.Linear(FEATURES + statics, modes)
        self.mix = nn.Linear(modes, modes)
        # The first prediction is that of the network without modes.
        self.scale = nn.Parameter(torch.zeros(targets, modes))

    def forward(
        self, x: Tensor, edges: tuple[Tensor, Tensor], statics: Tensor, factor: int
    ) -> Tensor:
        """Respond.

        Parameters
        ----------
        x : Tensor of shape (B, C, H, W)
            Standardised anomalies of the held channels, linear in physical units; zero where
            missing.
        edges : tuple of Tensor of shape (B, H + 1), (B, W + 1)
            Latitude and longitude of the coarse cells' edges in degrees.
        statics : Tensor of shape (B, S, fH, fW)
            Standardised.
        factor : int
            f.

        Returns
        -------
        Tensor of shape (B, K, fH, fW)
        """
        amplitudes = self._amplitudes(x, edges) * _RESPONSE
        places = sphere_features(*(_refined(e, factor) for e in edges)).to(x.dtype)
        places = torch.cat([places, statics.movedim(1, -1)], dim=-1)
        # psi = mix(GELU(.)): the amplitudes are folded into `mix`, so psi is never formed.
        weighted = amplitudes[:, None] * self.scale
        folded, constant = weighted @ self.mix.weight, weighted @ self.mix.bias
        hidden = F.gelu(self.fine(places))
        return torch.einsum("bhwk,btk->bthw", hidden, folded) + constant[..., None, None]

    def _amplitudes(self, x: Tensor, edges: tuple[Tensor, Tensor]) -> Tensor:
        """Return the amplitudes (B, R)."""
        places = sphere_features(*edges).to(x.dtype)
        patterns = F.gelu(self.coarse(places))
        patterns = torch.cat([patterns, torch.ones_like(patterns[..., :1])], dim=-1)
        rows = torch.deg2rad(edges[0].double()).sin().diff(dim=-1).abs()
        areas = (rows / rows.sum(dim=-1, keepdim=True) / x.shape[-1]).to(x.dtype)
        moments = torch.einsum("bchw,bhwk->bck", x * areas[:, None, :, None], patterns) * _MOMENT
        own = self._by_group(moments).split(self._sizes, dim=1)
        parts = [unit(part) for unit, part in zip(self.groups.values(), own, strict=True)]
        tokens = torch.stack(parts, dim=1).unsqueeze(1)
        seen = torch.ones(tokens.shape[:3], dtype=torch.bool, device=x.device)
        everyone: Tensor = self.exchange(tokens, seen)[0]
        return everyone.sum(dim=(1, 2))

    def cost(self, size: Pass) -> Cost:
        """State what a pass takes: places, patterns before and behind the GELU, moments."""
        channels = len(self._by_group)
        (targets, modes), features = self.scale.shape, self.fine.weight.shape[1]
        cells, fine = size.batch * size.height * size.width, size.fine_cells()
        # Places and fields need no gradient: of these products that of the weights is left.
        fixed = cells * (FEATURES * modes + channels * (modes + 1)) + fine * features * modes
        amplitudes = size.batch * (channels * (modes + 1) * modes + targets * modes**2)
        free = amplitudes + fine * targets * modes
        coarse = FEATURES + 3 * modes + 1 + channels
        return Cost(
            saved=(fine * (features + 2 * modes) + cells * coarse) * size.low,
            flops={"modes": Flops(2.0 * (fixed + free), 2.0 * (fixed + 2 * free))},
        )


def _refined(edges: Tensor, factor: int) -> Tensor:
    """Cut each cell into `factor` equal parts: edges (B, n + 1) to (B, factor n + 1)."""
    steps = torch.arange(factor, device=edges.device, dtype=edges.dtype) / factor
    inner = edges[:, :-1, None] + edges.diff(dim=-1)[..., None] * steps
    return torch.cat([inner.flatten(1), edges[:, -1:]], dim=1)
