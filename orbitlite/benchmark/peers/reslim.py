"""Reslim, trained: the reference implementation among the peers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orbitlite.benchmark.peers.size import Size
from orbitlite.benchmark.reslim import ReslimReference
from orbitlite.errors import InputError
from orbitlite.model.config import DownscalerConfig


class Reslim(nn.Module):
    """`ReslimReference` with width, depth, heads and patches of the config.

    It sees the fine statics as means over coarse cells, as the published one sees its four, and the
    coarse targets twice: among the variables and in its residual path.

    Parameters
    ----------
    size : Size
    config : DownscalerConfig

    Raises
    ------
    InputError
        If a target is no input.
    """

    def __init__(self, size: Size, config: DownscalerConfig) -> None:
        super().__init__()
        self.factor, p = size.factor, config.patch_size
        self.margins = (0, -size.width % p, 0, -size.height % p)  # to whole patches
        if absent := [name for name in config.targets if name not in config.inputs]:
            raise InputError(f"reslim reads coarse targets, and {', '.join(absent)} is no input")
        self.targets = [config.inputs.index(name) for name in config.targets]
        self.others = [i for i in range(size.inputs) if i not in self.targets]
        self.network = ReslimReference(
            size.inputs + size.statics, size.targets, config.embed_dim, config.depth,
            config.num_heads, p, size.factor, statics=size.statics,
            height=size.height + self.margins[3], width=size.width + self.margins[1],
            mlp_ratio=config.mlp_ratio,
        )  # fmt: skip

    def forward(self, x: Tensor, statics: Tensor) -> Tensor:
        """Return (B, K, fH, fW) of inputs (B, C, H, W) and statics (B, S, fH, fW)."""
        f, (height, width) = self.factor, x.shape[-2:]
        means = F.avg_pool2d(statics, f) if statics.shape[1] else x[:, :0]
        x = torch.cat([x[:, self.targets], means, x[:, self.others]], dim=1)
        out: Tensor = self.network(F.pad(x, self.margins, mode="replicate"))
        return out[..., : f * height, : f * width]
