"""A reference implementation of Reslim, the network published as ORBIT-2, to measure against.

Written from the description of the published computation (Wang et al. 2025, "ORBIT-2: Scaling
Exascale Vision Foundation Models for Weather and Climate Downscaling", SC25,
doi 10.1145/3712285.3771989, and its public configuration of 9.5 million parameters). Each variable
has a patch convolution of its own and all V tokens of a patch are formed; their keys and values are
projected; one learned query attends over them. It is timed by `orbitlite benchmark compression` and
trained by `orbitlite benchmark skill`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STATICS = 4
"""Static fields that the published residual path reads beside the coarse targets."""


class VariableTokens(nn.Module):
    """One convolution of kernel and stride p per variable, plus a variable embedding."""

    def __init__(self, variables: int, patch_size: int, embed_dim: int) -> None:
        super().__init__()
        self.patches = nn.ModuleList(
            nn.Conv2d(1, embed_dim, patch_size, stride=patch_size) for _ in range(variables)
        )
        self.embedding = nn.Parameter(torch.zeros(1, variables, 1, embed_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens (B, V, L, D) of fields (B, V, H, W)."""
        tokens = [patch(x[:, i : i + 1]).flatten(2) for i, patch in enumerate(self.patches)]
        return torch.stack(tokens, dim=1).transpose(2, 3) + self.embedding


