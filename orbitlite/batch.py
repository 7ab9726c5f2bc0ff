"""The batch: what the data room hands to the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass
class Batch:
    """Coarse fields, and what belongs to them, for `B` samples. Rows run from north to south.

    Attributes
    ----------
    coarse : Tensor of shape (B, C, H, W)
        Input channels in physical units of the variable table; NaN where missing.
    fine : Tensor of shape (B, K, fH, fW), optional
        Truth in physical units; NaN where there is none.
    statics : Tensor of shape (B, S, fH, fW), optional
        Static fields on the fine grid, in physical units; NaN where missing.
    lat_edges : Tensor of shape (B, H + 1), optional
        Latitudes of the coarse cell edges in degrees, descending. These and `lon_edges` are of
        grids whose cells lie between parallels and meridians.
    lon_edges : Tensor of shape (B, W + 1), optional
        Longitudes of the coarse cell edges in degrees, ascending (may exceed 180 or 360).
    corners : Tensor of shape (B, H + 1, W + 1, 2), optional
        Latitudes and longitudes of the coarse cells' corners in degrees, float64: of any other
        grid, in place of the edges.
    areas : Tensor of shape (B, fH, fW), optional
        With `corners`: area of each fine cell over that of a usual coarse cell of the grid.
    time : Tensor of shape (B,), optional
        Seconds since 1970-01-01, float64.
    regression : Tensor of shape (B, K, fH, fW), optional
        Targets of the truth's unit by a regression that has not seen the sample (`HeldOut`).
    """

    coarse: Tensor
    fine: Tensor | None = None
    statics: Tensor | None = None
    lat_edges: Tensor | None = None
    lon_edges: Tensor | None = None
    corners: Tensor | None = None
    areas: Tensor | None = None
    time: Tensor | None = None
    regression: Tensor | None = None

    def __len__(self) -> int:
        return int(self.coarse.shape[0])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Copy every tensor to `device`."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """Copy every tensor into page-locked memory (called by the data loader)."""
        return self._map(lambda tensor: tensor.pin_memory())

    @staticmethod
    def collate(samples: list[Batch]) -> Batch:
        """Concatenate samples along the batch axis."""
        first = samples[0]
        if len(samples) == 1:  # what its samples share is not repeated
            return first
        columns = {
            field.name: torch.cat([getattr(sample, field.name) for sample in samples])
            for field in fields(first)
            if getattr(first, field.name) is not None
        }
        return Batch(**columns)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        changed = {
            field.name: _once(function, getattr(self, field.name))
            for field in fields(self)
            if getattr(self, field.name) is not None
        }
        return replace(self, **changed)


def _once(function: Callable[[Tensor], Tensor], tensor: Tensor) -> Tensor:
    """Apply a function; to what all samples share (an expanded tensor) once for all of them."""
    if len(tensor) > 1 and tensor.stride(0) == 0:
        return function(tensor[:1]).expand_as(tensor)
    return function(tensor)
