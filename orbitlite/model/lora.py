"""Low-rank adapters: what fine-tuning adds to the linear layers of the blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orbitlite.model.cost import Cost, Flops, Pass
from orbitlite.model.downscaler import Downscaler
from orbitlite.model.transformer import Block

_A, _B = ".lora_a", ".lora_b"


class LowRankLinear(nn.Linear):
    """W x + b + (alpha / r) B A x, with A of r rows and B of r columns (Hu et al. 2022, LoRA, 4.1).

    B is zero at first, so that nothing changes. The weights W and b are called as before.

    Parameters
    ----------
    linear : nn.Linear
        Its weights are taken over, not copied.
    rank : int
        r.
    alpha : float
    device : device, optional
        Of A and B. None: that of W.
    """

    def __init__(
        self, linear: nn.Linear, rank: int, alpha: float, device: torch.device | None = None
    ) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.scale = alpha / rank
        own = partial(linear.weight.new_empty, device=device)
        self.lora_a = nn.Parameter(own((rank, linear.in_features)))
        self.lora_b = nn.Parameter(own((linear.out_features, rank)).zero_())
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """Turn features (..., in) into (..., out)."""
        added = F.linear(F.linear(x, self.lora_a), self.lora_b)
        return super().forward(x) + self.scale * added

    def cost(self, size: Pass) -> Cost:
        """State what the adapter adds to the linear layer in a pass."""
        rank = self.lora_a.shape[0]
        narrow = size.own_tokens * rank * size.low
        wide = size.own_tokens * self.out_features * size.low
        product = 2.0 * size.own_tokens * rank * (self.in_features + self.out_features)
        return Cost(
            saved=narrow,
            results=narrow + wide,
            touched=2.0 * wide,
            flops={"adapters": Flops(product, 2 * product, product)},
        )


def adapt(network: Downscaler, rank: int, alpha: float, device: torch.device | None = None) -> None:
    """Add adapters to query, key, value, output and MLP of each block, in place.

    Parameters
    ----------
    network : Downscaler
        With the trunk `vit`.
    rank : int
    alpha : float
    device : device, optional
        Of the adapters, as for `LowRankLinear`.
    """
    for block in network.blocks:
        assert isinstance(block, Block)
        for owner, name in (
            (block.attention, "qkv"), (block.attention, "out"), (block.mlp, "0"), (block.mlp, "2"),
        ):  # fmt: skip
            setattr(owner, name, LowRankLinear(getattr(owner, name), rank, alpha, device))


def is_adapter(name: str) -> bool:
    """Tell by its name whether a weight is that of an adapter."""
    return name.endswith((_A, _B))


def merged(weights: Mapping[str, Tensor], rank: int, alpha: float) -> dict[str, Tensor]:
    """Return the weights of the network without adapters that gives the same: W + (alpha / r) B A.

    Parameters
    ----------
    weights : mapping of str to Tensor
        Of the network with adapters.
    rank : int
    alpha : float
    """
    found = {name: value for name, value in weights.items() if not is_adapter(name)}
    for name, a in weights.items():
        if name.endswith(_A):
            layer = name.removesuffix(_A)
            added = weights[f"{layer}{_B}"].double() @ a.double()
            weight = f"{layer}.weight"
            found[weight] = (found[weight].double() + alpha / rank * added).to(a.dtype)
    return found
