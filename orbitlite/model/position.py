"""Position and scale features on the sphere: no table tied to one grid."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from orbitlite.model.cost import Cost, Flops, Pass
from orbitlite.model.linear import Linear

# Wavelengths from the whole globe down to 2 pi / 128 rad, about 2.8 degrees.
OCTAVES = 8
FEATURES = 3 + 6 * OCTAVES + 2
"""Features of a place: see `sphere_features`."""


def sphere_features(lat_edges: Tensor, lon_edges: Tensor) -> Tensor:
    """Describe each cell of a latitude-longitude grid by where it is and how large it is.

    Parameters
    ----------
    lat_edges : Tensor of shape (B, h + 1)
        Edges in degrees.
    lon_edges : Tensor of shape (B, w + 1)
        Edges in degrees.

    Returns
    -------
    Tensor of shape (B, h, w, F)
        The unit vector of the centre, sines and cosines of its components times 2^k
        (k < OCTAVES), and the logarithm of the cell's height and width in radians.
    """
    lat, dlat = _centres(torch.deg2rad(lat_edges.double()))
    lon, dlon = _centres(torch.deg2rad(lon_edges.double()))
    return features_of(lat[:, :, None], lon[:, None, :], dlat[:, :, None], dlon[:, None, :])


def features_of(lat: Tensor, lon: Tensor, dlat: Tensor, dlon: Tensor) -> Tensor:
    """Describe cells by centre and extent.

    Parameters
    ----------
    lat, lon, dlat, dlon : Tensor
        In radians, of shapes that broadcast; `dlon` is that of longitude, not along the parallel.

    Returns
    -------
    Tensor of shape (..., F)
        See `sphere_features`.
    """
    shape = (lat + lon).shape
    lat, lon, dlat, dlon = (x.expand(shape) for x in (lat, lon, dlat, dlon))
    unit = torch.stack([lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()], dim=-1)
    octaves = 2.0 ** torch.arange(OCTAVES, device=unit.device, dtype=unit.dtype)
    phase = (unit.unsqueeze(-1) * octaves).flatten(-2)
    # A cell that touches a pole has no width there; keep the logarithm finite.
    width = (dlon * lat.cos()).clamp_min(1e-6)
    size = torch.stack([dlat.clamp_min(1e-6).log(), width.log()], dim=-1)
    return torch.cat([unit, phase.sin(), phase.cos(), size + math.log(32.0)], dim=-1).float()


def _centres(edges: Tensor) -> tuple[Tensor, Tensor]:
    return middle(edges[:, :-1], edges[:, 1:])


def middle(first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """Return the middle between two edges, and how far they are apart."""
    return (first + last) / 2, (last - first).abs()


class SpherePosition(nn.Module):
    """Map `sphere_features` to an offset that is added to the tokens.

    Parameters
    ----------
    embed_dim : int
        Width D.
    """

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.linear = Linear(FEATURES, embed_dim)

    def forward(self, features: Tensor) -> Tensor:
        """Return the offsets (..., D) of places by their features (..., F)."""
        out: Tensor = self.linear(features.to(self.linear.weight.dtype))
        return out

    def cost(self, size: Pass, places: int) -> Cost:
        """State what the offsets of so many places of each sample take."""
        features = size.batch * places * FEATURES
        product = 2.0 * features * self.linear.weight.shape[0]  # features need no gradient
        return Cost(saved=features * size.low, flops={"position": Flops(product, product)})


def patch_edges(edges: Tensor, patch_size: int) -> Tensor:
    """Return the edges of patches (B, h + 1) of those of cells (B, H + 1).

    A last, padded patch is continued at the grid's spacing.
    """
    cells = edges.shape[1] - 1
    kept = edges[:, ::patch_size]
    if cells % patch_size == 0:
        return kept
    step = edges[:, -1:] - edges[:, -2:-1]
    beyond = kept[:, -1:] + step * patch_size
    return torch.cat([kept, beyond], dim=1)
