"""Distance: how attention depends on how far apart two places are on the sphere."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

HARMONICS = 3 + 5
"""Features of a place: those of degree one, then those of degree two."""
_SCALE = 30.0
"""Logits per unit of a weight: they have to reach about ten at learning rates of a thousandth."""


class Nearness(NamedTuple):
    """Features whose products are added to the logits of queries and keys.

    Attributes
    ----------
    queries : Tensor of shape (B, A, N, 8)
    keys : Tensor of shape (B, 1, N, 8)
    """

    queries: Tensor
    keys: Tensor


class Distance(nn.Module):
    """Add w_a,1 P_1(cos t) + w_a,2 P_2(cos t) to the logits of head a, with t the arc between.

    P_1(c) = c and P_2(c) = (3 c^2 - 1) / 2 are the first Legendre polynomials: with w_1 > 0 a head
    looks at what is near, with w_1 < 0 at what is opposite, with w_2 > 0 at both, with w_2 < 0 at
    what is a quarter of the globe away. It is the part of a kernel on the sphere that is the same
    everywhere and in all directions. By the addition theorem each P_l is a sum of products of
    spherical harmonics of the two places (`harmonics`), so that queries and keys get a few more
    features, and no N x N table is made. All w begin at zero.

    From the features of position that are added to the tokens such a kernel can be learned as well,
    but as a product of four matrices, of which none tells the others where to go: in short fits it
    is not found (CHANGELOG, far influence).

    Parameters
    ----------
    num_heads : int
        A.
    """

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_heads, 2))

    def forward(self, places: Tensor) -> Nearness:
        """Return what queries and keys get, of `harmonics` (B, N, 8) of their places."""
        weight = _SCALE * self.own_weight()
        by_feature = torch.cat([weight[:, :1].expand(-1, 3), weight[:, 1:].expand(-1, 5)], dim=1)
        queries = by_feature[:, None].to(places.dtype) * places[:, None]
        return Nearness(queries, places[:, None])

    def own_weight(self) -> Tensor:
        """Return the weights (A, 2) of the heads that this process computes."""
        return self.weight


def harmonics(features: Tensor) -> Tensor:
    """Return spherical harmonics of degree one and two.

    Sums of products of those of two places, three of degree one or five of degree two, are P_1 and
    P_2 of the cosine of the arc between (Arfken and Weber 2005, "Mathematical Methods for
    Physicists", equation 12.161, but for the normalisation).

    Parameters
    ----------
    features : Tensor of shape (..., F)
        Of `sphere_features`, which begin with the unit vector.

    Returns
    -------
    Tensor of shape (..., 8)
    """
    x, y, z = features[..., :3].unbind(-1)
    root = math.sqrt(3)
    second = [
        root * x * y, root * y * z, root * z * x, root / 2 * (x**2 - y**2), (3 * z**2 - 1) / 2,
    ]  # fmt: skip
    return torch.stack([x, y, z, *second], dim=-1)