class VariableAggregation(nn.Module):
    """Cross-attention of one learned query over the V tokens of each patch."""

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.q = nn.Linear(embed_dim, embed_dim, bias=False)
        self.kv = nn.Linear(embed_dim, 2 * embed_dim, bias=False)
        self.out = nn.Linear(embed_dim, embed_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (B, L, D) from tokens (B, V, L, D)."""
        b, variables, patches, dim = tokens.shape
        rows = tokens.transpose(1, 2).flatten(0, 1)
        kv = self.kv(rows).view(b * patches, variables, 2, self.num_heads, -1)
        key, value = kv.permute(2, 0, 3, 1, 4).unbind(0)
        # Every row has the same query, so it is projected once and not once per row.
        query = self.q(self.query).view(1, self.num_heads, 1, -1).expand(b * patches, -1, -1, -1)
        mixed = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.out(mixed.reshape(b, patches, dim))
        return out


class ViTBlock(nn.Module):
    """Pre-norm block: attention and MLP, each with dropout and stochastic depth."""

    def __init__(
        self, embed_dim: int, num_heads: int, mlp_ratio: float, dropout: float, drop_path: float
    ) -> None:
        super().__init__()
        self.num_heads, self.dropout, self.drop_path = num_heads, dropout, drop_path
        hidden = int(embed_dim * mlp_ratio)
        self.attention_norm = nn.LayerNorm(embed_dim)
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim)
        self.out = nn.Linear(embed_dim, embed_dim)
        self.mlp_norm = nn.LayerNorm(embed_dim)
        self.mlp = nn.Sequential(
            nn.Linear(embed_dim, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, embed_dim),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens of the same shape, (B, L, D)."""
        x = x + self._drop(self._attend(self.attention_norm(x)))
        return x + self._drop(self.mlp(self.mlp_norm(x)))

    def _attend(self, x: Tensor) -> Tensor:
        b, patches, dim = x.shape
        qkv = self.qkv(x).view(b, patches, 3, self.num_heads, dim // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        mixed = self.out(mixed.transpose(1, 2).reshape(b, patches, dim))
        return F.dropout(mixed, self.dropout, self.training)

    def _drop(self, branch: Tensor) -> Tensor:
        """Drop the branch of whole samples (Huang et al. 2016, stochastic depth)."""
        if not self.training or self.drop_path == 0:
            return branch
        keep = 1 - self.drop_path
        return branch * branch.new_empty(len(branch), 1, 1).bernoulli_(keep) / keep


class ResidualPath(nn.Sequential):
    """Coarse targets and statics to the fine grid by two convolutions around a pixel shuffle."""

    def __init__(self, read: int, outputs: int, factor: int, cnn_ratio: int) -> None:
        super().__init__(
            nn.Conv2d(read, cnn_ratio * factor**2, 3, padding=1),
            nn.GELU(),
            nn.PixelShuffle(factor),
            nn.Conv2d(cnn_ratio, outputs, 3, padding=1),
        )


class ReslimReference(nn.Module):
    """The published Reslim computation, without its adaptive compression.

    Parameters
    ----------
    num_inputs : int
        Input variables V: the O targets on the coarse grid, the statics, then the others.
    num_outputs : int
        Target variables O.
    embed_dim, depth, num_heads : int
        Width D, number of blocks, heads.
    patch_size, factor : int
        Coarse cells per patch and fine cells per coarse cell, along one axis.
    statics : int
        Static fields that the residual path reads beside the coarse targets. Published: four.
    height, width : int
        Coarse grid of the position table; other grids interpolate it (bicubic).
    mlp_ratio : float
        Hidden width of a block's MLP over D.
    decoder_depth : int
        Linear layers with GELU before the head's last one.
    cnn_ratio : int
        Feature maps of the residual path on the fine grid.
    dropout, drop_path : float
        Dropout, also on attention weights (torch then forms the L x L matrices in training), and
        stochastic depth of the last block, rising linearly from zero. Published: 0.1 each.

    Raises
    ------
    ValueError
        If `num_inputs` cannot hold the targets and the statics.

    Examples
    --------
    >>> sum(parameter.numel() for parameter in ReslimReference().parameters())
    5451247
    >>> small = ReslimReference(6, 1, embed_dim=16, depth=1, num_heads=2, height=8, width=16)
    >>> small(torch.rand(2, 6, 8, 16)).shape
    torch.Size([2, 1, 32, 64])
    """

    def __init__(
        self,
        num_inputs: int = 23,
        num_outputs: int = 1,
        embed_dim: int = 256,
        depth: int = 6,
        num_heads: int = 4,
        patch_size: int = 2,
        factor: int = 4,
        *,
        statics: int = STATICS,
        height: int = 32,
        width: int = 64,
        mlp_ratio: float = 4.0,
        decoder_depth: int = 4,
        cnn_ratio: int = 4,
        dropout: float = 0.1,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__()
        self.read = num_outputs + statics
        if num_inputs < self.read:
            raise ValueError(
                f"num_inputs: expected at least {self.read}, the {num_outputs} targets "
                f"and {statics} statics, found {num_inputs}"
            )
        self.outputs, self.scale, self.patch_size = num_outputs, patch_size * factor, patch_size
        self.tokens = VariableTokens(num_inputs, patch_size, embed_dim)
        self.aggregation = VariableAggregation(embed_dim, num_heads)
        self.grid = (height // patch_size, width // patch_size)
        self.position = nn.Parameter(sine_cosine_table(*self.grid, embed_dim))
        self.resolution = nn.Linear(1, embed_dim)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            ViTBlock(embed_dim, num_heads, mlp_ratio, dropout, drop_path * i / max(depth - 1, 1))
            for i in range(depth)
        )
        self.norm = nn.LayerNorm(embed_dim)
        hidden = [
            nn.Sequential(nn.Linear(embed_dim, embed_dim), nn.GELU()) for _ in range(decoder_depth)
        ]
        self.head = nn.Sequential(*hidden, nn.Linear(embed_dim, num_outputs * self.scale**2))
        self.smooth = nn.Conv2d(num_outputs, num_outputs, 3, padding=1)
        self.residual = ResidualPath(self.read, num_outputs, factor, cnn_ratio)

    def forward(self, x: Tensor, spacing: float = 625.0) -> Tensor:
        """Downscale.

        Parameters
        ----------
        x : Tensor of shape (B, V, H, W)
            Normalised fields; H and W are multiples of `patch_size`.
        spacing : float
            Spacing of the coarse grid in km.

        Returns
        -------
        Tensor of shape (B, O, fH, fW)
        """
        rows, columns = x.shape[-2] // self.patch_size, x.shape[-1] // self.patch_size
        z = self.aggregation(self.tokens(x)) + self._position(rows, columns)
        z = self.dropout(z + self.resolution(x.new_tensor([spacing])))
        for block in self.blocks:
            z = block(z)
        fine = self.head(self.norm(z)).transpose(1, 2).reshape(len(x), -1, rows, columns)
        fine = self.smooth(F.pixel_shuffle(fine, self.scale))
        out: Tensor = fine + self.residual(x[:, : self.read])
        return out

    def _position(self, rows: int, columns: int) -> Tensor:
        if (rows, columns) == self.grid:
            return self.position
        table = self.position.transpose(1, 2).reshape(1, -1, *self.grid)
        table = F.interpolate(table, (rows, columns), mode="bicubic", align_corners=False)
        return table.flatten(2).transpose(1, 2)


def sine_cosine_table(rows: int, columns: int, embed_dim: int) -> Tensor:
    """Give the initial position table (1, rows columns, D).

    The first half of the width encodes the column, the second the row, each by sines and cosines
    of wavelengths from 2 pi to 10,000 times that (Vaswani et al. 2017, section 3.5).
    """
    quarter = embed_dim // 4
    frequencies = 10_000.0 ** -(torch.arange(quarter) / quarter)
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    phases = [index.reshape(-1, 1) * frequencies for index in (column, row)]
    return torch.cat([f(p) for p in phases for f in (torch.sin, torch.cos)], dim=1).unsqueeze(0)
