"""Presence: the cells in which the inputs say something of a target."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orbitlite.model.columns import Columns
from orbitlite.variables import is_static


class Presence(nn.Module):
    """Tell the coarse cells in which a target can be predicted.

    A target that is among the inputs needs its own coarse value. Any other needs a value of some
    input that changes with time, anywhere in the patch that the cell belongs to: tokens see
    patches. Elsewhere the network would answer with what is usual.

    Parameters
    ----------
    inputs, targets : sequence of str
        Channels; the inputs as this network takes them.
    patch_size : int
        Cells of a patch along one axis.
    """

    def __init__(self, inputs: Sequence[str], targets: Sequence[str], patch_size: int) -> None:
        super().__init__()
        names = list(inputs)
        self.own = [names.index(name) if name in names else None for name in targets]
        self.moving = Columns([i for i, name in enumerate(names) if not is_static(name)])
        self.patch_size = patch_size
        # Where channels are spread over processes: what others know counts too.
        self.over_ranks: nn.Module = nn.Identity()

    def forward(self, coarse: Tensor) -> Tensor:
        """Tell where each target can be predicted.

        Parameters
        ----------
        coarse : Tensor of shape (B, C, H, W)

        Returns
        -------
        Tensor of shape (B, K, H, W), bool
        """
        valid = coarse.isfinite()
        patches = self._patches(valid) if None in self.own else valid[:, :0]
        return torch.cat([patches if i is None else valid[:, i : i + 1] for i in self.own], dim=1)

    def _patches(self, valid: Tensor) -> Tensor:
        """Tell the cells (B, 1, H, W) of patches that hold a value of any moving input."""
        height, width = valid.shape[-2:]
        p = self.patch_size
        anything = self.moving(valid).any(dim=1, keepdim=True).float()
        seen = F.max_pool2d(F.pad(anything, (0, -width % p, 0, -height % p)), p)
        seen = self.over_ranks(seen.to(valid.dtype))
        cells: Tensor = seen.repeat_interleave(p, -2).repeat_interleave(p, -1)
        return cells[..., :height, :width]
