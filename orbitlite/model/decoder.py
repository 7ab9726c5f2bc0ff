"""From tokens to fine fields: de-patching head, residual path, output constraints."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orbitlite.model.config import DownscalerConfig
from orbitlite.model.cost import Cost, Flops, Pass
from orbitlite.model.interpolation import pad
from orbitlite.registry import Registry


class Decoder(nn.Module):
    """The part of a network that makes corrections on the fine grid of tokens.

    Parameters
    ----------
    config : DownscalerConfig
    context : int
        Maps of the context.

    Attributes
    ----------
    members : int
        Members M that it makes of one field of tokens; one where it is deterministic.
    """

    members = 1

    def __init__(self, config: DownscalerConfig, context: int) -> None:
        super().__init__()

    def forward(self, tokens: Tensor, context: Tensor, wraps: Tensor) -> Tensor:
        """Return corrections: a gain and an offset of each target.

        Parameters
        ----------
        tokens : Tensor of shape (B, h, w, D)
            Of patches; B counts the members of the trunk as samples.
        context : Tensor of shape (B, 4 K + S, fH, fW)
            Of the interpolated coarse targets: standardised, in units of a correction, what bicubic
            differs from bilinear, whether known; then the standardised fine statics.
        wraps : Tensor of shape (B,), bool
            Which samples are periodic in longitude.

        Returns
        -------
        Tensor of shape (B, M, 2 K, fH, fW)
            The K gains, dimensionless, then the K offsets, in units of `Downscaler.target_scale`.
        """
        raise NotImplementedError


DECODERS = Registry[type[Decoder]]("decoder")
"""By the name that `DownscalerConfig.decoder` states."""


def feature_maps(embed_dim: int) -> int:
    """Return how many maps on the fine grid `FineDecoder` makes of tokens of a width.

    Examples
    --------
    >>> feature_maps(64), feature_maps(1024)
    (8, 32)
    """
    return max(8, embed_dim // 32)


@DECODERS.register("convolutional")
class FineDecoder(Decoder):
    """Turn tokens into corrections of the interpolated coarse targets.

    The head maps each token to a few feature maps on the fine grid (linear, then pixel shuffle);
    two 3x3 convolutions join them with the interpolated coarse targets and the fine statics. The
    published network adds a token path and a convolution path that never meet; joined, the
    synoptic state decides how the terrain acts.

    Parameters
    ----------
    config : DownscalerConfig
    context : int
        Maps of the context.
    """

    def __init__(self, config: DownscalerConfig, context: int) -> None:
        super().__init__(config, context)
        self.scale = config.patch_size * config.factor
        self.features = feature_maps(config.embed_dim)
        self.head = nn.Linear(config.embed_dim, self.features * self.scale**2)
        width = 2 * self.features
        self.mix = nn.Conv2d(self.features + context, width, 3)
        self.out = nn.Conv2d(width, 2 * len(config.targets), 3)
        self.dropout = nn.Dropout2d(config.dropout)
        # The first prediction is the interpolated field.
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, tokens: Tensor, context: Tensor, wraps: Tensor) -> Tensor:
        """Return corrections (B, 1, 2 K, fH, fW); see `Decoder`."""
        b, rows, columns, _ = tokens.shape
        # Channels last: convolutions of few channels are several times faster so on a CPU.
        maps = self.head(tokens.flatten(1, 2)).view(b, rows, columns, self.scale, self.scale, -1)
        maps = maps.transpose(2, 3).reshape(b, rows * self.scale, -1, self.features)
        maps = maps[:, : context.shape[-2], : context.shape[-1]].permute(0, 3, 1, 2)
        context = context.to(maps.dtype, memory_format=torch.channels_last)
        joined = pad(torch.cat([maps, context], dim=1), 2, wraps)
        out: Tensor = self.out(self.dropout(F.gelu(self.mix(joined))))
        return out.unsqueeze(1)

    def cost(self, size: Pass) -> Cost:
        """State what a pass takes: tokens, joined maps, and maps before and behind the GELU."""
        columns, dim = self.head.weight.shape
        width, joined = self.mix.weight.shape[:2]
        patches, mixed = size.batch * size.patches, size.fine_cells(2)
        head = 2.0 * patches * dim * columns
        out = size.fine_cells() * width * self.out.weight.shape[0]
        convolutions = 2.0 * 9 * (mixed * joined * width + out)
        maps = size.fine_cells(4) * joined + 2 * mixed * width
        return Cost(
            saved=(patches * dim + maps) * size.low,
            room=size.fine_cells(4) * (2 * width + joined) * size.low,
            flops={
                "head": Flops(head, 2 * head),
                "convolutions": Flops(convolutions, 2 * convolutions),
            },
        )


def block_mean(fine: Tensor, weights: Tensor, factor: int) -> Tensor:
    """Area-weighted mean of the fine cells of each coarse cell.

    Parameters
    ----------
    fine : Tensor of shape (B, M, K, fH, fW)
    weights : Tensor of shape (B, fH)
        Share of each fine row in its coarse row (`row_shares`).
    factor : int

    Returns
    -------
    Tensor of shape (B, M, K, H, W)
    """
    *lead, height, width = fine.shape
    cut = (fine * weights[:, None, None, :, None]).view(
        *lead, height // factor, factor, width // factor, factor
    )
    return cut.sum(dim=-3).mean(dim=-1)


def row_shares(lat_edges: Tensor, factor: int) -> Tensor:
    """Share of each fine row in the area of its coarse row, for `factor` equal parts in latitude.

    Parameters
    ----------
    lat_edges : Tensor of shape (B, H + 1)
        Coarse edges in degrees.
    factor : int

    Returns
    -------
    Tensor of shape (B, factor H), float32
        The area between two latitudes is proportional to the difference of their sines.
    """
    edges = torch.deg2rad(lat_edges.double())
    steps = torch.arange(factor + 1, device=edges.device, dtype=edges.dtype) / factor
    fine = edges[:, :-1, None] + (edges[:, 1:] - edges[:, :-1])[..., None] * steps
    share = fine.sin().diff(dim=-1)
    return (share / share.sum(dim=-1, keepdim=True)).flatten(1).float()


def conserve(fine: Tensor, coarse: Tensor, shares: Tensor, factor: int, scale: bool) -> Tensor:
    """Make the mean of each coarse cell's fine cells equal to the coarse value.

    Parameters
    ----------
    fine : Tensor of shape (B, M, K, fH, fW)
        Prediction; non-negative if `scale`.
    coarse : Tensor of shape (B, 1, K, H, W)
        Coarse field; where it is NaN nothing is changed.
    shares : Tensor of shape (B, fH)
        See `row_shares`.
    factor : int
    scale : bool
        Multiply (keeps zero and sign; Harder et al. 2023, "Hard-Constrained Deep Learning for
        Climate Downscaling", multiplicative layer) or else add (their additive layer).

    Returns
    -------
    Tensor of shape (B, M, K, fH, fW)
    """
    known = torch.isfinite(coarse)
    wanted = torch.where(known, coarse, torch.zeros_like(coarse))
    if scale:
        # An all-dry prediction under a wet coarse cell becomes uniform.
        fine = fine + 1e-6
        change = wanted.clamp_min(0) / block_mean(fine, shares, factor)
        change = torch.where(known, change, torch.ones_like(change))
        return fine * change.repeat_interleave(factor, -2).repeat_interleave(factor, -1)
    change = wanted - block_mean(fine, shares, factor)
    change = torch.where(known, change, torch.zeros_like(change))
    return fine + change.repeat_interleave(factor, -2).repeat_interleave(factor, -1)
